/* Group ids and roots, against the plain reading of docs/formats.md. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/root.h"
#include "tests/unit/tap.h"

static struct id node_of(uint64_t window)
{
	return id_of(&window, sizeof(window));
}

/* "HGR1", the count, the ids; then the index with these in the place of the node ids.  All in one buffer each. */
static struct id naive_root(const struct geometry *g, const struct extent *e, size_t len,
			    struct id *ret_groups)
{
	uint64_t windows = window_count(g->size), groups = 0;
	size_t size = INDEX_HEADER_SIZE + group_count(g->size) * ID_SIZE;
	CLEANUP_FREE uint8_t *whole = malloc(size + index_tail_size(len));

	if (!whole)
		abort();
	index_encode_header(g, whole);
	for (uint64_t first = 0; first < windows; first += 256, groups++) {
		uint32_t count = windows - first < 256 ? (uint32_t)(windows - first) : 256;
		uint8_t b[8 + 256 * 32] = {
			'H', 'G', 'R', '1', (uint8_t)count, (uint8_t)(count >> 8)};

		for (uint32_t i = 0; i < count; i++) {
			struct id id = node_of(first + i);

			memcpy(b + 8 + i * 32, id.b, 32);
		}
		ret_groups[groups] = id_of(b, 8 + count * 32);
		memcpy(whole + INDEX_HEADER_SIZE + groups * 32, ret_groups[groups].b, 32);
	}
	index_encode_tail(e, len, whole + size);
	return id_of(whole, size + index_tail_size(len));
}

static void test_size(uint64_t size)
{
	struct geometry g = {size, 512, 512};
	struct extent e[] = {{0, 512}, {size / 1024 * 512 + 512, 512}};
	size_t len = size >= 4096 ? 2 : 0;
	CLEANUP_FREE struct id *groups = calloc(group_count(size), sizeof(*groups));
	struct id want = naive_root(&g, e, len, groups), by_windows, by_groups, mixed;
	static struct root_hash h;
	uint64_t windows = window_count(size);

	root_init(&h, &g);
	for (uint64_t i = 0; i < windows; i++)
		root_add(&h, &(struct id[]){node_of(i)}[0]);
	by_windows = root_final(&h, e, len);
	root_init(&h, &g);
	for (uint64_t i = 0; i < group_count(size); i++)
		root_add_group(&h, &groups[i]);
	by_groups = root_final(&h, e, len);
	root_init(&h, &g);
	for (uint64_t i = 0; i < windows;) {
		if (i / GROUP_WINDOWS % 2) {
			root_add_group(&h, &groups[i / GROUP_WINDOWS]);
			i += group_length(size, i / GROUP_WINDOWS);
		} else {
			root_add(&h, &(struct id[]){node_of(i++)}[0]);
		}
	}
	mixed = root_final(&h, e, len);
	printf("# %llu bytes\n", (unsigned long long)size);
	ok(id_equal(&by_windows, &want), "window by window");
	ok(id_equal(&by_groups, &want), "group by group");
	ok(id_equal(&mixed, &want), "in turn");
}

/* All that the root names changes it. */
static void test_names(void)
{
	struct geometry g = {600ull * WINDOW_SIZE, 512, 512},
			other = {600ull * WINDOW_SIZE, 512, 4096};
	struct extent e = {512, 512}, f = {1024, 512};
	struct id groups[3], want = naive_root(&g, &e, 1, groups), got;
	static struct root_hash h;

	root_init(&h, &other);
	for (unsigned i = 0; i < 3; i++)
		root_add_group(&h, &groups[i]);
	got = root_final(&h, &e, 1);
	ok(!id_equal(&got, &want), "another sector size, another root");
	root_init(&h, &g);
	for (unsigned i = 0; i < 3; i++)
		root_add_group(&h, &groups[i]);
	got = root_final(&h, &f, 1);
	ok(!id_equal(&got, &want), "another unreadable place, another root");
	root_init(&h, &g);
	for (unsigned i = 0; i < 3; i++)
		root_add_group(&h, &groups[i == 0 ? 1 : i == 1 ? 0 : 2]);
	got = root_final(&h, &e, 1);
	ok(!id_equal(&got, &want), "another order, another root");
}

int main(void)
{
	test_size(512);
	test_size(WINDOW_SIZE);
	test_size(255ull * WINDOW_SIZE);
	test_size(256ull * WINDOW_SIZE);
	test_size(256ull * WINDOW_SIZE + 512);
	test_size(257ull * WINDOW_SIZE);
	test_size(1024ull * WINDOW_SIZE);
	test_size(1111ull * WINDOW_SIZE + 4096);
	test_names();
	return done();
}
