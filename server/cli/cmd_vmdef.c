/* hoist vmdef: from what is known of the captured machine to a VM that is its like.
 *
 * The manifest was written by the server from what an agent said: numbers are bounded here again, and of its texts only such as
 * cannot leave a comment are printed. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/id.h"
#include "common/text.h"
#include "server/cli/cli.h"
#include "server/cli/image_ref.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/vmdef.h"

#define MIB	    (1ull << 20)
#define MEMORY_MIN  512u /* MiB: what the live image needs */
#define MEMORY_MAX  (64u << 20)
#define MEMORY_STEP 128u /* firmware keeps some for itself; a VM is given what the machine had */
#define VCPUS_MAX   512u

static const struct {
	const char *name;
	void (*print)(const struct vm_def *v, FILE *f);
} formats[] = {{"xl", vmdef_print_xl}};

/* Xen's own part of the MAC addresses, the rest from names: the same at each call, another for each VM. */
static void make_mac(const char *vm, size_t number, char ret[static VMDEF_MAC_SIZE])
{
	char text[NAME_MAX_LEN + 64];
	int n = snprintf(text, sizeof(text), "hoist vmdef %s %zu", vm, number);
	struct id id = id_of(text, (size_t)n);

	(void)snprintf(ret, VMDEF_MAC_SIZE, "00:16:3e:%02x:%02x:%02x", id.b[0] & 0x7f, id.b[1],
		       id.b[2]);
}

/* RFC 9562, 5.8: version 8, made as one likes.  Made from the name too, so that a guest that is created anew is no new machine. */
static void make_uuid(const char *vm, char ret[static VMDEF_UUID_SIZE])
{
	char text[NAME_MAX_LEN + 64];
	int n = snprintf(text, sizeof(text), "hoist vmdef %s uuid", vm);
	struct id id = id_of(text, (size_t)n);
	size_t at = 0;

	id.b[6] = (uint8_t)((id.b[6] & 0x0f) | 0x80);
	id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < 16; i++) {
		const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";

		at += (size_t)snprintf(ret + at, VMDEF_UUID_SIZE - at, "%s%02x", dash, id.b[i]);
	}
}

