/* What a capture consists of, each step alone: CPU seconds per GiB that is not zero.
 *
 *     primitives DISK [LEVEL [MIB [THREADS]]]
 *
 * Windows spread over DISK, up to MIB (512) of them in memory, are gone through by THREADS (as many as cores) threads, once a step; what
 * counts is the processor time of those threads alone.  The sum of the steps is what a capture would cost that did nothing else: the
 * distance to it is what its own working costs.  One line of JSON. */
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "common/blk.h"
#include "common/bytes.h"
#include "common/codec.h"
#include "common/node.h"
#include "common/pack.h"

#define THREADS_MAX 64u
#define RECORD	    16384u /* of TLS */
#define ROUNDS	    3	   /* of each step; the least counts */

enum step { READ, CUT, HASH, COPY, COMPRESS, PACK_HASH, ENCRYPT, SEND, STEPS };
static const char *const names[STEPS] = {"read",     "cut",	  "hash",    "copy",
					 "compress", "pack_hash", "encrypt", "send"};

struct bench {
	struct blk *disk;
	uint64_t *windows; /* the numbers of those that are not all zero */
	size_t len;
	uint8_t *data;	    /* len * WINDOW_SIZE */
	struct node *nodes; /* theirs */
	uint64_t plain;	    /* bytes of chunks */
	int level;
	unsigned threads;
	enum step step;
};

struct worker {
	struct bench *b;
	unsigned n;
	pthread_t thread;
	uint8_t *buf, *plain, *out; /* a window; the chunks of a window; a pack's room */
	struct codec_ctx *codec;
	EVP_CIPHER_CTX *cipher;
	int sink[2]; /* connected; [1] is drained by another thread */
	pthread_t drain;
	double seconds[STEPS];
	uint64_t packed; /* bytes of compressed packs, by the last COMPRESS */
};

_Noreturn static void die(const char *what)
{
	(void)fprintf(stderr, "primitives: %s\n", what);
	_exit(1);
}

static double cpu_seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint32_t gather(const struct node *n, const uint8_t *data, uint8_t *plain)
{
	uint32_t size = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		if (!n->entries[i].is_chunk)
			continue;
		memcpy(plain + size, data + n->entries[i].offset, n->entries[i].length);
		size += n->entries[i].length;
	}
	return size;
}

static void hash_chunks(const struct node *n, const uint8_t *data)
{
	for (uint32_t i = 0; i < n->count; i++) {
		if (n->entries[i].is_chunk)
			(void)id_of(data + n->entries[i].offset, n->entries[i].length);
	}
}

static void compress_packs(struct worker *w, uint32_t size)
{
	for (uint32_t at = 0; at < size; at += PACK_PLAIN_AIM) {
		uint32_t n = size - at < PACK_PLAIN_AIM ? size - at : PACK_PLAIN_AIM;
		int64_t got = codec_compress(w->codec, CODEC_ZSTD, w->b->level, w->plain + at, n,
					     w->out, n);

		w->packed += got > 0 ? (uint64_t)got : n;
	}
}

static void encrypt_all(struct worker *w, const uint8_t *data, uint32_t size)
{
	static const uint8_t key[16], nonce[12];
	int n;

	for (uint32_t at = 0; at < size; at += RECORD) {
		int want = (int)(size - at < RECORD ? size - at : RECORD);

		if (EVP_EncryptInit_ex(w->cipher, EVP_aes_128_gcm(), NULL, key, nonce) != 1 ||
		    EVP_EncryptUpdate(w->cipher, w->out, &n, data + at, want) != 1 ||
		    EVP_EncryptFinal_ex(w->cipher, w->out + n, &n) != 1)
			die("AES-GCM failed");
	}
}

static void send_all(struct worker *w, const uint8_t *data, uint32_t size)
{
	while (size > 0) {
		ssize_t n = send(w->sink[0], data, size < RECORD ? size : RECORD, MSG_NOSIGNAL);

		if (n <= 0)
			die("send failed");
		data += n;
		size -= (uint32_t)n;
	}
}

