/* inventory_print.c - the inventory for a person, at most 80 columns wide.
 * Widths are counted in characters; wide and combining ones are rare here, and only shift what follows. */
#include <inttypes.h>
#include <string.h>

#include "agent/inventory.h"

#define COLUMNS 80u

/* How many characters `text` has. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

/* At most `max` characters of `text`, the last an ellipsis when there were more. */
static void print_cut(FILE *f, const char *text, size_t max)
{
	bool cut = width_of(text) > max;
	size_t left = cut ? max - 1 : max;

	for (; *text; text++) {
		bool starts = ((unsigned char)*text & 0xc0) != 0x80;

		if (starts && left-- == 0)
			break;
		(void)fputc(*text, f);
	}
	if (cut)
		(void)fputs("…", f);
}

/* `text` wrapped at spaces, all lines indented alike, the first already at that column. */
static void print_wrapped(FILE *f, const char *text, size_t indent)
{
	size_t column = indent;

	while (*text) {
		size_t size = strcspn(text, " ");
		char word[TEXT_SIZE * 2];
		size_t width;

		if (size >= sizeof(word))
			size = sizeof(word) - 1;
		memcpy(word, text, size);
		word[size] = '\0';
		width = width_of(word);
		if (column > indent && column + 1 + width > COLUMNS) {
			(void)fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			(void)fputc(' ', f);
			column++;
		}
		print_cut(f, word, COLUMNS - column);
		column += width;
		text += size + strspn(text + size, " ");
	}
	(void)fputc('\n', f);
}

static void print_field(FILE *f, const char *name, const char *text)
{
	(void)fprintf(f, "%-11s", name);
	print_wrapped(f, text, 11);
}

