/* inventory_json.c - docs/inventory.md as JSON.  A value that could not be made for want of memory becomes NULL, which jansson's
 * _new functions refuse: every setter's result is gathered, and one failure fails the whole. */
#include <string.h>

#include "agent/inventory.h"
#include "common/json.h"

struct out {
	json_t *object;
	bool failed;
};

static struct out begin(void)
{
	struct out o = {json_object(), false};

	o.failed = o.object == NULL;
	return o;
}

static json_t *end(struct out *o)
{
	if (!o->failed)
		return o->object;
	json_decref(o->object);
	return NULL;
}

static void put(struct out *o, const char *key, json_t *take_value)
{
	o->failed = json_object_set_new(o->object, key, take_value) < 0 || o->failed;
}

/* Text, clean or not; null when empty. */
static void put_text(struct out *o, const char *key, const char *text)
{
	char clean[PATH_MAX];

	if (text && text_clean(clean, sizeof(clean), text, strlen(text)) > 0)
		put(o, key, json_string(clean));
	else
		put(o, key, json_null());
}

static void put_count(struct out *o, const char *key, uint64_t v)
{
	put(o, key, v <= INT64_MAX ? json_integer((json_int_t)v) : json_null());
}

/* 0: not known */
static void put_known(struct out *o, const char *key, uint64_t v)
{
	put(o, key, v > 0 && v <= INT64_MAX ? json_integer((json_int_t)v) : json_null());
}

/* -1: not known */
static void put_tristate(struct out *o, const char *key, int v)
{
	put(o, key, v < 0 ? json_null() : json_boolean(v));
}

static void put_array(struct out *o, const char *key, size_t len,
		      json_t *(*make)(const void *of, size_t i), const void *of)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < len; i++) {
		if (json_array_append_new(a, make(of, i)) < 0) {
			json_decref(a);
			a = NULL;
		}
	}
	put(o, key, a);
}

static json_t *make_name(const void *of, size_t i)
{
	const struct name_list *l = of;
	char text[DISK_NAME_SIZE];

	(void)text_clean(text, sizeof(text), l->names[i], strlen(l->names[i]));
	return json_string(text);
}

static json_t *make_content(const struct content *c)
{
	struct out o;

	if (!c->type[0])
		return json_null();
	o = begin();
	put_text(&o, "type", c->type);
	put_text(&o, "usage", c->usage);
	put_text(&o, "version", c->version);
	put_text(&o, "uuid", c->uuid);
	put_text(&o, "label", c->label);
	return end(&o);
}

static json_t *make_partition(const void *of, size_t i)
{
	const struct partition *p = &((const struct contents *)of)->partitions[i];
	struct out o = begin();

	put_count(&o, "number", p->number);
	put_count(&o, "offset", p->offset);
	put_count(&o, "size", p->size);
	put_text(&o, "type", p->type);
	put_text(&o, "name", p->name);
	put_text(&o, "uuid", p->uuid);
	put(&o, "extended", json_boolean(p->is_extended));
	put(&o, "bootable", json_boolean(p->is_bootable));
	put(&o, "content", make_content(&p->content));
	return end(&o);
}

static json_t *make_table(const struct contents *c)
{
	struct out o;

	if (!c->table_type[0])
		return json_null();
	o = begin();
	put_text(&o, "type", c->table_type);
	put_text(&o, "uuid", c->table_uuid);
	return end(&o);
}

static void put_contents(struct out *o, const struct contents *c)
{
	char fingerprint[ID_TEXT_SIZE] = "";

	if (c->has_fingerprint)
		id_to_text(&c->fingerprint, fingerprint);
	put(o, "table", make_table(c));
	put_array(o, "partitions", c->partitions_len, make_partition, c);
	put(o, "content", make_content(&c->content));
	put(o, "empty", json_boolean(c->is_empty));
	put_text(o, "fingerprint", fingerprint);
	put_text(o, "error", c->error);
}

static json_t *make_disk(const void *of, size_t i)
{
	const struct disk *d = &((const struct disk_list *)of)->disks[i];
	struct out o = begin();
	put_text(&o, "id", d->id);
	put_text(&o, "name", d->name);
	put_text(&o, "path", d->path);
	put_text(&o, "kind", disk_kind_name(d->kind));
	put_count(&o, "size", d->size);
	put_count(&o, "sector_size", d->sector_size);
	put_count(&o, "physical_sector_size", d->physical_sector_size);
	put_text(&o, "model", d->model);
	put_text(&o, "serial", d->serial);
	put_text(&o, "wwn", d->wwn);
	put_text(&o, "transport", d->bus.transport);
	put_text(&o, "bus_path", d->bus.path);
	put_tristate(&o, "rotational", d->rotational);
	put(&o, "read_only", json_boolean(d->is_read_only));
	put(&o, "removable", json_boolean(d->is_removable));
	put_array(&o, "paths", d->paths.len, make_name, &d->paths);
	put_array(&o, "members", d->members.len, make_name, &d->members);
	put_array(&o, "used_by", d->used_by.len, make_name, &d->used_by);
	put_contents(&o, &d->contents);
	return end(&o);
}

