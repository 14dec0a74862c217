/* fixup_gpt.c - libparted does it, when its questions are answered, in a copy of the places that it is about.
 *
 * On opening a GPT that ends before the disk does, libparted asks whether to "fix" it (more than once, if the backup is damaged too);
 * the answer is yes, and writing the table back moves the backup and rewrites the protective MBR.  libparted takes
 * every plain file, as the copy is, for one of 512-byte sectors; so the sector size is set in its struct before it reads anything.  It would turn a hybrid MBR into
 * a protective one: such a sector is put back, since some system boots by it.  The result is looked at in the copy; only when both its halves are right is the
 * disk made like it.  Whatever libparted does half, the disk never sees it.
 *
 * The table is somebody's, from an image: libparted is given none but a plain and sound one.  Of others it would take sectors for tables that are none (it
 * clears the old backup and writes behind the first header, whatever lies there), or end the program by an assertion.
 *
 * libparted is loaded when it is first needed: its constructor runs a shell with dmidecode, which is not to happen whenever an agent starts. */
#include "agent/fixup_gpt.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <parted/parted.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "agent/patch.h"
#include "common/bytes.h"
#include "common/cleanup.h"

#define MBR_SIZE	    512u
#define MBR_TABLE	    446u
#define MBR_ENTRY	    16u
#define MBR_TYPE	    4u
#define MBR_GPT_PROTECT	    0xeeu
#define GPT_SIGNATURE	    "EFI PART"
#define GPT_HEADER_SIZE	    92u
#define GPT_OFF_SIZE	    12u
#define GPT_OFF_CRC	    16u
#define GPT_OFF_MY_LBA	    24u
#define GPT_OFF_ALTERNATE   32u
#define GPT_OFF_FIRST	    40u /* usable sectors */
#define GPT_OFF_LAST	    48u
#define GPT_OFF_ENTRIES	    72u
#define GPT_OFF_COUNT	    80u /* of entries; the size of one is behind it */
#define GPT_OFF_ENTRIES_CRC 88u
#define GPT_ENTRY_SIZE	    128u
#define GPT_ENTRY_FIRST	    32u
#define GPT_ENTRY_LAST	    40u
#define GPT_COUNT_MAX	    8192u

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 // NOLINT(bugprone-reserved-identifier)
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
/* libparted 3.5 looks one byte past a line of /proc/cmdline in its constructor: not ours, and harmless. */
const char *__asan_default_suppressions(void); // NOLINT(bugprone-reserved-identifier)
const char *__asan_default_suppressions(void)  // NOLINT(bugprone-reserved-identifier)
{
	return "interceptor_via_lib:libparted.so\n";
}
#endif

/* libparted has one handler for the whole process: one fix-up at a time. */
static pthread_mutex_t parted_lock = PTHREAD_MUTEX_INITIALIZER;
static char said[256]; /* the last thing it complained of; under parted_lock */

/* Named in scripts/mkinitramfs too, since no header of the agent's file tells. */
#define LIBPARTED "libparted.so.2"

/* What is used of it; under parted_lock, and never unloaded. */
static struct {
	__typeof__(ped_device_get) *device_get;
	__typeof__(ped_device_destroy) *device_destroy;
	__typeof__(ped_disk_probe) *disk_probe;
	__typeof__(ped_disk_new) *disk_new;
	__typeof__(ped_disk_destroy) *disk_destroy;
	__typeof__(ped_disk_commit_to_dev) *disk_commit_to_dev;
	__typeof__(ped_exception_set_handler) *exception_set_handler;
} parted;
static const char *const symbols[] = {
	"ped_device_get",   "ped_device_destroy",     "ped_disk_probe",		  "ped_disk_new",
	"ped_disk_destroy", "ped_disk_commit_to_dev", "ped_exception_set_handler"};
#define SYMBOLS_LEN (sizeof(symbols) / sizeof(*symbols))
_Static_assert(sizeof(parted) == SYMBOLS_LEN * sizeof(void *), "one pointer a symbol, in order");

static int load_parted(struct err *err)
{
	void *found[SYMBOLS_LEN];
	void *library;

	if (parted.device_get)
		return 0;
	library = dlopen(LIBPARTED, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		return err_set(err, -ELIBACC, "the GPT cannot be moved to the disk's end: %s",
			       dlerror()); // NOLINT(concurrency-mt-unsafe): glibc has one a thread
	}
	for (size_t i = 0; i < SYMBOLS_LEN; i++) {
		found[i] = dlsym(library, symbols[i]);
		if (!found[i])
			return err_set(err, -ELIBBAD, "%s has no %s", LIBPARTED, symbols[i]);
	}
	memcpy(&parted, found, sizeof(parted));
	return 0;
}

