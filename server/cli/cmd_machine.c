/* machines, machine show, machine forget. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

static uint64_t disks_size(const json_t *disks)
{
	uint64_t sum = 0;
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)disks, i, d)
	{
		sum += json_number(d, "size");
	}
	return sum;
}

static void add_firmware(struct table *t, const json_t *machine)
{
	const json_t *f = json_object_get(machine, "firmware");
	bool secure = json_is_true(json_object_get(f, "secure_boot"));

	cell_text(t, "%s%s", json_text(f, "kind"), secure ? ", secure boot" : "");
}

static void add_machine(struct table *t, const json_t *m)
{
	const json_t *disks = json_object_get(m, "disks");

	cell_id(t, m);
	cell_text(t, "%s", json_text(m, "name"));
	cell_text(t, "%s", json_text(m, "state"));
	cell_text(t, "%s", json_text(m, "address"));
	add_firmware(t, m);
	cell_size(t, json_number(m, "memory"));
	cell_text(t, "%zu", json_array_size(disks));
	cell_size(t, disks_size(disks));
	cell_when(t, m, "last_seen");
}

static int run_machines(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"MACHINE", false}, {"NAME", false},	 {"STATE", false},
		{"ADDRESS", false}, {"FIRMWARE", false}, {"MEMORY", true},
		{"DISKS", true},    {"SIZE", true},	 {"LAST SEEN", false},
	};
	static const struct listing list = {
		.key = "machines",
		.form = TABLE_FORM(columns, add_machine, "id"),
		.none = "No machine has registered yet; 'hoist server info' shows those that "
			"were heard by broadcast.",
	};

	return list_print(c, "/v1/machines", &list, err);
}

const struct command cmd_machines = {
	.name = "machines",
	.operands = "",
	.summary = "List the machines that have registered",
	.text = "Lists every machine that has registered, with its state: idle (ready for "
		"a job), busy, or away (not heard of for a minute).",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_machines,
};

/* ---- one machine */

static void append(char *buf, size_t size, const char *separator, const char *text)
{
	size_t n = strlen(buf);

	(void)snprintf(buf + n, size - n, "%s%s", n ? separator : "", text);
}

/* "gpt: vfat, ext4, swap", "ext4", "empty" */
static void describe_content(const json_t *disk, char *buf, size_t size)
{
	const json_t *table = json_object_get(disk, "table"), *part;
	size_t i;

	buf[0] = '\0';
	if (json_is_string(json_object_get(disk, "error"))) {
		append(buf, size, "", "could not be read: ");
		append(buf, size, "", json_text(disk, "error"));
	} else if (json_is_true(json_object_get(disk, "empty"))) {
		append(buf, size, "", "empty");
	} else if (json_is_object(table)) {
		append(buf, size, "", json_text(table, "type"));
		json_array_foreach(json_object_get(disk, "partitions"), i, part)
		{
			const json_t *content = json_object_get(part, "content");

			append(buf, size, i ? ", " : ": ",
			       json_is_object(content) ? json_text(content, "type") : "?");
		}
	} else {
		append(buf, size, "", json_text(json_object_get(disk, "content"), "type"));
		if (strcmp(buf, "-") == 0)
			(void)snprintf(buf, size, "data");
	}
}

static void add_disk(struct table *t, const json_t *d)
{
	size_t paths = json_array_size(json_object_get(d, "paths"));
	bool read_only = json_is_true(json_object_get(d, "read_only"));
	char content[256];

	describe_content(d, content, sizeof(content));
	cell_text(t, "%s", json_text(d, "id"));
	if (paths > 0)
		cell_text(t, "%.90s, %zu paths", json_text(d, "name"), paths);
	else
		cell_text(t, "%s", json_text(d, "name"));
	cell_size(t, json_number(d, "size"));
	cell_number(t, d, "sector_size");
	cell_text(t, "%s", json_text(d, "model"));
	cell_text(t, "%.16s", json_text(d, "fingerprint"));
	cell_text(t, "%s%s", content, read_only ? " (read-only)" : "");
}

static bool print_disks(const json_t *disks)
{
	static const struct column columns[] = {
		{"DISK", false},  {"NAME", false},	  {"SIZE", true},     {"SECTOR", true},
		{"MODEL", false}, {"FINGERPRINT", false}, {"CONTENT", false},
	};
	static const struct table_form form = TABLE_FORM(columns, add_disk, NULL);

	return table_print(&form, disks, stdout);
}