static json_t *make_skipped(const void *of, size_t i)
{
	const struct skipped *s = &((const struct disk_list *)of)->skipped[i];
	struct out o = begin();

	put_text(&o, "name", s->name);
	put_text(&o, "reason", s->reason);
	put_text(&o, "text", s->text);
	return end(&o);
}

/* DISKS_MAX of them; disks that say nothing of their size before all others, since jobs that nobody has looked over wait for them. */
static json_t *make_skipped_list(const struct disk_list *l)
{
	size_t left = DISKS_MAX, others = DISKS_MAX;
	json_t *list = json_array();

	for (size_t i = 0; i < l->skipped_len && others > 0; i++)
		others -= strcmp(l->skipped[i].reason, DISK_NO_SIZE) == 0;
	for (size_t i = 0; list && i < l->skipped_len && left > 0; i++) {
		bool is_disk = strcmp(l->skipped[i].reason, DISK_NO_SIZE) == 0;

		if (!is_disk && others == 0)
			continue;
		others -= !is_disk;
		left--;
		if (json_array_append_new(list, make_skipped(l, i)) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *make_nic(const void *of, size_t i)
{
	const struct nic *n = &((const struct nic_list *)of)->nics[i];
	struct out o = begin();

	put_text(&o, "name", n->name);
	put_text(&o, "driver", n->driver);
	put_text(&o, "mac", n->mac);
	put_text(&o, "permanent_mac", n->permanent_mac);
	put_tristate(&o, "carrier", n->carrier);
	put_known(&o, "speed", n->speed_mbit);
	put_text(&o, "model", n->model);
	put_text(&o, "bus", n->bus);
	put_text(&o, "bus_path", n->bus_path);
	put_text(&o, "id", n->id);
	return end(&o);
}

static json_t *make_unclaimed(const void *of, size_t i)
{
	const struct unclaimed *u = (const struct unclaimed *)of + i;
	struct out o = begin();

	put_text(&o, "slot", u->slot);
	put_text(&o, "id", u->id);
	put_text(&o, "class", u->class);
	put_text(&o, "name", u->name);
	put_text(&o, "text", u->text);
	put_text(&o, "advice", u->advice);
	return end(&o);
}

static json_t *make_warning(const void *of, size_t i)
{
	return json_string(((const struct warnings *)of)->texts[i]);
}

static json_t *make_firmware(const struct firmware *f)
{
	struct out o = begin();

	put_text(&o, "kind", f->is_uefi ? "uefi" : "bios");
	put_known(&o, "bits", f->bits);
	put_tristate(&o, "secure_boot", f->secure_boot);
	return end(&o);
}

static json_t *make_smbios(const struct smbios *s)
{
	struct out o = begin();

	put_text(&o, "uuid", s->uuid);
	put_text(&o, "vendor", s->vendor);
	put_text(&o, "product", s->product);
	put_text(&o, "version", s->version);
	put_text(&o, "serial", s->serial);
	put_text(&o, "sku", s->sku);
	put_text(&o, "board_vendor", s->board_vendor);
	put_text(&o, "board_product", s->board_product);
	put_text(&o, "board_serial", s->board_serial);
	put_known(&o, "chassis_type", s->chassis_type);
	put_text(&o, "chassis_serial", s->chassis_serial);
	put_text(&o, "bios_vendor", s->bios_vendor);
	put_text(&o, "bios_version", s->bios_version);
	put_text(&o, "bios_date", s->bios_date);
	return end(&o);
}

static json_t *make_flag(const void *of, size_t i)
{
	return json_string(((const struct cpu *)of)->flags[i]);
}

static json_t *make_cpu(const struct cpu *c)
{
	struct out o = begin();

	put_text(&o, "vendor", c->vendor);
	put_text(&o, "model", c->model);
	put_count(&o, "sockets", c->sockets);
	put_count(&o, "cores", c->cores);
	put_count(&o, "threads", c->threads);
	put_array(&o, "flags", c->flags_len, make_flag, c);
	return end(&o);
}

static json_t *make_hypervisor(const struct hypervisor *h)
{
	struct out o;

	if (!h->kind)
		return json_null();
	o = begin();
	put_text(&o, "kind", h->kind);
	put_text(&o, "guest", h->guest);
	put_text(&o, "version", h->version);
	return end(&o);
}

json_t *inventory_to_json(const struct inventory *i)
{
	struct out o = begin();

	put_count(&o, "inventory", 1);
	put_text(&o, "machine_id", i->machine_id);
	put_text(&o, "machine_id_source", i->machine_id_source);
	put_text(&o, "arch", i->arch);
	put(&o, "firmware", make_firmware(&i->firmware));
	put(&o, "smbios", make_smbios(&i->smbios));
	put(&o, "cpu", make_cpu(&i->cpu));
	put_count(&o, "memory", i->memory);
	put(&o, "hypervisor", make_hypervisor(&i->hypervisor));
	put_array(&o, "nics", i->nics.len, make_nic, &i->nics);
	put_array(&o, "disks", i->disks.len, make_disk, &i->disks);
	put(&o, "skipped", make_skipped_list(&i->disks));
	put_array(&o, "unclaimed", i->unclaimed_len, make_unclaimed, i->unclaimed);
	put(&o, "unsettled", json_boolean(i->is_unsettled));
	put_array(&o, "warnings", i->warnings.len, make_warning, &i->warnings);
	return end(&o);
}
