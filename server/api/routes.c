#include <string.h>

#include "common/limits.h"
#include "server/api/api.h"

#define LACK_BODY_MAX	 (LACK_IDS_MAX * ID_SIZE)
#define WINDOWS_BODY_MAX (WINDOWS_PUT_MAX * (8 + 4 + ID_SIZE))
#define PAIR_BODY_MAX	 1024u
#define POLL_BODY_MAX	 1024u
#define LOGIN_BODY_MAX	 2048u
#define CHUNKS_BODY_MAX	 (CHUNKS_GET_MAX * (8 + ID_SIZE))

/* The rights, all of them: a viewer looks, an operator moves machines and lets them in, an admin removes images and says who may what. */
const struct route api_routes[] = {
	{HTTP_GET, AUTH_ANYONE, "/v1/info", BODY_NONE, 0, api_get_info, NULL},

	{HTTP_POST, AUTH_ANYONE, "/v1/agent/register", BODY_JSON, JSON_BIG_MAX, api_register, NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/poll", BODY_JSON, POLL_BODY_MAX, api_poll, NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/progress", BODY_JSON, JSON_MAX, api_progress,
	 NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/done", BODY_JSON, JSON_BIG_MAX, api_done, NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/failed", BODY_JSON, JSON_BIG_MAX, api_failed,
	 NULL},

	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/lack", BODY_BINARY, LACK_BODY_MAX, api_lack,
	 NULL},
	{HTTP_PUT, AUTH_AGENT, "/v1/agent/jobs/{}/packs/{}", BODY_BINARY, PACK_SIZE_MAX,
	 api_put_pack, NULL},
	{HTTP_PUT, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/windows", BODY_BINARY, WINDOWS_BODY_MAX,
	 api_put_windows, NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/finish", BODY_JSON, JSON_BIG_MAX,
	 api_finish, NULL},

	{HTTP_GET, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/nodes", BODY_NONE, 0, api_get_nodes,
	 NULL},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/chunks", BODY_BINARY, CHUNKS_BODY_MAX,
	 api_get_chunks, NULL},

	{HTTP_GET, AUTH_VIEWER, "/v1/server", BODY_NONE, 0, api_get_server, NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/machines", BODY_NONE, 0, api_list_machines, NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/machines/{}", BODY_NONE, 0, api_show_machine, NULL},
	{HTTP_DELETE, AUTH_OPERATOR, "/v1/machines/{}", BODY_NONE, 0, api_remove_machine,
	 "machine.forget"},
	{HTTP_GET, AUTH_VIEWER, "/v1/images", BODY_NONE, 0, api_list_images, NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/images/{}", BODY_NONE, 0, api_show_image, NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/images/{}/versions/{}", BODY_NONE, 0, api_show_manifest, NULL},
	{HTTP_DELETE, AUTH_ADMIN, "/v1/images/{}", BODY_NONE, 0, api_remove_image, "image.remove"},
	{HTTP_POST, AUTH_OPERATOR, "/v1/jobs", BODY_JSON, JSON_MAX, api_create_job, "job.create"},
	{HTTP_GET, AUTH_VIEWER, "/v1/jobs", BODY_NONE, 0, api_list_jobs, NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/jobs/{}", BODY_NONE, 0, api_show_job, NULL},
	{HTTP_POST, AUTH_OPERATOR, "/v1/jobs/{}/cancel", BODY_NONE, 0, api_cancel_job,
	 "job.cancel"},
	{HTTP_POST, AUTH_OPERATOR, "/v1/tokens", BODY_JSON, JSON_MAX, api_create_token,
	 "token.create"},
	{HTTP_GET, AUTH_OPERATOR, "/v1/tokens", BODY_NONE, 0, api_list_tokens, NULL},
	{HTTP_DELETE, AUTH_OPERATOR, "/v1/tokens/{}", BODY_NONE, 0, api_revoke_token,
	 "token.revoke"},
	{HTTP_GET, AUTH_VIEWER, "/v1/events", BODY_NONE, 0, api_list_events, NULL},

	{HTTP_GET, AUTH_VIEWER, "/v1/media", BODY_NONE, 0, api_list_media, NULL},
	{HTTP_GET, AUTH_OPERATOR, "/v1/media/{}", BODY_NONE, 0, api_get_medium, NULL},
	{HTTP_GET, AUTH_OPERATOR, "/v1/media/{}/{}", BODY_NONE, 0, api_get_medium_in, NULL},
	{HTTP_POST, AUTH_OPERATOR, "/v1/media/{}", BODY_JSON, JSON_MAX, api_make_medium,
	 "medium.make"},
	{HTTP_POST, AUTH_OPERATOR, "/v1/media/{}/{}", BODY_JSON, JSON_MAX, api_make_medium_in,
	 "medium.make"},

	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair", BODY_JSON, PAIR_BODY_MAX, api_pair, NULL},
	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair/reveal", BODY_JSON, PAIR_BODY_MAX, api_pair_reveal,
	 NULL},
	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair/wait", BODY_JSON, PAIR_BODY_MAX, api_pair_wait,
	 NULL},
	{HTTP_GET, AUTH_VIEWER, "/v1/pairings", BODY_NONE, 0, api_list_pairings, NULL},
	{HTTP_POST, AUTH_OPERATOR, "/v1/pairings/{}/confirm", BODY_JSON, PAIR_BODY_MAX,
	 api_confirm_pairing, "pairing.confirm"},
	{HTTP_POST, AUTH_OPERATOR, "/v1/pairings/{}/reject", BODY_NONE, 0, api_reject_pairing,
	 "pairing.reject"},

	{HTTP_POST, AUTH_ANYONE, "/v1/login", BODY_JSON, LOGIN_BODY_MAX, api_login, "login"},
	{HTTP_GET, AUTH_VIEWER, "/v1/session", BODY_NONE, 0, api_show_session, NULL},
	{HTTP_DELETE, AUTH_VIEWER, "/v1/session", BODY_NONE, 0, api_logout, "logout"},
	{HTTP_POST, AUTH_VIEWER, "/v1/password", BODY_JSON, LOGIN_BODY_MAX, api_change_password,
	 "password.change"},
	{HTTP_POST, AUTH_VIEWER, "/v1/access-tokens", BODY_JSON, LOGIN_BODY_MAX,
	 api_create_access_token, "access-token.create"},
	{HTTP_GET, AUTH_VIEWER, "/v1/access-tokens", BODY_NONE, 0, api_list_access_tokens, NULL},
	{HTTP_DELETE, AUTH_VIEWER, "/v1/access-tokens/{}", BODY_NONE, 0, api_revoke_access_token,
	 "access-token.revoke"},
	{HTTP_GET, AUTH_ADMIN, "/v1/operators", BODY_NONE, 0, api_list_operators, NULL},
	{HTTP_POST, AUTH_ADMIN, "/v1/operators", BODY_JSON, LOGIN_BODY_MAX, api_create_operator,
	 "operator.add"},
	{HTTP_POST, AUTH_ADMIN, "/v1/operators/{}", BODY_JSON, LOGIN_BODY_MAX, api_change_operator,
	 "operator.change"},
	{HTTP_DELETE, AUTH_ADMIN, "/v1/operators/{}", BODY_NONE, 0, api_remove_operator,
	 "operator.remove"},
	{HTTP_GET, AUTH_ADMIN, "/v1/audit", BODY_NONE, 0, api_list_audit, NULL},

	{HTTP_POST, AUTH_AGENT, "/v1/agent/renew", BODY_NONE, 0, api_renew, NULL},
};
const size_t api_routes_len = sizeof(api_routes) / sizeof(api_routes[0]);

