/* fuzz_text.h - what is shown to a person or put into JSON. */
#ifndef TESTS_FUZZ_FUZZ_TEXT_H
#define TESTS_FUZZ_FUZZ_TEXT_H
#include <jansson.h>
#include <stdlib.h>

/* It is UTF-8 without control characters. */
static inline void fuzz_check_text(const char *text)
{
	json_t *j = json_string(text); /* none but UTF-8 */

	if (!j)
		abort();
	json_decref(j);
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			abort();
	}
}
#endif
