/* image_ref.h - IMAGE[@VERSION] as a person writes it. */
#ifndef SERVER_CLI_IMAGE_REF_H
#define SERVER_CLI_IMAGE_REF_H
#include <stdint.h>

#include "common/err.h"
#include "common/limits.h"

struct image_ref {
	char name[NAME_MAX_LEN + 1];
	uint32_t version; /* 0 = the latest */
};
/* -EINVAL with the sentence. */
int image_ref_parse(const char *text, struct image_ref *ret, struct err *err) MUST_CHECK;
#endif
