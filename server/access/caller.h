/* caller.h - which operator asks, and by what. */
#ifndef SERVER_ACCESS_CALLER_H
#define SERVER_ACCESS_CALLER_H
#include "server/state/state.h"

/* What stands for a name when the file operator.token was shown: no operator can be called that. */
#define CALLER_FILE_NAME "(operator.token)"

enum caller_kind { CALLER_NOBODY, CALLER_FILE, CALLER_SESSION, CALLER_TOKEN };

struct caller {
	enum caller_kind kind;
	enum role role;
	char name[NAME_SIZE];
	char credential[TOKEN_ID_SIZE]; /* "" of the file */
	int64_t expires;		/* 0: never */
};
#endif
