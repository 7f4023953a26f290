/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "hash.h"

#define HASH_BUFFER_SIZE (256 * 1024)

struct Hasher {
        EVP_MD_CTX *ctx;
};

static void check_crypto(int ok) {
        if (ok != 1) {
                fputs("SHA-256 is not available from OpenSSL\n", stderr);
                abort();
        }
}

Hasher *hasher_new(void) {
        Hasher *h = xnew(Hasher, 1);

        h->ctx = EVP_MD_CTX_new();
        check_crypto(h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL));
        return h;
}

Hasher *hasher_free(Hasher *h) {
        if (h) {
                EVP_MD_CTX_free(h->ctx);
                free(h);
        }
        return NULL;
}

void hasher_update(Hasher *h, const void *data, size_t size) {
        check_crypto(EVP_DigestUpdate(h->ctx, data, size));
}

void hasher_update_string(Hasher *h, const char *s) {
        hasher_update(h, s, strlen(s) + 1);
}

void hasher_final(Hasher *h, Sha256 *ret) {
        check_crypto(EVP_DigestFinal_ex(h->ctx, ret->bytes, NULL));
        check_crypto(EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL));
}

void sha256_buffer(const void *data, size_t size, Sha256 *ret) {
        check_crypto(EVP_Digest(data, size, ret->bytes, NULL, EVP_sha256(), NULL));
}

static int hash_data(Hasher *h, int fd, uint64_t offset, uint64_t size, uint8_t *buffer, Error *reterr) {
        while (size > 0) {
                ssize_t n = pread(fd, buffer, MIN(size, (uint64_t) HASH_BUFFER_SIZE), (off_t) offset);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(reterr, errno, "cannot read a file to hash it");
                if (n == 0)
                        return error_set(reterr, EIO, REFUSAL_BAD_FORMAT,
                                         "a file is %" PRIu64 " bytes shorter than expected", size);
                hasher_update(h, buffer, (size_t) n);
                offset += (uint64_t) n;
                size -= (uint64_t) n;
        }
        return 0;
}

int sha256_fd(int fd, uint64_t offset, uint64_t size, Sha256 *ret, Error *reterr) {
        _cleanup_free_ uint8_t *buffer = xmalloc(HASH_BUFFER_SIZE);
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        int r;

        r = hash_data(h, fd, offset, size, buffer, reterr);
        if (r >= 0)
                hasher_final(h, ret);
        return r;
}

/* Where the data at or behind the offset begins; size if there is none, offset if the file system cannot tell. */
static uint64_t find_data(int fd, uint64_t offset, uint64_t size) {
        off_t data = lseek(fd, (off_t) offset, SEEK_DATA);

        if (data < 0)
                return errno == ENXIO ? size : offset;
        return MIN((uint64_t) data, size);
}

static uint64_t find_hole(int fd, uint64_t offset, uint64_t size) {
        off_t hole = lseek(fd, (off_t) offset, SEEK_HOLE);

        return hole <= (off_t) offset ? size : MIN((uint64_t) hole, size);
}

/* Holes are not read: the kernel would fill as much page cache with zeros first, which takes longer than hashing them.
 * Moves the position of fd. */
static int hash_sparse(Hasher *h, int fd, uint64_t size, uint8_t *buffer, Error *reterr) {
        _cleanup_free_ uint8_t *zeros = xmalloc(HASH_BUFFER_SIZE);
        uint64_t offset = 0;

        memset(zeros, 0, HASH_BUFFER_SIZE);
        while (offset < size) {
                uint64_t data = find_data(fd, offset, size), hole = data < size ? find_hole(fd, data, size) : size;
                int r;

                while (offset < data) {
                        size_t n = (size_t) MIN(data - offset, (uint64_t) HASH_BUFFER_SIZE);

                        hasher_update(h, zeros, n);
                        offset += n;
                }
                r = hash_data(h, fd, offset, hole - offset, buffer, reterr);
                if (r < 0)
                        return r;
                offset = hole;
        }
        return 0;
}

int sha256_file(int dir_fd, const char *path, Sha256 *ret, uint64_t *ret_size, Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ uint8_t *buffer = xmalloc(HASH_BUFFER_SIZE);
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        r = hash_sparse(h, fd, (uint64_t) st.st_size, buffer, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        hasher_final(h, ret);
        if (ret_size)
                *ret_size = (uint64_t) st.st_size;
        return 0;
}

bool sha256_equal(const Sha256 *a, const Sha256 *b) {
        return memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

char *sha256_hex(const Sha256 *h) {
        return hex_encode(h->bytes, SHA256_SIZE);
}

bool sha256_from_hex(const char *hex, Sha256 *ret) {
        return hex_decode(hex, ret->bytes, SHA256_SIZE);
}
