/* buspath.c - walks the parts of a sysfs path from the root to the device, each of which may add to the bus path.
 *
 * Every kind of part is one row of a table: a pattern for its name and what it means.  The transport is set by the last part that
 * knows one, except that a SCSI host only speaks when nothing before it did (a disk behind USB or virtio is that, whatever its host). */
#include "agent/buspath.h"

#include <pthread.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

struct walk {
	const struct sysroot *root;
	struct buspath *ret;
	char at[PATH_MAX];     /* the path up to and with this part */
	char parent[PATH_MAX]; /* the path before it */
	unsigned host;	       /* rank of the SCSI host among its siblings */
	bool is_placed; /* the SCSI address need not be added: ATA, SAS, … have named the place */
	bool is_ata;
};

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == ':' || c == '.' || c == '_';
}

static void __attribute__((format(printf, 2, 3))) append(struct walk *w, const char *fmt, ...)
{
	char *path = w->ret->path;
	size_t n = strlen(path);
	va_list ap;

	if (n > 0 && n + 1 < BUSPATH_SIZE)
		path[n++] = '-';
	va_start(ap, fmt);
	(void)vsnprintf(path + n, BUSPATH_SIZE - n, fmt, ap);
	va_end(ap);
	for (; path[n]; n++) {
		if (!is_plain(path[n]) && path[n] != '-')
			path[n] = '_';
	}
}

static void on_pci(struct walk *w, const char *part)
{
	w->ret->path[0] = '\0'; /* the bridges before it say nothing that the address does not */
	append(w, "pci-%s", part);
	(void)snprintf(w->ret->pci, sizeof(w->ret->pci), "%s", part);
}

static void on_usb_port(struct walk *w, const char *part)
{
	/* "2-1.4": bus 2, port 1 of the root hub, port 4 of the hub there */
	w->ret->transport = "usb";
	w->ret->is_usb = true;
	if (!strstr(w->ret->path, "-usb-") && strncmp(w->ret->path, "usb-", 4) != 0) {
		append(w, "usb-0:%s", strchr(part, '-') + 1);
		return;
	}
	/* a device on a hub: its name repeats the hub's, so it takes that one's place */
	char *tail = strstr(w->ret->path, "usb-0:");
	if (tail)
		(void)snprintf(tail, BUSPATH_SIZE - (size_t)(tail - w->ret->path), "usb-0:%s",
			       strchr(part, '-') + 1);
}

static void on_usb_interface(struct walk *w, const char *part)
{
	size_t n = strlen(w->ret->path);

	(void)snprintf(w->ret->path + n, BUSPATH_SIZE - n, "%s", strchr(part, ':'));
}

/* SATA controllers that pretend to be IDE, and drives of parallel ATA, have the same PCI class: what the link runs at tells them apart. */
static bool is_sata(const struct walk *w, const char *part)
{
	char class[16], speed[32];

	if (!sysroot_text(w->root, class, sizeof(class), "%s/class", w->parent) ||
	    strncmp(class, "0x0101", 6) != 0)
		return true;
	return sysroot_text(w->root, speed, sizeof(speed), "%s/link%s/ata_link/link%s/sata_spd",
			    w->at, part + 3, part + 3) &&
	       speed[0] >= '0' && speed[0] <= '9'; /* "3.0 Gbps"; "<unknown>" */
}

static void on_ata(struct walk *w, const char *part)
{
	uint64_t port;

	w->is_ata = true;
	w->ret->transport = is_sata(w, part) ? "sata" : "ide";
	if (sysroot_u64(w->root, &port, "%s/ata_port/%s/port_no", w->at, part)) {
		append(w, "ata-%u", (unsigned)port);
		w->is_placed = true;
	}
}

static const char *host_transport(const char *driver)
{
	static const struct {
		const char *driver, *transport;
	} known[] = {
		{"virtio_scsi", "virtio"},
		{"storvsc_host", "hyperv"},
		{"vmw_pvscsi", "vmware"},
		{"xen_scsifront", "xen"},
		{"Xen SCSI", "xen"},
		{"megaraid_sas", "raid"},
		{"megaraid", "raid"},
		{"hpsa", "raid"},
		{"smartpqi", "raid"},
		{"aacraid", "raid"},
		{"arcmsr", "raid"},
		{"3w-9xxx", "raid"},
		{"3w-sas", "raid"},
		{"3w-xxxx", "raid"},
		{"ips", "raid"},
		{"mpt2sas", "raid"},
		{"mpt3sas", "raid"},
		{"mptsas", "raid"},
		{"usb-storage", "usb"},
		{"uas", "usb"},
		{"sbp2", "firewire"},
		{"zfcp", "fc"},
		{"firewire_sbp2", "firewire"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(known[i].driver, driver) == 0)
			return known[i].transport;
	}
	return NULL;
}

