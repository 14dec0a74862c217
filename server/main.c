/* hoist-server: options, the order of starting and stopping, signals; nothing else.
 *
 * What scripts read stands on standard output, one line each, once all of it is true:
 *	fingerprint 64 hex digits
 *	operator-token PATH
 *	listening https://ADDR:PORT	(one for each address)
 *	booting http://ADDR:PORT	(one for each address of --boot)
 *	ready
 * Messages to people and the log go to standard error. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/standard_fds.h"
#include "server/api/api.h"
#include "server/config.h"
#include "server/discover.h"
#include "server/files.h"
#include "server/listen.h"
#include "server/man.h"
#include "server/notify.h"
#include "server/server.h"

#define OPERATOR_FILE	"operator.token"
#define ADDRESS_FILE	"server.json"
#define GRACE_S		120u
#define OPERATOR_DIGITS 64u
#define BOOT_MEMORY	(1u << 20) /* requests for boot files have no bodies */
/* Each pack keeps its own until a checkpoint has covered it: 512 and those that are just coming, while as many wait for the one before; and the index. */
#define STORE_FILES 2048u

uint64_t server_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void print_usage(void)
{
	printf("Usage: hoist-server --data DIR [OPTION]...\n\n"
	       "Finds machines, keeps their images, gives them to other machines.\n\n");
	settings_print_help(&config_table, stdout);
	printf("\nExamples:\n"
	       "  hoist-server --data /var/lib/hoist\n"
	       "  hoist-server --data ./data --listen 127.0.0.1:0 --discovery no\n"
	       "  hoist-server --data /var/lib/hoist --print-fingerprint\n");
}

static int usage_error(const char *text)
{
	fprintf(stderr, "hoist-server: %s\nTry 'hoist-server --help'.\n", text);
	return 2;
}

static int fail(const struct err *err)
{
	fprintf(stderr, "hoist-server: %s\n", err->msg);
	return EXIT_FAILURE;
}

/* ---- what is needed before serving */

static int make_data_dir(const char *dir, struct err *err)
{
	struct stat st;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "make the data directory '%s': %m", dir);
	if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode)) {
		return err_set(err, -ENOTDIR,
			       "use the data directory '%s': it is a file; --data names a folder, "
			       "which is made if it is not there",
			       dir);
	}
	if (access(dir, R_OK | W_OK | X_OK) < 0)
		return err_set(err, -errno, "use the data directory '%s': %m", dir);
	return 0;
}

static int make_operator_token(const char *dir, struct err *err)
{
	char text[OPERATOR_DIGITS + 2];
	uint8_t bytes[OPERATOR_DIGITS / 2];
	int r;

	if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0)
		return err_set(err, -EIO, "make the operator's token: no random numbers");
	hex_encode(bytes, sizeof(bytes), text);
	text[OPERATOR_DIGITS] = '\n';
	r = file_write_private(dir, OPERATOR_FILE, text, OPERATOR_DIGITS + 1, err);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(bytes, sizeof(bytes));
	return r;
}

/* The file is the truth: to change the token, replace it (or remove it) and restart. */
static int load_operator_token(const char *dir, struct id *ret_hash, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	int r = file_read_private(dir, OPERATOR_FILE, 1024, &text, &size, err);

	if (r == -ENOENT) {
		r = make_operator_token(dir, err);
		if (r == 0)
			r = file_read_private(dir, OPERATOR_FILE, 1024, &text, &size, err);
	}
	if (r < 0)
		return r;
	size = strcspn(text, "\n");
	if (size < 32 ||
	    strspn(text, "0123456789abcdefABCDEFghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ"
			 "-_.") != size) {
		return err_set(err, -EINVAL,
			       "'%s/" OPERATOR_FILE "' must hold one line of at least 32 letters "
			       "and digits; remove it and a new one is made",
			       dir);
	}
	*ret_hash = id_of(text, size);
	explicit_bzero(text, size);
	return 0;
}

static void set_name(struct server *s)
{
	char host[NAME_SIZE] = "";
	size_t n;

	if (s->config->name) {
		(void)snprintf(s->name, sizeof(s->name), "%s", s->config->name);
		return;
	}
	(void)gethostname(host, sizeof(host) - 1);
	n = strcspn(host, ".");
	host[n] = '\0';
	(void)snprintf(s->name, sizeof(s->name), "%s", name_is_valid(host) ? host : "hoist");
}

