/* cpu.c - processors and memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/machine.h"
#include "common/cleanup.h"

#define CPUINFO_MAX (4u << 20) /* 2,000 processors */
#define THREADS_MAX 8192u

/* What a guest may need, or what tells what the machine can do. */
static const char *const flags_that_matter[] = {
	"lm",	 "nx",	   "pae",    "vmx",    "svm", "hypervisor", "aes",     "pclmulqdq",
	"ssse3", "sse4_1", "sse4_2", "popcnt", "avx", "avx2",	    "avx512f", "sha_ni",
};

struct parse {
	struct cpu *cpu;
	/* of the processor being read */
	unsigned long package, core;
	/* (package << 32 | core) of all */
	uint64_t *cores;
	size_t len;
};

static int by_value(const void *pa, const void *pb)
{
	uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;

	return a < b ? -1 : a > b;
}

static void parse_flags(struct cpu *c, char *value)
{
	char *save = NULL;

	for (char *w = strtok_r(value, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		for (size_t i = 0; i < sizeof(flags_that_matter) / sizeof(*flags_that_matter);
		     i++) {
			if (strcmp(w, flags_that_matter[i]) == 0 && c->flags_len < CPU_FLAGS_MAX)
				c->flags[c->flags_len++] = flags_that_matter[i];
		}
	}
}

static void end_processor(struct parse *p)
{
	if (p->len < THREADS_MAX)
		p->cores[p->len++] = (uint64_t)p->package << 32 | (p->core & UINT32_MAX);
}

static void parse_line(struct parse *p, char *line)
{
	char *value = strchr(line, ':');
	size_t key_len;

	if (!value)
		return;
	key_len = strcspn(line, "\t:");
	while (key_len > 0 && line[key_len - 1] == ' ')
		key_len--;
	value++;
#define IS_KEY(s) (key_len == sizeof(s) - 1 && memcmp(line, s, key_len) == 0)
	if (IS_KEY("processor")) {
		p->cpu->threads++;
		p->package = 0;
		p->core = p->cpu->threads; /* its own, unless told otherwise */
	} else if (IS_KEY("physical id")) {
		p->package = strtoul(value, NULL, 10);
	} else if (IS_KEY("core id")) {
		p->core = strtoul(value, NULL, 10);
	} else if (IS_KEY("vendor_id") && !p->cpu->vendor[0]) {
		(void)text_clean(p->cpu->vendor, sizeof(p->cpu->vendor), value, strlen(value));
	} else if (IS_KEY("model name") && !p->cpu->model[0]) {
		(void)text_clean(p->cpu->model, sizeof(p->cpu->model), value, strlen(value));
	} else if (IS_KEY("flags") && p->cpu->flags_len == 0) {
		parse_flags(p->cpu, value);
	}
}

static void count_cores(struct parse *p)
{
	qsort(p->cores, p->len, sizeof(*p->cores), by_value);
	for (size_t i = 0; i < p->len; i++) {
		p->cpu->cores += i == 0 || p->cores[i] != p->cores[i - 1];
		p->cpu->sockets += i == 0 || p->cores[i] >> 32 != p->cores[i - 1] >> 32;
	}
}

void cpu_read(const struct sysroot *r, struct cpu *ret)
{
	CLEANUP_FREE char *text = malloc(CPUINFO_MAX + 1);
	CLEANUP_FREE uint64_t *cores = calloc(THREADS_MAX, sizeof(*cores));
	struct parse p = {.cpu = ret, .cores = cores};
	ssize_t n = -1;

	*ret = (struct cpu){0};
	if (text && cores)
		n = sysroot_read(r, text, CPUINFO_MAX, "proc/cpuinfo");
	if (n < 0)
		return;
	text[n] = '\0';
	for (char *line = text, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strncmp(line, "processor", 9) == 0 && ret->threads > 0)
			end_processor(&p);
		parse_line(&p, line);
	}
	if (ret->threads > 0)
		end_processor(&p);
	count_cores(&p);
}

static uint64_t read_hex(const struct sysroot *r, const char *entry, const char *name)
{
	char text[32];

	if (!sysroot_text(r, text, sizeof(text), "sys/firmware/memmap/%s/%s", entry, name))
		return 0;
	return strtoull(text, NULL, 16);
}

/* What the firmware's map calls RAM: what is built in, less what it keeps to itself. */
static uint64_t read_memmap(const struct sysroot *r)
{
	CLEANUP_NAMES struct name_list entries = {0};
	uint64_t sum = 0;

	sysroot_list(r, &entries, "sys/firmware/memmap");
	for (size_t i = 0; i < entries.len; i++) {
		uint64_t start = read_hex(r, entries.names[i], "start");
		uint64_t end = read_hex(r, entries.names[i], "end");
		char type[32];

		(void)sysroot_text(r, type, sizeof(type), "sys/firmware/memmap/%s/type",
				   entries.names[i]);
		if (strcmp(type, "System RAM") == 0 && end > start && end - start < 1ull << 52)
			sum += end - start + 1;
	}
	return sum;
}

uint64_t memory_read(const struct sysroot *r)
{
	char text[1025];
	ssize_t n = sysroot_read(r, text, sizeof(text) - 1, "proc/meminfo");
	uint64_t total = 0, map = read_memmap(r);
	const char *at;

	text[n < 0 ? 0 : n] = '\0';
	at = strstr(text, "MemTotal:");
	if (at)
		total = strtoull(at + 9, NULL, 10) << 10; /* "kB" of 1,024 */
	return map > total ? map : total;
}