static bool is_mac(const char *text)
{
	for (size_t i = 0; i < VMDEF_MAC_SIZE - 1; i++) {
		if (i % 3 == 2 ? text[i] != ':' : !text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	}
	return text[VMDEF_MAC_SIZE - 1] == '\0';
}

static int add_macs(const json_t *inventory, bool keep, const char *vm, struct vm_def *ret,
		    struct err *err)
{
	const json_t *nics = NULL, *nic;
	size_t i;
	int r = json_opt_array(inventory, "nics", 4096, &nics, err);

	if (r < 0)
		return r;
	json_array_foreach((json_t *)nics, i, nic)
	{
		const char *mac = json_text(nic, "permanent_mac");

		if (!is_mac(mac))
			mac = json_text(nic, "mac");
		if (ret->macs_len == VMDEF_NICS_MAX)
			break;
		if (keep && is_mac(mac))
			memcpy(ret->macs[ret->macs_len], mac, VMDEF_MAC_SIZE);
		else
			make_mac(vm, ret->macs_len, ret->macs[ret->macs_len]);
		ret->macs_len++;
	}
	if (ret->macs_len == 0) { /* it has to receive the image */
		make_mac(vm, 0, ret->macs[0]);
		ret->macs_len = 1;
	}
	return 0;
}

static int add_disks(const json_t *manifest, struct vm_def *ret, struct err *err)
{
	const json_t *disks, *d;
	size_t i;
	int r = json_get_array(manifest, "disks", JOB_DISKS_MAX, &disks, err);

	if (r < 0)
		return r;
	json_array_foreach((json_t *)disks, i, d)
	{
		struct vm_disk *to = &ret->disks[ret->disks_len++];

		r = json_get_u64(d, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &to->size, err);
		if (r == 0)
			r = json_get_u64(d, "sector_size", 512, 4096, &to->sector_size, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What the machine had, unless the operator wants something else. */
static int add_hardware(const json_t *inventory, const struct options *o, struct vm_def *ret,
			struct err *err)
{
	const json_t *cpu = NULL, *firmware = NULL;
	uint64_t memory = 0;
	int r = json_opt_u64(inventory, "memory", 0, UINT64_MAX >> 1, &memory, err);

	if (r == 0)
		r = json_opt_object(inventory, "cpu", &cpu, err);
	if (r == 0 && cpu)
		r = json_opt_u64(cpu, "threads", 0, UINT32_MAX, &ret->vcpus, err);
	if (r == 0)
		r = json_opt_object(inventory, "firmware", &firmware, err);
	if (r < 0)
		return r;
	ret->memory = (memory / MIB + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
	if (o->vm_memory > 0)
		ret->memory = o->vm_memory / MIB;
	if (ret->memory < MEMORY_MIN)
		ret->memory = MEMORY_MIN;
	if (ret->memory > MEMORY_MAX)
		ret->memory = MEMORY_MAX;
	if (o->vcpus > 0)
		ret->vcpus = o->vcpus;
	if (ret->vcpus < 1)
		ret->vcpus = 1;
	if (ret->vcpus > VCPUS_MAX)
		ret->vcpus = VCPUS_MAX;
	ret->uefi = firmware && strcmp(json_text(firmware, "kind"), "uefi") == 0;
	ret->secure_boot = firmware && json_is_true(json_object_get(firmware, "secure_boot"));
	return 0;
}

/* One line that a comment can hold, whatever a machine called itself. */
static void make_origin(const json_t *manifest, const struct image_ref *ref, char *ret, size_t size)
{
	char machine[TEXT_SIZE], created[WHEN_TEXT_SIZE];
	const char *name = json_text(manifest, "machine_name");

	(void)text_clean(machine, sizeof(machine), name, strlen(name));
	when_to_text(json_text(manifest, "created"), created);
	(void)snprintf(ret, size, "image %s@%" PRIu32 " (machine '%s', captured %s)", ref->name,
		       ref->version, machine, created);
}

static int latest_version(struct ctx *c, struct image_ref *ref, struct err *err)
{
	CLEANUP_JSON json_t *image = NULL;
	char path[PATH_SIZE];
	uint64_t latest = 0;
	int r;

	path_make(path, "/v1/images/%s", ref->name);
	r = api(c, "GET", path, NULL, &image, err);
	if (r == 0)
		r = json_get_u64(image, "latest", 1, UINT32_MAX, &latest, err);
	ref->version = (uint32_t)latest;
	return r;
}

static int get_manifest(struct ctx *c, struct image_ref *ref, json_t **ret, struct err *err)
{
	char path[PATH_SIZE], version[16];
	int r = ref->version ? 0 : latest_version(c, ref, err);

	if (r < 0)
		return r;
	(void)snprintf(version, sizeof(version), "%" PRIu32, ref->version);
	path_make(path, "/v1/images/%s/versions/%s", ref->name, version);
	return api(c, "GET", path, NULL, ret, err);
}

static enum vm_type type_of(const char *text)
{
	return strcmp(text, "pv") == 0 ? VM_PV : strcmp(text, "pvh") == 0 ? VM_PVH : VM_HVM;
}

static int check_type(const char *text, struct err *err)
{
	if (strcmp(text, "hvm") == 0 || strcmp(text, "pv") == 0 || strcmp(text, "pvh") == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of hvm, pv, pvh", text);
}

static int check_format(const char *text, struct err *err)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(text, formats[i].name) == 0)
			return 0;
	}
	return err_set(err, -EINVAL, "'%.32s' is no format that is known: xl", text);
}

/* A path or a name that goes between quotation marks, in lists parted by commas. */
static int check_text(const char *text, struct err *err)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f || strchr("\"'\\,", *p)) {
			return err_set(err, -EINVAL,
				       "quotation marks, backslashes, commas and control "
				       "characters have no place in a VM's definition");
		}
	}
	return *text ? 0 : err_set(err, -EINVAL, "it is empty");
}

static void print(const struct options *o, const struct vm_def *v)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		if (strcmp(o->format, formats[i].name) == 0)
			formats[i].print(v, stdout);
	}
}

