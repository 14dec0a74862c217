/* pairing_operator.c - operators see who pairs, confirm and reject. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "server/fleet/pairing_table.h"

#define PREFIX_MIN 4u

static json_t *view(const struct pairings *p, const struct pairing *x, bool known)
{
	char begun[TIME_TEXT_SIZE], code[8];

	time_to_text(x->begun, begun);
	(void)snprintf(code, sizeof(code), "%06u", (unsigned)x->code);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:I, s:b}", "machine", x->machine,
			 "name", x->name, "address", x->address, "agent_version", x->agent_version,
			 "state", pairing_state_names[x->state], "code",
			 x->state == PAIRING_BEGUN ? NULL : code, "begun", begun, "expires_s",
			 (json_int_t)(pairing_left_ms(p, x) / 1000), "known", (int)known);
}

static bool is_shown(const struct pairing *x)
{
	return pairing_is_open(x) || x->state == PAIRING_CONFIRMED ||
	       x->state == PAIRING_REJECTED || x->state == PAIRING_WRONG_CODE;
}

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

int pairings_list(struct pairings *p, bool (*known)(void *ctx, const char *machine), void *ctx,
		  json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *list = json_array();
	LOCK(p);

	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (!is_shown(x) || pairing_left_ms(p, x) == 0)
			continue;
		if (json_array_append_new(list, view(p, x, known(ctx, x->machine))) < 0)
			return out_of_memory(err);
	}
	*ret = json_pack("{s:O}", "pairings", list);
	return *ret ? 0 : out_of_memory(err);
}

static bool is_meant(const struct pairing *x, const char *name)
{
	size_t len = strlen(name);

	return (len >= PREFIX_MIN && strncmp(x->machine, name, len) == 0) ||
	       strcmp(x->name, name) == 0;
}

/* Whoever is in between chooses ids and names of pairings, as many as there is room for, and need not show their codes before one fits.  So
 * whatever may be meant by a name must be of one machine, whether it waits, has only begun or has ended: its codes are counted.  A whole
 * id means that machine and no other. */
static const char *resolve_machine(struct pairings *p, const char *name, struct err *err)
{
	const char *found = NULL;

	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (x->state != PAIRING_FREE && pairing_left_ms(p, x) > 0 &&
		    strcmp(x->machine, name) == 0)
			return x->machine;
	}
	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (x->state == PAIRING_FREE || pairing_left_ms(p, x) == 0)
			continue;
		if (!is_meant(x, name))
			continue;
		if (found && strcmp(found, x->machine) != 0) {
			(void)err_set(
				err, API_CONFLICT,
				"'%s' may mean several machines that are pairing; name one by "
				"its whole id, which stands on its screen.",
				name);
			return NULL;
		}
		found = x->machine;
	}
	if (!found) {
		(void)err_set(err, API_NOT_FOUND,
			      "No machine '%s' is pairing with this server now; look at what is "
			      "on its screen.",
			      name);
	}
	return found;
}

/* The pairing, in one of two states, of the machine that the operator means. */
static int resolve(struct pairings *p, const char *name, enum pairing_state a, enum pairing_state b,
		   struct pairing **ret, struct err *err)
{
	const char *machine = resolve_machine(p, name, err);

	if (!machine)
		return err->code;
	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if ((x->state != a && x->state != b) || pairing_left_ms(p, x) == 0 ||
		    strcmp(x->machine, machine) != 0)
			continue;
		*ret = x;
		return 0;
	}
	return err_set(err, API_NOT_FOUND,
		       "Machine '%s' shows no code of this server now; look at what is on its "
		       "screen.",
		       name);
}

int pairing_find(struct pairings *p, const char *name, char ret_machine[static MACHINE_ID_SIZE],
		 struct err *err)
{
	const char *machine;
	LOCK(p);

	machine = resolve_machine(p, name, err);
	if (!machine)
		return err->code;
	(void)snprintf(ret_machine, MACHINE_ID_SIZE, "%s", machine);
	return 0;
}

static int confirm_locked(struct pairings *p, const char *machine,
			  const struct pairing_typed *typed, json_t **ret, struct pairing_note *n,
			  struct err *err)
{
	struct pairing *x = NULL;
	int r = resolve(p, machine, PAIRING_WAITING, PAIRING_WAITING, &x, err);

	if (r < 0 || !x)
		return r;
	if (x->code != typed->code) {
		pairing_set_state(p, x, PAIRING_WRONG_CODE);
		pairing_note(n, "pairing_wrong_code", x,
			     ", another code was typed than the one it has here");
		return err_set(
			err, API_WRONG_CODE,
			"This is not the code of '%s' at this server, and the pairing has ended. Either "
			"it was mistyped, or somebody is between that machine and this server. "
			"The machine shows a new code in a moment; if that one is wrong too, look "
			"at the network before anything else.",
			x->name);
	}
	*ret = view(p, x, false);
	if (!*ret)
		return out_of_memory(err);
	(void)json_object_set_new(*ret, "state",
				  json_string(pairing_state_names[PAIRING_CONFIRMED]));
	(void)json_object_del(*ret, "known");
	x->proof = typed->proof;
	x->life_ms = pairings_now(p);
	pairing_set_state(p, x, PAIRING_CONFIRMED);
	pairing_note(n, "pairing_confirmed", x, "");
	return 0;
}

int pairing_confirm(struct pairings *p, const char *machine, const struct pairing_typed *typed,
		    json_t **ret, struct err *err)
{
	struct pairing_note n = {.event = NULL};
	int r;

	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = confirm_locked(p, machine, typed, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	pairings_tell(p, &n);
	return r;
}

static int reject_locked(struct pairings *p, const char *machine, json_t **ret,
			 struct pairing_note *n, struct err *err)
{
	struct pairing *x = NULL;
	int r = resolve(p, machine, PAIRING_WAITING, PAIRING_CONFIRMED, &x, err);

	if (r < 0 || !x)
		return r;
	pairing_set_state(p, x, PAIRING_REJECTED);
	pairing_note(n, "pairing_rejected", x, "");
	*ret = view(p, x, false);
	if (!*ret)
		return out_of_memory(err);
	(void)json_object_del(*ret, "known");
	return 0;
}

int pairing_reject(struct pairings *p, const char *machine, json_t **ret, struct err *err)
{
	struct pairing_note n = {.event = NULL};
	int r;

	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = reject_locked(p, machine, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	pairings_tell(p, &n);
	return r;
}