static PedExceptionOption answer(PedException *e)
{
	size_t n;

	(void)snprintf(said, sizeof(said), "%s", e->message);
	for (n = strlen(said); n > 0 && (said[n - 1] == '\n' || said[n - 1] == ' ');)
		said[--n] = '\0';
	if (e->type != PED_EXCEPTION_WARNING && e->type != PED_EXCEPTION_ERROR)
		return PED_EXCEPTION_UNHANDLED;
	if (e->options & PED_EXCEPTION_FIX)
		return PED_EXCEPTION_FIX;
	/* "The backup GPT table is corrupt, but the primary appears OK, so that will be used." */
	if ((e->options & PED_EXCEPTION_OK) && e->type == PED_EXCEPTION_ERROR &&
	    (e->options & PED_EXCEPTION_CANCEL))
		return PED_EXCEPTION_OK;
	return PED_EXCEPTION_UNHANDLED;
}

static uint64_t get_u64(const uint8_t *p)
{
	struct reader r;

	reader_init(&r, p, 8);
	return reader_u64(&r);
}

/* Where the header in sector `lba` says that the other one stands; false if there is no header that says it is this one. */
static int read_header(struct blk *b, uint64_t lba, bool *ret_is_one, uint64_t *ret_other,
		       struct err *err)
{
	uint8_t header[MBR_SIZE];
	int r;

	*ret_is_one = false;
	if ((lba + 1) * blk_sector_size(b) > blk_size(b))
		return 0;
	r = blk_read(b, header, sizeof(header), lba * blk_sector_size(b), err);
	if (r == 0 && memcmp(header, GPT_SIGNATURE, 8) == 0 &&
	    get_u64(header + GPT_OFF_MY_LBA) == lba) {
		*ret_is_one = true;
		*ret_other = get_u64(header + GPT_OFF_ALTERNATE);
	}
	return r;
}

static int refuse(const struct blk *b, struct err *err, const char *why)
{
	return err_set(err, -EBADMSG, "move the GPT of '%s' to the disk's end: %s", blk_name(b),
		       why);
}

static bool has_entries(const uint8_t *h)
{
	uint64_t count = get_u64(h + GPT_OFF_COUNT) & UINT32_MAX;

	return count > 0 && count <= GPT_COUNT_MAX &&
	       get_u64(h + GPT_OFF_COUNT) >> 32 == GPT_ENTRY_SIZE;
}

/* Sectors of the table of entries. */
static uint64_t table_sectors(const struct blk *b, const uint8_t *h)
{
	uint64_t size = (get_u64(h + GPT_OFF_COUNT) & UINT32_MAX) * GPT_ENTRY_SIZE;

	return (size + blk_sector_size(b) - 1) / blk_sector_size(b);
}

/* Does it describe a disk that ends at `backup`, and stand where libparted will write it?  It writes the first table behind its header wherever it
 * was, and clears the sector that is called the backup whatever is in it. */
static bool is_usual(const struct blk *b, const uint8_t *h, uint64_t backup)
{
	uint64_t first = get_u64(h + GPT_OFF_FIRST), last = get_u64(h + GPT_OFF_LAST);
	uint64_t table = table_sectors(b, h), size = get_u64(h + GPT_OFF_SIZE) & UINT32_MAX;

	return size >= GPT_HEADER_SIZE && size <= MBR_SIZE && has_entries(h) &&
	       get_u64(h + GPT_OFF_ENTRIES) == 2 && backup < blk_size(b) / blk_sector_size(b) &&
	       first >= 2 + table && first <= last && last < backup && table < backup - last;
}

static uint32_t header_crc(const uint8_t *h)
{
	uint8_t copy[MBR_SIZE];

	memcpy(copy, h, sizeof(copy));
	memset(copy + GPT_OFF_CRC, 0, 4);
	return (uint32_t)crc32(0, copy, (uInt)(get_u64(h + GPT_OFF_SIZE) & UINT32_MAX));
}

/* `at`: the sector that they begin in. */
static int check_entries(struct blk *b, const uint8_t *h, uint64_t at, struct err *err)
{
	static const uint8_t unused[16];
	uint64_t first = get_u64(h + GPT_OFF_FIRST), last = get_u64(h + GPT_OFF_LAST);
	size_t count = get_u64(h + GPT_OFF_COUNT) & UINT32_MAX, size = count * GPT_ENTRY_SIZE;
	CLEANUP_FREE uint8_t *entries = malloc(size);
	int r = entries ? blk_read(b, entries, size, at * blk_sector_size(b), err)
			: err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	if (crc32(0, entries, (uInt)size) != (get_u64(h + GPT_OFF_ENTRIES_CRC) & UINT32_MAX))
		return refuse(b, err, "the check sum of its partitions is wrong");
	for (const uint8_t *e = entries; e < entries + size; e += GPT_ENTRY_SIZE) {
		uint64_t from = get_u64(e + GPT_ENTRY_FIRST), to = get_u64(e + GPT_ENTRY_LAST);

		if (memcmp(e, unused, sizeof(unused)) != 0 &&
		    (from < first || to > last || from > to))
			return refuse(b, err, "a partition lies outside what it calls usable");
	}
	return 0;
}

