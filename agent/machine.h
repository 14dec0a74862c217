/* machine.h - what is known of the machine itself: docs/inventory.md.  Text is "" when unknown; reads sysfs and procfs, and nothing fails:
 * what cannot be read is unknown. */
#ifndef AGENT_MACHINE_H
#define AGENT_MACHINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/sysroot.h"
#include "common/text.h"

#define NICS_MAX       128u
#define UNCLAIMED_MAX  64u
#define CPU_FLAGS_MAX  32u
#define MACHINE_ID_LEN 32u

struct firmware {
	bool is_uefi;
	unsigned bits;	 /* of UEFI: 64, 32, or 0: not known */
	int secure_boot; /* 1, 0, or -1: not known */
};

struct smbios {
	char uuid[37]; /* lower case, as Linux prints it */
	char vendor[TEXT_SIZE], product[TEXT_SIZE], version[TEXT_SIZE], serial[TEXT_SIZE],
		sku[TEXT_SIZE];
	char board_vendor[TEXT_SIZE], board_product[TEXT_SIZE], board_serial[TEXT_SIZE];
	char chassis_serial[TEXT_SIZE];
	uint64_t chassis_type; /* 0: not known */
	char bios_vendor[TEXT_SIZE], bios_version[TEXT_SIZE], bios_date[TEXT_SIZE];
};

struct cpu {
	char vendor[64], model[TEXT_SIZE];
	unsigned sockets, cores, threads;
	const char *flags[CPU_FLAGS_MAX]; /* static words */
	size_t flags_len;
};

struct hypervisor {
	const char *kind;  /* static, NULL on bare metal */
	const char *guest; /* static; Xen only, else NULL */
	char version[64];  /* "4.17.2"; Xen only, else "" */
};

struct nic {
	char name[32], driver[64];
	char mac[18], permanent_mac[18]; /* "aa:bb:cc:dd:ee:ff" or "" */
	int carrier;			 /* 1, 0, or -1: interface down */
	uint64_t speed_mbit;		 /* 0: not known */
	const char *bus;		 /* static, or NULL */
	char bus_path[256], id[16];
	char model[TEXT_SIZE]; /* by pci.ids */
	bool is_virtual_function;
};

struct unclaimed {
	char slot[16], id[16], class[8], text[TEXT_SIZE];
	char name[TEXT_SIZE]; /* by pci.ids */
	const char *advice;   /* static: what a person can do */
};

struct nic_list {
	struct nic *nics; /* heap */
	size_t len;
};

#define WARNING_SIZE 513u /* 512 bytes and NUL */

/* Sentences for the operator, at most 64. */
struct warnings {
	char (*texts)[WARNING_SIZE]; /* heap */
	size_t len;
};

void warnings_add(struct warnings *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warnings_done(struct warnings *w);

void firmware_read(const struct sysroot *r, struct firmware *ret);
void smbios_read(const struct sysroot *r, struct smbios *ret);
void cpu_read(const struct sysroot *r, struct cpu *ret);
uint64_t memory_read(const struct sysroot *r);
void hypervisor_read(const struct sysroot *r, const struct smbios *s, struct hypervisor *ret);
void nics_read(const struct sysroot *r, struct nic_list *ret);
void nic_list_done(struct nic_list *l);
/* Controllers without a driver, and settings of controllers that hide disks. */
size_t pci_read(const struct sysroot *r, struct unclaimed ret[static UNCLAIMED_MAX],
		struct warnings *w);

/* unsettled.c: are the drivers of the live image done with the hardware?  Elsewhere nobody says so: false. */
bool hardware_is_settled(const struct sysroot *r);
/* True, and a warning, when they are not after the time that lib/hoist/agent gives them, which says it in its words. */
bool unsettled_read(const struct sysroot *r, struct warnings *w);

/* ibft.c: a warning for each disk to start from that the firmware's table names and nobody here is logged in to, with the reason. */
void ibft_read(const struct sysroot *r, bool has_iscsi_disk, struct warnings *w);
/* The name of the first valid target in the table as ACPI has it; false and "" when there is none. */
bool ibft_target(const uint8_t *table, size_t size, char ret[static TEXT_SIZE]);
/* What the table says of the network, as lines for netconf_add(), which finds out whether they are right; none where DHCP on every card is all. */
typedef void ibft_line_fn(void *ctx, const char *key, const char *value);
void ibft_network(const struct sysroot *r, ibft_line_fn *line, void *ctx);

/* pci_names.c: pci.ids, read when it is first asked for. */
struct pci_names {
	char *text; /* heap; NULL: there is none */
	bool is_loaded;
};
/* Maker and device, for an id "8086:10d3", or the maker alone.  False and "" when neither is known. */
bool pci_name(struct pci_names *names, const struct sysroot *r, const char *id,
	      char ret[static TEXT_SIZE]);
void pci_names_done(struct pci_names *names);

#define PCI_TEXT_SIZE 192u
/* "PCI device 8086:1209, Intel Corporation 8255xER at 0000:00:04.0"; without a name that pci.ids has not got, and with the beginning of one that
 * is very long.  pci_describe(): false when there is no such device. */
bool pci_describe(struct pci_names *names, const struct sysroot *r, const char *slot,
		  char ret[static PCI_TEXT_SIZE]);
const char *unclaimed_describe(const struct unclaimed *u, char ret[static PCI_TEXT_SIZE]);

/* Text that vendors leave in SMBIOS where they had nothing to say. */
bool smbios_is_placeholder(const char *text);
/* A UUID that can tell machines apart; in the form of struct smbios. */
bool smbios_uuid_is_sane(const char *uuid);
/* docs/inventory.md "A machine's id".  `given`: text of --id or NULL.  Returns the source (static), or NULL and "". */
const char *machine_id_find(const struct smbios *s, const struct nic_list *nics, const char *given,
			    char ret[static MACHINE_ID_LEN + 1]);

/* ---- kmsg.c */

struct missing_firmware {
	char driver[32], device[64], file[TEXT_SIZE];
};
/* Does a record of /dev/kmsg (NUL-terminated) say that a driver found no firmware? */
bool kmsg_missing_firmware(const char *record, struct missing_firmware *ret);
#define MISSING_FIRMWARE_MAX 16u
struct missing_list {
	struct missing_firmware items[MISSING_FIRMWARE_MAX];
	size_t len;
};
/* What a record adds to the list, or takes off it: a file that was found after all. */
void kmsg_note(struct missing_list *l, const char *record);
/* A warning for each. */
void kmsg_warn(const struct missing_list *l, const struct sysroot *r, struct warnings *w);
/* The same of this machine's own log; none where it may not be read. */
void kmsg_read(const struct sysroot *r, struct warnings *w);
#endif
