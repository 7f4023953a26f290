/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "recompress.h"
#include "hash.h"
#include "known-content.h"

#define LZ4_HC_STATIC_LINKING_ONLY
#include "lz4.h"
#include "lz4hc.h"

/* liberofs cuts files into pieces of this size (erofs.c sets it) and compresses each for itself. */
#define SEGMENT_SIZE ((uint64_t) 16 << 20)
/* The encoder stays inside the size it is given; what its copies of eight bytes might do is not ours to rely on. */
#define SLACK 64

#define TEST_CONTENT_SIZE ((size_t) 512 << 10)
#define TEST_CLUSTER_SIZE ((size_t) 16 << 10)

struct Recompress {
        RecompressOptions opt;
        LZ4_streamHC_t *state; /* owned */
        uint8_t *cluster;      /* owned; opt.cluster_size and the slack */
};

static size_t whole_blocks(size_t size) {
        return (size + RECOMPRESS_BLOCK_SIZE - 1) / RECOMPRESS_BLOCK_SIZE * RECOMPRESS_BLOCK_SIZE;
}

static const char *test_answer(unsigned level) {
        static const char *const answers[RECOMPRESS_LEVEL_MAX + 1] = {
                NULL,
                "9acbd18ef98466ccea8bf5d8febd3bf1186dc9282a1376e6edb8b5a316d4c50d",
                "9acbd18ef98466ccea8bf5d8febd3bf1186dc9282a1376e6edb8b5a316d4c50d",
                "84d83b49e431b58e90559bc5b47b297846e8d176668d81dd4c373f6b45fc69ca",
                "fd50b6d8c199366314e2565dd668746eb68fa3d9986fc4e53b40c9d174d1d9f3",
                "471ce26cf271bcf72ea112e083118de3a4024ee94beb5bd221235cfcb8b0f3b3",
                "83f2ca59722ac96671b73a2519174d0d120fe6f1a51a483a60320020cd204795",
                "9c3505fbc8732071b63b9e0f8bdcb460496c8d39aa77c1992ea998022691cf04",
                "c5e8387b9ec1f01a31c02305fcd5d79e202da52a7ac9a204b62c58c34b9d5d29",
                "7869b0dce62955de246a31131eec05b784c379c4bdc681b54fdab948246b2f7f",
                "335f097a3526f7136b53c691057b15076bef82a427a16774c95db2bf88c3c0ab",
                "af3c0ab263a2479d705ec088f94d246ef26f1d8ba560dad4b3fa339549926ed2",
                "411737c3f5fa71f9b1b18a99ae0270349de8ddc85c612e230275c2feddb7947d",
        };

        return answers[level];
}

/* The lengths count as well. */
static int digest_test_content(Recompress *c, const uint8_t *content, Sha256 *ret, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();

        for (size_t done = 0; done < TEST_CONTENT_SIZE;) {
                int content_size = (int) (TEST_CONTENT_SIZE - done), n;
                uint8_t lengths[8];

                n = LZ4_compress_HC_destSize(c->state, (const char *) content + done, (char *) c->cluster,
                                             &content_size, (int) TEST_CLUSTER_SIZE, (int) c->opt.level);
                if (n <= 0 || content_size <= 0)
                        return error_set(reterr, ELIBBAD, REFUSAL_MACHINE, "the LZ4 encoder does not work");
                for (unsigned i = 0; i < 4; i++) {
                        lengths[i] = (uint8_t) ((unsigned) n >> 8 * i);
                        lengths[4 + i] = (uint8_t) ((unsigned) content_size >> 8 * i);
                }
                hasher_update(hasher, lengths, sizeof(lengths));
                hasher_update(hasher, c->cluster, (size_t) n);
                done += (size_t) content_size;
        }
        hasher_final(hasher, ret);
        return 0;
}

int recompress_new(const RecompressOptions *opt, Recompress **ret, Error *reterr) {
        _cleanup_(recompress_freep) Recompress *c = NULL;

        if (opt->level < 1 || opt->level > RECOMPRESS_LEVEL_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "LZ4 level %u: must be 1 to %d", opt->level,
                                 RECOMPRESS_LEVEL_MAX);
        if (opt->cluster_size == 0 || opt->cluster_size % RECOMPRESS_BLOCK_SIZE != 0 ||
            opt->cluster_size > RECOMPRESS_CLUSTER_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "clusters of %zu bytes: must be a multiple of %d up to %zu", opt->cluster_size,
                                 RECOMPRESS_BLOCK_SIZE, RECOMPRESS_CLUSTER_MAX);
        c = xnew(Recompress, 1);
        c->opt = *opt;
        c->cluster = xmalloc(opt->cluster_size + SLACK);
        c->state = LZ4_createStreamHC();
        if (!c->state)
                abort();
        *ret = TAKE_PTR(c);
        return 0;
}

