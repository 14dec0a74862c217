/* fuzz_recv.h - recv of this program stands in for that of a netlink socket (rtnl.c alone calls it; the real one is asked for by its number if need be).
 *
 * What it answers: datagrams, each a size (2) and bytes; a size of 0xffff is an error: errno (1). */
#ifndef TESTS_FUZZ_FUZZ_RECV_H
#define TESTS_FUZZ_FUZZ_RECV_H
#include <errno.h>
#include <sanitizer/asan_interface.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"

/* Not static, since some C libraries declare recv inline. */
struct reader answers;
void *recv_buf;
size_t recv_size;

/* What was received last may be touched as a whole again: for a buffer on the stack, which others use next. */
static inline void recv_done(void)
{
	ASAN_UNPOISON_MEMORY_REGION(recv_buf, recv_size);
}

ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	uint16_t length = reader_u16(&answers);
	const uint8_t *data;
	size_t size;

	(void)fd;
	(void)flags;
	recv_buf = buf;
	recv_size = n;
	recv_done();
	errno = EAGAIN; /* the time is over */
	if (answers.bad)
		return -1;
	if (length == 0xffff) {
		uint8_t code = reader_u8(&answers);

		errno = code ? code : EAGAIN;
		return -1;
	}
	size = length < answers.left ? length : answers.left;
	size = size < n ? size : n;
	data = reader_bytes(&answers, size);
	memcpy(buf, data, size);
	/* what is behind the datagram is nothing */
	ASAN_POISON_MEMORY_REGION((char *)buf + size, n - size);
	return (ssize_t)size;
}
#endif
