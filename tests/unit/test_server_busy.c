/* A server without memory for an answer, or that may not read its files: that is no progress of the job, which says what it waits for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "server/api/api.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

#define MEMORY_MAX (1u << 20)
#define AGES	   100000u /* ms: stall_s of the fixture */

uint64_t server_now_ms(void) /* server/main.c's */
{
	return fleet_now_ms();
}

static struct server server;
static struct http_server *http;
static char job[JOB_ID_SIZE];

/* As the agent of B does: the first chunk of the disk. */
static unsigned ask_for_chunk(void)
{
	uint8_t body[8 + ID_SIZE];
	struct call c = {.app = &server, .http = http, .body = body, .body_size = sizeof(body)};
	unsigned status;
	struct writer w;

	writer_init(&w, body, sizeof(body));
	writer_u64(&w, 0);
	writer_bytes(&w, fixture_sample->chunks[0].b, ID_SIZE);
	(void)snprintf(c.machine, sizeof(c.machine), "%s", MACHINE_B);
	(void)snprintf(c.match.params[0], sizeof(c.match.params[0]), "%s", job);
	(void)snprintf(c.match.params[1], sizeof(c.match.params[1]), "0");
	api_get_chunks(&c);
	status = c.status ? c.status : 200;
	if (c.answer_json)
		printf("# %s\n", json_string_value(json_object_get(
					 json_object_get(c.answer_json, "error"), "message")));
	for (size_t i = 0; i < c.parts_len; i++)
		free(c.parts[i].data);
	free(c.parts);
	json_decref(c.answer_json);
	call_release(&c);
	return status;
}

/* As if there had been no progress for so long. */
static void wait_in_vain(void)
{
	struct job *j;

	(void)pthread_mutex_lock(&fixture_fleet->lock);
	j = job_find(fixture_fleet, job);
	if (!j)
		abort();
	j->progress_ms -= AGES + 1;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
}

static bool is_stalled(char ret_why[static 512])
{
	CLEANUP_JSON json_t *shown = NULL;
	const char *why;

	fleet_tell_stalls(fixture_fleet);
	if (fleet_show_job(fixture_fleet, job, 0, 0, &shown, &fixture_err) < 0)
		abort();
	why = json_string_value(json_object_get(shown, "message"));
	(void)snprintf(ret_why, 512, "%s", why ? why : "");
	printf("# %s\n", ret_why);
	return json_is_true(json_object_get(shown, "stalled"));
}

static void order_restore(void)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "restore", "machine",
					      MACHINE_B, "image", "web");
	CLEANUP_JSON json_t *made = NULL;
	struct job *j;

	if (fleet_create_job(fixture_fleet, body, &made, &fixture_err) < 0 ||
	    fleet_acquire(fixture_fleet, MACHINE_B, json_string_value(json_object_get(made, "id")),
			  JOB_RESTORE, &j, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	(void)snprintf(job, sizeof(job), "%s", json_string_value(json_object_get(made, "id")));
	fleet_release(fixture_fleet, j);
}

static int deny(void *arg, enum file_op op, const char *path)
{
	(void)arg;
	(void)path;
	return op == FILE_READ ? -EACCES : 0;
}

/* As after a backup that was put back for another user: no medium fails, and nobody else would say why nothing comes. */
static void test_denied(void)
{
	char why[512];

	fixture_store->files.fault = deny;
	cache_clear(fixture_store);
	ok(ask_for_chunk() == 500, "a pack that the server may not read");
	ok(is_stalled(why) && strstr(why, "Permission denied") && strstr(why, "storage"),
	   "the job says so at once");
	fixture_store->files.fault = NULL;
	ok(ask_for_chunk() == 200 && !is_stalled(why), "until it may");
}

/* As the agent of A does. */
static unsigned send_pack(const struct sample_pack *p)
{
	struct call c = {.app = &server, .http = http, .body = p->data, .body_size = p->size};
	unsigned status;

	(void)snprintf(c.machine, sizeof(c.machine), "%s", MACHINE_A);
	(void)snprintf(c.match.params[0], sizeof(c.match.params[0]), "%s", job);
	id_to_text(&p->id, c.match.params[1]);
	api_put_pack(&c);
	status = c.status;
	json_decref(c.answer_json);
	return status;
}

/* Somebody has tidied up.  That the server lacks a folder is no reason to end a capture, as is that it knows no such job. */
static void test_no_folder(void)
{
	struct config config = {.data = fixture_data};
	struct sample *other = sample_new(99, &sample_small);
	char tmp[128], why[512];

	(void)snprintf(tmp, sizeof(tmp), "%s/store/tmp", fixture_data);
	server.config = &config;
	fixture_order(MACHINE_A, job);
	if (rmdir(tmp) < 0)
		abort();
	ok(send_pack(&other->packs[0]) == 500, "a pack, without the folder for what is written");
	ok(is_stalled(why) && strstr(why, "tmp/"), "the job says so");
	if (mkdir(tmp, 0700) < 0)
		abort();
	ok(send_pack(&other->packs[0]) == 204 && !is_stalled(why), "and goes on with it");
	sample_free(other);
}

int main(void)
{
	struct http_config config = {.memory_max = MEMORY_MAX};
	struct call hog = {0};
	char id[JOB_ID_SIZE], why[512];

	fixture_begin_fleet();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (fixture_says_done(MACHINE_A, id) < 0 ||
	    http_server_start(&config, NULL, 0, &http, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	hog.http = http;
	server.fleet = fixture_fleet;
	server.store = fixture_store;
	order_restore();
	ok(ask_for_chunk() == 200, "a chunk, while there is memory");
	if (call_reserve(&hog, MEMORY_MAX / 32 * 4, &fixture_err) < 0)
		abort();
	wait_in_vain();
	ok(is_stalled(why), "(no progress for a long time)");
	ok(ask_for_chunk() == 503, "none, while somebody has all there is");
	ok(is_stalled(why), "that is no progress");
	ok(strstr(why, "memory"), "and the job says what it waits for");
	call_release(&hog);
	ok(ask_for_chunk() == 200 && !is_stalled(why), "then it goes on");
	test_denied();
	test_no_folder();
	http_server_stop(http);
	fixture_end_fleet();
	return done();
}