static void on_host(struct walk *w, const char *part)
{
	char driver[64];
	CLEANUP_NAMES struct name_list siblings = {0};
	unsigned long self = strtoul(part + 4, NULL, 10);

	(void)sysroot_text(w->root, driver, sizeof(driver), "%s/scsi_host/%s/proc_name", w->at,
			   part);
	if (!w->ret->transport)
		w->ret->transport = host_transport(driver);
	if (!w->ret->transport)
		w->ret->transport = "scsi";
	/* Hosts are numbered as they are found; their order below one parent is that of its ports. */
	sysroot_list(w->root, &siblings, "%s", w->parent);
	w->host = 0;
	for (size_t i = 0; i < siblings.len; i++) {
		const char *s = siblings.names[i];

		w->host += strncmp(s, "host", 4) == 0 && strtoul(s + 4, NULL, 10) < self;
	}
}

static void on_sas(struct walk *w, const char *part)
{
	char address[32];

	w->ret->transport = "sas";
	if (sysroot_text(w->root, address, sizeof(address), "%s/sas_device/%s/sas_address", w->at,
			 part)) {
		append(w, "sas-%s", address);
		w->is_placed = true;
	}
}

static void on_fc(struct walk *w, const char *part)
{
	char name[32];

	w->ret->transport = "fc";
	if (sysroot_text(w->root, name, sizeof(name), "%s/fc_remote_ports/%s/port_name", w->at,
			 part)) {
		append(w, "fc-%s", name);
		w->is_placed = true;
	}
}

static void on_iscsi(struct walk *w, const char *part)
{
	char name[TEXT_SIZE];

	w->ret->transport = "iscsi";
	w->ret->path[0] = '\0'; /* the same target by whatever way */
	if (sysroot_text(w->root, name, sizeof(name), "%s/iscsi_session/%s/targetname", w->at,
			 part)) {
		append(w, "iscsi-%.200s", name);
		w->is_placed = true;
	}
}

static void on_scsi(struct walk *w, const char *part)
{
	/* "0:0:1:2": host, channel, target, unit; the pattern has made sure of the numbers */
	char *p = NULL;
	unsigned long channel, target, lun;

	(void)strtoul(part, &p, 10);
	channel = strtoul(p + 1, &p, 10);
	target = strtoul(p + 1, &p, 10);
	lun = strtoul(p + 1, &p, 10);
	if (!w->is_placed && !w->ret->is_usb)
		append(w, "scsi-%u:%lu:%lu:%lu", w->host, channel, target, lun);
	else if (w->is_ata && channel + target > 0) /* port multiplier, second drive of a cable */
		append(w, "%lu:%lu", channel, target);
	else if (lun > 0 || !(w->is_ata || w->ret->is_usb))
		append(w, "lun-%lu", lun);
}

static void on_nvme(struct walk *w, const char *part)
{
	(void)part;
	w->ret->transport = "nvme";
}

static void on_namespace(struct walk *w, const char *part)
{
	uint64_t nsid;

	w->ret->transport = "nvme";
	/* "nvme0c1n3", "nvme0n3": the last number is a count, nsid is the namespace's own */
	if (!sysroot_u64(w->root, &nsid, "%s/nsid", w->at))
		nsid = strtoul(strrchr(part, 'n') + 1, NULL, 10);
	append(w, "nvme-%u", (unsigned)nsid);
}

static void on_nvme_subsystem(struct walk *w, const char *part)
{
	char nqn[TEXT_SIZE];

	(void)part;
	w->ret->transport = "nvme";
	if (sysroot_text(w->root, nqn, sizeof(nqn), "%s/subsysnqn", w->at))
		append(w, "nqn-%.160s", nqn);
}

static void on_virtio(struct walk *w, const char *part)
{
	(void)part;
	w->ret->transport = "virtio";
}

static void on_xen(struct walk *w, const char *part)
{
	w->ret->transport = "xen";
	append(w, "xen-%s", part);
}

