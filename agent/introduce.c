#include "agent/introduce.h"

#include <stdio.h>

static void say_disks(const struct disk_list *l, struct console *c)
{
	for (size_t n = 0; n < l->len; n++) {
		const struct disk *d = &l->disks[n];
		char amount[CONSOLE_AMOUNT_SIZE], paths[32] = "";

		if (d->paths.len > 0)
			(void)snprintf(paths, sizeof(paths), ", %zu paths", d->paths.len);
		console_say(c, "disk %s, %s, %s%s", d->name, console_amount(d->size, amount), d->id,
			    paths);
	}
	if (l->len == 0)
		console_say(c, "there is no disk in this machine");
}

void introduce_machine(const struct inventory *i, const char *name, struct console *c)
{
	console_say(c, "hoist-agent %s, machine '%s', id %s", HOIST_VERSION, name, i->machine_id);
	say_disks(&i->disks, c);
	for (size_t n = 0; n < i->nics.len; n++)
		console_say(c, "network card %s, %s", i->nics.nics[n].name, i->nics.nics[n].mac);
	for (size_t n = 0; n < i->unclaimed_len; n++) {
		const struct unclaimed *u = &i->unclaimed[n];
		char device[PCI_TEXT_SIZE];

		console_say(c, "%s: %s, so what hangs on it is not seen; %s",
			    unclaimed_describe(u, device), u->text, u->advice);
	}
	for (size_t n = 0; n < i->warnings.len; n++)
		console_line(c, i->warnings.texts[n]);
}