/* Another place where libparted looks for a header: it ends the program over one that has no entries. */
static int check_other(struct blk *b, uint64_t lba, struct err *err)
{
	uint8_t h[MBR_SIZE];
	int r = blk_read(b, h, sizeof(h), lba * blk_sector_size(b), err);

	if (r == 0 && memcmp(h, GPT_SIGNATURE, 8) == 0 && !has_entries(h))
		r = refuse(b, err, "its backup makes no sense");
	return r;
}

/* Would the new backup be written over bytes of the source?  Those of the old one may be, and they are all there is when it ended with the disk. */
static bool hits_source(const struct blk *b, const uint8_t *h, const struct gpt_fixup *f,
			uint64_t source_size)
{
	uint64_t end = source_size / blk_sector_size(b) + (source_size % blk_sector_size(b) > 0);

	return f->new_backup - table_sectors(b, h) < end && f->old_backup + 1 != end;
}

/* What libparted takes for granted. */
static int check_table(struct blk *b, const struct gpt_fixup *f, uint64_t source_size,
		       struct err *err)
{
	uint8_t h[MBR_SIZE];
	int r = blk_read(b, h, sizeof(h), blk_sector_size(b), err);

	if (r < 0)
		return r;
	if (!is_usual(b, h, f->old_backup))
		return refuse(b, err, "it is not as usual, and left as it is");
	if (hits_source(b, h, f, source_size))
		return refuse(b, err, "the source's bytes are there, and it is left as it is");
	if (header_crc(h) != (get_u64(h + GPT_OFF_CRC) & UINT32_MAX))
		return refuse(b, err, "its check sum is wrong");
	r = check_entries(b, h, 2, err);
	if (r == 0)
		r = check_other(b, f->old_backup, err);
	return r < 0 ? r : check_other(b, f->new_backup, err);
}

/* One entry of type 0xEE is protective; any other beside it makes it hybrid. */
static bool is_protective(const uint8_t *mbr, bool *ret_is_hybrid)
{
	unsigned protective = 0, others = 0;

	*ret_is_hybrid = false;
	if (mbr[510] != 0x55 || mbr[511] != 0xaa)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t type = mbr[MBR_TABLE + i * MBR_ENTRY + MBR_TYPE];

		protective += type == MBR_GPT_PROTECT;
		others += type != 0 && type != MBR_GPT_PROTECT;
	}
	*ret_is_hybrid = others > 0 && protective > 0;
	return protective > 0;
}

/* Let libparted read and write the table of the copy, unless it takes it for another one: a GPT without a protective MBR is none to it, and an Amiga's may stand
 * behind it. */
static bool rewrite(struct patch *p)
{
	const struct blk *b = patch_copy(p);
	PedDevice *dev = parted.device_get(patch_path(p));
	const PedDiskType *type = NULL;
	PedDisk *disk = NULL;
	bool done = false;

	if (dev) {
		dev->sector_size = blk_sector_size(b);
		dev->phys_sector_size = blk_physical_sector_size(b);
		dev->length = (PedSector)(blk_size(b) / blk_sector_size(b));
		type = parted.disk_probe(dev);
	}
	if (type && strcmp(type->name, "gpt") == 0)
		disk = parted.disk_new(dev);
	else if (dev && !said[0])
		(void)snprintf(said, sizeof(said),
			       "it has no protective MBR, and is left as it is");
	if (disk) {
		done = parted.disk_commit_to_dev(disk);
		parted.disk_destroy(disk);
	}
	if (dev)
		parted.device_destroy(dev);
	return done;
}

static int rewrite_locked(const struct blk *b, struct patch *p, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&parted_lock);
	r = load_parted(err);
	if (r == 0) {
		said[0] = '\0';
		parted.exception_set_handler(answer);
		if (!rewrite(p))
			r = refuse(b, err, said[0] ? said : "libparted could not");
		parted.exception_set_handler(NULL);
	}
	(void)pthread_mutex_unlock(&parted_lock);
	return r;
}

