/* Name servers that routers tell of: what they say is taken as fast as it comes, and written once in a pass of the engine. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/network/engine.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/unit/tap.h"

#define INDEX	  7
#define MUCH	  5000u /* more than one pass takes */
#define AGAIN	  200u
#define ADVERT_RA 134 /* RFC 4861, 4.2 */

static char folder[] = "/tmp/test_advert.XXXXXX";

/* ---- draining */

struct sender {
	int fd;
	unsigned heard;
};

static void send_one(int fd)
{
	struct {
		struct nlmsghdr head;
		struct nduseroptmsg body;
		uint8_t options[8];
	} m = {.head = {.nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWNDUSEROPT},
	       .body = {.nduseropt_family = AF_INET6,
			.nduseropt_opts_len = sizeof(m.options),
			.nduseropt_ifindex = INDEX,
			.nduseropt_icmp_type = ADVERT_RA}};

	if (send(fd, &m, sizeof(m), 0) != sizeof(m))
		abort();
}

/* There is always one more. */
static void hear(void *ctx, int index, const void *options, size_t size)
{
	struct sender *s = ctx;

	(void)options;
	if (index == INDEX && size == 8 && ++s->heard < MUCH)
		send_one(s->fd);
}

static void test_drain(void)
{
	struct sender s = {.fd = -1};
	struct rtnl r = {.fd = -1, .events = -1};
	unsigned passes = 1;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	r.events = fds[0];
	s.fd = fds[1];
	send_one(s.fd);
	rtnl_drain(&r, hear, &s);
	ok(s.heard > 0 && s.heard < MUCH, "who sends without end is listened to for a while only");
	for (; s.heard < MUCH && passes < MUCH; passes++)
		rtnl_drain(&r, hear, &s);
	ok(s.heard == MUCH && passes < 100, "and the rest is heard later");
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* ---- writing */

static void make_script(struct engine *e)
{
	int fd;

	(void)snprintf(e->state, sizeof(e->state), "%s", folder);
	(void)snprintf(e->script, sizeof(e->script), "%s/script", folder);
	fd = open(e->script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	if (fd < 0 || dprintf(fd, "#!/bin/sh\necho \"$1\" >>'%s/runs'\n", folder) < 0)
		abort();
	(void)close(fd);
}

static void read_text(const char *name, char ret[static 256])
{
	char path[128];
	ssize_t n = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, ret, 255);
	cleanup_close(&fd);
	ret[n > 0 ? n : 0] = '\0';
}

static bool holds(const char *name, const char *text)
{
	char found[256];

	read_text(name, found);
	return strcmp(found, text) == 0;
}

static void tell(struct engine *e, int index, const char *server, uint32_t lifetime)
{
	uint8_t option[24];
	struct writer w;

	writer_init(&w, option, sizeof(option));
	writer_bytes(&w, (uint8_t[4]){25, 3}, 4);
	writer_u32(&w, htonl(lifetime));
	if (inet_pton(AF_INET6, server, option + 8) != 1)
		abort();
	engine_take_advert(e, index, option, sizeof(option));
}

static void test_write(struct engine *e)
{
	struct port *p = &e->ports[0];

	*p = (struct port){.index = INDEX, .name = "e0", .has_role = true};
	for (unsigned i = 0; i < AGAIN; i++)
		tell(e, INDEX, "fd00::1", i % 2 ? 0 : 3600);
	tell(e, INDEX, "fd00::2", 3600);
	ok(holds("runs", "") && holds("e0.dnsra", ""), "what routers say is not written at once");
	engine_update_servers(e);
	ok(holds("runs", "dns\n"), "but once in a pass, whatever they said");
	ok(holds("e0.dnsra", "nameserver fd00::2\n"), "as it is then");
	tell(e, INDEX, "fd00::2", 1800);
	engine_update_servers(e);
	ok(holds("runs", "dns\n"), "and not again without news");
	engine_forget_servers(p);
	engine_update_servers(e);
	ok(holds("runs", "dns\ndns\n") && holds("e0.dnsra", ""), "they go with the link");
}

static void test_several(struct engine *e)
{
	e->ports[1] = (struct port){.index = INDEX + 1, .name = "e1", .has_role = true};
	e->ports[2] = (struct port){.index = INDEX + 2, .name = "e2"};
	for (int i = 0; i < 3; i++)
		tell(e, INDEX + i, "fd00::3", 3600);
	engine_update_servers(e);
	ok(holds("runs", "dns\ndns\ndns\n"), "several interfaces are one writing");
	ok(holds("e0.dnsra", "nameserver fd00::3\n") && holds("e1.dnsra", "nameserver fd00::3\n"),
	   "of each");
	ok(holds("e2.dnsra", ""), "but of one that no line is for");
	e->ports[2].has_role = true;
	e->ports[0].servers[0].until_ms = 0;
	engine_update_servers(e);
	ok(holds("e2.dnsra", "nameserver fd00::3\n"), "until there is one");
	ok(holds("e0.dnsra", "") && holds("runs", "dns\ndns\ndns\ndns\n"),
	   "and those whose time is over go with the same");
}

static void remove_all(void)
{
	static const char *const names[] = {"script", "runs", "e0.dnsra", "e1.dnsra", "e2.dnsra"};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)unlink(path);
	}
	(void)rmdir(folder);
}

int main(void)
{
	CLEANUP_FREE struct engine *e = calloc(1, sizeof(*e));

	if (!e || !mkdtemp(folder))
		return 1;
	make_script(e);
	test_drain();
	test_write(e);
	test_several(e);
	remove_all();
	return done();
}
