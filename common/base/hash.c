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

int sha256_fd(int fd, uint64_t offset, uint64_t size, Sha256 *ret, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        _cleanup_free_ uint8_t *buffer = xmalloc(HASH_BUFFER_SIZE);

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
        hasher_final(h, ret);
        return 0;
}

int sha256_file(int dir_fd, const char *path, Sha256 *ret, uint64_t *ret_size, Error *reterr) {
        _cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        int r;

        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        r = sha256_fd(fd, 0, (uint64_t) st.st_size, ret, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
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
