/* pairings, pair, pairing reject. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/pairing.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

static void add_pairing(struct table *t, const json_t *p)
{
	char left[SPAN_TEXT_SIZE];

	span_to_text(json_number(p, "expires_s"), left);
	cell_id(t, p);
	cell_text(t, "%s", json_text(p, "name"));
	cell_text(t, "%s", json_text(p, "address"));
	cell_text(t, "%s", json_text(p, "state"));
	cell_text(t, "%s", json_is_true(json_object_get(p, "known")) ? "yes" : "no");
	cell_when(t, p, "begun");
	cell_text(t, "%s", left);
}

static void add_pairing_and_code(struct table *t, const json_t *p)
{
	char code[PAIRING_TEXT_SIZE] = "-";
	uint32_t n = 0;

	add_pairing(t, p);
	if (strcmp(json_text(p, "state"), "waiting") == 0 &&
	    pairing_code_from_text(json_text(p, "code"), &n))
		(void)pairing_code_text(n, code);
	cell_text(t, "%s", code);
}

static int run_pairings(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"MACHINE", false}, {"NAME", false},  {"ADDRESS", false}, {"STATE", false},
		{"KNOWN", false},   {"BEGUN", false}, {"LEFT", true},	  {"CODE", false},
	};
	struct listing list = {
		.key = "pairings",
		.form = TABLE_FORM(columns, add_pairing_and_code, "machine"),
		.none = "No machine is pairing.",
	};

	if (!c->o.codes) {
		list.form.columns_len--;
		list.form.add = add_pairing;
		list.some =
			"To confirm one, type the code that stands on its own screen: hoist pair "
			"MACHINE CODE";
	}
	return list_print(c, "/v1/pairings", &list, err);
}

static const struct setting pairings_options[] = {
	{.key = "codes",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(codes),
	 .help = "Show the codes too, to compare them by eye with the first six digits on the machines' screens"},
};

const struct command cmd_pairings = {
	.name = "pairings",
	.operands = "",
	.summary = "List the machines that show a pairing code",
	.text = "A machine booted from a medium that was made for no server shows a pairing "
		"code, and waits until it is confirmed here. Those that were "
		"rejected, or had a wrong code typed, are listed until they expire, those that "
		"were confirmed until they have registered. KNOWN: a machine with this id has "
		"registered before.",
	.takes = TAKES_SERVER | TAKES_JSON,
	OPTIONS(pairings_options),
	.run = run_pairings,
};

/* Twelve digits in any groups: the code, which the server has too, and the proof, which only the screen has. */
static int read_code(const struct ctx *c, char ret_code[static 8], char ret_proof[static 8],
		     struct err *err)
{
	char digits[13] = "";
	size_t n = 0;

	for (int i = 1; i < c->operands_len; i++) {
		for (const char *p = c->operands[i]; *p; p++) {
			if (*p == ' ' || *p == '-')
				continue;
			if (*p < '0' || *p > '9' || n == 12) {
				n = 0;
				i = c->operands_len;
				break;
			}
			digits[n++] = *p;
		}
	}
	if (n != 12) {
		return err_set(err, -EINVAL,
			       "that is no code: it is the twelve digits on the machine's screen");
	}
	(void)snprintf(ret_code, 8, "%.6s", digits);
	(void)snprintf(ret_proof, 8, "%.6s", digits + 6);
	return 0;
}

static int finish(const struct ctx *c, const json_t *answer, const char *what)
{
	return done_print(c, answer, "%s '%s' at %s, machine %.8s%s", what,
			  json_text(answer, "name"), json_text(answer, "address"),
			  json_text(answer, "machine"),
			  json_is_true(json_object_get(answer, "known"))
				  ? ", in the place of the one that had registered with this id"
				  : "");
}

static int run_pair(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	char path[PATH_SIZE], code[8], proof[8];
	int r = read_code(c, code, proof, err);

	if (r < 0)
		return r;
	body = json_pack("{s:s, s:s, s:b}", "code", code, "proof", proof, "replace", c->o.replace);
	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	path_make(path, "/v1/pairings/%s/confirm", c->operands[0]);
	r = api(c, "POST", path, body, &answer, err);
	return r < 0 ? r : finish(c, answer, "confirmed");
}

static const struct setting pair_options[] = {
	{.key = "replace",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(replace),
	 .help = "Also when a machine with this id is registered and has a job, which the "
		 "confirmed one then goes on with"},
};

const struct command cmd_pair = {
	.name = "pair",
	.operands = "MACHINE CODE",
	.summary = "Confirm a machine by the code on its screen",
	.text = "MACHINE as for 'machine show'; the screen says the whole command. CODE is "
		"the twelve digits there, in any groups: six that this server has too, which "
		"shows that nobody is between it and the machine, and six that only the "
		"screen has, by which the machine knows that whoever confirms has seen it.\n"
		"A wrong code ends the pairing, and the machine shows a new one. When a code "
		"that was surely typed right is called wrong, somebody is between: look at the "
		"network before anything else.",
	.example = "hoist pair 4c4c4544 482 913 207 551",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 2,
	.operands_max = 5,
	OPTIONS(pair_options),
	.run = run_pair,
};

static int run_pairing_reject(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	char path[PATH_SIZE];
	int r;

	path_make(path, "/v1/pairings/%s/reject", c->operands[0]);
	r = api(c, "POST", path, NULL, &answer, err);
	return r < 0 ? r : finish(c, answer, "rejected");
}

const struct command cmd_pairing_reject = {
	.name = "pairing reject",
	.operands = "MACHINE",
	.summary = "Reject a machine that shows a pairing code",
	.text = "Its screen says so, and it asks again after a quarter of an hour at the "
		"earliest.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_pairing_reject,
};