/* "465.8 GiB", "512 B" */
static const char *size_text(uint64_t size, char ret[static 16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned u = 0;
	uint64_t rest = 0;

	while (size >= 1024 && u < 6) {
		rest = size & 1023;
		size >>= 10;
		u++;
	}
	if (u == 0)
		(void)snprintf(ret, 16, "%u B", (unsigned)size);
	else
		(void)snprintf(ret, 16, "%u.%u %s", (unsigned)size, (unsigned)(rest * 10 / 1024),
			       units[u]);
	return ret;
}

static void print_machine(const struct inventory *i, FILE *f)
{
	const struct smbios *s = &i->smbios;
	char text[TEXT_SIZE * 4];

	(void)snprintf(text, sizeof(text), "%s%s%s%s%s%s", s->vendor, s->vendor[0] ? " " : "",
		       s->product[0] ? s->product : "unnamed",
		       s->serial[0] ? ", serial number " : "", s->serial, "");
	print_field(f, "Machine", text);
	(void)snprintf(text, sizeof(text), "%s (by %s)", i->machine_id[0] ? i->machine_id : "none",
		       i->machine_id_source ? i->machine_id_source : "nothing");
	print_field(f, "Id", text);
	if (i->firmware.is_uefi) {
		(void)snprintf(text, sizeof(text), "UEFI%s, Secure Boot %s",
			       i->firmware.bits == 32 ? " (32 bits)" : "",
			       i->firmware.secure_boot < 0   ? "unknown"
			       : i->firmware.secure_boot > 0 ? "on"
							     : "off");
		print_field(f, "Firmware", text);
	} else {
		print_field(f, "Firmware", "BIOS");
	}
}

static void print_platform(const struct inventory *i, FILE *f)
{
	char text[TEXT_SIZE * 2], size[16];

	(void)snprintf(text, sizeof(text), "%s, %u socket%s, %u core%s, %u thread%s",
		       i->cpu.model[0] ? i->cpu.model : "unknown", i->cpu.sockets,
		       i->cpu.sockets == 1 ? "" : "s", i->cpu.cores, i->cpu.cores == 1 ? "" : "s",
		       i->cpu.threads, i->cpu.threads == 1 ? "" : "s");
	print_field(f, "CPU", text);
	print_field(f, "Memory", size_text(i->memory, size));
	(void)snprintf(text, sizeof(text), "%s%s%s%s%s",
		       i->hypervisor.kind ? i->hypervisor.kind : "bare metal",
		       i->hypervisor.version[0] ? " " : "", i->hypervisor.version,
		       i->hypervisor.guest ? ", " : "",
		       i->hypervisor.guest ? i->hypervisor.guest : "");
	print_field(f, "Runs on", text);
}

static void print_nics(const struct inventory *i, FILE *f)
{
	(void)fputs(i->nics.len > 0 ? "\nNetwork\n" : "\nNetwork: no wired interfaces\n", f);
	for (size_t n = 0; n < i->nics.len; n++) {
		const struct nic *c = &i->nics.nics[n];
		char speed[32] = "";

		if (c->carrier > 0 && c->speed_mbit > 0)
			(void)snprintf(speed, sizeof(speed), ", %" PRIu64 " Mbit/s", c->speed_mbit);
		(void)fprintf(f, "  %-15.15s %-17s  %-12.12s %s%s\n", c->name,
			      c->mac[0] ? c->mac : c->permanent_mac, c->driver,
			      c->carrier < 0   ? "down"
			      : c->carrier > 0 ? "link"
					       : "no link",
			      speed);
	}
}

static void print_content(const struct content *c, FILE *f, size_t column)
{
	char text[TEXT_SIZE * 2];

	(void)snprintf(text, sizeof(text), "%s%s%s%s", c->type[0] ? c->type : "-",
		       c->label[0] ? " \"" : "", c->label, c->label[0] ? "\"" : "");
	print_cut(f, text, COLUMNS - column);
	(void)fputc('\n', f);
}

static void print_partitions(const struct disk *d, FILE *f)
{
	char size[16];

	for (size_t n = 0; n < d->contents.partitions_len; n++) {
		const struct partition *p = &d->contents.partitions[n];

		(void)fprintf(f, "    %4u %11s  ", p->number, size_text(p->size, size));
		if (p->is_extended)
			(void)fputs("extended\n", f);
		else
			print_content(&p->content, f, 22);
	}
}

static void print_names(const char *what, const struct name_list *l, FILE *f)
{
	char text[1024] = "";

	if (l->len == 0)
		return;
	for (size_t i = 0; i < l->len; i++) {
		size_t n = strlen(text);
		char name[TEXT_SIZE];

		/* as the kernel has it, which asks little of a name */
		(void)text_clean(name, sizeof(name), l->names[i], strlen(l->names[i]));
		(void)snprintf(text + n, sizeof(text) - n, " %s", name);
	}
	(void)fprintf(f, "    %s", what);
	print_wrapped(f, text + 1, 4 + strlen(what));
}

static void print_disk(const struct disk *d, FILE *f)
{
	char text[TEXT_SIZE * 2], size[16], sectors[32] = "";

	if (d->sector_size != 512)
		(void)snprintf(sectors, sizeof(sectors), ", %u-byte sectors", d->sector_size);
	(void)fprintf(f, "  %-12.12s %10s  ", d->name, size_text(d->size, size));
	(void)snprintf(text, sizeof(text), "%s, %s%s%s%s", d->model[0] ? d->model : "no model name",
		       d->bus.transport, sectors, d->is_read_only ? ", read-only" : "",
		       d->is_removable ? ", removable" : "");
	print_wrapped(f, text, 27);
	(void)fputs("    id ", f);
	print_wrapped(f, d->id, 7);
	print_names("paths: ", &d->paths, f);
	print_names("members: ", &d->members, f);
	print_names("used by: ", &d->used_by, f);
	if (d->contents.content.type[0]) {
		(void)fputs("    holds ", f);
		print_content(&d->contents.content, f, 10);
	}
	if (d->contents.table_type[0])
		(void)fprintf(f, "    partition table: %s\n", d->contents.table_type);
	print_partitions(d, f);
	if (d->contents.is_empty)
		(void)fputs("    empty\n", f);
	if (d->contents.error[0]) {
		(void)fputs("    ! ", f);
		print_wrapped(f, d->contents.error, 6);
	}
}

static void print_rest(const struct inventory *i, FILE *f)
{
	if (i->disks.skipped_len > 0)
		(void)fputs("\nNot listed as disks\n", f);
	for (size_t n = 0; n < i->disks.skipped_len; n++) {
		(void)fprintf(f, "  %-16.16s ", i->disks.skipped[n].name);
		print_wrapped(f, i->disks.skipped[n].text, 19);
	}
	if (i->unclaimed_len > 0)
		(void)fputs("\nControllers without a driver\n", f);
	for (size_t n = 0; n < i->unclaimed_len; n++) {
		const struct unclaimed *u = &i->unclaimed[n];

		(void)fprintf(f, "  %-12s %s  ", u->slot, u->id);
		print_wrapped(f, u->text, 26);
		if (u->name[0]) {
			(void)fputs("                          ", f);
			print_wrapped(f, u->name, 26);
		}
		(void)fputs("    ", f);
		print_wrapped(f, u->advice, 4);
	}
	if (i->warnings.len > 0)
		(void)fputs("\nWarnings\n", f);
	for (size_t n = 0; n < i->warnings.len; n++) {
		(void)fputs("  ! ", f);
		print_wrapped(f, i->warnings.texts[n], 4);
	}
}

void inventory_print(const struct inventory *i, FILE *f)
{
	print_machine(i, f);
	print_platform(i, f);
	print_nics(i, f);
	(void)fputs(i->disks.len > 0 ? "\nDisks\n" : "\nDisks: none\n", f);
	for (size_t n = 0; n < i->disks.len; n++)
		print_disk(&i->disks.disks[n], f);
	print_rest(i, f);
}