/* A header in sector `lba` of the copy, with its entries, both with the right sums, that names `other`. */
static int check_half(struct blk *copy, uint64_t lba, uint64_t other, struct err *err)
{
	uint64_t size = blk_size(copy), ss = blk_sector_size(copy), entries;
	uint8_t h[MBR_SIZE];
	int r = blk_read(copy, h, sizeof(h), lba * ss, err);

	if (r < 0)
		return r;
	entries = get_u64(h + GPT_OFF_ENTRIES);
	if (memcmp(h, GPT_SIGNATURE, 8) != 0 || get_u64(h + GPT_OFF_MY_LBA) != lba ||
	    get_u64(h + GPT_OFF_ALTERNATE) != other)
		return err_set(err, -EBADMSG, "it is not there afterwards");
	if ((get_u64(h + GPT_OFF_SIZE) & UINT32_MAX) > MBR_SIZE || !has_entries(h) ||
	    entries > size / ss - table_sectors(copy, h) ||
	    header_crc(h) != (get_u64(h + GPT_OFF_CRC) & UINT32_MAX))
		return err_set(err, -EBADMSG, "its check sum is wrong afterwards");
	return check_entries(copy, h, entries, err);
}

/* Does each header now name the other, at the very end? */
static int check_copy(const struct blk *b, struct patch *p, uint64_t last, struct err *err)
{
	int r = check_half(patch_copy(p), 1, last, err);

	if (r == 0)
		r = check_half(patch_copy(p), last, 1, err);
	if (r < 0)
		return err_prefix(err, "move the GPT of '%s' to the disk's end", blk_name(b));
	return 0;
}

/* All that libparted reads for what it is asked, and all that it is to write.  It clears room for some more entries than a small table has (3.5: 9 KiB), though a
 * partition may begin right behind that: this is left out. */
static int copy_places(struct blk *b, const struct gpt_fixup *f, struct patch **ret,
		       struct err *err)
{
	uint64_t ss = blk_sector_size(b), table;
	uint8_t h[MBR_SIZE];
	struct extent places[3];
	int r = blk_read(b, h, sizeof(h), ss, err);

	if (r < 0)
		return r;
	table = table_sectors(b, h);
	places[0] = (struct extent){0, (2 + table) * ss};
	places[1] = (struct extent){(f->old_backup - table) * ss, (table + 1) * ss};
	places[2] = (struct extent){(f->new_backup - table) * ss, (table + 1) * ss};
	if (f->old_backup < table || f->new_backup < table)
		return refuse(b, err, "the disk is too small");
	return patch_new(b, places, 3, ret, err);
}

static int move(struct blk *b, uint64_t source_size, struct gpt_fixup *f, struct err *err)
{
	CLEANUP(patch_freep) struct patch *p = NULL;
	uint8_t mbr[MBR_SIZE];
	int r = blk_read(b, mbr, sizeof(mbr), 0, err);

	if (r < 0)
		return r;
	(void)is_protective(mbr, &f->is_hybrid);
	r = check_table(b, f, source_size, err);
	if (r == 0)
		r = copy_places(b, f, &p, err);
	if (r == 0)
		r = rewrite_locked(b, p, err);
	if (r == 0 && f->is_hybrid)
		r = blk_write(patch_copy(p), mbr, sizeof(mbr), 0, err);
	if (r == 0)
		r = check_copy(b, p, f->new_backup, err);
	return r < 0 ? r : patch_apply(p, err);
}

/* Where the first header is damaged, systems take the backup at the disk's end for it. */
static int check_gone(struct blk *b, uint64_t source_size, struct err *err)
{
	uint64_t sectors = source_size / blk_sector_size(b), other;
	bool is_hybrid, is_one = false;
	uint8_t mbr[MBR_SIZE];
	int r = blk_read(b, mbr, sizeof(mbr), 0, err);

	if (r == 0 && sectors > 0 && is_protective(mbr, &is_hybrid))
		r = read_header(b, sectors - 1, &is_one, &other, err);
	if (r == 0 && is_one)
		r = refuse(b, err, "its first header is gone, and its backup alone is not moved");
	return r;
}

int fixup_gpt(struct blk *b, uint64_t source_size, struct gpt_fixup *ret, struct err *err)
{
	struct gpt_fixup f = {.result = GPT_NONE};
	bool is_gpt;
	int r = read_header(b, 1, &is_gpt, &f.old_backup, err);

	if (r < 0)
		return r;
	f.new_backup = blk_size(b) / blk_sector_size(b) - 1;
	if (!is_gpt) {
		r = check_gone(b, source_size, err);
	} else if (f.old_backup == f.new_backup) {
		f.result = GPT_FINE;
	} else {
		f.result = GPT_MOVED;
		r = move(b, source_size, &f, err);
	}
	if (r == 0)
		*ret = f;
	return r;
}
