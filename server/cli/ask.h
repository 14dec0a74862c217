/* ask.h - what only a person can say. */
#ifndef SERVER_CLI_ASK_H
#define SERVER_CLI_ASK_H
#include <stdbool.h>

#include "common/err.h"

#define ASK_SIZE 129u /* a password of 128 bytes and its NUL */

/* From `file` ("-": standard input; its first line), or, if it is NULL, from the terminal, where it is asked for `twice` if it is a new
 * one.  To be wiped by the caller. */
int ask_password(const char *prompt, const char *file, bool twice, char ret[static ASK_SIZE],
		 struct err *err) MUST_CHECK;
#endif
