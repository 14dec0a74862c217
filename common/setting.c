/* Values go through one door, settings_set(), whatever their source: what is refused in one place is refused in
 * all.  A value that is refused leaves the configuration as it was.
 *
 * Texts and lists own their heap strings; a text that was never set and has no preset is NULL.  Lists have no
 * presets and gather what all sources give. */
#include "common/setting.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX \
	4096u /* bytes of one value; a kernel line is at most 4096 on any architecture of ours */
#define FILE_MAX 65536u

static void *field(const struct setting *s, void *config)
{
	return (char *)config + s->offset;
}

/* The setting as the person wrote it. */
static const char *prefix(unsigned source)
{
	return source == SETTING_ARGV ? "--" : source == SETTING_KERNEL ? "hoist." : "";
}

static const struct setting *find(const struct setting_table *t, unsigned source, const char *key,
				  size_t len)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];

		if ((s->sources & source) && strlen(s->key) == len && memcmp(s->key, key, len) == 0)
			return s;
	}
	return NULL;
}

static int refuse(const struct setting *s, unsigned source, const char *value, const char *wanted,
		  struct err *err)
{
	if (s->sources & SETTING_SECRET) {
		return err_set(err, -EINVAL, "%s%s: its value is not %s", prefix(source), s->key,
			       wanted);
	}
	return err_set(err, -EINVAL, "%s%s: '%.128s' is not %s", prefix(source), s->key, value,
		       wanted);
}

static bool parse_bool(const char *value, bool *ret)
{
	static const char *const words[] = {"no", "0",	 "false", "off", "",
					    "1",  "yes", "true",  "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0) {
			*ret = i >= 4;
			return true;
		}
	}
	return false;
}

/* Digits and, for a size, one of K M G T. */
static bool parse_number(const char *value, bool size, uint64_t *ret)
{
	static const char suffixes[] = "KMGT";
	uint64_t v = 0;
	const char *p = value;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	}
	if (p == value)
		return false;
	if (size && *p) {
		const char *suffix = strchr(suffixes, toupper((unsigned char)*p));

		if (!suffix ||
		    __builtin_mul_overflow(v, UINT64_C(1024) << 10 * (suffix - suffixes), &v))
			return false;
		p++;
	}
	*ret = v;
	return *p == '\0';
}

static int set_number(const struct setting *s, void *config, unsigned source, const char *value,
		      struct err *err)
{
	char wanted[128];
	uint64_t v;

	if (!parse_number(value, s->type == SETTING_SIZE, &v) || v < s->min || v > s->max) {
		(void)snprintf(wanted, sizeof(wanted), "a %s from %llu to %llu",
			       s->type == SETTING_SIZE ? "size in bytes (suffixes K, M, G, T)"
						       : "number",
			       (unsigned long long)s->min, (unsigned long long)s->max);
		return refuse(s, source, value, wanted, err);
	}
	*(uint64_t *)field(s, config) = v;
	return 0;
}

static int set_text(const struct setting *s, void *config, const char *value, struct err *err)
{
	char **at = field(s, config);
	char *copy = strdup(value);

	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	free(*at);
	*at = copy;
	return 0;
}

static int add_text(const struct setting *s, void *config, const char *value, struct err *err)
{
	struct setting_list *list = field(s, config);
	char **items = reallocarray(list->items, list->len + 1, sizeof(*items));

	if (!items)
		return err_set(err, -ENOMEM, "out of memory");
	list->items = items;
	items[list->len] = strdup(value);
	if (!items[list->len])
		return err_set(err, -ENOMEM, "out of memory");
	list->len++;
	return 0;
}

static int check_text(const struct setting *s, unsigned source, const char *value, struct err *err)
{
	int r;

	if (strlen(value) > VALUE_MAX) {
		return err_set(err, -EINVAL, "%s%s: the value is longer than %u bytes",
			       prefix(source), s->key, VALUE_MAX);
	}
	for (const char *p = value; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f) {
			return err_set(err, -EINVAL,
				       "%s%s: the value holds a control character (0x%02x)",
				       prefix(source), s->key, (unsigned char)*p);
		}
	}
	if (s->check) {
		r = s->check(value, err);
		if (r < 0)
			return err_prefix(err, "%s%s", prefix(source), s->key);
	}
	return 0;
}

static int set_value(const struct setting *s, void *config, unsigned source, const char *value,
		     struct err *err)
{
	bool yes;
	int r = check_text(s, source, value, err);

