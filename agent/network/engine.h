/* engine.h - brings the machine's interfaces to what a plan says, and keeps them there. */
#ifndef AGENT_NETWORK_ENGINE_H
#define AGENT_NETWORK_ENGINE_H
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/network/rtnl.h"
#include "common/netconf.h"

#define PORTS_MAX	 512u
#define COMPLAINTS_MAX	 64u
#define NAME_SERVERS_MAX 3u /* of one interface: RFC 8106, 5.3.1 */

/* A program that asks for addresses. */
enum client_kind { CLIENT_DHCP4, CLIENT_DHCP6, CLIENTS };
struct client {
	pid_t pid; /* or 0 */
	uint64_t after_ms;
};

/* Told of by a router. */
struct name_server {
	struct in6_addr address;
	uint64_t until_ms; /* UINT64_MAX: for ever */
};

/* What is known of an interface that is looked after. */
struct port {
	int index; /* 0: free */
	char name[IFNAMSIZ];
	bool is_seen; /* in this pass */
	bool has_addresses;
	bool has_role; /* a line is for it: its link is told of */
	int carrier;   /* -1: not known yet */
	struct client clients[CLIENTS];
	struct name_server servers[NAME_SERVERS_MAX];
	size_t servers_len;
	bool has_news;				 /* of its servers: not written yet */
	uint64_t since_ms;			 /* first seen */
	uint64_t retry_after_ms, retry_pause_ms; /* of what failed; 0: nothing did */
};

/* What is wrong, so that it is said once. */
struct complaint {
	char subject[40], text[200]; /* subject "": free */
	uint64_t since_ms;
	bool is_said;
};

struct engine {
	struct rtnl rtnl;
	char state[PATH_MAX - 64], script[PATH_MAX];
	const struct netconf *plan; /* not owned */
	struct port ports[PORTS_MAX];
	struct complaint complaints[COMPLAINTS_MAX];
	int first
		[NETCONF_LINES_MAX]; /* of ip= lines without an interface: the index of that which took it */
	int bonds[NETCONF_BONDS_MAX]; /* index of a bond whose options are set */
	struct rtnl_link *links;      /* as they were at the beginning of the pass; heap */
	size_t links_len;
	bool is_pending;  /* something is to be tried again soon */
	uint64_t wake_ms; /* the time of a name server is over; UINT64_MAX: of none */
};

/* Its state is `state`/NAME.*, which the DHCP client's script shares. */
int engine_open(struct engine *e, const char *state, const char *script,
		struct err *err) MUST_CHECK;
/* Clients end; addresses and links stay. */
void engine_close(struct engine *e);
/* Undo what the present plan made, and go on with this one. */
void engine_set_plan(struct engine *e, const struct netconf *plan);
/* Do what is to be done now.  Whatever fails is said once and tried again in a later pass. */
void engine_pass(struct engine *e);
/* Milliseconds until the next pass at the latest; -1: when something happens. */
int engine_wait_ms(const struct engine *e);
/* Clients that have ended. */
void engine_reap(struct engine *e);

/* ---- among its parts */

/* A line for the console. */
void engine_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* `subject` cannot be done; said if it is new and `after_ms` have passed with it.  NULL: it is fine. */
void engine_complain(struct engine *e, const char *subject, const char *text, uint64_t after_ms);

const struct rtnl_link *engine_find_name(const struct engine *e, const char *name);
const struct rtnl_link *engine_find_port(const struct engine *e, const struct netconf_port *p);
bool engine_is_card(const struct rtnl_link *l);
struct port *engine_port(struct engine *e, const struct rtnl_link *l); /* NULL: too many */
/* Its clients end, its addresses by DHCP go. */
void engine_release(struct engine *e, struct port *p);

/* build.c: names, bonds, VLANs. */
void engine_build(struct engine *e);
void engine_unbuild(struct engine *e);
/* address.c: one link, as the lines that are for it say.  `ips` of `len`; `is_dhcp`: of what no line names. */
void engine_look_after(struct engine *e, const struct rtnl_link *l,
		       const struct netconf_ip *const *ips, size_t len, bool is_dhcp);
void engine_set_routes(struct engine *e);
void engine_clear_addresses(struct engine *e);
void engine_set_host(struct engine *e);
/* advert.c: an rtnl_advert_fn, of an engine. */
void engine_take_advert(void *ctx, int index, const void *options, size_t size);
/* Its link has gone. */
void engine_forget_servers(struct port *p);
/* Forget those whose time is over, write what has changed since the last time; sets `wake_ms`. */
void engine_update_servers(struct engine *e);
/* dhcp.c */
void engine_start_client(struct engine *e, struct port *p, enum client_kind kind);
void engine_stop_client(struct engine *e, struct port *p, enum client_kind kind);
/* That its link is up again: the one of IPv6 sees it by itself. */
void engine_kick_client(const struct port *p);
bool engine_has_note(const struct engine *e, const char *name, const char *suffix);
/* The script with one word, and wait for it. */
void engine_run_script(const struct engine *e, const char *word, const char *interface);
/* Of a run before this one. */
void engine_kill_strays(struct engine *e);
/* `state`/NAME.SUFFIX with this text; NULL removes it. */
void engine_note(const struct engine *e, const char *name, const char *suffix, const char *text);
#endif
