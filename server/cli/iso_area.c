#include "server/cli/iso_area.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/medium.h"
#include "common/medium_settings.h"
#include "server/cli/iso_place.h"

static int encode(const json_t *settings, uint8_t ret_area[static MEDIUM_AREA_SIZE],
		  struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = medium_settings_text(settings, &text, &size, err);

	if (r == 0)
		r = medium_encode(text, size, ret_area, err);
	if (text)
		explicit_bzero(text, size);
	return r;
}

int iso_area_check(const json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = encode(settings, area, err);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	return r;
}

static int write_flushed(int fd, const uint8_t area[static MEDIUM_AREA_SIZE], uint64_t offset,
			 struct err *err)
{
	int r = write_full(fd, area, MEDIUM_AREA_SIZE, offset);

	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	errno = -r;
	return err_set(err, r, "write the settings: %m");
}

int iso_area_write(int fd, uint64_t offset, const json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = encode(settings, area, err);
	if (r == 0)
		r = write_flushed(fd, area, offset, err);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	return r;
}

int iso_area_read(int fd, uint64_t offset, json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	const char *text = NULL;
	size_t size = 0;
	int r = 0;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	if (medium_read(fd, area, MEDIUM_AREA_SIZE, offset) != MEDIUM_AREA_SIZE)
		r = err_set(err, -EIO, "read the settings: %m");
	if (r == 0)
		r = medium_decode(area, &text, &size, err);
	if (r == 0)
		r = medium_settings_parse(text, size, settings, err);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	return r;
}