/* One step over one window.  What comes after compression has to do with fewer bytes: they are charged for in the end. */
static void do_window(struct worker *w, size_t i)
{
	struct bench *b = w->b;
	uint8_t *data = b->data + i * WINDOW_SIZE;
	struct err err;
	struct id id;

	switch (b->step) {
	case READ:
		for (uint32_t at = 0; at < WINDOW_SIZE; at += 1u << 20) {
			if (blk_read(b->disk, w->buf + at, 1u << 20,
				     b->windows[i] * WINDOW_SIZE + at, &err) < 0)
				die(err.msg);
		}
		break;
	case CUT:
		node_cut_only(data, WINDOW_SIZE, &b->nodes[i]);
		break;
	case HASH:
		hash_chunks(&b->nodes[i], data);
		break;
	case COPY:
		(void)gather(&b->nodes[i], data, w->plain);
		break;
	case PACK_HASH:
		id = id_of(data, (uint32_t)node_data_bytes(&b->nodes[i]));
		(void)id;
		break;
	case ENCRYPT:
		encrypt_all(w, data, (uint32_t)node_data_bytes(&b->nodes[i]));
		break;
	case SEND:
		send_all(w, data, (uint32_t)node_data_bytes(&b->nodes[i]));
		break;
	case COMPRESS: /* timed apart from what it needs */
	case STEPS:
		break;
	}
}

static void *run_step(void *arg)
{
	struct worker *w = arg;
	struct bench *b = w->b;
	double spent = 0;

	if (b->step == COMPRESS)
		w->packed = 0;
	for (size_t i = w->n; i < b->len; i += b->threads) {
		uint32_t size = 0;
		double start;

		if (b->step == COMPRESS)
			size = gather(&b->nodes[i], b->data + i * WINDOW_SIZE, w->plain);
		start = cpu_seconds();
		if (b->step == COMPRESS)
			compress_packs(w, size);
		else
			do_window(w, i);
		spent += cpu_seconds() - start;
	}
	if (w->seconds[b->step] == 0 || spent < w->seconds[b->step])
		w->seconds[b->step] = spent;
	return NULL;
}

static void *drain(void *arg)
{
	struct worker *w = arg;
	uint8_t *buf = malloc(1u << 18);

	while (buf && read(w->sink[1], buf, 1u << 18) > 0)
		;
	free(buf);
	return NULL;
}

/* A TCP connection to ourselves. */
static void connect_sink(struct worker *w)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *sa = (struct sockaddr *)&a;
	socklen_t size = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	w->sink[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || w->sink[0] < 0 || bind(listener, sa, size) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, sa, &size) < 0 ||
	    connect(w->sink[0], sa, size) < 0)
		die("no loopback");
	w->sink[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	(void)close(listener);
	if (w->sink[1] < 0 || pthread_create(&w->drain, NULL, drain, w) != 0)
		die("no loopback");
}

static void init_worker(struct worker *w, struct bench *b, unsigned n)
{
	*w = (struct worker){.b = b, .n = n};
	w->buf = buffer_new(WINDOW_SIZE);
	w->plain = buffer_new(WINDOW_SIZE);
	w->out = malloc(WINDOW_SIZE);
	w->codec = codec_ctx_new();
	w->cipher = EVP_CIPHER_CTX_new();
	if (!w->buf || !w->plain || !w->out || !w->codec || !w->cipher)
		die("out of memory");
	connect_sink(w);
}

static void done_worker(struct worker *w)
{
	(void)shutdown(w->sink[0], SHUT_RDWR);
	(void)pthread_join(w->drain, NULL);
	(void)close(w->sink[0]);
	(void)close(w->sink[1]);
	EVP_CIPHER_CTX_free(w->cipher);
	codec_ctx_free(w->codec);
	free(w->buf);
	free(w->plain);
	free(w->out);
}