/* Each connection needs a descriptor, the store many more. */
static void raise_limits(const struct config *c)
{
	uint64_t want = (c->connections + 1) * ((c->listen.len ? c->listen.len : 1) + c->boot.len) +
			STORE_FILES;
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur >= want)
		return;
	l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur < want)
		log_event(LOG_WARN, "few_descriptors", "limit=%llu wanted=%llu",
			  (unsigned long long)l.rlim_cur, (unsigned long long)want);
}

/* ---- starting */

/* Sockets that listen; none is open when opening failed. */
struct listeners {
	int fds[LISTEN_MAX];
	size_t len;
};

static void listeners_close(struct listeners *l)
{
	for (size_t i = 0; i < l->len; i++)
		(void)close(l->fds[i]);
	l->len = 0;
}

static int listeners_open(char *const *texts, size_t len, uint16_t default_port,
			  struct listeners *ret, struct err *err)
{
	struct listen_addr a;
	int r = 0;

	if (len > LISTEN_MAX)
		return err_set(err, -EINVAL, "more than %u addresses to listen at", LISTEN_MAX);
	for (size_t i = 0; i < len && r == 0; i++) {
		r = listen_parse(texts[i], default_port, &a, err);
		if (r == 0)
			r = listen_open(&a, &ret->fds[i], err);
		if (r == 0)
			ret->len = i + 1;
	}
	if (r < 0)
		listeners_close(ret);
	return r;
}

static int open_https(const struct config *c, struct listeners *ret, struct err *err)
{
	char *const all[] = {(char *)"[::]"};

	return c->listen.len ? listeners_open(c->listen.items, c->listen.len, HOIST_PORT, ret, err)
			     : listeners_open(all, 1, HOIST_PORT, ret, err);
}

static int open_media(struct server *s, struct listeners *ret, struct err *err)
{
	const struct config *c = s->config;

	if (c->boot.len > 0 && !c->media) {
		return err_set(
			err, -EINVAL,
			"--boot serves the folder that --media names, and --media is missing");
	}
	if (c->media && media_open(c->media, &s->media, err) < 0)
		return err->code;
	return listeners_open(c->boot.items, c->boot.len, BOOT_PORT, ret, err);
}

static void log_store_start(const struct store_start *st)
{
	bool trouble = st->quarantined > 0 || st->lost > 0;

	log_event(trouble ? LOG_WARN : LOG_INFO, "store_opened",
		  "clean=%s taken_in=%llu quarantined=%llu dropped=%llu lost=%llu",
		  st->clean ? "yes" : "no", (unsigned long long)st->taken_in,
		  (unsigned long long)st->quarantined, (unsigned long long)st->dropped,
		  (unsigned long long)st->lost);
	if (st->index_is_bad) {
		log_event(LOG_ERROR, "index_damaged",
			  "error=\"rows of the object index were damaged: objects in use may count "
			  "as lost, and gc removes nothing; start with --rebuild-index\"");
	}
}

static int open_storage(struct server *s, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	bool is_new;
	int r;

	if (asprintf(&path, "%s/state.db", s->config->data) < 0)
		return err_set(err, -ENOMEM, "open the state: out of memory");
	r = store_open(s->config->data, s->config->rebuild_index, &s->store, err);
	if (r == -EUCLEAN)
		return err_prefix(err, "start again with --rebuild-index");
	if (r == 0)
		log_store_start(store_start(s->store));
	if (r == 0)
		r = state_open(path, &s->state, &is_new, err);
	return r;
}

static int open_fleet(struct server *s, struct err *err)
{
	struct fleet_config config = {
		.state = s->state,
		.store = s->store,
		.poll_s = (unsigned)s->config->poll_s,
		.stall_s = (unsigned)s->config->stall_s,
		.away_s = (unsigned)s->config->away_s,
		.grace_s = (unsigned)(s->config->renew_s < GRACE_S ? s->config->renew_s : GRACE_S),
		.pairing = {.enabled = strcmp(s->config->pairing, "yes") == 0,
			    .life_s = (unsigned)s->config->pairing_expiry_s,
			    .max = (unsigned)s->config->pairings,
			    .per_peer_max = (unsigned)s->config->pairings_per_peer},
	};

	memcpy(config.pairing.key, s->identity.fingerprint, sizeof(config.pairing.key));
	return fleet_open(&config, &s->fleet, err);
}

