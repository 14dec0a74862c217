#include "agent/machine_name.h"

#include <stdio.h>
#include <sys/utsname.h>

static void host_name(char ret[static NAME_MAX_LEN + 1])
{
	struct utsname u;

	ret[0] = '\0';
	if (uname(&u) == 0)
		(void)snprintf(ret, NAME_MAX_LEN + 1, "%s", u.nodename);
}

void machine_name_choose(const struct config *c, const struct inventory *i,
			 char ret[static NAME_MAX_LEN + 1])
{
	const struct smbios *s = &i->smbios;
	char host[NAME_MAX_LEN + 1];

	host_name(host);
	if (c->name || c->hostname) {
		(void)snprintf(ret, NAME_MAX_LEN + 1, "%s", c->name ? c->name : c->hostname);
	} else if (!c->image && host[0]) {
		(void)snprintf(ret, NAME_MAX_LEN + 1, "%s", host);
	} else if (s->product[0]) {
		(void)snprintf(ret, NAME_MAX_LEN + 1, "%.31s%s%.31s", s->product,
			       s->serial[0] ? " " : "", s->serial);
	} else {
		(void)snprintf(ret, NAME_MAX_LEN + 1, "machine %.8s", i->machine_id);
	}
	for (char *p = ret; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
}