/* Every so-manieth window that is not all zero and whole, so that they come from all over the disk. */
static void load(struct bench *b, size_t max)
{
	uint64_t whole = blk_size(b->disk) / WINDOW_SIZE, step = whole / max + 1;
	struct err err;

	b->data = buffer_new(max * WINDOW_SIZE);
	b->windows = calloc(max, sizeof(*b->windows));
	b->nodes = calloc(max, sizeof(*b->nodes));
	if (!b->data || !b->windows || !b->nodes)
		die("out of memory");
	for (uint64_t first = 0; first < step && b->len < max; first++) {
		for (uint64_t i = first; i < whole && b->len < max; i += step) {
			uint8_t *data = b->data + b->len * WINDOW_SIZE;

			if (blk_is_hole(b->disk, i * WINDOW_SIZE, WINDOW_SIZE))
				continue;
			if (blk_read(b->disk, data, WINDOW_SIZE, i * WINDOW_SIZE, &err) < 0)
				die(err.msg);
			if (bytes_are_zero(data, WINDOW_SIZE))
				continue;
			node_cut(data, WINDOW_SIZE, &b->nodes[b->len]);
			b->plain += node_data_bytes(&b->nodes[b->len]);
			b->windows[b->len++] = i;
		}
	}
	if (b->len == 0)
		die("there is nothing on the disk");
}

static void print(const struct bench *b, const struct worker *w)
{
	double gib = (double)b->plain / (1u << 30), sum = 0;
	uint64_t packed = 0;

	for (unsigned n = 0; n < b->threads; n++)
		packed += w[n].packed;
	printf("{\"level\": %d, \"threads\": %u, \"sample_bytes\": %llu, \"ratio\": %.4f", b->level,
	       b->threads, (unsigned long long)b->plain, (double)packed / (double)b->plain);
	for (int s = 0; s < STEPS; s++) {
		double seconds = 0;

		for (unsigned n = 0; n < b->threads; n++)
			seconds += w[n].seconds[s];
		seconds /= gib;
		if (s >= PACK_HASH)
			seconds *= (double)packed / (double)b->plain;
		sum += seconds;
		printf(", \"%s\": %.4f", names[s], seconds);
	}
	printf(", \"sum\": %.4f}\n", sum);
}

static void measure(struct bench *b, struct worker *w, enum step step)
{
	b->step = step;
	for (unsigned n = 1; n < b->threads; n++)
		if (pthread_create(&w[n].thread, NULL, run_step, &w[n]) != 0)
			die("no thread");
	(void)run_step(&w[0]);
	for (unsigned n = 1; n < b->threads; n++)
		(void)pthread_join(w[n].thread, NULL);
}

int main(int argc, char **argv)
{
	static struct worker w[THREADS_MAX];
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct bench b = {.level = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1};
	size_t mib = argc > 3 ? strtoul(argv[3], NULL, 10) : 512;
	struct err err;

	b.threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : (unsigned)cores;
	if (argc < 2 || mib < 4 || b.threads < 1 || b.threads > THREADS_MAX)
		die("usage: primitives DISK [LEVEL [MIB [THREADS]]]");
	if (blk_open_file(argv[1], BLK_READ, BLK_DIRECT | BLK_LOOK, 0, &b.disk, &err) < 0)
		die(err.msg);
	load(&b, mib / 4);
	for (unsigned n = 0; n < b.threads; n++)
		init_worker(&w[n], &b, n);
	for (int round = 0; round < ROUNDS; round++)
		for (int step = 0; step < STEPS; step++)
			measure(&b, w, (enum step)step);
	print(&b, w);
	for (unsigned n = 0; n < b.threads; n++)
		done_worker(&w[n]);
	free(b.data);
	free(b.windows);
	free(b.nodes);
	blk_free(b.disk);
	return 0;
}