static int open_access(struct server *s, struct err *err)
{
	const struct access_config config = {
		.state = s->state,
		.cost = password_cost_usual,
		.file_hash = s->operator_hash,
		.session_idle_s = (unsigned)s->config->session_idle_s,
		.session_life_s = (unsigned)s->config->session_life_s,
	};

	s->audit = audit_new(s->state);
	if (!s->audit)
		return err_set(err, -ENOMEM, "start the server: out of memory");
	return access_open(&config, &s->access, err);
}

static int start_http(struct server *s, struct listeners *take, struct http_server **ret,
		      struct err *err)
{
	size_t len = take->len;
	const struct http_config config = {
		.identity = &s->identity,
		.connections_max = (unsigned)s->config->connections,
		.connections_per_peer = (unsigned)s->config->connections_per_peer,
		.inactivity_s = (unsigned)s->config->inactivity_s,
		.body_s = (unsigned)s->config->body_s,
		.memory_max = s->config->memory,
		.routes = api_routes,
		.routes_len = api_routes_len,
		.app = s,
		.authorize = api_authorize,
		.answered = api_answered,
	};

	take->len = 0;
	return http_server_start(&config, take->fds, len, ret, err);
}

/* Boot loaders check no key: no TLS, and nothing but the boot files. */
static int start_boot(struct server *s, struct listeners *take, struct http_server **ret,
		      struct err *err)
{
	size_t len = take->len;
	const struct http_config config = {
		.connections_max = (unsigned)s->config->connections,
		.connections_per_peer = (unsigned)s->config->connections_per_peer,
		.inactivity_s = (unsigned)s->config->inactivity_s,
		.body_s = (unsigned)s->config->body_s,
		.memory_max = BOOT_MEMORY,
		.routes = boot_routes,
		.routes_len = boot_routes_len,
		.app = s,
		.authorize = api_authorize,
		.answered = api_answered,
	};

	take->len = 0;
	return len > 0 ? http_server_start(&config, take->fds, len, ret, err) : 0;
}

static int start_discovery(struct server *s, struct discover **ret, struct err *err)
{
	const struct discover_config config = {
		.udp_port = (uint16_t)s->config->discovery_port,
		.name = s->name,
		.version = HOIST_VERSION,
		.key = s->identity.fingerprint,
		.listens = s->listens,
		.listens_len = s->listens_len,
		.rumours = &s->rumours,
	};

	if (strcmp(s->config->discovery, "yes") != 0)
		return 0;
	return discover_start(&config, ret, err);
}

/* DATA/server.json: where and who this server is, for `hoist --data` on the same machine.  A wildcard is reached by
 * loopback. */
