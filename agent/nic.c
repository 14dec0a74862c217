/* nic.c - wired network interfaces with a device behind them. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/buspath.h"
#include "agent/machine.h"
#include "common/cleanup.h"

/* "AA:BB:…" to lower case, or "" when it is no usable unicast address. */
static void clean_mac(char ret[static 18], const char *text)
{
	unsigned char b[6];
	char *end;
	bool any = false;

	ret[0] = '\0';
	for (unsigned i = 0; i < 6; i++) {
		unsigned long v = strtoul(text, &end, 16);

		if (end != text + 2 || *end != (i < 5 ? ':' : '\0'))
			return;
		b[i] = (unsigned char)v;
		any = any || v != 0;
		text = end + 1;
	}
	if (any && !(b[0] & 1))
		(void)snprintf(ret, 18, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3],
			       b[4], b[5]);
}

/* The address in the hardware, asked of the driver: only it knows once the interface was given another. */
static void read_permanent(const char *name, char ret[static 18])
{
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union {
		struct ethtool_perm_addr head;
		unsigned char room[sizeof(struct ethtool_perm_addr) + 32];
	} a = {.head = {.cmd = ETHTOOL_GPERMADDR, .size = 32}};
	const unsigned char *b = a.room + sizeof(a.head);
	struct ifreq ifr = {.ifr_data = (char *)&a};
	char text[18];

	if (fd < 0 || strlen(name) >= IFNAMSIZ)
		return;
	memcpy(ifr.ifr_name, name, strlen(name));
	if (ioctl(fd, SIOCETHTOOL, &ifr) < 0 || a.head.size != 6)
		return;
	(void)snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3],
		       b[4], b[5]);
	clean_mac(ret, text);
}

static void read_macs(const struct sysroot *r, const char *dir, struct nic *n)
{
	char text[TEXT_SIZE];
	uint64_t how = 1;

	(void)sysroot_text(r, text, sizeof(text), "%s/address", dir);
	clean_mac(n->mac, text);
	/* linux/netdevice.h: NET_ADDR_PERM 0, _RANDOM 1, _STOLEN 2, _SET 3 */
	if (sysroot_u64(r, &how, "%s/addr_assign_type", dir) && how == 0)
		memcpy(n->permanent_mac, n->mac, sizeof(n->mac));
	else if (r->is_live)
		read_permanent(n->name, n->permanent_mac);
}

static void read_bus(const struct sysroot *r, const char *device, struct nic *n)
{
	static const char *const known[] = {"pci", "usb", "virtio", "xen", "vmbus", "platform"};
	char subsystem[32], vendor[16], model[16];
	struct buspath bus;

	(void)sysroot_link_name(r, subsystem, sizeof(subsystem), "%s/subsystem", device);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strcmp(subsystem, known[i]) == 0)
			n->bus = known[i];
	}
	buspath_find(r, device, &bus);
	memcpy(n->bus_path, bus.path, sizeof(n->bus_path));
	if (bus.pci[0] && !bus.is_usb) {
		/* of a virtio NIC too: the PCI function that it sits on */
		const char *end = strstr(device, bus.pci);

		if (!end ||
		    !sysroot_text(r, vendor, sizeof(vendor), "%.*s/vendor",
				  (int)(end - device + (long)strlen(bus.pci)), device) ||
		    !sysroot_text(r, model, sizeof(model), "%.*s/device",
				  (int)(end - device + (long)strlen(bus.pci)), device))
			return;
		(void)snprintf(n->id, sizeof(n->id), "%.4s:%.4s",
			       vendor + (strlen(vendor) > 2 ? 2 : 0),
			       model + (strlen(model) > 2 ? 2 : 0));
	}
}

static bool read_nic(const struct sysroot *r, const char *name, struct nic *n)
{
	char dir[PATH_MAX], device[PATH_MAX], link[64];
	uint64_t v;

	*n = (struct nic){.carrier = -1};
	if (!sysroot_follow(r, dir, "sys/class/net/%s", name) ||
	    !sysroot_follow(r, device, "%s/device", dir) || !sysroot_u64(r, &v, "%s/type", dir) ||
	    v != ARPHRD_ETHER || sysroot_exists(r, "%s/wireless", dir) ||
	    sysroot_link_name(r, link, sizeof(link), "%s/phy80211", dir))
		return false;
	(void)text_clean(n->name, sizeof(n->name), name, strlen(name));
	(void)sysroot_link_name(r, n->driver, sizeof(n->driver), "%s/driver", device);
	read_macs(r, dir, n);
	if (sysroot_u64(r, &v, "%s/carrier", dir))
		n->carrier = v != 0;
	if (sysroot_u64(r, &v, "%s/speed", dir) && v > 0 && v < 10000000)
		n->speed_mbit = v;
	n->is_virtual_function = sysroot_link_name(r, link, sizeof(link), "%s/physfn", device);
	read_bus(r, device, n);
	return true;
}

static int by_place(const void *pa, const void *pb)
{
	const struct nic *a = pa, *b = pb;
	int r = strverscmp(a->bus_path, b->bus_path);

	return r != 0 ? r : strverscmp(a->name, b->name);
}

void nics_read(const struct sysroot *r, struct nic_list *ret)
{
	CLEANUP(pci_names_done) struct pci_names models = {0};
	CLEANUP_NAMES struct name_list names = {0};

	*ret = (struct nic_list){0};
	sysroot_list(r, &names, "sys/class/net");
	ret->nics = calloc(names.len < NICS_MAX ? names.len + 1 : NICS_MAX, sizeof(*ret->nics));
	if (!ret->nics)
		return;
	for (size_t i = 0; i < names.len && ret->len < NICS_MAX; i++) {
		struct nic *n = &ret->nics[ret->len];

		if (!read_nic(r, names.names[i], n))
			continue;
		(void)pci_name(&models, r, n->id, n->model);
		ret->len++;
	}
	qsort(ret->nics, ret->len, sizeof(*ret->nics), by_place);
}

void nic_list_done(struct nic_list *l)
{
	free(l->nics);
	*l = (struct nic_list){0};
}
