/* pci_names.c - what the makers call their PCI devices: pci.ids of the PCI ID Repository.  A line "VVVV  Vendor", then its devices, a line
 * "<TAB>DDDD  Device" each; lines with two tabs, and everything from the first line "C 00  ..." on, are about something else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "common/cleanup.h"

#define FILE_MAX (4u << 20)

static char *read_ids(const struct sysroot *r)
{
	static const char *const places[] = {"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"};
	CLEANUP_FREE char *text = malloc(FILE_MAX + 1);
	ssize_t n = -1;
	char *fitted;

	for (size_t i = 0; text && n <= 0 && i < sizeof(places) / sizeof(*places); i++)
		n = sysroot_read(r, text, FILE_MAX, "%s", places[i]);
	if (n <= 0)
		return NULL;
	text[n] = '\0';
	fitted = realloc(text, (size_t)n + 1);
	if (!fitted)
		return NULL;
	text = NULL;
	return fitted;
}

/* What is behind this line; NULL when it is the last one, and cut short. */
static const char *next_line(const char *p)
{
	const char *end = strchr(p, '\n');

	return end ? end + 1 : NULL;
}

/* The name in the next line that begins with `id`, before one that begins with anything but a tab when `is_device`. */
static const char *find_line(const char *p, const char *id, bool is_device, size_t *ret_len)
{
	size_t n = strlen(id);

	for (; p && *p; p = next_line(p)) {
		if (strncmp(p, id, n) == 0) {
			p += n;
			*ret_len = strcspn(p, "\n");
			return p;
		}
		if (is_device ? *p != '\t' && *p != '#' : *p == 'C')
			break;
	}
	return NULL;
}

bool pci_name(struct pci_names *names, const struct sysroot *r, const char *id,
	      char ret[static TEXT_SIZE])
{
	const char *vendor, *device;
	size_t vendor_len, device_len;
	char text[2 * TEXT_SIZE], key[16];

	ret[0] = '\0';
	if (strlen(id) != strlen("8086:10d3"))
		return false;
	if (!names->is_loaded)
		names->text = read_ids(r);
	names->is_loaded = true;
	(void)snprintf(key, sizeof(key), "%.4s  ", id);
	vendor = find_line(names->text, key, false, &vendor_len);
	if (!vendor)
		return false;
	(void)snprintf(key, sizeof(key), "\t%.4s  ", id + 5);
	device = strchr(vendor, '\n');
	device = device ? find_line(device + 1, key, true, &device_len) : NULL;
	(void)snprintf(text, sizeof(text), "%.*s%s%.*s", (int)(vendor_len < 200 ? vendor_len : 200),
		       vendor, device ? " " : "",
		       device ? (int)(device_len < 200 ? device_len : 200) : 0,
		       device ? device : "");
	return text_clean(ret, TEXT_SIZE, text, strlen(text)) > 0;
}

void pci_names_done(struct pci_names *names)
{
	free(names->text);
	*names = (struct pci_names){0};
}
