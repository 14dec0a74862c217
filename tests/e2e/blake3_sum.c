/* What tests/e2e/blake3-b3sum.sh compares with b3sum:
 *	blake3_sum paths		the names of the code paths of this CPU
 *	blake3_sum make DIR SEED	files of all interesting and of random lengths into DIR
 *	blake3_sum hash PATH FILE...	their hashes by that code path, written as b3sum does
 * Every file is hashed at once and in pieces of random length; the two must be equal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blake3.h"
#include "common/cleanup.h"

#define FILE_MAX     ((size_t)200000)
#define RANDOM_FILES 2000

static uint64_t random_state = 1;

/* xorshift64* (Marsaglia, Vigna): the same files from the same seed everywhere. */
static uint64_t random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dULL;
}

static _Noreturn void die(const char *what, const char *name)
{
	(void)fprintf(stderr, "blake3_sum: %s '%s': %m\n", what, name);
	_exit(EXIT_FAILURE);
}

static void file_make(const char *dir, const uint8_t *bytes, size_t size)
{
	char name[4096];
	size_t at = random_next() % (FILE_MAX + 1 - size);
	CLEANUP_CLOSE int fd = -1;

	(void)snprintf(name, sizeof(name), "%s/%06zu", dir, size);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("create", name);
	while (size > 0) {
		ssize_t n = write(fd, bytes + at, size);

		if (n < 0)
			die("write", name);
		at += (size_t)n;
		size -= (size_t)n;
	}
}

static int files_make(const char *dir)
{
	CLEANUP_FREE uint8_t *bytes = malloc(FILE_MAX);

	if (!bytes)
		die("memory for", dir);
	for (size_t i = 0; i < FILE_MAX; i++)
		bytes[i] = (uint8_t)(random_next() >> 56);
	for (size_t size = 0; size <= 192; size++)
		file_make(dir, bytes, size);
	for (size_t chunk = 1; chunk <= 140; chunk++)
		for (size_t i = 0; i < 3; i++)
			file_make(dir, bytes, chunk * 1024 - 1 + i);
	for (unsigned i = 0; i < RANDOM_FILES; i++)
		file_make(dir, bytes, random_next() % (i % 2 ? FILE_MAX + 1 : 20000));
	return EXIT_SUCCESS;
}

static void hash_pieces(const uint8_t *data, size_t size, uint8_t *out)
{
	struct blake3 h;

	blake3_init(&h);
	while (size > 0) {
		size_t n = random_next() % (random_next() % 2 ? 3000 : 150000) + 1;

		n = n < size ? n : size;
		blake3_update(&h, data, n);
		data += n;
		size -= n;
	}
	blake3_final(&h, out);
}

static void file_hash(const char *name)
{
	uint8_t out[BLAKE3_OUT_SIZE], pieces[BLAKE3_OUT_SIZE];
	CLEANUP_FREE uint8_t *data = NULL;
	CLEANUP_CLOSE int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		die("open", name);
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		die("read", name);
	blake3_hash(data, (size_t)st.st_size, out);
	hash_pieces(data, (size_t)st.st_size, pieces);
	if (memcmp(out, pieces, sizeof(out)) != 0) {
		errno = EBADMSG;
		die("in pieces another hash than at once:", name);
	}
	for (size_t i = 0; i < sizeof(out); i++)
		printf("%02x", out[i]);
	printf("  %s\n", name);
}

static void path_force(const char *name)
{
	for (enum blake3_isa isa = BLAKE3_AUTO; isa < BLAKE3_ISA_COUNT; isa++) {
		if (strcmp(blake3_isa_name(isa), name) == 0 && blake3_isa_supported(isa)) {
			blake3_force_isa(isa);
			return;
		}
	}
	errno = ENOTSUP;
	die("code path", name);
}

static int paths_print(void)
{
	for (enum blake3_isa isa = BLAKE3_AUTO; isa < BLAKE3_ISA_COUNT; isa++) {
		if (blake3_isa_supported(isa))
			puts(blake3_isa_name(isa));
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "paths") == 0)
		return paths_print();
	if (argc == 4 && strcmp(argv[1], "make") == 0) {
		random_state = strtoull(argv[3], NULL, 10) | 1;
		return files_make(argv[2]);
	}
	if (argc > 3 && strcmp(argv[1], "hash") == 0) {
		path_force(argv[2]);
		for (int i = 3; i < argc; i++)
			file_hash(argv[i]);
		return EXIT_SUCCESS;
	}
	(void)fputs("Usage: blake3_sum paths | make DIR SEED | hash PATH FILE...\n", stderr);
	return EXIT_FAILURE;
}
