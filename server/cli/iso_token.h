/* iso_token.h - the enrolment token that a medium has for itself: `hoist iso --new-token`. */
#ifndef SERVER_CLI_ISO_TOKEN_H
#define SERVER_CLI_ISO_TOKEN_H
#include "common/err.h"
#include "common/json.h"
#include "server/cli/cli.h"

/* The server makes one, which is added to the settings.  `ret`: the token without its secret, as soon as there is one, also when that fails. */
int iso_token_make(struct ctx *c, json_t *settings, json_t **ret, struct err *err) MUST_CHECK;
/* There is no medium: nobody is to have its token. */
void iso_token_drop(struct ctx *c, const json_t *token);
/* For people. */
void iso_token_print(const json_t *token);
#endif
