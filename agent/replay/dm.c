#include "agent/replay/dm.h"

#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define CONTROL	      "/dev/" DM_DIR "/" DM_CONTROL_NODE
#define MISC_MAJOR    10u  /* <linux/major.h> */
#define CONTROL_MINOR 236u /* MAPPER_CTRL_MINOR in include/linux/miscdevice.h */
#define PARAMS_MAX    1024u
#define STATUS_SIZE   (4u << 10)

void dm_table_add(struct dm_table *t, uint64_t sectors, const char *target, const char *format, ...)
{
	struct dm_target_spec spec = {.sector_start = t->sectors, .length = sectors};
	char params[PARAMS_MAX];
	size_t size;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(params, sizeof(params), format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(params)) {
		t->is_failed = true;
		return;
	}
	/* each begins at a multiple of 8 bytes */
	size = (sizeof(spec) + (size_t)n + 1 + 7) / 8 * 8;
	if (t->size + size > t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 4096;
		uint8_t *buf = t->is_failed ? NULL : realloc(t->buf, cap);

		if (!buf) {
			t->is_failed = true;
			return;
		}
		t->buf = buf;
		t->cap = cap;
	}
	spec.next = (uint32_t)size;
	(void)snprintf(spec.target_type, sizeof(spec.target_type), "%s", target);
	memset(t->buf + t->size, 0, size);
	memcpy(t->buf + t->size, &spec, sizeof(spec));
	memcpy(t->buf + t->size + sizeof(spec), params, (size_t)n + 1);
	t->size += size;
	t->targets++;
	t->sectors += sectors;
}

void dm_table_done(struct dm_table *t)
{
	free(t->buf);
	*t = (struct dm_table){0};
}

int dm_open(const struct replay_sys *sys, struct err *err)
{
	int r = sys->make_node(CONTROL, MISC_MAJOR, CONTROL_MINOR);

	if (r == 0)
		r = sys->open(CONTROL, O_RDWR);
	if (r < 0)
		return err_set(err, r, "this kernel has no device mapper ('%s': %s)", CONTROL,
			       strerrordesc_np(-r));
	return r;
}

static struct dm_ioctl request_of(const struct dm_device *d, size_t size, uint32_t flags)
{
	struct dm_ioctl q = {
		.version = {DM_VERSION_MAJOR, 0, 0},
		.data_size = (uint32_t)size,
		.data_start = sizeof(q),
		.flags = flags,
	};

	(void)snprintf(q.name, sizeof(q.name), "%s", d->name);
	return q;
}

/* A request without data. */
static int ask(const struct dm_device *d, unsigned long request, uint32_t flags,
	       struct dm_ioctl *ret)
{
	*ret = request_of(d, sizeof(*ret), flags);
	return d->sys->ioctl(d->control, request, ret);
}

static int ask_create(const struct dm_device *d, struct dm_ioctl *ret)
{
	*ret = request_of(d, sizeof(*ret), 0);
	if (d->uuid)
		(void)snprintf(ret->uuid, sizeof(ret->uuid), "%s", d->uuid);
	return d->sys->ioctl(d->control, DM_DEV_CREATE, ret);
}

static int fail(const struct dm_device *d, int r, const char *what, struct err *err)
{
	return err_set(err, r, "%s the device '%s': %s", what, d->name, strerrordesc_np(-r));
}

static int load(const struct dm_device *d, const struct dm_table *t, bool is_read_only,
		struct err *err)
{
	size_t size = sizeof(struct dm_ioctl) + t->size;
	CLEANUP_FREE uint8_t *buf = malloc(size);
	struct dm_ioctl q = request_of(d, size, is_read_only ? DM_READONLY_FLAG : 0);
	int r;

	if (!buf || t->is_failed || size > UINT32_MAX)
		return err_set(err, -ENOMEM, "out of memory");
	q.target_count = t->targets;
	memcpy(buf, &q, sizeof(q));
	memcpy(buf + sizeof(q), t->buf, t->size);
	r = d->sys->ioctl(d->control, DM_TABLE_LOAD, buf);
	return r < 0 ? fail(d, r, "describe", err) : 0;
}

int dm_create(struct dm_device *d, const struct dm_table *t, bool is_read_only, struct err *err)
{
	struct dm_ioctl q;
	int r = ask_create(d, &q);

	if (r == -EBUSY) {
		/* left by one that was killed */
		(void)ask(d, DM_DEV_REMOVE, 0, &q);
		r = ask_create(d, &q);
	}
	if (r == -EBUSY)
		return err_set(err, r, "the device '%s' is there already and in use", d->name);
	if (r < 0)
		return fail(d, r, "make", err);
	d->exists = true;
	/* as the kernel's huge_encode_dev() puts it */
	d->major = (unsigned)(q.dev >> 8) & 0xfffu;
	d->minor = (unsigned)(q.dev & 0xffu) | ((unsigned)(q.dev >> 12) & 0xfff00u);
	(void)snprintf(d->path, sizeof(d->path), "/dev/dm-%u", d->minor);
	r = load(d, t, is_read_only, err);
	if (r == 0) {
		r = ask(d, DM_DEV_SUSPEND, 0, &q); /* without DM_SUSPEND_FLAG: start */
		if (r < 0)
			r = fail(d, r, "start", err);
	}
	if (r < 0)
		dm_remove(d);
	return r;
}

int dm_status(const struct dm_device *d, char *ret, size_t size, struct err *err)
{
	CLEANUP_FREE uint8_t *buf = calloc(1, STATUS_SIZE);
	struct dm_ioctl q = request_of(d, STATUS_SIZE, 0);
	struct dm_target_spec spec;
	int r;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(buf, &q, sizeof(q));
	r = d->sys->ioctl(d->control, DM_TABLE_STATUS, buf);
	if (r < 0)
		return fail(d, r, "ask after", err);
	memcpy(&q, buf, sizeof(q));
	if (q.target_count != 1 || q.data_start > STATUS_SIZE - sizeof(spec) - 1)
		return err_set(err, -EPROTO, "the device '%s' has %u targets, not one", d->name,
			       q.target_count);
	buf[STATUS_SIZE - 1] = '\0';
	(void)snprintf(ret, size, "%s", (const char *)buf + q.data_start + sizeof(spec));
	return 0;
}

void dm_remove(struct dm_device *d)
{
	struct dm_ioctl q;

	if (d->exists)
		(void)ask(d, DM_DEV_REMOVE, DM_DEFERRED_REMOVE, &q);
	d->exists = false;
}