static void print_warnings(const json_t *inventory)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(inventory, "warnings"), i, w)
	{
		print_property("warning", "%s", json_string_value(w) ? json_string_value(w) : "-");
	}
	json_array_foreach(json_object_get(inventory, "unclaimed"), i, w)
	{
		const char *name = json_string_value(json_object_get(w, "name"));
		const char *advice = json_string_value(json_object_get(w, "advice"));

		print_property("no driver", "%s %s%s%s at %s%s%s", json_text(w, "id"),
			       json_text(w, "text"), name ? ": " : "", name ? name : "",
			       json_text(w, "slot"), advice ? "; " : "", advice ? advice : "");
	}
}

/* "xen 4.17.2, hvm" */
static void print_hypervisor(const json_t *h)
{
	const char *version = json_string_value(json_object_get(h, "version"));
	const char *guest = json_string_value(json_object_get(h, "guest"));

	if (json_is_object(h))
		print_property("hypervisor", "%s%s%s%s%s", json_text(h, "kind"), version ? " " : "",
			       version ? version : "", guest ? ", " : "", guest ? guest : "");
}

static void print_nics(const json_t *inventory)
{
	const json_t *n;
	size_t i;

	json_array_foreach(json_object_get(inventory, "nics"), i, n)
	{
		const json_t *carrier = json_object_get(n, "carrier");

		print_property("network", "%s %s, %s, %s", json_text(n, "name"),
			       json_text(n, "mac"), json_text(n, "driver"),
			       json_is_true(carrier)	? "link"
			       : json_is_false(carrier) ? "no link"
							: "link unknown");
	}
}

static void print_machine(const json_t *m)
{
	const json_t *inventory = json_object_get(m, "inventory");
	const json_t *firmware = json_object_get(m, "firmware");
	const json_t *smbios = json_object_get(inventory, "smbios");
	const json_t *cpu = json_object_get(inventory, "cpu");
	char seen[WHEN_TEXT_SIZE], memory[SIZE_TEXT_SIZE];

	when_to_text(json_text(m, "last_seen"), seen);
	size_to_text(json_number(m, "memory"), memory);
	print_property("machine", "%s", json_text(m, "id"));
	print_property("name", "%s", json_text(m, "name"));
	print_property("state", "%s", json_text(m, "state"));
	if (json_is_string(json_object_get(m, "job")))
		print_property("job", "%s", json_text(m, "job"));
	print_property("address", "%s", json_text(m, "address"));
	print_property("last seen", "%s, agent %s", seen, json_text(m, "agent_version"));
	print_property("hardware", "%s %s, serial %s", json_text(smbios, "vendor"),
		       json_text(smbios, "product"), json_text(smbios, "serial"));
	print_property("firmware", "%s%s", json_text(firmware, "kind"),
		       json_is_true(json_object_get(firmware, "secure_boot")) ? ", secure boot on"
									      : "");
	print_property("cpu", "%s, %" PRIu64 " threads", json_text(cpu, "model"),
		       json_number(cpu, "threads"));
	print_property("memory", "%s", memory);
	print_hypervisor(json_object_get(m, "hypervisor"));
	print_nics(inventory);
	print_warnings(inventory);
}

static int run_machine_show(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *m = NULL;
	char path[PATH_SIZE];
	int r;

	path_make(path, "/v1/machines/%s", c->operands[0]);
	r = api(c, "GET", path, NULL, &m, err);
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(m);
		return 0;
	}
	print_machine(m);
	(void)puts("");
	return print_disks(json_object_get(m, "disks")) ? 0
							: err_set(err, -ENOMEM, "out of memory");
}

const struct command cmd_machine_show = {
	.name = "machine show",
	.operands = "MACHINE",
	.summary = "Show a machine, its disks and what is on them",
	.text = "MACHINE is the machine's id, a beginning of it, or its name if only one "
		"machine bears it.\n"
		"The ids of the disks are what --disk of capture and restore wants, their "
		"fingerprints what --overwrite wants.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_machine_show,
};

static int run_machine_forget(struct ctx *c, struct err *err)
{
	char path[PATH_SIZE];
	int r;

	path_make(path, "/v1/machines/%s", c->operands[0]);
	r = api(c, "DELETE", path, NULL, NULL, err);
	return r < 0 ? r : done_print(c, NULL, "forgot machine '%s'", c->operands[0]);
}

const struct command cmd_machine_forget = {
	.name = "machine forget",
	.operands = "MACHINE",
	.summary = "Forget a machine; it needs a token to register again",
	.text = "Its images stay. A machine with a job that has not ended is not forgotten.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_machine_forget,
};
