/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SHA-256 (FIPS 180-4) over OpenSSL's EVP interface. */

#include "error.h"

#define SHA256_SIZE 32

typedef struct Sha256 {
        uint8_t bytes[SHA256_SIZE];
} Sha256;

typedef struct Hasher Hasher;

Hasher *hasher_new(void);
Hasher *hasher_free(Hasher *h);
DEFINE_CLEANUP(Hasher *, hasher_free)
void hasher_update(Hasher *h, const void *data, size_t size);
/* A NUL-terminated string with its terminator, so that adjacent strings cannot run into each other. */
void hasher_update_string(Hasher *h, const char *s);
void hasher_final(Hasher *h, Sha256 *ret); /* h is ready for new data afterwards */

void sha256_buffer(const void *data, size_t size, Sha256 *ret);
/* Hashes size bytes from offset with pread(); the file position does not move. A shorter file is an error. */
int sha256_fd(int fd, uint64_t offset, uint64_t size, Sha256 *ret, Error *reterr);
/* A whole file by path; *ret_size may be NULL. */
int sha256_file(int dir_fd, const char *path, Sha256 *ret, uint64_t *ret_size, Error *reterr);

bool sha256_equal(const Sha256 *a, const Sha256 *b);
char *sha256_hex(const Sha256 *h); /* 64 lower-case digits */
bool sha256_from_hex(const char *hex, Sha256 *ret);
