/* kmsg.c - what drivers asked for and did not get, from the kernel's log.  Format: Documentation/ABI/testing/dev-kmsg: "PREFIX;TEXT\n" and
 * lines of properties; one record a read. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/machine.h"
#include "common/cleanup.h"

#define RECORD_SIZE	8192 /* no record is longer */
#define RECORDS_MAX	65536u
#define KERNEL_PREFIXES 8u /* facility 0 */

/* drivers/base/firmware_loader/main.c, and Debian's words for the same */
static const char *const before[] = {"Direct firmware load for ", "firmware: failed to load "};

bool kmsg_missing_firmware(const char *record, struct missing_firmware *ret)
{
	const char *text = strchr(record, ';'), *at = NULL, *end;
	struct missing_firmware m = {.driver = ""};
	size_t n = 0;

	if (strtoul(record, NULL, 10) >= KERNEL_PREFIXES)
		return false; /* a program's, not the kernel's */
	for (size_t i = 0; text && !at && i < sizeof(before) / sizeof(*before); i++) {
		at = strstr(text, before[i]);
		n = strlen(before[i]);
	}
	/* the device stands in front: "e100 0000:00:04.0: ..."; without one it is somebody's prose */
	if (!at || sscanf(text, ";%31[^ :] %63[^ ]", m.driver, m.device) != 2)
		return false;
	m.device[strcspn(m.device, "\n")] = '\0';
	if (strlen(m.device) == 0 || m.device[strlen(m.device) - 1] != ':')
		return false;
	m.device[strlen(m.device) - 1] = '\0';
	at += n;
	end = at + strcspn(at, " \n");
	if (end == at)
		return false;
	if (text_clean(m.file, sizeof(m.file), at, (size_t)(end - at)) == 0)
		return false;
	*ret = m;
	return true;
}

/* Debian's kernel complains about the plain file before it takes the compressed one, and says this then; a later request may be heard as well. */
static void forget_found(struct missing_list *l, const char *record)
{
	static const char found[] = "firmware: direct-loading firmware ";
	const char *text = strchr(record, ';'), *at = text ? strstr(text, found) : NULL;
	char driver[32], device[64], file[TEXT_SIZE];

	if (!at || strtoul(record, NULL, 10) >= KERNEL_PREFIXES ||
	    sscanf(text, ";%31[^ :] %63[^ ]", driver, device) != 2 || device[0] == '\0')
		return;
	device[strlen(device) - 1] = '\0'; /* the colon */
	at += strlen(found);
	(void)text_clean(file, sizeof(file), at, strcspn(at, " \n"));
	for (size_t i = 0; i < l->len; i++) {
		if (strcmp(l->items[i].file, file) == 0 &&
		    strcmp(l->items[i].device, device) == 0) {
			l->items[i] = l->items[--l->len];
			return;
		}
	}
}

void kmsg_note(struct missing_list *l, const char *record)
{
	struct missing_firmware m;

	if (!kmsg_missing_firmware(record, &m)) {
		forget_found(l, record);
		return;
	}
	for (size_t i = 0; i < l->len; i++) {
		if (strcmp(l->items[i].file, m.file) == 0 &&
		    strcmp(l->items[i].device, m.device) == 0)
			return;
	}
	if (l->len < MISSING_FIRMWARE_MAX)
		l->items[l->len++] = m;
}

void kmsg_warn(const struct missing_list *l, const struct sysroot *r, struct warnings *w)
{
	CLEANUP(pci_names_done) struct pci_names names = {0};

	for (size_t i = 0; i < l->len; i++) {
		const struct missing_firmware *m = &l->items[i];
		char device[PCI_TEXT_SIZE];

		if (!pci_describe(&names, r, m->device, device))
			(void)snprintf(device, sizeof(device), "the device %s", m->device);
		warnings_add(w,
			     "the driver %s asked for the firmware file '%s' for %s, and "
			     "this medium has not got it: the device may not work; use another "
			     "port or card, or a medium with that file (hoist iso --add)",
			     m->driver, m->file, device);
	}
}

void kmsg_read(const struct sysroot *r, struct warnings *w)
{
	CLEANUP_CLOSE int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct missing_list seen = {.len = 0};
	char record[RECORD_SIZE + 1];

	for (unsigned i = 0; fd >= 0 && i < RECORDS_MAX; i++) {
		ssize_t n = read(fd, record, RECORD_SIZE);

		if (n < 0 && errno == EPIPE) /* overwritten while we read: go on with the next */
			continue;
		if (n <= 0)
			break;
		record[n] = '\0';
		kmsg_note(&seen, record);
	}
	kmsg_warn(&seen, r, w);
}
