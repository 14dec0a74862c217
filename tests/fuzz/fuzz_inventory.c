/* /sys and /proc of a machine whose firmware, cards and disks say of themselves what they like: SMBIOS, vital product data, names, addresses, processors.  An
 * inventory comes of it that is JSON, goes to a screen, names each disk once and is understood by a server.
 *
 * The input: one of the machines of tests/fixtures/sysroot (1), then what is another there: number of an entry (2), what (1), size (1), bytes; see
 * change(). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/enumerate.h"
#include "agent/inventory.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "server/fleet/private.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/lib/sample.h"

#define DUMPS_MAX   16u
#define ENTRIES_MAX 1024u
#define CHANGES_MAX 24u
#define FIXTURES    "tests/fixtures/sysroot"

struct entry {
	char *path; /* of the file, absolute */
	bool is_link;
	char *data;
	size_t size;
};

static struct dump {
	char dir[96];
	struct entry entries[ENTRIES_MAX];
	size_t len;
} dumps[DUMPS_MAX];
static size_t dumps_len;
static char top[FUZZ_FOLDER_SIZE];

/* ---- the machines */

/* Whatever is there goes, a link is not followed. */
static void put_entry(const struct entry *e, bool is_link, const void *data, size_t size)
{
	CLEANUP_CLOSE int fd = -1;

	(void)unlink(e->path);
	if (is_link) {
		CLEANUP_FREE char *target = strndup(data, size);

		(void)!symlink(target, e->path); /* some are none */
		return;
	}
	fd = open(e->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
}

static void make_folders(const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);

	for (char *p = copy + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			abort();
	}
}

/* "\n", "\\", "\x1f" in place. */
static size_t unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p;) {
		char two[3] = "";

		if (p[0] != '\\') {
			*to++ = *p++;
			continue;
		}
		(void)snprintf(two, sizeof(two), "%s", p[1] ? p + 2 : "");
		if (p[1] == 'x' && hex_decode(two, to, 1)) {
			to++;
			p += 4;
			continue;
		}
		*to++ = p[1];
		if (p[1] == 'n')
			to[-1] = '\n';
		p += 2;
	}
	return (size_t)(to - text);
}

/* A line of tests/fixtures/sysroot/tree. */
static void add_line(struct dump *m, char *line)
{
	char *how = strchr(line, ' ');
	struct entry *e = &m->entries[m->len];

	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '#' || line[0] == '\0' || m->len == ENTRIES_MAX)
		return;
	if (!how) { /* an empty folder */
		CLEANUP_FREE char *path = NULL;

		if (asprintf(&path, "%s/%s", m->dir, line) < 0)
			abort();
		make_folders(path);
		return;
	}
	*how++ = '\0';
	if (how[0] == '%' || asprintf(&e->path, "%s/%s", m->dir, line) < 0)
		return; /* what is on its disks does not matter here */
	e->is_link = how[0] == '-';
	how += strcspn(how, " ");
	e->data = strdup(*how ? how + 1 : how);
	e->size = unescape(e->data);
	make_folders(e->path);
	put_entry(e, e->is_link, e->data, e->size);
	m->len++;
}

static int is_tree(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 5 && strcmp(d->d_name + n - 5, ".tree") == 0;
}

static void read_machine(const char *name)
{
	struct dump *m = &dumps[dumps_len];
	char path[512], *line = NULL;
	size_t room = 0;
	FILE *f;

	(void)snprintf(m->dir, sizeof(m->dir), "%s/%zu", top, dumps_len);
	(void)snprintf(path, sizeof(path), FIXTURES "/%s", name);
	f = fopen(path, "re");
	if (!f)
		abort();
	while (getline(&line, &room, f) > 0)
		add_line(m, line);
	free(line);
	(void)fclose(f);
	dumps_len++;
}

static void end(void)
{
	for (size_t i = 0; i < dumps_len; i++) {
		for (size_t k = 0; k < dumps[i].len; k++) {
			free(dumps[i].entries[k].path);
			free(dumps[i].entries[k].data);
		}
	}
	tree_remove(top);
}

