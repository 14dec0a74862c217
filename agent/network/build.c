/* build.c - cards get their names, bonds and VLANs are made.  Whatever a step needs may come later: then it is taken in a later pass. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/network/engine.h"
#include "common/cleanup.h"

#define PATIENCE_MS 20000u /* drivers of cards may take that long */

/* What a failed step says, or that it is fine. */
static bool report(struct engine *e, const char *subject, int r, const struct err *err)
{
	engine_complain(e, subject, r < 0 ? err->msg : NULL, 0);
	if (r < 0)
		e->is_pending = true;
	return r == 0;
}

/* `who` cannot be made since this is not there.  `l` is what was looked for; true if it is there. */
static bool is_there(struct engine *e, const char *who, const struct netconf_port *p,
		     const struct rtnl_link *l)
{
	char subject[40], text[20] = "";

	if (!p->by_mac)
		(void)snprintf(text, sizeof(text), "%s", p->name);
	for (size_t i = 0; p->by_mac && i < NETCONF_MAC_SIZE; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%02x",
			       i ? ":" : "", p->mac[i]);
	(void)snprintf(subject, sizeof(subject), "%s wants %s", who, text);
	engine_complain(e, subject, l ? NULL : "it is not there", PATIENCE_MS);
	if (!l)
		e->is_pending = true;
	return l != NULL;
}

/* ---- names */

static void set_name(struct engine *e, const struct netconf_name *n)
{
	struct netconf_port by = {.by_mac = true};
	const struct rtnl_link *l;
	struct err err = {0};
	char subject[40];
	struct port *p;
	int r;

	memcpy(by.mac, n->mac, sizeof(by.mac));
	l = engine_find_port(e, &by);
	if (!is_there(e, n->name, &by, l) || strcmp(l->name, n->name) == 0)
		return;
	(void)snprintf(subject, sizeof(subject), "name %s", n->name);
	p = engine_port(e, l);
	if (p)
		engine_release(e, p);
	r = rtnl_set_up(&e->rtnl, l->index, false, &err);
	if (r == 0)
		r = rtnl_set_name(&e->rtnl, l->index, n->name, &err);
	if (report(e, subject, r, &err)) {
		engine_say("%s: the card that was %s", n->name, l->name);
		e->is_pending = true; /* the others see it under its new name */
	}
}

/* ---- bonds */

static int write_option(const char *bond, const char *option, const char *value, struct err *err)
{
	char path[160];
	CLEANUP_CLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/bonding/%s", bond, option);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_set(err, -errno, "set its %s to %s: %m", option, value);
	return 0;
}

/* Addresses are added one by one. */
static int write_targets(const char *bond, char *values, struct err *err)
{
	char *one, text[NETCONF_OPTIONS_MAX + 1];
	int r = 0;

	while (r == 0 && (one = strsep(&values, ";"))) {
		(void)snprintf(text, sizeof(text), "+%s", one);
		r = write_option(bond, "arp_ip_target", text, err);
		if (r == -EEXIST || r == -EINVAL)
			r = 0; /* an engine before this one has added it; a wrong one shows by the bond's staying down */
	}
	return r;
}

static int set_options(const struct netconf_bond *b, struct err *err)
{
	char text[NETCONF_OPTIONS_MAX], *rest = text, *option;
	bool watches = false;
	int r = write_option(b->name, "mode", b->mode, err);

	memcpy(text, b->options, sizeof(text));
	while (r == 0 && (option = strsep(&rest, ",")) && *option) {
		char *value = strchr(option, '=');

		if (!value)
			continue;
		*value++ = '\0';
		watches = watches || strcmp(option, "miimon") == 0 ||
			  strcmp(option, "arp_interval") == 0;
		r = strcmp(option, "arp_ip_target") == 0
			    ? write_targets(b->name, value, err)
			    : write_option(b->name, option, value, err);
	}
	/* The kernel's own default is never to look whether a link is there. */
	return r == 0 && !watches ? write_option(b->name, "miimon", "100", err) : r;
}