	if (r < 0)
		return r;
	switch (s->type) {
	case SETTING_TEXT:
		return set_text(s, config, value, err);
	case SETTING_LIST:
		return add_text(s, config, value, err);
	case SETTING_BOOL:
		if (!parse_bool(value, &yes))
			return refuse(s, source, value, "yes or no", err);
		*(bool *)field(s, config) = yes;
		return 0;
	case SETTING_U64:
	case SETTING_SIZE:
		return set_number(s, config, source, value, err);
	}
	return err_set(err, -EINVAL, "%s%s: no such type of setting", prefix(source), s->key);
}

int settings_init(const struct setting_table *t, void *config, struct err *err)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];
		int r;

		assert(s->type != SETTING_LIST || !s->preset);
		r = s->preset ? set_value(s, config, SETTING_ARGV, s->preset, err) : 0;
		if (r < 0) {
			settings_done(t, config);
			return r;
		}
	}
	return 0;
}

void settings_done(const struct setting_table *t, void *config)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];

		if (s->type == SETTING_TEXT) {
			char **at = field(s, config);

			if (*at && (s->sources & SETTING_SECRET))
				explicit_bzero(*at, strlen(*at));
			free(*at);
			*at = NULL;
		} else if (s->type == SETTING_LIST) {
			struct setting_list *list = field(s, config);

			for (size_t k = 0; k < list->len; k++)
				free(list->items[k]);
			free(list->items);
			*list = (struct setting_list){0};
		}
	}
}

/* `value` may be NULL: the key stood alone, which only a BOOL may. */
static int set_known(const struct setting *s, void *config, unsigned source, const char *value,
		     struct err *err)
{
	if (!value && s->type != SETTING_BOOL) {
		return err_set(err, -EINVAL, "%s%s needs a value: %s", prefix(source), s->key,
			       s->value);
	}
	return set_value(s, config, source, value ? value : "", err);
}

int settings_set(const struct setting_table *t, void *config, unsigned source, const char *key,
		 const char *value, struct err *err)
{
	const struct setting *s = find(t, source, key, strlen(key));

	if (!s)
		return err_set(err, -ENOENT, "%s%.64s is not a known setting", prefix(source), key);
	return set_value(s, config, source, value, err);
}

/* ---- argv */

/* Move the `n` words at argv[at] to the front of the operands that begin at argv[first]. */
static void move_before_operands(char **argv, int first, int at, int n)
{
	for (; n > 0; n--, first++, at++) {
		char *word = argv[at];

		memmove(&argv[first + 1], &argv[first], (size_t)(at - first) * sizeof(*argv));
		argv[first] = word;
	}
}

/* One option word; returns the number of words it took, 0 for --help, or a negative errno. */
static int parse_option(const struct setting_table *t, void *config, char *word, char *next,
			struct err *err)
{
	const char *key = word + 2;
	size_t len = strcspn(word, "=") - 2;
	const char *value = key[len] == '=' ? key + len + 1 : NULL;
	const struct setting *s;
	bool takes_next;
	int r;

	s = find(t, SETTING_ARGV, key, len);
	if (!s) {
		return err_set(err, -EINVAL, "unknown option '%.*s'",
			       (int)(len + 2 > 64 ? 64 : len + 2), word);
	}
	takes_next = !value && s->type != SETTING_BOOL;
	if (takes_next)
		value = next;
	r = set_known(s, config, SETTING_ARGV, value, err);
	if (r < 0)
		return r;
	return takes_next ? 2 : 1;
}

int settings_parse_argv(const struct setting_table *t, void *config, int argc, char **argv,
			int *ret_first, struct err *err)
{
	int first = 0; /* where the operands begin that were passed over */

	for (int i = 0; i < argc;) {
		char *word = argv[i];
		int n = 1;

		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
			return 1;
		if (word[0] != '-' || word[1] == '\0') {
			i++;
			continue;
		}
		if (word[1] != '-')
			return err_set(err, -EINVAL, "unknown option '%.64s'", word);
		if (word[2] != '\0') {
			n = parse_option(t, config, word, i + 1 < argc ? argv[i + 1] : NULL, err);
			if (n < 0)
				return n;
		}
		move_before_operands(argv, first, i, n);
		first += n;
		i += n;
		if (word[2] == '\0')
			break;
	}
	*ret_first = first;
	return 0;
}