static void begin(void)
{
	struct dirent **names = NULL;
	int n = scandir(FIXTURES, &names, is_tree, alphasort);

	if (n <= 0 || n > (int)DUMPS_MAX)
		abort();
	fuzz_folder_new(top);
	(void)atexit(end);
	for (int i = 0; i < n; i++) {
		read_machine(names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

/* ---- what is another */

struct changes {
	const struct entry *changed[CHANGES_MAX];
	char *made[CHANGES_MAX]; /* files that were not there */
	size_t changed_len, made_len;
};

/* A file beside `e`: its name up to the first zero byte, then what is in it. */
static void add_beside(struct changes *c, const struct entry *e, const uint8_t *data, size_t size)
{
	size_t n = strnlen((const char *)data, size), rest = n < size ? size - n - 1 : 0;
	int folder = (int)(strrchr(e->path, '/') - e->path);
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;

	if (n == 0 || n == size || memchr(data, '/', n) ||
	    asprintf(&path, "%.*s/%.*s", folder, e->path, (int)n, (const char *)data) < 0)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		(void)!write(fd, data + n + 1, rest);
		c->made[c->made_len++] = TAKE_PTR(path);
	}
}

/* 0: other bytes; 1: not there; 2: a link to somewhere; 3: one more beside it; 4: other bytes at the end, or of a link. */
static void change(struct changes *c, const struct entry *e, unsigned what, const uint8_t *data,
		   size_t size)
{
	if (what % 5 == 3) {
		add_beside(c, e, data, size);
		return;
	}
	c->changed[c->changed_len++] = e;
	if (what % 5 == 1) {
		(void)unlink(e->path);
	} else if (what % 5 == 4) {
		CLEANUP_FREE uint8_t *both = malloc(e->size + size + 1);

		if (!both)
			abort();
		memcpy(both, e->data, e->size);
		memcpy(both + e->size, data, size);
		put_entry(e, e->is_link, both, e->size + size);
	} else {
		put_entry(e, what % 5 == 2, data, size);
	}
}

static void change_back(struct changes *c)
{
	while (c->made_len > 0) {
		(void)unlink(c->made[--c->made_len]);
		free(c->made[c->made_len]);
	}
	for (size_t i = 0; i < c->changed_len; i++) {
		const struct entry *e = c->changed[i];

		put_entry(e, e->is_link, e->data, e->size);
	}
}

/* ---- what comes of it */

static void collect(const struct dump *m, struct inventory *i)
{
	CLEANUP(sysroot_done) struct sysroot r = {.fd = -1};
	struct err err;

	if (sysroot_open(m->dir, &r, &err) < 0)
		return;
	(void)sysroot_text(&r, i->arch, sizeof(i->arch), "proc/sys/kernel/arch");
	firmware_read(&r, &i->firmware);
	smbios_read(&r, &i->smbios);
	cpu_read(&r, &i->cpu);
	i->memory = memory_read(&r);
	hypervisor_read(&r, &i->smbios, &i->hypervisor);
	nics_read(&r, &i->nics);
	i->unclaimed_len = pci_read(&r, i->unclaimed, &i->warnings);
	i->machine_id_source = machine_id_find(&i->smbios, &i->nics, NULL, i->machine_id);
	if (enumerate_disks(&r, &i->disks, &err) < 0)
		abort();
	disk_list_settle(&i->disks);
}

static void check_ids(const struct inventory *i)
{
	if (i->machine_id[0] && strspn(i->machine_id, "0123456789abcdef") != MACHINE_ID_LEN)
		abort();
	for (size_t n = 0; n < i->disks.len; n++) {
		if (!disk_id_is_valid(i->disks.disks[n].id) ||
		    inventory_find_disk(i, i->disks.disks[n].id) != &i->disks.disks[n])
			abort();
	}
}

static void check_screen(const struct inventory *i)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		abort();
	inventory_print(i, f);
	(void)fclose(f);
	for (size_t n = 0; n < size; n++) {
		if (((unsigned char)text[n] < 0x20 && text[n] != '\n') || text[n] == 0x7f)
			abort();
	}
	free(text);
}

/* As it goes over the wire, and what a server makes of it. */
static void check_wire(const struct inventory *i)
{
	CLEANUP_JSON json_t *j = inventory_to_json(i), *back = NULL;
	CLEANUP_FREE char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	struct job_disk_row rows[JOB_DISKS_MAX];
	struct err err = {0};
	size_t len = 0;

	if (!text || json_parse(text, strlen(text), JSON_BIG_MAX, &back, &err) < 0)
		abort();
	if (plan_capture(back, NULL, rows, &len, &err) < 0 && !err.msg[0])
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct inventory *i = calloc(1, sizeof(*i));
	struct changes c = {.changed_len = 0};
	const struct dump *m;
	struct reader in;

	if (dumps_len == 0)
		begin();
	reader_init(&in, data, size);
	m = &dumps[reader_u8(&in) % dumps_len];
	while (in.left >= 4 && c.changed_len < CHANGES_MAX && c.made_len < CHANGES_MAX) {
		const struct entry *e = &m->entries[reader_u16(&in) % m->len];
		unsigned what = reader_u8(&in), length = reader_u8(&in);
		size_t n = length < in.left ? length : in.left;

		change(&c, e, what, reader_bytes(&in, n), n);
	}
	if (!i)
		abort();
	collect(m, i);
	change_back(&c);
	check_ids(i);
	check_screen(i);
	check_wire(i);
	inventory_done(i);
	free(i);
	return 0;
}