static int run_vmdef(struct ctx *c, struct err *err)
{
	const struct options *o = &c->o;
	CLEANUP_JSON json_t *manifest = NULL;
	const json_t *inventory;
	struct image_ref ref = {0};
	char origin[TEXT_SIZE + 256];
	struct vm_def v = {.type = type_of(o->type),
			   .origin = origin,
			   .from_disk = o->from_disk,
			   .bridge = o->bridge,
			   .folder = o->folder,
			   .medium = o->medium,
			   .kernel = o->kernel,
			   .ramdisk = o->ramdisk};
	int r = image_ref_parse(c->operands[0], &ref, err);

	if (r == 0)
		r = get_manifest(c, &ref, &manifest, err);
	if (r < 0)
		return r;
	v.name = o->name ? o->name : ref.name;
	make_uuid(v.name, v.uuid);
	make_origin(manifest, &ref, origin, sizeof(origin));
	r = json_get_object(manifest, "inventory", &inventory, err);
	if (r == 0)
		r = add_disks(manifest, &v, err);
	if (r == 0)
		r = add_hardware(inventory, o, &v, err);
	if (r == 0)
		r = add_macs(inventory, o->keep_mac, v.name, &v, err);
	if (r < 0)
		return err_prefix(err, "the manifest of the image");
	print(o, &v);
	return 0;
}

#define PLACE_OPTION(key_text, field, start, value_text, help_text)                          \
	{                                                                                    \
		.key = (key_text), .type = SETTING_TEXT, ARGV, AT(field), .preset = (start), \
		.value = (value_text), .check = check_text, .help = (help_text)              \
	}
static const struct setting vmdef_options[] = {
	{.key = "format",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(format),
	 .preset = "xl",
	 .value = "xl",
	 .check = check_format,
	 .help = "For which hypervisor"},
	{.key = "type",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(type),
	 .preset = "hvm",
	 .value = "hvm|pv|pvh",
	 .check = check_type,
	 .help = "Kind of Xen guest; hvm starts whatever a physical machine starts"},
	{.key = "name",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(name),
	 .value = "NAME",
	 .check = check_name,
	 .help = "Name of the VM; that of the image if not given"},
	{.key = "from-disk",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(from_disk),
	 .help = "pv, pvh: the definition for when the image is on the disk"},
	{.key = "memory",
	 .type = SETTING_SIZE,
	 ARGV,
	 AT(vm_memory),
	 .min = 512ull << 20,
	 .max = 64ull << 40,
	 .value = "SIZE",
	 .help = "Memory of the VM; that of the machine if not given"},
	{.key = "vcpus",
	 .type = SETTING_U64,
	 ARGV,
	 AT(vcpus),
	 .min = 1,
	 .max = 512,
	 .value = "N",
	 .help = "Processors of the VM; as many as the machine had if not given"},
	{.key = "keep-mac",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(keep_mac),
	 .help = "Give the VM the machine's own MAC addresses: not while both are on one network"},
	PLACE_OPTION("bridge", bridge, "xenbr0", "NAME", "Bridge of the host for its cards"),
	PLACE_OPTION("disks", folder, "/var/lib/xen/images", "DIR",
		     "Folder of the host for its disks"),
	PLACE_OPTION("medium", medium, "/var/lib/xen/images/hoist.iso", "FILE",
		     "hvm: the boot medium on the host"),
	PLACE_OPTION("kernel", kernel, "/var/lib/xen/images/hoist/vmlinuz", "FILE",
		     "pv, pvh: the kernel of the live image on the host"),
	PLACE_OPTION(
		"ramdisk", ramdisk, "/var/lib/xen/images/hoist/initrd.img", "FILE",
		"pv, pvh: the initramfs with the personalised settings behind it, both from the netboot folder"),
};

const struct command cmd_vmdef = {
	.name = "vmdef",
	.operands = "IMAGE[@VERSION]",
	.summary = "Print the definition of an empty VM for an image",
	.text = "On standard output: a VM with the memory, processors, firmware, disks and "
		"network cards of the machine that was captured (the latest version when none is "
		"named), ready for xl, with what is to be done on the host in its head. Its MAC "
		"addresses are made from its name, the same at each call.",
	.example = "hoist vmdef web1 --bridge xenbr1 >web1.cfg",
	.takes = TAKES_SERVER,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(vmdef_options),
	.run = run_vmdef,
};
