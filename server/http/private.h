/* private.h - inside server/http. */
#ifndef SERVER_HTTP_PRIVATE_H
#define SERVER_HTTP_PRIVATE_H
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "server/http/connections.h"
#include "server/http/http.h"
#include "server/http/memory.h"

#define DAEMONS_MAX 16u

struct http_server {
	struct http_config config;
	struct MHD_Daemon *daemons[DAEMONS_MAX];
	size_t daemons_len;
	struct connections *connections;
	struct memory *memory;
	pthread_t sweeper;
	bool has_sweeper;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t done, stop;
	bool stopping;
	unsigned requests;    /* under way */
	uint64_t freed_bytes; /* since the last trim */
	time_t trimmed;	      /* when that was, of CLOCK_MONOTONIC */
};

/* libmicrohttpd's callbacks for a request, of which `cls` is the server. */
enum MHD_Result request_access(void *cls, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *data,
			       size_t *data_size, void **con_cls);
void request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
		       enum MHD_RequestTerminationCode code);
#endif
