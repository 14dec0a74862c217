/* ntfs_shadow.c - does the volume hold shadow copies (VSS)?
 *
 * A shadow copy keeps what is written over.  What its files had when it was made and nobody has written over since, it reads where it was: also in clusters that
 * are free by now, since deleting a file writes nothing there.  The bitmap knows nothing of that.
 *
 * Where the header, the catalog and its entries are: the description of the format in libvshadow's documentation, "Volume Shadow Snapshot (VSS) format". */
#include <string.h>

#include "agent/usage/ntfs.h"
#include "common/bytes.h"

#define HEADER_AT      0x1e00u
#define HEADER_SIZE    128u
#define HEADER_CATALOG 0x30u
#define HEADER_VOLUME  0x40u /* the volume's GUID, and that of the one that keeps its copies */
#define HEADER_STORAGE 0x50u
#define GUID_SIZE      16u
#define CATALOG_SIZE   16384u
#define BLOCK_NEXT     0x28u
#define BLOCK_HEAD     128u
#define ENTRY_SIZE     128u
#define TYPE_AT	       0x14u
#define TYPE_VOLUME    1u
#define TYPE_CATALOG   2u
#define ENTRY_NONE     0u
#define ENTRY_UNUSED   1u
#define CATALOG_MAX    1024u /* blocks; Windows has at most 512 shadow copies, of two entries each */
#define HAS_SHADOWS                                                                                \
	"it has shadow copies, which read clusters that its bitmap calls free; without them less " \
	"is read: 'vssadmin delete shadows /all' (restore points, previous versions)"

static const uint8_t identifier[16] = {0x6b, 0x87, 0x08, 0x38, 0x76, 0xc1, 0x48, 0x4e,
				       0xb7, 0xae, 0x04, 0x04, 0x6e, 0x6c, 0xc7, 0x52};

static bool is_ours(struct view *b, uint32_t type)
{
	return view_is(b, 0, identifier, sizeof(identifier)) && view_le32(b, TYPE_AT) == type;
}

static bool is_used(struct view *b)
{
	for (size_t at = BLOCK_HEAD; at < CATALOG_SIZE; at += ENTRY_SIZE) {
		uint64_t type = view_le64(b, at);

		if (type != ENTRY_NONE && type != ENTRY_UNUSED)
			return true;
	}
	return false;
}

int ntfs_check_shadows(struct volume *v, struct err *err)
{
	CLEANUP_FREE uint8_t *block = malloc(CATALOG_SIZE);
	uint64_t size = volume_size(v), at;
	struct view b = view_of(block, HEADER_SIZE);
	int r;

	if (!block)
		return err_set(err, -ENOMEM, "out of memory");
	if (size < HEADER_AT + HEADER_SIZE)
		return 0;
	r = volume_read(v, block, HEADER_SIZE, HEADER_AT, err);
	if (r < 0 || !view_is(&b, 0, identifier, sizeof(identifier)))
		return r;
	if (!is_ours(&b, TYPE_VOLUME))
		return doubt(err, HAS_SHADOWS);
	/* then the catalog is there too, and here is none */
	if (!bytes_are_zero(block + HEADER_STORAGE, GUID_SIZE) &&
	    !view_is(&b, HEADER_STORAGE, block + HEADER_VOLUME, GUID_SIZE)) {
		return doubt(err, "its shadow copies, which read clusters that its bitmap calls "
				  "free, are kept on another volume; without them less is read: "
				  "'vssadmin delete shadowstorage'");
	}
	at = view_le64(&b, HEADER_CATALOG);
	b = view_of(block, CATALOG_SIZE);
	for (unsigned n = 0; at != 0; n++) {
		if (n == CATALOG_MAX || size < CATALOG_SIZE || at > size - CATALOG_SIZE)
			return doubt(err, HAS_SHADOWS);
		r = volume_read(v, block, CATALOG_SIZE, at, err);
		if (r < 0)
			return r;
		if (!is_ours(&b, TYPE_CATALOG) || is_used(&b))
			return doubt(err, HAS_SHADOWS);
		at = view_le64(&b, BLOCK_NEXT);
	}
	return 0;
}
