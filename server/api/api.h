/* api.h - the endpoints of docs/protocol.md. */
#ifndef SERVER_API_API_H
#define SERVER_API_API_H
#include <stddef.h>

#include "server/http/call.h"
#include "server/http/route.h"
#include "server/server.h"

extern const struct route api_routes[];
extern const size_t api_routes_len;

/* For http_config: app is the struct server. */
int api_authorize(struct call *c, const char *secret, struct err *err);
void api_answered(struct call *c);
/* (audit.c) It was refused before a handler saw it. */
void api_refused(struct call *c, const struct err *err);

/* What the plain address serves. */
extern const struct route boot_routes[];
extern const size_t boot_routes_len;

static inline struct server *call_server(struct call *c)
{
	return c->app;
}
/* Answer `take_json`, or the error. */
void api_answer(struct call *c, int r, unsigned status, json_t *take_json, const struct err *err);
/* Answers what packs, nodes or windows of a job came to.  A store without room, that cannot be read or written for whatever reason, or whose index is damaged is
 * for the operator to know of, by the job (which may be NULL): the agent only tries again. */
void api_fail_transfer(struct call *c, struct job *j, struct err *err);

/* `len` lower-case hex digits. */
bool api_is_hex(const char *text, size_t len);
/* 1 to `max` printable ASCII characters. */
bool api_is_plain(const char *text, size_t max);

/* The disk's number in the path.  API_NOT_FOUND */
int api_disk_number(struct call *c, uint64_t *ret, struct err *err) MUST_CHECK;

/* anyone */
void api_get_info(struct call *c);
/* agent.c */
void api_register(struct call *c);
void api_renew(struct call *c);
void api_poll(struct call *c);
void api_progress(struct call *c);
void api_done(struct call *c);
void api_failed(struct call *c);
/* agent_pair.c */
void api_pair(struct call *c);
void api_pair_reveal(struct call *c);
void api_pair_wait(struct call *c);
/* agent_capture.c */
void api_lack(struct call *c);
void api_put_pack(struct call *c);
void api_put_windows(struct call *c);
void api_finish(struct call *c);
/* agent_restore.c */
void api_get_nodes(struct call *c);
void api_get_chunks(struct call *c);
/* operator.c */
void api_get_server(struct call *c);
void api_list_machines(struct call *c);
void api_show_machine(struct call *c);
void api_remove_machine(struct call *c);
void api_create_job(struct call *c);
void api_list_jobs(struct call *c);
void api_show_job(struct call *c);
void api_cancel_job(struct call *c);
void api_list_events(struct call *c);
/* operator_images.c */
void api_list_images(struct call *c);
void api_show_image(struct call *c);
void api_show_manifest(struct call *c);
void api_remove_image(struct call *c);
/* operator_tokens.c */
void api_create_token(struct call *c);
void api_list_tokens(struct call *c);
void api_revoke_token(struct call *c);
/* media.c */
void api_list_media(struct call *c);
void api_get_medium(struct call *c);
void api_get_medium_in(struct call *c);
void api_make_medium(struct call *c);
void api_make_medium_in(struct call *c);
/* operator_pairings.c */
void api_list_pairings(struct call *c);
void api_confirm_pairing(struct call *c);
void api_reject_pairing(struct call *c);
/* operator_session.c */
void api_login(struct call *c);
void api_show_session(struct call *c);
void api_logout(struct call *c);
void api_change_password(struct call *c);
void api_create_access_token(struct call *c);
void api_list_access_tokens(struct call *c);
void api_revoke_access_token(struct call *c);
/* operator_accounts.c */
void api_list_operators(struct call *c);
void api_create_operator(struct call *c);
void api_change_operator(struct call *c);
void api_remove_operator(struct call *c);
/* audit.c */
void api_list_audit(struct call *c);
#endif