Recompress *recompress_free(Recompress *c) {
        if (!c)
                return NULL;
        LZ4_freeStreamHC(c->state);
        free(c->cluster);
        free(c);
        return NULL;
}

size_t recompress_available(uint64_t file_size, uint64_t offset, size_t content_size, size_t lookahead) {
        uint64_t left;

        if (offset >= file_size || content_size == 0 || content_size > RECOMPRESS_CONTENT_MAX)
                return 0;
        left = MIN(file_size - offset, SEGMENT_SIZE - offset % SEGMENT_SIZE);
        if (content_size > left)
                return 0;
        return (size_t) MIN(left, (uint64_t) content_size + MIN(lookahead, RECOMPRESS_CONTENT_MAX - content_size));
}

int recompress_cluster(Recompress *c, const void *content, size_t available, size_t content_size, void *ret_stored,
                       size_t stored_size, Error *reterr) {
        size_t size, padding;
        int taken, n;

        if (content_size == 0 || content_size > available || available > RECOMPRESS_CONTENT_MAX || stored_size == 0 ||
            stored_size % RECOMPRESS_BLOCK_SIZE != 0 || stored_size > c->opt.cluster_size)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "a cluster of %zu bytes with %zu of %zu bytes of content is impossible", stored_size,
                                 content_size, available);
        /* Always up to the full size: the last cluster of a file is smaller because the content ends. */
        taken = (int) available;
        n = LZ4_compress_HC_destSize(c->state, content, (char *) c->cluster, &taken, (int) c->opt.cluster_size,
                                     (int) c->opt.level);
        size = n > 0 ? (size_t) n : 0;
        if (size == 0 || (size_t) taken != content_size || whole_blocks(size) != stored_size)
                return error_set(reterr, ESTALE, REFUSAL_DIFFERENT,
                                 "the encoder put %d instead of %zu bytes into a cluster of %zu instead of %zu bytes",
                                 n > 0 ? taken : 0, content_size, whole_blocks(size), stored_size);
        padding = stored_size - size;
        memset(ret_stored, 0, padding);
        memcpy((uint8_t *) ret_stored + padding, c->cluster, size);
        return 0;
}

int recompress_unpack(const void *stored, size_t stored_size, void *ret_content, size_t content_size, Error *reterr) {
        const uint8_t *data = stored;
        size_t padding = 0;
        int n = -1;

        /* No LZ4 block begins with a zero: a match needs something before it. */
        while (padding < stored_size && data[padding] == 0)
                padding++;
        if (stored_size <= RECOMPRESS_CLUSTER_MAX && content_size > 0 && content_size <= RECOMPRESS_CONTENT_MAX)
                n = LZ4_decompress_safe((const char *) data + padding, ret_content, (int) (stored_size - padding),
                                        (int) content_size);
        if (n < 0 || (size_t) n != content_size)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "a cluster of %zu bytes does not have %zu bytes of content", stored_size,
                                 content_size);
        return 0;
}

int recompress_self_test(unsigned level, Error *reterr) {
        const RecompressOptions opt = { .level = level, .cluster_size = TEST_CLUSTER_SIZE };
        _cleanup_(recompress_freep) Recompress *c = NULL;
        _cleanup_free_ uint8_t *content = NULL;
        _cleanup_free_ char *digest = NULL;
        Sha256 h;
        int r;

        r = recompress_new(&opt, &c, reterr);
        if (r < 0)
                return r;
        content = xmalloc(TEST_CONTENT_SIZE);
        known_content(content, TEST_CONTENT_SIZE);
        r = digest_test_content(c, content, &h, reterr);
        if (r < 0)
                return r;
        digest = sha256_hex(&h);
        if (!streq_ptr(digest, test_answer(level)))
                return error_set(reterr, ELIBBAD, REFUSAL_MACHINE,
                                 "the LZ4 encoder of this program (%s) is not " RECOMPRESS_ENCODER,
                                 LZ4_versionString());
        return 0;
}
