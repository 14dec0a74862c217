#include "agent/replay/klog.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

#define RECORD_SIZE 8192u
#define LEVEL_ERROR 3u /* LOGLEVEL_ERR: this and less is worse */
#define RECORDS_MAX 100000u

static bool names(const char *text, const char *device)
{
	size_t n = strlen(device);

	for (const char *p = strstr(text, device); p; p = strstr(p + 1, device)) {
		if (!isdigit((unsigned char)p[n]) && (p == text || !isalnum((unsigned char)p[-1])))
			return true;
	}
	return false;
}

bool klog_is_fault(char *record, const char *device)
{
	static const char *const others[] = {"JBD2: ", "device-mapper: snapshot"};
	char *text = strchr(record, ';');
	unsigned long priority = strtoul(record, NULL, 10);
	bool is_ours = false;

	/* below 8 it is the kernel itself that speaks */
	if (!text || priority > LEVEL_ERROR)
		return false;
	text++;
	text[strcspn(text, "\n")] = '\0';
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		is_ours |= strncmp(text, others[i], strlen(others[i])) == 0;
	if (!is_ours && !names(text, device))
		return false;
	memmove(record, text, strlen(text) + 1);
	return true;
}

int klog_check(const struct replay_sys *sys, int fd, const char *const *devices, size_t len,
	       struct err *err)
{
	char record[RECORD_SIZE];
	char copy[RECORD_SIZE];
	char clean[256];

	for (unsigned n = 0; n < RECORDS_MAX; n++) {
		ssize_t size = sys->log_read(fd, record, sizeof(record) - 1);

		if (size == 0)
			return 0;
		if (size == -EPIPE)
			return err_set(err, -EOVERFLOW, "the kernel said more than its log holds");
		if (size < 0)
			return err_set(err, (int)size, "the kernel's log cannot be read: %s",
				       strerrordesc_np((int)-size));
		record[size] = '\0';
		for (size_t i = 0; i < len; i++) {
			memcpy(copy, record, (size_t)size + 1);
			if (!klog_is_fault(copy, devices[i]))
				continue;
			(void)text_clean(clean, sizeof(clean), copy, strlen(copy));
			return err_set(err, -EUCLEAN, "the kernel found a fault: %s", clean);
		}
	}
	return err_set(err, -EOVERFLOW, "the kernel said more than can be read");
}
