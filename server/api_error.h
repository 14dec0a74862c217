/* api_error.h - the error codes of docs/protocol.md as values of struct err.
 *
 * A function of the server returns a negative errno or one of these; whoever answers a request turns either into status and code. */
#ifndef SERVER_API_ERROR_H
#define SERVER_API_ERROR_H

/* Outside of what errno uses (at most 4095). */
enum api_code {
	API_BAD_REQUEST = -10000,
	API_UNAUTHORIZED,
	API_FORBIDDEN,
	API_NOT_FOUND,
	API_METHOD,
	API_CONFLICT,
	API_TOO_LARGE,
	API_LENGTH_REQUIRED,
	API_RATE_LIMITED,
	API_BUSY,
	API_NO_SPACE,
	API_STORE_DAMAGED,
	API_BAD_PACK,
	API_INCOMPLETE,
	API_CANCELLED,
	API_WRONG_CODE,
	API_WRONG_PASSWORD,
	API_INTERNAL,
	API_TARGET_TOO_SMALL,
	API_TARGET_HOLDS_DATA,
	API_TARGET_CHANGED,
	API_SECTOR_SIZE,
	API_DISK_MISSING,
	API_READ_ERROR,
	API_WRITE_ERROR,
	API_VERIFY_FAILED,
	API_AGENT_LOST,
	API_END, /* not a code: one past the last */
};

/* Code for a struct err's `code`, be it one of the above or an errno: API_INTERNAL for what has no better one. */
enum api_code api_code_of(int code);
/* "bad_request", ... */
const char *api_code_name(enum api_code code);
/* 400, ... */
unsigned api_code_status(enum api_code code);
/* Of 429, 503 and 507: seconds to wait, unless more is known; 0 for the others. */
unsigned api_code_retry_after(enum api_code code);
#endif
