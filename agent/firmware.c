/* firmware.c - what the firmware says of itself and of the machine, and what it runs on. */
#include <cpuid.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"

void warnings_add(struct warnings *w, const char *fmt, ...)
{
	char(*grown)[WARNING_SIZE];
	char text[WARNING_SIZE * 2];
	va_list ap;

	if (w->len >= 64)
		return;
	grown = reallocarray(w->texts, w->len + 1, sizeof(*grown));
	if (!grown)
		return;
	w->texts = grown;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)text_clean(w->texts[w->len++], WARNING_SIZE, text, sizeof(text));
}

void warnings_done(struct warnings *w)
{
	free(w->texts);
	*w = (struct warnings){0};
}

void firmware_read(const struct sysroot *r, struct firmware *ret)
{
	/* UEFI 2.10, 3.3: EFI_GLOBAL_VARIABLE; efivarfs puts 4 bytes of attributes before the value */
	static const char secure_boot[] =
		"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
	unsigned char value[5];
	uint64_t bits;

	*ret = (struct firmware){.secure_boot = -1};
	ret->is_uefi = sysroot_exists(r, "sys/firmware/efi");
	if (!ret->is_uefi) {
		ret->secure_boot = 0; /* there is no such thing */
		return;
	}
	if (sysroot_u64(r, &bits, "sys/firmware/efi/fw_platform_size") &&
	    (bits == 32 || bits == 64))
		ret->bits = (unsigned)bits;
	if (sysroot_read(r, value, sizeof(value), "%s", secure_boot) == sizeof(value))
		ret->secure_boot = value[4] == 1;
	else if (sysroot_exists(r, "sys/firmware/efi/efivars/%s",
				"BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
		ret->secure_boot = 0; /* variables can be read, and this one is not there */
}

static bool holds(const char *text, const char *word)
{
	return strcasestr(text, word) != NULL;
}

bool smbios_is_placeholder(const char *text)
{
	static const char *const anywhere[] = {
		"to be filled",	 "o.e.m.",	   "default string", "not specified",
		"not available", "not present",	   "not applicable", "not settable",
		"system serial", "system product", "system version", "system manufacturer",
		"board serial",	 "chassis serial", "type1family",    "system uuid",
	};
	static const char *const whole[] = {
		"oem",	      "unknown",       "invalid",      "none",	    "n/a",
		"na",	      "null",	       "empty",	       "undefined", "sku",
		"sku number", "serial number", "product name", "default",   "1234567",
		"123456789",  "0123456789",    "1234567890",   "012345678",
	};
	size_t len = strlen(text);

	/* One character again and again: "0000000", "......", "FFFF". */
	if (len == 0 || strspn(text, (char[]){text[0], '\0'}) == len)
		return true;
	for (size_t i = 0; i < sizeof(anywhere) / sizeof(*anywhere); i++) {
		if (holds(text, anywhere[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
		if (strcasecmp(text, whole[i]) == 0)
			return true;
	}
	return false;
}

bool smbios_uuid_is_sane(const char *uuid)
{
	/* Defaults of AMI, of others who count, and Dell's of an empty service tag. */
	static const char *const defaults[] = {
		"03000200-0400-0500-0006-000700080009", "00020003-0004-0005-0006-000700080009",
		"00010203-0405-0607-0809-0a0b0c0d0e0f", "03020100-0504-0706-0809-0a0b0c0d0e0f",
		"12345678-1234-5678-90ab-cddeefaabbcc", "78563412-3412-7856-90ab-cddeefaabbcc",
		"11111111-2222-3333-4444-555555555555", "4c4c4544-0000-2010-8020-80c04f202020",
	};
	unsigned distinct = 0;

	if (strlen(uuid) != 36)
		return false;
	for (unsigned i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? uuid[i] != '-' : !isxdigit((unsigned char)uuid[i]))
			return false;
		distinct += !dash && uuid[i] != uuid[0] && uuid[i] != uuid[1];
	}
	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		if (strcasecmp(uuid, defaults[i]) == 0)
			return false;
	}
	return distinct > 0; /* "fefefefe-…" has two digits, and is none */
}

static void read_dmi(const struct sysroot *r, char ret[static TEXT_SIZE], const char *name)
{
	if (sysroot_text(r, ret, TEXT_SIZE, "sys/class/dmi/id/%s", name) &&
	    smbios_is_placeholder(ret))
		ret[0] = '\0';
}

void smbios_read(const struct sysroot *r, struct smbios *ret)
{
	char uuid[TEXT_SIZE];

	*ret = (struct smbios){0};
	/* Xen's PV and PVH guests have no SMBIOS, but the same UUID from elsewhere. */
	if (!sysroot_text(r, uuid, sizeof(uuid), "sys/class/dmi/id/product_uuid"))
		(void)sysroot_text(r, uuid, sizeof(uuid), "sys/hypervisor/uuid");
	if (smbios_uuid_is_sane(uuid)) {
		for (unsigned i = 0; i < 36; i++)
			ret->uuid[i] = (char)tolower((unsigned char)uuid[i]);
	}
	read_dmi(r, ret->vendor, "sys_vendor");
	read_dmi(r, ret->product, "product_name");
	read_dmi(r, ret->version, "product_version");
	read_dmi(r, ret->serial, "product_serial");
	read_dmi(r, ret->sku, "product_sku");
	read_dmi(r, ret->board_vendor, "board_vendor");
	read_dmi(r, ret->board_product, "board_name");
	read_dmi(r, ret->board_serial, "board_serial");
	read_dmi(r, ret->chassis_serial, "chassis_serial");
	(void)sysroot_u64(r, &ret->chassis_type, "sys/class/dmi/id/chassis_type");
	if (ret->chassis_type > 255)
		ret->chassis_type = 0;
	read_dmi(r, ret->bios_vendor, "bios_vendor");
	read_dmi(r, ret->bios_version, "bios_version");
	read_dmi(r, ret->bios_date, "bios_date");
}

/* Of a Xen that hides it from guests, "extra" is "<denied>". */
static void read_xen_version(const struct sysroot *r, struct hypervisor *ret)
{
	uint64_t major, minor;
	char extra[32] = "";

	if (!sysroot_u64(r, &major, "sys/hypervisor/version/major") ||
	    !sysroot_u64(r, &minor, "sys/hypervisor/version/minor"))
		return;
	if (!sysroot_text(r, extra, sizeof(extra), "sys/hypervisor/version/extra") ||
	    !strchr(".-", extra[0]))
		extra[0] = '\0';
	(void)snprintf(ret->version, sizeof(ret->version), "%u.%u%s", (unsigned)major,
		       (unsigned)minor, extra);
}

static void read_xen(const struct sysroot *r, struct hypervisor *ret)
{
	char type[16], caps[64];

	ret->kind = "xen";
	read_xen_version(r, ret);
	if (sysroot_text(r, caps, sizeof(caps), "proc/xen/capabilities") &&
	    holds(caps, "control_d"))
		ret->guest = "dom0";
	else if (!sysroot_text(r, type, sizeof(type), "sys/hypervisor/guest_type"))
		ret->guest = NULL;
	else if (strcmp(type, "HVM") == 0)
		ret->guest = "hvm";
	else if (strcmp(type, "PVH") == 0)
		ret->guest = "pvh";
	else if (strcmp(type, "PV") == 0)
		ret->guest = "pv";
}

struct mark {
	const char *text, *kind;
};

static const char *find_mark(const struct mark *marks, size_t len, const char *text)
{
	for (size_t i = 0; i < len; i++) {
		if (holds(text, marks[i].text))
			return marks[i].kind;
	}
	return NULL;
}

static const char *kind_from_smbios(const struct smbios *s)
{
	static const struct mark marks[] = {
		{"VMware", "vmware"},
		{"VirtualBox", "virtualbox"},
		{"innotek", "virtualbox"},
		{"Parallels", "parallels"},
		{"Xen", "xen"},
		{"KVM", "kvm"},
		{"RHEV", "kvm"},
		{"oVirt", "kvm"},
		{"OpenStack", "kvm"},
		{"Google Compute", "kvm"},
		{"QEMU", "qemu"},
		{"Bochs", "qemu"},
		{"BHYVE", "bhyve"},
	};
	const char *const texts[] = {s->vendor, s->product, s->bios_vendor, s->board_vendor};

	if (holds(s->vendor, "Microsoft") && holds(s->product, "Virtual Machine"))
		return "hyperv";
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		const char *kind = find_mark(marks, sizeof(marks) / sizeof(*marks), texts[i]);

		if (kind)
			return kind;
	}
	return NULL;
}

#if defined(__x86_64__) || defined(__i386__)
/* The signature in leaf 0x40000000, which hypervisors share; only when the CPU says that there is one (leaf 1, ECX bit 31). */
static const char *kind_from_cpuid(void)
{
	static const struct mark marks[] = {
		{"KVMKVMKVM", "kvm"},		{"TCGTCGTCGTCG", "qemu"},
		{"XenVMMXenVMM", "xen"},	{"VMwareVMware", "vmware"},
		{"VBoxVBoxVBox", "virtualbox"}, {"bhyve bhyve", "bhyve"},
		{"prl hyperv", "parallels"},	{"lrpepyh", "parallels"},
		{"Microsoft Hv", "hyperv"},
	};
	unsigned a, b, c, d;
	char text[13];
	const char *kind;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 31 & 1))
		return NULL;
	__cpuid(0x40000000, a, b, c, d);
	memcpy(text, &b, 4);
	memcpy(text + 4, &c, 4);
	memcpy(text + 8, &d, 4);
	text[12] = '\0';
	kind = find_mark(marks, sizeof(marks) / sizeof(*marks), text);
	return kind ? kind : "unknown";
}
#else
static const char *kind_from_cpuid(void)
{
	return NULL;
}
#endif

/* Is "hypervisor" among the CPU's flags? */
static bool has_cpu_flag(const struct sysroot *r)
{
	struct cpu c;

	cpu_read(r, &c);
	for (size_t i = 0; i < c.flags_len; i++) {
		if (strcmp(c.flags[i], "hypervisor") == 0)
			return true;
	}
	return false;
}

void hypervisor_read(const struct sysroot *r, const struct smbios *s, struct hypervisor *ret)
{
	char type[16];

	*ret = (struct hypervisor){0};
	/* Xen first: what it shows of SMBIOS and CPUID may be another's. */
	if (sysroot_text(r, type, sizeof(type), "sys/hypervisor/type") &&
	    strcmp(type, "xen") == 0) {
		read_xen(r, ret);
		return;
	}
	/* The most precise first: SMBIOS of a QEMU guest says QEMU with or without KVM. */
	if (r->is_live)
		ret->kind = kind_from_cpuid();
	if (!ret->kind || strcmp(ret->kind, "unknown") == 0) {
		const char *kind = kind_from_smbios(s);

		ret->kind = kind ? kind : ret->kind;
	}
	if (!ret->kind && has_cpu_flag(r))
		ret->kind = "unknown";
}
