/* ntfs_owner.c - whose are clusters of an NTFS: every file record says which are its own; names are in the records, up to the root's. */
#include "agent/usage/ntfs.h"

#include <inttypes.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/inode.h>
#include <stddef.h>

#include "agent/usage/claims.h"
#include "common/cleanup.h"

#define RECORD_LOG  2u
#define RECORD_ROOT 5u
#define RECORD_USER 16u /* the first that are not the system's */
#define TYPE_DATA   0x80u
#define TYPE_INDEX  0xa0u /* of a directory */
#define DEPTH_MAX   64u
#define ASK_EVERY   4096u

struct asked {
	struct claims *c;
	uint64_t cluster_size;
	uint32_t steps;
};

static enum owner_kind kind_of(const struct ntfs_run *run)
{
	if (run->base == RECORD_LOG)
		return OWNER_JOURNAL;
	if (run->type == TYPE_INDEX)
		return OWNER_DIRECTORY;
	return run->base < RECORD_USER || run->type != TYPE_DATA ? OWNER_METADATA : OWNER_FILE;
}

static bool is_over(void *ctx)
{
	struct asked *a = ctx;

	return claims_is_over(a->c);
}

static int claim_run(void *ctx, const struct ntfs_run *run, struct err *err)
{
	struct asked *a = ctx;

	claims_add(a->c, run->cluster * a->cluster_size, run->count * a->cluster_size, kind_of(run),
		   run->base);
	if (++a->steps % ASK_EVERY == 0 && claims_is_over(a->c))
		return err_set(err, -ETIMEDOUT, "out of time");
	return 0;
}

/* ---- names */

struct name {
	char text[256 * 3 + 1];
	uint64_t parent;
};

/* One FILE_NAME attribute of `size` bytes; that of DOS only if there is none else. */
static void take_name(const uint8_t *p, size_t size, struct name *ret)
{
	struct view v = view_of(p, size);
	uint64_t parent = view_le64(&v, 0) & 0xffffffffffffu;
	uint8_t units = view_u8(&v, 0x40), space = view_u8(&v, 0x41);
	const uint8_t *name = view_bytes(&v, 0x42, 2u * units);
	size_t n;

	if (v.bad || (space == FILE_NAME_DOS && ret->text[0] != '\0'))
		return;
	n = utf8_of_utf16((uint8_t *)ret->text, sizeof(ret->text) - 1, name, units);
	ret->text[n] = '\0';
	ret->parent = parent;
}

static bool find_name(ntfs_volume *vol, uint64_t number, struct name *ret)
{
	ntfs_inode *ni = ntfs_inode_open(vol, number);
	ntfs_attr_search_ctx *ctx = ni ? ntfs_attr_get_search_ctx(ni, NULL) : NULL;

	ret->text[0] = '\0';
	while (ctx && ntfs_attr_lookup(AT_FILE_NAME, AT_UNNAMED, 0, CASE_SENSITIVE, 0, NULL, 0,
				       ctx) == 0) {
		const ATTR_RECORD *attr = ctx->attr;
		uint32_t length = le32_to_cpu(attr->length), size = le32_to_cpu(attr->value_length);
		uint32_t at = le16_to_cpu(attr->value_offset);

		if (!attr->non_resident && at <= length && size <= length - at)
			take_name((const uint8_t *)attr + at, size, ret);
	}
	if (ctx)
		ntfs_attr_put_search_ctx(ctx);
	if (ni)
		(void)ntfs_inode_close(ni);
	return ret->text[0] != '\0';
}

/* From the end: `path` has room for `size` bytes; returns where it begins. */
static char *find_path(ntfs_volume *vol, uint64_t number, char *path, size_t size)
{
	char *from = path + size - 1;
	struct name name;

	*from = '\0';
	if (number == RECORD_ROOT)
		*--from = '/';
	for (unsigned i = 0; number != RECORD_ROOT && i < DEPTH_MAX; i++) {
		size_t len;

		if (!find_name(vol, number, &name)) {
			(void)snprintf(name.text, sizeof(name.text), "file %" PRIu64, number);
			name.parent = RECORD_ROOT;
		}
		len = strlen(name.text);
		if (len + 1 > (size_t)(from - path))
			break;
		from -= len;
		memcpy(from, name.text, len);
		*--from = '/';
		number = name.parent;
	}
	return from;
}

static void give_names(ntfs_volume *vol, struct claims *c)
{
	char path[8192];

	for (size_t i = 0; i < c->len && !claims_is_over(c); i++) {
		uint64_t number = c->items[i].number;

		/* $MFT is record 0 */
		if (c->items[i].kind == OWNER_JOURNAL || !claims_wants_name(c, number))
			continue;
		claims_set_name(c, number, find_path(vol, number, path, sizeof(path)));
	}
}

void ntfs_claim(struct volume *v, struct claims *c)
{
	CLEANUP(ntfs_volume_closep) ntfs_volume *vol = NULL;
	struct asked a = {.c = c};
	bool is_partial = true;
	struct err ignored;

	if (ntfs_device_open(v, &vol, &ignored) < 0) {
		c->is_partial = true;
		return;
	}
	a.cluster_size = vol->cluster_size;
	/* a file in its log, in Windows' memory, or in a shadow copy may have what none has here */
	if (ntfs_check_clean(vol, &ignored) < 0 || ntfs_check_shadows(v, &ignored) < 0)
		c->is_partial = true;
	if (ntfs_each_run(vol, is_over, claim_run, &a, &is_partial, &ignored) < 0 || is_partial)
		c->is_partial = true;
	/* the backup of the boot sector lies behind all clusters */
	claims_add(c, (uint64_t)vol->nr_clusters * vol->cluster_size, UINT32_MAX, OWNER_METADATA,
		   0);
	give_names(vol, c);
}
