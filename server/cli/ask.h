/* ask.h - what only a person can say. */
#ifndef SERVER_CLI_ASK_H
#define SERVER_CLI_ASK_H
#include <stdbool.h>

#include "common/err.h"

#define ASK_SIZE 129u /* a password of 128 bytes and its NUL */

struct question {
	const char *prompt;
	const char *option; /* that names `file` */
	bool twice;	    /* on a terminal: it is a new one */
};

/* From `file` ("-": standard input; its first line), or, if it is NULL, from the terminal.  To be wiped by the caller. */
int ask_password(const struct question *q, const char *file, char ret[static ASK_SIZE],
		 struct err *err) MUST_CHECK;
#endif
