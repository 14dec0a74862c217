/* BLAKE3 on every code path: MiB/s and CPU seconds per GiB for messages of the sizes that matter.
 * The best of several runs; hot caches; one thread.  make build/release/bench/bench_blake3 */
#include "common/blake3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AREA ((size_t)4 << 20) /* bytes hashed in a run */
#define RUNS 25

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds for AREA bytes in messages of `size` bytes. */
static double measure(const uint8_t *area, size_t size)
{
	uint8_t out[BLAKE3_OUT_SIZE];
	double best = 1e9;

	for (int run = 0; run < RUNS; run++) {
		double start = cpu_seconds(), spent;

		for (size_t offset = 0; offset < AREA; offset += size)
			blake3_hash(area + offset, size, out);
		spent = cpu_seconds() - start;
		best = spent < best ? spent : best;
	}
	return best;
}

int main(void)
{
	static const size_t size[] = {1024, 4096, 8192, 16384, 32768, 65536, 131072, 1048576};
	uint8_t *area = malloc(AREA);

	if (!area) {
		perror("bench_blake3");
		return EXIT_FAILURE;
	}
	memset(area, 7, AREA);
	printf("%-10s %8s %9s %10s\n", "path", "bytes", "MiB/s", "CPU-s/GiB");
	for (enum blake3_isa isa = BLAKE3_PORTABLE; isa < BLAKE3_ISA_COUNT; isa++) {
		if (!blake3_isa_supported(isa))
			continue;
		blake3_force_isa(isa);
		for (size_t i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
			double s = measure(area, size[i]);

			printf("%-10s %8zu %9.0f %10.3f\n", blake3_isa_name(isa), size[i],
			       (double)AREA / 1048576 / s, s * 1024 * 1048576 / (double)AREA);
		}
	}
	free(area);
	return EXIT_SUCCESS;
}
