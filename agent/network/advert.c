/* advert.c - name servers that routers tell of (RFC 8106).  The kernel hands their options on as they came from the wire, and remembers none: what is
 * known is kept with the interface, whether or not a line is for it now, until its time is over or its link goes.
 * It is written once in a pass of the engine, however often routers change their minds: they could do so faster than the script runs. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/network/engine.h"
#include "common/bytes.h"

#define OPTION_UNIT  8u	 /* RFC 4861, 4.6: what the length of an option counts */
#define OPTION_RDNSS 25u /* RFC 8106, 5.1 */
#define ADDRESS_SIZE 16u
#define FOR_EVER     UINT32_MAX

static struct port *find_port(struct engine *e, int index)
{
	for (size_t i = 0; i < PORTS_MAX; i++) {
		if (index > 0 && e->ports[i].index == index)
			return &e->ports[i];
	}
	return NULL;
}

static bool is_usable(const struct in6_addr *a)
{
	return !IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_MULTICAST(a) &&
	       !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_V4MAPPED(a);
}

static void write_servers(const struct engine *e, const struct port *p)
{
	char text[NAME_SERVERS_MAX * 80] = "";
	size_t n = 0;

	for (size_t i = 0; i < p->servers_len; i++) {
		const struct in6_addr *a = &p->servers[i].address;
		char address[INET6_ADDRSTRLEN];
		bool is_near = IN6_IS_ADDR_LINKLOCAL(a);

		(void)inet_ntop(AF_INET6, a, address, sizeof(address));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "nameserver %s%s%s\n", address,
				      is_near ? "%" : "", is_near ? p->name : "");
	}
	engine_note(e, p->name, "dnsra", n > 0 ? text : NULL);
}

static void remove_server(struct port *p, size_t i)
{
	p->servers_len--;
	memmove(&p->servers[i], &p->servers[i + 1], (p->servers_len - i) * sizeof(p->servers[0]));
}

/* Where a server that is not known goes: behind the others, or in the place of the one whose time is over first, if that is before its own. */
static size_t find_place(const struct port *p, uint64_t until)
{
	size_t least = 0;

	if (p->servers_len < NAME_SERVERS_MAX)
		return p->servers_len;
	for (size_t i = 1; i < NAME_SERVERS_MAX; i++) {
		if (p->servers[i].until_ms < p->servers[least].until_ms)
			least = i;
	}
	return p->servers[least].until_ms < until ? least : NAME_SERVERS_MAX;
}

/* True when the list has become another. */
static bool take_server(struct port *p, const struct in6_addr *a, uint32_t lifetime_s)
{
	uint64_t until =
		lifetime_s == FOR_EVER ? UINT64_MAX : clock_ms() + (uint64_t)lifetime_s * 1000;
	size_t i = 0;

	while (i < p->servers_len && memcmp(&p->servers[i].address, a, sizeof(*a)) != 0)
		i++;
	if (i < p->servers_len && lifetime_s > 0) {
		p->servers[i].until_ms = until;
		return false;
	}
	if (i < p->servers_len) {
		remove_server(p, i);
		return true;
	}
	i = find_place(p, until);
	if (lifetime_s == 0 || i == NAME_SERVERS_MAX || !is_usable(a))
		return false;
	p->servers[i] = (struct name_server){*a, until};
	if (i == p->servers_len)
		p->servers_len++;
	return true;
}

/* Its first servers: more of them would only take one another's place. */
static bool take_option(struct port *p, struct reader *r)
{
	struct in6_addr address;
	uint32_t lifetime;
	bool is_changed = false;

	(void)reader_u16(r); /* reserved */
	lifetime = ntohl(reader_u32(r));
	for (unsigned i = 0; i < NAME_SERVERS_MAX && r->left >= ADDRESS_SIZE; i++) {
		memcpy(&address, reader_bytes(r, ADDRESS_SIZE), sizeof(address));
		is_changed = take_server(p, &address, lifetime) || is_changed;
	}
	return is_changed;
}

void engine_take_advert(void *ctx, int index, const void *options, size_t size)
{
	struct engine *e = ctx;
	struct port *p = find_port(e, index);
	struct reader all;

	reader_init(&all, options, size);
	while (p && all.left >= OPTION_UNIT) {
		uint8_t type = reader_u8(&all);
		size_t length = reader_u8(&all) * OPTION_UNIT;
		const uint8_t *body = length > 0 ? reader_bytes(&all, length - 2) : NULL;
		struct reader one;

		if (!body)
			break;
		reader_init(&one, body, length - 2);
		if (type == OPTION_RDNSS)
			p->has_news = take_option(p, &one) || p->has_news;
	}
}

void engine_forget_servers(struct port *p)
{
	p->has_news = p->has_news || p->servers_len > 0;
	p->servers_len = 0;
}

static void expire_port(struct engine *e, struct port *p, uint64_t now)
{
	for (size_t i = p->servers_len; i-- > 0;) {
		if (p->servers[i].until_ms <= now) {
			remove_server(p, i);
			p->has_news = true;
		} else if (p->servers[i].until_ms < e->wake_ms) {
			e->wake_ms = p->servers[i].until_ms;
		}
	}
}

void engine_update_servers(struct engine *e)
{
	uint64_t now = clock_ms();
	bool is_written = false;

	e->wake_ms = UINT64_MAX;
	for (size_t i = 0; i < PORTS_MAX; i++) {
		struct port *p = &e->ports[i];

		expire_port(e, p, now);
		if (!p->has_news || !p->has_role)
			continue;
		write_servers(e, p);
		p->has_news = false;
		is_written = true;
	}
	if (is_written)
		engine_run_script(e, "dns", "");
}
