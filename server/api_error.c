#include "server/api_error.h"

#include <assert.h>
#include <errno.h>

#define COUNT (API_END - API_BAD_REQUEST)

static const struct {
	const char *name;
	unsigned status;
	unsigned retry_after;
} codes[COUNT] = {
#define CODE(c, n, s, r) [(c)-API_BAD_REQUEST] = {n, s, r}
	CODE(API_BAD_REQUEST, "bad_request", 400, 0),
	CODE(API_UNAUTHORIZED, "unauthorized", 401, 0),
	CODE(API_FORBIDDEN, "forbidden", 403, 0),
	CODE(API_NOT_FOUND, "not_found", 404, 0),
	CODE(API_METHOD, "method", 405, 0),
	CODE(API_CONFLICT, "conflict", 409, 0),
	CODE(API_TOO_LARGE, "too_large", 413, 0),
	CODE(API_LENGTH_REQUIRED, "length_required", 411, 0),
	CODE(API_RATE_LIMITED, "rate_limited", 429, 1),
	CODE(API_BUSY, "busy", 503, 1),
	CODE(API_NO_SPACE, "no_space", 507, 30),
	CODE(API_STORE_DAMAGED, "store_damaged", 500, 0),
	CODE(API_BAD_PACK, "bad_pack", 400, 0),
	CODE(API_INCOMPLETE, "incomplete", 409, 0),
	CODE(API_CANCELLED, "cancelled", 409, 0),
	CODE(API_WRONG_CODE, "wrong_code", 409, 0),
	CODE(API_WRONG_PASSWORD, "wrong_password", 403, 0),
	CODE(API_INTERNAL, "internal", 500, 0),
	CODE(API_TARGET_TOO_SMALL, "target_too_small", 409, 0),
	CODE(API_TARGET_HOLDS_DATA, "target_holds_data", 409, 0),
	CODE(API_TARGET_CHANGED, "target_changed", 409, 0),
	CODE(API_SECTOR_SIZE, "sector_size", 409, 0),
	CODE(API_DISK_MISSING, "disk_missing", 409, 0),
	CODE(API_READ_ERROR, "read_error", 409, 0),
	CODE(API_WRITE_ERROR, "write_error", 409, 0),
	CODE(API_VERIFY_FAILED, "verify_failed", 409, 0),
	CODE(API_AGENT_LOST, "agent_lost", 409, 0),
#undef CODE
};

static int is_code(int code)
{
	return code >= API_BAD_REQUEST && code < API_END;
}

enum api_code api_code_of(int code)
{
	if (is_code(code))
		return (enum api_code)code;
	switch (code) {
	case -EPROTO:
	case -EINVAL:
		return API_BAD_REQUEST;
	case -EMSGSIZE:
		return API_TOO_LARGE;
	case -ENOENT:
		return API_NOT_FOUND;
	case -ENOSPC:
	case -EDQUOT:
		return API_NO_SPACE;
	case -ENOMEM:
		return API_BUSY;
	case -EBADMSG:
		return API_STORE_DAMAGED;
	case -ENODATA:
		return API_INCOMPLETE;
	case -ESTALE:
	case -EUSERS:
	case -EEXIST:
		return API_CONFLICT;
	default:
		return API_INTERNAL;
	}
}

const char *api_code_name(enum api_code code)
{
	assert(is_code(code));
	return codes[code - API_BAD_REQUEST].name;
}

unsigned api_code_status(enum api_code code)
{
	assert(is_code(code));
	return codes[code - API_BAD_REQUEST].status;
}

unsigned api_code_retry_after(enum api_code code)
{
	assert(is_code(code));
	return codes[code - API_BAD_REQUEST].retry_after;
}
