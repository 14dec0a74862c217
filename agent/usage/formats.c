#include "agent/usage/formats.h"

#include <stdio.h>
#include <string.h>

#include "agent/usage/md.h"

static const struct format *const formats[] = {
	&format_btrfs, &format_exfat, &format_ext,  &format_fat, &format_lvm,
	&format_md,    &format_ntfs,  &format_swap, &format_xfs,
};

struct claims {
	size_t len;
	char names[200];
};

static void add_claim(struct claims *c, const char *name)
{
	size_t n = strlen(c->names);

	(void)snprintf(c->names + n, sizeof(c->names) - n, "%s%s", c->len > 0 ? " and " : "", name);
	c->len++;
}

int formats_find(struct volume *v, struct usage_part *ret_part, const struct format **ret_format,
		 struct err *err)
{
	struct claims claims = {0};
	struct usage_part part = *ret_part;
	const struct format *format = NULL;
	const char *names[SIGNATURES_MAX];
	int n;

	part.content = "unknown";
	if (md_hides_content(v)) {
		/* What an array keeps at its own end is before its superblock. */
		n = signatures_find(v, true, names, err);
		if (n > 0)
			return doubt(err, "there are signatures of linux_raid_member and %s on it",
				     names[0]);
		if (n < 0)
			return n;
		*ret_format = &format_md;
		return format_md.probe(v, ret_part, err) < 0 ? err->code : 0;
	}
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		struct usage_part found = *ret_part;
		int r = formats[i]->probe(v, &found, err);

		if (r < 0)
			return r;
		if (r == 0)
			continue;
		add_claim(&claims, found.content);
		part = found;
		format = formats[i];
	}
	n = signatures_find(v, false, names, err);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		add_claim(&claims, names[i]);
		part.content = names[i];
		format = NULL;
	}
	if (claims.len > 1)
		return doubt(err, "there are signatures of %s on it", claims.names);
	*ret_part = part;
	*ret_format = format;
	return 0;
}