static int write_address(const struct server *s, int fd, struct err *err)
{
	char url[LISTEN_TEXT_SIZE], text[256];
	const char *host;
	uint16_t port;
	int n, r = listen_describe(fd, "https", url, &port, err);

	if (r < 0)
		return r;
	host = url + strlen("https://");
	if (strncmp(host, "[::]:", 5) == 0 || strncmp(host, "0.0.0.0:", 8) == 0)
		(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", (unsigned)port);
	n = snprintf(text, sizeof(text), "{\"url\": \"%s\", \"fingerprint\": \"%s\"}\n", url,
		     s->identity.fingerprint_text);
	return file_write_private(s->config->data, ADDRESS_FILE, text, (size_t)n, err);
}

static int print_listeners(const char *what, const char *scheme, const struct listeners *l,
			   struct err *err)
{
	char text[LISTEN_TEXT_SIZE];
	uint16_t port;

	for (size_t i = 0; i < l->len; i++) {
		int r = listen_describe(l->fds[i], scheme, text, &port, err);

		if (r < 0)
			return r;
		printf("%s %s\n", what, text);
	}
	return 0;
}

/* The listeners as they were before they were given away. */
static int announce(struct server *s, const struct listeners *https, const struct listeners *boot,
		    struct err *err)
{
	if (write_address(s, https->fds[0], err) < 0)
		return err->code;

	printf("fingerprint %s\n", s->identity.fingerprint_text);
	printf("operator-token %s/" OPERATOR_FILE "\n", s->config->data);
	if (print_listeners("listening", "https", https, err) < 0 ||
	    print_listeners("booting", "http", boot, err) < 0)
		return err->code;
	printf("ready\n");
	if (fflush(stdout) != 0)
		return err_set(err, -errno, "write to standard output: %m");
	notify_ready();
	return 0;
}

static void wait_for_signal(void)
{
	sigset_t set;
	int sig = 0;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	while (sigwait(&set, &sig) != 0)
		;
	log_event(LOG_INFO, "stopping", "signal=%d", sig);
}

/* Serve until a signal. */
static int serve(struct server *s, struct listeners *take_https, struct listeners *take_boot,
		 struct err *err)
{
	const struct listeners https = *take_https, boot = *take_boot;
	struct http_server *http = NULL, *boot_http = NULL;
	struct discover *discover = NULL;
	int r = 0;

	for (; r == 0 && s->listens_len < https.len; s->listens_len++)
		r = listen_bound(https.fds[s->listens_len], &s->listens[s->listens_len], err);
	if (r == 0)
		r = start_discovery(s, &discover, err);
	if (r == 0)
		r = start_http(s, take_https, &http, err);
	if (r == 0)
		r = start_boot(s, take_boot, &boot_http, err);
	if (r == 0)
		r = announce(s, &https, &boot, err);
	if (r == 0)
		wait_for_signal();
	notify_stopping();
	discover_stop(discover);
	fleet_stop(s->fleet); /* long polls end, so that connections can */
	access_stop(s->access);
	http_server_stop(http);
	http_server_stop(boot_http);
	return r;
}

static int run(struct server *s, struct err *err)
{
	CLEANUP(listeners_close) struct listeners https = {.len = 0}, boot = {.len = 0};
	int r;

	s->started_ms = server_now_ms();
	set_name(s);
	raise_limits(s->config);
	r = load_operator_token(s->config->data, &s->operator_hash, err);
	if (r == 0)
		r = open_https(s->config, &https, err);
	if (r == 0)
		r = open_media(s, &boot, err);
	if (r == 0)
		r = open_storage(s, err);
	if (r == 0)
		r = open_access(s, err);
	if (r == 0)
		r = open_fleet(s, err);
	return r == 0 ? serve(s, &https, &boot, err) : r;
}

static int start(const struct config *config)
{
	struct server *s = calloc(1, sizeof(*s));
	struct err err;
	int r;

	if (!s) {
		fprintf(stderr, "hoist-server: out of memory\n");
		return EXIT_FAILURE;
	}
	s->config = config;
	rumours_init(&s->rumours);
	r = make_data_dir(config->data, &err);
	if (r == 0)
		r = identity_load(config->data, &s->identity, &err);
	if (r == 0 && config->print_fingerprint)
		printf("%s\n", s->identity.fingerprint_text);
	else if (r == 0)
		r = run(s, &err);
	fleet_close(s->fleet);
	access_close(s->access);
	audit_free(s->audit);
	if (s->store)
		store_close(s->store);
	state_close(s->state);
	media_close(s->media);
	identity_done(&s->identity);
	rumours_done(&s->rumours);
	free(s);
	return r < 0 ? fail(&err) : EXIT_SUCCESS;
}

/* Signals are waited for by the main thread; the others inherit this mask. */
static void block_signals(void)
{
	sigset_t set;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int parse(struct config *config, int argc, char **argv, int *ret_status)
{
	enum log_level level = LOG_INFO;
	struct err err;
	int first = argc;
	int r = settings_init(&config_table, config, &err);

	if (r == 0)
		r = settings_parse_argv(&config_table, config, argc - 1, argv + 1, &first, &err);
	if (r < 0) {
		*ret_status = usage_error(err.msg);
		return -1;
	}
	if (r == 1) {
		print_usage();
		return -1;
	}
	if (config->version) {
		printf("hoist-server %s\n", HOIST_VERSION);
		return -1;
	}
	if (first < argc - 1)
		*ret_status = usage_error("it takes no operands, only options");
	else if (!config->data)
		*ret_status = usage_error("--data DIR is missing: where to keep everything");
	else if (log_level_from_name(config->log_level, &level) == 0)
		return log_set_level(level), 0;
	return -1;
}

int main(int argc, char **argv)
{
	struct config config = {0};
	int status = EXIT_SUCCESS;

	standard_fds_keep();
	if (argc == 2 && strcmp(argv[1], "--print-man") == 0) { /* for `make man` */
		server_print_man(stdout);
		return EXIT_SUCCESS;
	}

	umask(077);
	block_signals();
	if (parse(&config, argc, argv, &status) == 0)
		status = start(&config);
	settings_done(&config_table, &config);
	return status;
}