static enum role least_role(enum route_auth auth)
{
	switch (auth) {
	case AUTH_VIEWER:
		return ROLE_VIEWER;
	case AUTH_OPERATOR:
		return ROLE_OPERATOR;
	case AUTH_ADMIN:
		return ROLE_ADMIN;
	default:
		return ROLE_NONE;
	}
}

static int authorize_operator(struct call *c, const char *secret, struct err *err)
{
	enum role least = least_role(c->match.route->auth);
	int r = access_authorize(call_server(c)->access, secret, &c->caller, err);

	if (r < 0)
		return r;
	if (least == ROLE_NONE || c->caller.role < least) {
		return err_set(err, API_FORBIDDEN, "This needs the role %s; yours is %s.",
			       role_name(least), role_name(c->caller.role));
	}
	/* Once, with the headers.  What a viewer may is bounded by his logins and tokens, and by it he gets rid of who has stolen one. */
	if (!c->match.route->action || least == ROLE_VIEWER || c->work_us != 0)
		return 0;
	return access_count_action(call_server(c)->access, &c->caller, err);
}

static int authorize_agent(struct call *c, const char *secret, struct err *err)
{
	struct session_proof proof = {.shown = c->shown, .session = c->session};
	int r;

	memcpy(proof.machine, c->machine, sizeof(proof.machine));
	if (*c->machine) /* was looked at with the headers */
		return fleet_authorize_again(call_server(c)->fleet, &proof, err);
	r = fleet_authorize(call_server(c)->fleet, secret, c->peer, &proof, err);
	if (r < 0)
		return r;
	memcpy(c->machine, proof.machine, sizeof(c->machine));
	c->shown = proof.shown;
	c->session = proof.session;
	return 0;
}

int api_authorize(struct call *c, const char *secret, struct err *err)
{
	int r;

	if (c->match.route->auth == AUTH_AGENT)
		return authorize_agent(c, secret, err);
	r = authorize_operator(c, secret, err);
	if (r == API_UNAUTHORIZED || r == API_FORBIDDEN || r == API_RATE_LIMITED)
		api_refused(c, err);
	return r;
}

void api_answer(struct call *c, int r, unsigned status, json_t *take_json, const struct err *err)
{
	if (r < 0) {
		json_decref(take_json);
		call_fail_err(c, err);
	} else {
		call_answer(c, status, take_json);
	}
}

void api_get_info(struct call *c)
{
	struct server *s = call_server(c);

	call_answer(c, 200,
		    json_pack("{s:s, s:s, s:[i], s:s, s:s, s:[s,s,s]}", "product", "hoist",
			      "version", HOIST_VERSION, "api", 1, "name", s->name, "fingerprint",
			      s->identity.fingerprint_text, "codecs", codec_name(CODEC_STORED),
			      codec_name(CODEC_ZLIB), codec_name(CODEC_ZSTD)));
}
