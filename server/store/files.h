/* files.h - the store's file operations: whole files in and out, renames, syncs; and the seam through which
 * tests make any of them fail.
 *
 * All paths are relative to the folder that files_init opened.  Errors: the errno of the failed call, negative
 * (-EIO also where the filesystem is damaged, -ENOSPC where a quota is used up), and a sentence that names the file. */
#ifndef SERVER_STORE_FILES_H
#define SERVER_STORE_FILES_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"

enum file_op {
	FILE_READ,
	FILE_WRITE,
	FILE_SYNC,
	FILE_SYNC_FOLDER,
	FILE_RENAME,
	FILE_REMOVE,
	FILE_COMMIT,  /* of objects.db */
	FILE_FORGET,  /* cannot fail */
	FILE_LOOK_UP, /* in objects.db, of what was not found in memory; cannot fail */
};

/* Called before each operation, from any thread: 0, or the negative errno that it shall fail with. */
typedef int (*files_fault_fn)(void *arg, enum file_op op, const char *path);

struct files {
	int fd;	    /* the store's folder */
	char *name; /* of it, for messages; heap */
	bool is_synced_whole; /* its filesystem is one of those whose syncfs(2) is known to keep what it promises */
	atomic_uint_least64_t next_tmp;
	files_fault_fn fault; /* NULL outside tests */
	void *fault_arg;
};

#define FILES_PATH_SIZE 112 /* of any path in the store */

int files_init(struct files *f, const char *dir, files_fault_fn fault, void *fault_arg,
	       struct err *err) MUST_CHECK;
void files_done(struct files *f);

/* The place of a pack, index or manifest. */
void files_path_pack(char ret[static FILES_PATH_SIZE], const struct id *id);
void files_path_index(char ret[static FILES_PATH_SIZE], const struct id *root);
void files_path_manifest(char ret[static FILES_PATH_SIZE], const struct id *id);

/* An errno as the store takes it: EIO also for a filesystem that is damaged, ENOSPC also for a quota. */
int files_code(int code);

/* What the seam says of an operation that is done elsewhere. */
int files_check(const struct files *f, enum file_op op, const char *path,
		struct err *err) MUST_CHECK;

/* -ENOSPC when a file of this size would leave too little for the store's own upkeep: the index, and gc, which makes room. */
int files_check_room(const struct files *f, size_t size, struct err *err) MUST_CHECK;

int files_make_folder(const struct files *f, const char *path, struct err *err) MUST_CHECK;

/* A new file tmp/N, for writing; its path in `ret_path`. */
int files_create_tmp(struct files *f, char ret_path[static FILES_PATH_SIZE], int *ret_fd,
		     struct err *err) MUST_CHECK;
int files_write(const struct files *f, int fd, const char *path, const void *data, size_t size,
		struct err *err) MUST_CHECK;
int files_sync(const struct files *f, int fd, const char *path, struct err *err) MUST_CHECK;
int files_sync_folder(const struct files *f, const char *path, struct err *err) MUST_CHECK;
/* Several at once: files_sync_data of each file, then one files_sync_all with all the folders.  Where the filesystem can, that is one
 * commit of its journal and one flush of the disk's cache, in place of one for each. */
int files_sync_data(const struct files *f, int fd, const char *path, struct err *err) MUST_CHECK;
int files_sync_all(const struct files *f, const char *const *folders, size_t len,
		   struct err *err) MUST_CHECK;
int files_rename(const struct files *f, const char *from, const char *to,
		 struct err *err) MUST_CHECK;
/* Does the name lead to the file that `fd` has open? */
bool files_is_at(const struct files *f, int fd, const char *path);
/* A file that is not there is no error. */
int files_remove(const struct files *f, const char *path, struct err *err) MUST_CHECK;

/* Write a file whole and durably under its final name: tmp, sync, rename, sync of `folder`. */
int files_put(struct files *f, const char *folder, const char *path, const void *data, size_t size,
	      struct err *err) MUST_CHECK;

/* Open for reading and tell the size; -ENOENT when it is not there, -ENODATA when it is no plain file. */
int files_open(const struct files *f, const char *path, int *ret_fd, uint64_t *ret_size,
	       struct err *err) MUST_CHECK;
/* Exactly `size` bytes at `offset`; -ENODATA when the file ends before. */
/* What the kernel has of it in memory is no witness of what the medium has.  What is not written back yet stays: call it after a checkpoint. */
void files_forget(const struct files *f, int fd, const char *path);
int files_read(const struct files *f, int fd, const char *path, void *buf, size_t size,
	       uint64_t offset, struct err *err) MUST_CHECK;
/* A whole file of at most `max` bytes, NUL-terminated heap.  -ENOENT; -EFBIG. */
int files_get(const struct files *f, const char *path, size_t max, char **ret, size_t *ret_size,
	      struct err *err) MUST_CHECK;

/* Move `path` to quarantine/, under its own name (with ".N" behind it when there is one already). */
int files_quarantine(const struct files *f, const char *path, struct err *err) MUST_CHECK;
#endif
