#include <gnutls/gnutls.h>
#include <string.h>

#include "common/limits.h"
#include "server/api/api.h"

#define LACK_BODY_MAX	 (LACK_IDS_MAX * ID_SIZE)
#define WINDOWS_BODY_MAX (WINDOWS_PUT_MAX * (8 + 4 + ID_SIZE))
#define PAIR_BODY_MAX	 1024u
#define CHUNKS_BODY_MAX	 (CHUNKS_GET_MAX * (8 + ID_SIZE))

const struct route api_routes[] = {
	{HTTP_GET, AUTH_ANYONE, "/v1/info", BODY_NONE, 0, api_get_info},

	{HTTP_POST, AUTH_ANYONE, "/v1/agent/register", BODY_JSON, JSON_BIG_MAX, api_register},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/poll", BODY_JSON, JSON_MAX, api_poll},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/progress", BODY_JSON, JSON_MAX, api_progress},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/done", BODY_JSON, JSON_BIG_MAX, api_done},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/failed", BODY_JSON, JSON_BIG_MAX, api_failed},

	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/lack", BODY_BINARY, LACK_BODY_MAX, api_lack},
	{HTTP_PUT, AUTH_AGENT, "/v1/agent/jobs/{}/packs/{}", BODY_BINARY, PACK_SIZE_MAX,
	 api_put_pack},
	{HTTP_PUT, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/windows", BODY_BINARY, WINDOWS_BODY_MAX,
	 api_put_windows},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/finish", BODY_JSON, JSON_BIG_MAX,
	 api_finish},

	{HTTP_GET, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/nodes", BODY_NONE, 0, api_get_nodes},
	{HTTP_POST, AUTH_AGENT, "/v1/agent/jobs/{}/disks/{}/chunks", BODY_BINARY, CHUNKS_BODY_MAX,
	 api_get_chunks},

	{HTTP_GET, AUTH_OPERATOR, "/v1/server", BODY_NONE, 0, api_get_server},
	{HTTP_GET, AUTH_OPERATOR, "/v1/machines", BODY_NONE, 0, api_list_machines},
	{HTTP_GET, AUTH_OPERATOR, "/v1/machines/{}", BODY_NONE, 0, api_show_machine},
	{HTTP_DELETE, AUTH_OPERATOR, "/v1/machines/{}", BODY_NONE, 0, api_remove_machine},
	{HTTP_GET, AUTH_OPERATOR, "/v1/images", BODY_NONE, 0, api_list_images},
	{HTTP_GET, AUTH_OPERATOR, "/v1/images/{}", BODY_NONE, 0, api_show_image},
	{HTTP_GET, AUTH_OPERATOR, "/v1/images/{}/versions/{}", BODY_NONE, 0, api_show_manifest},
	{HTTP_DELETE, AUTH_OPERATOR, "/v1/images/{}", BODY_NONE, 0, api_remove_image},
	{HTTP_POST, AUTH_OPERATOR, "/v1/jobs", BODY_JSON, JSON_MAX, api_create_job},
	{HTTP_GET, AUTH_OPERATOR, "/v1/jobs", BODY_NONE, 0, api_list_jobs},
	{HTTP_GET, AUTH_OPERATOR, "/v1/jobs/{}", BODY_NONE, 0, api_show_job},
	{HTTP_POST, AUTH_OPERATOR, "/v1/jobs/{}/cancel", BODY_NONE, 0, api_cancel_job},
	{HTTP_POST, AUTH_OPERATOR, "/v1/tokens", BODY_JSON, JSON_MAX, api_create_token},
	{HTTP_GET, AUTH_OPERATOR, "/v1/tokens", BODY_NONE, 0, api_list_tokens},
	{HTTP_DELETE, AUTH_OPERATOR, "/v1/tokens/{}", BODY_NONE, 0, api_revoke_token},
	{HTTP_GET, AUTH_OPERATOR, "/v1/events", BODY_NONE, 0, api_list_events},

	{HTTP_GET, AUTH_OPERATOR, "/v1/media", BODY_NONE, 0, api_list_media},
	{HTTP_GET, AUTH_OPERATOR, "/v1/media/{}", BODY_NONE, 0, api_get_medium},
	{HTTP_GET, AUTH_OPERATOR, "/v1/media/{}/{}", BODY_NONE, 0, api_get_medium_in},
	{HTTP_POST, AUTH_OPERATOR, "/v1/media/{}", BODY_JSON, JSON_MAX, api_make_medium},
	{HTTP_POST, AUTH_OPERATOR, "/v1/media/{}/{}", BODY_JSON, JSON_MAX, api_make_medium_in},

	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair", BODY_JSON, PAIR_BODY_MAX, api_pair},
	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair/reveal", BODY_JSON, PAIR_BODY_MAX,
	 api_pair_reveal},
	{HTTP_POST, AUTH_ANYONE, "/v1/agent/pair/wait", BODY_JSON, PAIR_BODY_MAX, api_pair_wait},
	{HTTP_GET, AUTH_OPERATOR, "/v1/pairings", BODY_NONE, 0, api_list_pairings},
	{HTTP_POST, AUTH_OPERATOR, "/v1/pairings/{}/confirm", BODY_JSON, PAIR_BODY_MAX,
	 api_confirm_pairing},
	{HTTP_POST, AUTH_OPERATOR, "/v1/pairings/{}/reject", BODY_NONE, 0, api_reject_pairing},
};
const size_t api_routes_len = sizeof(api_routes) / sizeof(api_routes[0]);

int api_authorize(void *app, enum route_auth auth, const char *secret,
		  char ret_machine[static MACHINE_ID_TEXT], struct err *err)
{
	struct server *s = app;
	struct id hash;

	if (auth == AUTH_AGENT)
		return fleet_authorize(s->fleet, secret, ret_machine, err);
	hash = id_of(secret, strlen(secret));
	if (gnutls_memcmp(hash.b, s->operator_hash.b, ID_SIZE) != 0)
		return err_set(err, API_UNAUTHORIZED, "This is not the operator's token.");
	return 0;
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