/* ---- kernel line and file */

/* Keep only the first error of many. */
static void note_error(int *first, int r, struct err *ret_err, const struct err *err)
{
	if (r < 0 && *first == 0) {
		*first = r;
		*ret_err = *err;
	}
}

/* Cuts the next word out of *at as the kernel does (lib/cmdline.c, next_arg): blanks part words except between
 * double quotes; quotes around the word or around its value are not part of them. */
bool setting_next_word(char **at, char **ret_key, char **ret_value)
{
	char *p = *at, *word, *end, *equals = NULL;
	bool in_quotes = false, quoted;

	while (isspace((unsigned char)*p))
		p++;
	if (!*p)
		return false;
	quoted = in_quotes = *p == '"';
	word = p = p + quoted;
	for (; *p && (in_quotes || !isspace((unsigned char)*p)); p++) {
		if (*p == '=' && !equals && p != word)
			equals = p;
		if (*p == '"')
			in_quotes = !in_quotes;
	}
	end = p;
	*at = *p ? p + 1 : p;
	*end = '\0';
	*ret_key = word;
	*ret_value = NULL;
	if (equals) {
		*equals = '\0';
		*ret_value = equals + 1;
		if (**ret_value == '"') {
			++*ret_value;
			if (end > *ret_value && end[-1] == '"')
				end[-1] = '\0';
		}
	}
	if (quoted && end > word && end[-1] == '"')
		end[-1] = '\0';
	return true;
}

static int set_from_kernel(const struct setting_table *t, void *config, char *key,
			   const char *value, struct err *err)
{
	const struct setting *s;

	for (char *p = key; *p; p++) { /* the kernel does not tell the two apart */
		if (*p == '_')
			*p = '-';
	}
	s = find(t, SETTING_KERNEL, key, strlen(key));
	if (!s)
		return err_set(err, -ENOENT, "hoist.%.64s is not a known setting", key);
	return set_known(s, config, SETTING_KERNEL, value, err);
}

static int parse_words(const struct setting_table *t, void *config, char *text, struct err *err)
{
	char *key, *value;
	int first = 0;

	while (setting_next_word(&text, &key, &value)) {
		struct err e = {0};

		if (strncmp(key, "hoist.", 6) == 0)
			note_error(&first, set_from_kernel(t, config, key + 6, value, &e), err, &e);
	}
	return first;
}

int settings_parse_cmdline(const struct setting_table *t, void *config, const char *text,
			   struct err *err)
{
	char *copy = strdup(text);
	int r = copy ? parse_words(t, config, copy, err) : err_set(err, -ENOMEM, "out of memory");

	free(copy);
	return r;
}

/* `text` without blanks at both ends, cut in place. */
static char *trim(char *text)
{
	char *end;

	text += strspn(text, " \t\r");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = '\0';
	return text;
}

static int set_from_line(const struct setting_table *t, void *config, char *line, struct err *err)
{
	char *equals, *key;
	const struct setting *s;

	line = trim(line);
	if (*line == '\0' || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals)
		return err_set(err, -EINVAL, "'%.64s' is not of the form key=value", line);
	*equals = '\0';
	key = trim(line);
	s = find(t, SETTING_FILE, key, strlen(key));
	if (!s)
		return err_set(err, -ENOENT, "'%.64s' is not a known setting", key);
	return set_value(s, config, SETTING_FILE, trim(equals + 1), err);
}

static int parse_lines(const struct setting_table *t, void *config, char *text, struct err *err)
{
	char *line;
	int first = 0;

	for (unsigned n = 1; (line = strsep(&text, "\n")); n++) {
		struct err e = {0};
		int r = set_from_line(t, config, line, &e);

		if (r < 0)
			r = err_prefix(&e, "line %u", n);
		note_error(&first, r, err, &e);
	}
	return first;
}

int settings_parse_file(const struct setting_table *t, void *config, const char *text, size_t size,
			struct err *err)
{
	char *copy;
	int r;

	if (size > FILE_MAX)
		return err_set(err, -EINVAL, "the settings are longer than %u bytes", FILE_MAX);
	if (memchr(text, '\0', size))
		return err_set(err, -EINVAL, "the settings hold a zero byte: not a text file");
	copy = strndup(text, size);
	r = copy ? parse_lines(t, config, copy, err) : err_set(err, -ENOMEM, "out of memory");
	free(copy);
	return r;
}
