#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http.h"
#include "common/limits.h"

#define HOST_MAX 200

static int bad_url(const char *text, const char *why, struct err *err)
{
	return err_set(err, -EINVAL,
		       "'%.128s' is not the address of a server: %s (wanted: HOST, HOST:PORT or "
		       "https://HOST[:PORT])",
		       text, why);
}

/* Length of "[...]" with an IPv6 address and perhaps a zone, or 0. */
static size_t bracketed_length(const char *p)
{
	size_t n = 1 + strspn(p + 1, "0123456789abcdefABCDEF:.");

	if (n < 3)
		return 0;
	if (p[n] == '%') {
		size_t zone = strspn(p + n + 1, "0123456789abcdefghijklmnopqrstuvwxyz"
						"ABCDEFGHIJKLMNOPQRSTUVWXYZ._-");

		if (!zone)
			return 0;
		n += 1 + zone;
	}
	return p[n] == ']' ? n + 1 : 0;
}

static size_t name_length(const char *p)
{
	size_t n = 0;

	while (isalnum((unsigned char)p[n]) || p[n] == '.' || p[n] == '-' || p[n] == '_')
		n++;
	return p[0] == '.' || p[0] == '-' ? 0 : n;
}

/* ":PORT" or nothing, then perhaps a slash. */
static bool parse_port(const char *p, unsigned *ret)
{
	unsigned long port = HOIST_PORT;

	if (*p == ':') {
		char *end = NULL;

		if (!isdigit((unsigned char)p[1]) || strspn(p + 1, "0123456789") > 5)
			return false;
		port = strtoul(p + 1, &end, 10);
		p = end;
	}
	if (*p == '/')
		p++;
	*ret = (unsigned)port;
	return *p == '\0' && port >= 1 && port <= 65535;
}

int http_target_set_url(struct http_target *t, const char *text, struct err *err)
{
	const char *host = strncasecmp(text, "https://", 8) == 0 ? text + 8 : text;
	const char *zone;
	size_t n;
	unsigned port;

	if (host == text && strstr(text, "://"))
		return bad_url(text, "only https:// is spoken", err);
	n = *host == '[' ? bracketed_length(host) : name_length(host);
	if (n == 0 || n > HOST_MAX)
		return bad_url(text, "the host is missing or malformed", err);
	if (host[n] == ':' && strchr(host + n + 1, ':'))
		return bad_url(text, "an IPv6 address is written in brackets", err);
	if (!parse_port(host + n, &port))
		return bad_url(text, "what follows the host is not a port from 1 to 65535", err);
	zone = memchr(host, '%', n);
	if (zone && strncmp(zone, "%25", 3) != 0) { /* RFC 6874 wants the '%' itself escaped */
		int head = (int)(zone - host);

		(void)snprintf(t->url, sizeof(t->url), "https://%.*s%%25%.*s:%u", head, host,
			       (int)n - head - 1, zone + 1, port);
	} else {
		(void)snprintf(t->url, sizeof(t->url), "https://%.*s:%u", (int)n, host, port);
	}
	return 0;
}

int http_target_set_pin(struct http_target *t, const char *text, struct err *err)
{
	char pin[PIN_TEXT_SIZE];
	size_t n = 0;

	for (const char *p = text; *p; p++) {
		if (*p == ':')
			continue;
		if (!isxdigit((unsigned char)*p) || n == PIN_TEXT_SIZE - 1) {
			n = 0;
			break;
		}
		pin[n++] = (char)tolower((unsigned char)*p);
	}
	if (n != PIN_TEXT_SIZE - 1) {
		return err_set(err, -EINVAL,
			       "'%.128s' is not the fingerprint of a server's key: that has 64 "
			       "hexadecimal digits, and `hoist-server` prints it when it starts",
			       text);
	}
	pin[n] = '\0';
	memcpy(t->pin, pin, sizeof(pin));
	return 0;
}
