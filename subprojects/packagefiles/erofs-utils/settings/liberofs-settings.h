/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What configure would have found on Debian 12 and 13, written down instead of probed: liberofs takes other code
 * paths where a probe fails, silently, and images have to come out the same on every supported host. On a host
 * that lacks one of these the build stops, which is the wanted outcome.
 *
 * Users of liberofs must see the same settings, because the layout of its structures depends on them.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

/*
 * liberofs ignores some of its own errors and relies on assertions instead. It runs in a child process whose death
 * is reported; a dead child is better than a damaged image. Also, structures have other members under NDEBUG.
 */
#undef NDEBUG

#define HAVE_COPY_FILE_RANGE 1
#define HAVE_DIRENT_H 1
#define HAVE_ENDIAN_H 1
#define HAVE_FALLOCATE 1
#define HAVE_FCNTL_H 1
#define HAVE_FSTATFS 1
#define HAVE_GETOPT_H 1
#define HAVE_GETRANDOM 1
#define HAVE_GETRLIMIT 1
#define HAVE_GETTID 1
#define HAVE_INTTYPES_H 1
#define HAVE_LGETXATTR 1
#define HAVE_LIMITS_H 1
#define HAVE_LINUX_FALLOC_H 1
#define HAVE_LINUX_FS_H 1
#define HAVE_LINUX_LOOP_H 1
#define HAVE_LINUX_TYPES_H 1
#define HAVE_LINUX_XATTR_H 1
#define HAVE_LLISTXATTR 1
#define HAVE_LSETXATTR 1
#define HAVE_MEMRCHR 1
#define HAVE_POSIX_FADVISE 1
#define HAVE_PREAD64 1
#define HAVE_PTHREAD_H 1
#define HAVE_PWRITE64 1
#define HAVE_PWRITEV 1
#define HAVE_SENDFILE 1
#define HAVE_STRUCT_STAT_ST_ATIM 1
#define HAVE_STRUCT_STAT_ST_RDEV 1
#define HAVE_SYSCONF 1
#define HAVE_SYS_IOCTL_H 1
#define HAVE_SYS_MMAN_H 1
#define HAVE_SYS_RANDOM_H 1
#define HAVE_SYS_RESOURCE_H 1
#define HAVE_SYS_SENDFILE_H 1
#define HAVE_SYS_STATFS_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_SYS_SYSMACROS_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_UIO_H 1
#define HAVE_SYS_XATTR_H 1
#define HAVE_UNISTD_H 1
#define HAVE_UTIMENSAT 1

/* The same on every architecture; our images have 4 KiB blocks, whatever the page size of the host. */
#define EROFS_MAX_BLOCK_SIZE 4096
#define EROFS_MT_ENABLED 1

#define LZ4_ENABLED 1
#define LZ4HC_ENABLED 1
#define HAVE_LIBZSTD 1