static void enslave(struct engine *e, const struct netconf_bond *b, const struct rtnl_link *bond,
		    const struct netconf_port *slave)
{
	const struct rtnl_link *l = engine_find_port(e, slave);
	char subject[40];
	struct err err = {0};
	struct port *p;
	int r;

	if (!is_there(e, b->name, slave, l) || l->master == bond->index)
		return;
	(void)snprintf(subject, sizeof(subject), "%s for %s", l->name, b->name);
	if (l->master) {
		engine_complain(e, subject, "it belongs to something else", 0);
		return;
	}
	p = engine_port(e, l);
	if (p)
		engine_release(e, p);
	r = rtnl_set_up(&e->rtnl, l->index, false, &err);
	if (r == 0)
		r = rtnl_set_master(&e->rtnl, l->index, bond->index, &err);
	if (report(e, subject, r, &err))
		engine_say("%s: %s is part of it", b->name, l->name);
}

static void build_bond(struct engine *e, size_t i)
{
	const struct netconf_bond *b = &e->plan->bonds[i];
	const struct rtnl_link *l = engine_find_name(e, b->name);
	struct err err = {0};
	char subject[40];
	int r = 0;

	(void)snprintf(subject, sizeof(subject), "bond %s", b->name);
	if (!l) {
		e->bonds[i] = 0;
		(void)report(e, subject, rtnl_add_bond(&e->rtnl, b->name, &err), &err);
		return;
	}
	if (strcmp(l->kind, "bond") != 0) {
		engine_complain(e, subject, "there is an interface of that name, and it is no bond",
				0);
		return;
	}
	if (e->bonds[i] != l->index) {
		r = rtnl_set_up(&e->rtnl, l->index, false, &err);
		if (r == 0)
			r = set_options(b, &err);
		if (r == 0 && b->mtu)
			r = rtnl_set_mtu(&e->rtnl, l->index, b->mtu, &err);
		if (report(e, subject, r, &err)) {
			e->bonds[i] = l->index;
			engine_say("%s: bond, mode %s", b->name, b->mode);
		}
		if (r < 0)
			return;
	}
	for (size_t k = 0; k < b->slaves_len; k++)
		enslave(e, b, l, &b->slaves[k]);
	if (!l->is_up)
		(void)report(e, subject, rtnl_set_up(&e->rtnl, l->index, true, &err), &err);
}

/* ---- VLANs */

static void build_vlan(struct engine *e, const struct netconf_vlan *v)
{
	const struct rtnl_link *device = engine_find_port(e, &v->device);
	const struct rtnl_link *l = engine_find_name(e, v->name);
	struct err err = {0};
	char subject[40];
	int r = 0;

	if (!is_there(e, v->name, &v->device, device))
		return;
	(void)snprintf(subject, sizeof(subject), "VLAN %s", v->name);
	if (l && strcmp(l->kind, "vlan") != 0) {
		engine_complain(e, subject, "there is an interface of that name, and it is no VLAN",
				0);
		return;
	}
	if (l && (l->parent != device->index || l->vlan_id != v->id)) {
		(void)report(e, subject, rtnl_delete_link(&e->rtnl, l->index, &err), &err);
		e->is_pending = true;
		return;
	}
	if (!device->is_up)
		r = rtnl_set_up(&e->rtnl, device->index, true, &err);
	if (r == 0 && !l) {
		r = rtnl_add_vlan(&e->rtnl, v->name, device->index, v->id, &err);
		if (r == 0)
			engine_say("%s: VLAN %u on %s", v->name, v->id, device->name);
	}
	(void)report(e, subject, r, &err);
}

void engine_build(struct engine *e)
{
	for (size_t i = 0; i < e->plan->names_len; i++)
		set_name(e, &e->plan->names[i]);
	for (size_t i = 0; i < e->plan->bonds_len; i++)
		build_bond(e, i);
	for (size_t i = 0; i < e->plan->vlans_len; i++)
		build_vlan(e, &e->plan->vlans[i]);
}

static void remove_link(struct engine *e, const char *name, const char *kind)
{
	const struct rtnl_link *l = engine_find_name(e, name);
	struct err err = {0};

	if (l && strcmp(l->kind, kind) == 0 && rtnl_delete_link(&e->rtnl, l->index, &err) < 0)
		engine_say("%s: %s", name, err.msg);
}

/* Cards keep their names. */
void engine_unbuild(struct engine *e)
{
	for (size_t i = e->plan->vlans_len; i > 0; i--)
		remove_link(e, e->plan->vlans[i - 1].name, "vlan");
	for (size_t i = e->plan->bonds_len; i > 0; i--)
		remove_link(e, e->plan->bonds[i - 1].name, "bond");
}