static void on_vmbus(struct walk *w, const char *part)
{
	w->ret->transport = "hyperv";
	w->ret->path[0] = '\0';
	append(w, "vmbus-%s", part);
}

static void on_mmc(struct walk *w, const char *part)
{
	w->ret->transport = "mmc";
	append(w, "mmc%s", strchr(part, ':'));
}

static void on_ccw(struct walk *w, const char *part)
{
	w->ret->transport = "dasd";
	w->ret->path[0] = '\0'; /* the subchannel before it is counted, not fixed */
	append(w, "ccw-%s", part);
}

static void on_cciss(struct walk *w, const char *part)
{
	w->ret->transport = "raid";
	append(w, "cciss-%s", part);
}

static void on_pmem(struct walk *w, const char *part)
{
	w->ret->transport = "pmem";
	append(w, "pmem-%s", part);
}

static void on_firewire(struct walk *w, const char *part)
{
	(void)part;
	w->ret->transport = "firewire";
}

static void on_platform(struct walk *w, const char *part)
{
	if (strstr(w->parent, "/platform") && !strstr(w->parent, "/platform/"))
		append(w, "platform-%s", part);
}

#define HEX "[0-9a-f]"

static const struct rule {
	const char *pattern;
	void (*apply)(struct walk *w, const char *part);
} rules[] = {
	{"^" HEX "{4,8}:" HEX "{2}:" HEX "{2}\\." HEX "$", on_pci},
	{"^[0-9]+-[0-9]+(\\.[0-9]+)*$", on_usb_port},
	{"^[0-9]+-[0-9]+(\\.[0-9]+)*:[0-9]+\\.[0-9]+$", on_usb_interface},
	{"^ata[0-9]+$", on_ata},
	{"^host[0-9]+$", on_host},
	{"^end_device-[0-9:]+$", on_sas},
	{"^rport-[0-9:-]+$", on_fc},
	{"^session[0-9]+$", on_iscsi},
	{"^[0-9]+:[0-9]+:[0-9]+:[0-9]+$", on_scsi},
	{"^nvme[0-9]+$", on_nvme},
	{"^nvme[0-9]+(c[0-9]+)?n[0-9]+$", on_namespace},
	{"^nvme-subsys[0-9]+$", on_nvme_subsystem},
	{"^virtio[0-9]+$", on_virtio},
	{"^(vbd|vif)-[0-9]+$", on_xen},
	{"^" HEX "{8}-" HEX "{4}-" HEX "{4}-" HEX "{4}-" HEX "{12}$", on_vmbus},
	{"^mmc[0-9]+:" HEX "+$", on_mmc},
	{"^" HEX "\\." HEX "\\." HEX "{4}$", on_ccw},
	{"^c[0-9]+d[0-9]+$", on_cciss},
	{"^(namespace|btt|dax|pfn)[0-9]+\\.[0-9]+$", on_pmem},
	{"^fw[0-9]+(\\.[0-9]+)?$", on_firewire},
	{"", on_platform},
};

#define RULES (sizeof(rules) / sizeof(*rules))

/* Made once: that takes a hundred times as long as to use one. */
static struct {
	regex_t re;
	bool is_there;
} compiled[RULES];
static pthread_once_t compiled_once = PTHREAD_ONCE_INIT;

static void compile_rules(void)
{
	for (size_t i = 0; i < RULES; i++)
		compiled[i].is_there =
			regcomp(&compiled[i].re, rules[i].pattern, REG_EXTENDED | REG_NOSUB) == 0;
}

static void apply_rules(struct walk *w, const char *part)
{
	(void)pthread_once(&compiled_once, compile_rules);
	for (size_t i = 0; i < RULES; i++) {
		if (!compiled[i].is_there || regexec(&compiled[i].re, part, 0, NULL, 0) != 0)
			continue;
		rules[i].apply(w, part);
		return;
	}
}

void buspath_find(const struct sysroot *r, const char *device, struct buspath *ret)
{
	char copy[PATH_MAX], *save = NULL;
	struct walk w = {.root = r, .ret = ret};

	*ret = (struct buspath){0};
	(void)snprintf(copy, sizeof(copy), "%s", device);
	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		size_t n = strlen(w.at);

		(void)snprintf(w.parent, sizeof(w.parent), "%s", w.at);
		(void)snprintf(w.at + n, sizeof(w.at) - n, "%s%s", n > 0 ? "/" : "", part);
		apply_rules(&w, part);
	}
}
