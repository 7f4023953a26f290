/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one seam for reading with a limit and for writing durably. Nothing else in the project calls fsync, rename,
 * unlink or ftruncate on things that must survive (test/check-house.sh looks for violations), so that fault and
 * power-cut tests need one hook. Paths are relative to dir_fd; AT_FDCWD is allowed. */

#include <fcntl.h>

#include "error.h"

/* Reads a whole file of at most max_size bytes; *ret is NUL-terminated behind *ret_size. */
int io_read_file(int dir_fd, const char *path, size_t max_size, char **ret, size_t *ret_size, Error *reterr);
/* Reads to the end of fd, at most max_size bytes. */
int io_read_fd(int fd, size_t max_size, char **ret, size_t *ret_size, Error *reterr);

int io_write_all(int fd, const void *data, size_t size, Error *reterr);
int io_pwrite_all(int fd, const void *data, size_t size, uint64_t offset, Error *reterr);
/* Exactly size bytes at offset, or an error. */
int io_pread_all(int fd, void *data, size_t size, uint64_t offset, Error *reterr);
/* Copies between files at the given offsets; shares extents or uses copy_file_range() where the kernel can, keeps holes
 * of the source as holes. */
int io_copy_range(int from_fd, uint64_t from_offset, int to_fd, uint64_t to_offset, uint64_t size, Error *reterr);

/* Appends exactly size bytes from the start of one file to another at its position; works with O_APPEND. */
int io_copy_stream(int from_fd, int to_fd, uint64_t size, Error *reterr);

/* Replaces a file as a whole and durably: temporary file beside it, fsync, rename, fsync of the folder. */
int io_replace_file(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, Error *reterr);
/* The same without syncing: for products that the next run makes again if they are lost. Still atomic for readers. */
int io_write_file(int dir_fd, const char *path, const void *data, size_t size, mode_t mode, Error *reterr);
/* Puts a finished file or folder in place under its final name; refuses to replace (REFUSAL_EXISTS). */
int io_rename_new(int dir_fd, const char *from, const char *to, Error *reterr);
int io_rename_replace(int dir_fd, const char *from, const char *to, Error *reterr);
int io_sync_fd(int fd, Error *reterr);
int io_sync_folder(int dir_fd, const char *path, Error *reterr);

int io_unlink(int dir_fd, const char *path, Error *reterr); /* 1: was not there */
/* Removes a folder with all it holds, never following links; 1: was not there. */
int io_remove_tree(int dir_fd, const char *path, Error *reterr);
int io_mkdir_parents(int dir_fd, const char *path, mode_t mode, Error *reterr);

/* An unnamed temporary file in the folder (O_TMPFILE, or created and unlinked). */
int io_tmpfile(const char *folder, int *ret_fd, Error *reterr);
/* A folder of our own under TMPDIR (default /var/tmp): the name is removed by io_remove_tree(). */
int io_temporary_folder(const char *purpose, char **ret_path, Error *reterr);

bool io_exists(int dir_fd, const char *path);
/* "a/b" from "a" and "b"; an absolute second part wins. */
char *path_join(const char *a, const char *b);
/* Last component; never NULL, never with a slash. */
const char *path_basename(const char *path);
char *path_dirname(const char *path);
/* True for a relative path without empty, "." or ".." components, without NUL and of at most PATH_MAX bytes. */
bool path_is_clean_relative(const char *path);
