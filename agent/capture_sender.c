/* capture_sender.c - what a thread does that only sends: so the wire is busy while the workers read and compute.
 *
 * A chunk has landed when the server has acknowledged its pack, and not before; an error ends the capture, with all that is still to be sent. */
#include "agent/capture_worker.h"

static int send_parcel(struct capture *c, struct peer *peer, const struct parcel *p,
		       struct err *err)
{
	struct job *job = c->setup->job;
	int r = peer->ops->put_pack(peer, &p->pack_id, p->data, p->size, err);

	if (r < 0 && atomic_load(&c->stop))
		return 0; /* interrupted, since another one has failed */
	if (r < 0)
		return peer_blame(peer, job, r);
	flight_land(c->flight, p->ids, p->ids_len);
	job_add(job, 0, 0, p->size);
	level_count(c->setup->level, p->level, p->size);
	return 0;
}

int capture_sender_run(struct capture *c, unsigned sender, struct err *err)
{
	struct peer *peer = c->setup->peers[c->setup->workers + sender];
	struct meter_clock clock;
	struct parcel *p;
	int r = 0;

	meter_start(&clock, &c->setup->job->meter);
	peer->clock = &clock;
	while (r == 0) {
		(void)meter_go(&clock, METER_NOWHERE);
		p = parcels_take(c->parcels);
		if (!p)
			break;
		(void)meter_go(&clock, METER_CPU);
		r = send_parcel(c, peer, p, err);
		parcels_return(c->parcels, p);
	}
	peer->clock = NULL;
	meter_stop(&clock);
	return r;
}
