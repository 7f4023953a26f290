/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A segment is begun like a frame, of which the header is dropped, and without the offsets that a decoder assumes to
 * have come before: inside of a frame it would have others. zstd's own threads cut frames in the same way. The
 * interface is the old one without buffers; in the pinned version it stays. */

#include <sys/mman.h>

#define ZSTD_STATIC_LINKING_ONLY
#define ZSTD_DISABLE_DEPRECATE_WARNINGS
#include <zstd.h>

#include "hash.h"
#include "known-content.h"
#include "segment.h"

#define TEST_CONTENT_SIZE (SEGMENT_CONTENT_MAX + 50000)

struct SegmentEncoder {
        ZSTD_parameters parameters;
        void *workspace; /* mapped, so that it is gone when it is freed */
        size_t workspace_size;
};

/* Of zstd, which hides it from others. */
void ZSTD_invalidateRepCodes(ZSTD_CCtx *c);

/* ---- packing ---- */

int segment_encoder_new(unsigned level, SegmentEncoder **ret, Error *reterr) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = NULL;
        void *p;

        if (level < SEGMENT_LEVEL_MIN || level > SEGMENT_LEVEL_MAX)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "segments of zstd's level %u: must be %d to %d",
                                 level, SEGMENT_LEVEL_MIN, SEGMENT_LEVEL_MAX);
        c = xnew(SegmentEncoder, 1);
        c->parameters = (ZSTD_parameters){ .cParams = ZSTD_getCParams((int) level, SEGMENT_CONTENT_MAX, 0),
                                           .fParams = { .noDictIDFlag = 1 } };
        c->workspace_size = ZSTD_estimateCCtxSize_usingCParams(c->parameters.cParams);
        p = mmap(NULL, c->workspace_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
                abort(); /* as every allocation */
        c->workspace = p;
        *ret = TAKE_PTR(c);
        return 0;
}

SegmentEncoder *segment_encoder_free(SegmentEncoder *c) {
        if (!c)
                return NULL;
        if (c->workspace)
                (void) munmap(c->workspace, c->workspace_size);
        free(c);
        return NULL;
}

/* A new context each time: nothing of one segment shall be in the next. */
static ZSTD_CCtx *begin(SegmentEncoder *c) {
        ZSTD_CCtx *zstd = ZSTD_initStaticCCtx(c->workspace, c->workspace_size);

        if (!zstd || ZSTD_isError(ZSTD_compressBegin_advanced(zstd, NULL, 0, c->parameters, ZSTD_CONTENTSIZE_UNKNOWN)))
                return NULL;
        return zstd;
}

int segment_pack(SegmentEncoder *c, const void *content, size_t size, unsigned place, void *ret, size_t *ret_size,
                 Error *reterr) {
        char header[ZSTD_FRAMEHEADERSIZE_MAX], *blocks = ret;
        size_t header_size = place & SEGMENT_FIRST ? SEGMENT_HEADER_SIZE : 0, n;
        ZSTD_CCtx *zstd;

        if (size == 0 || size > SEGMENT_CONTENT_MAX || place > (SEGMENT_FIRST | SEGMENT_LAST))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "a segment of %zu bytes is impossible", size);
        zstd = begin(c);
        n = zstd ? ZSTD_compressContinue(zstd, header, sizeof(header), "", 0) : 0;
        if (n != SEGMENT_HEADER_SIZE || memcmp(header, SEGMENT_HEADER, n) != 0)
                return error_set(reterr, ELIBBAD, REFUSAL_MACHINE, "the zstd encoder does not work");
        ZSTD_invalidateRepCodes(zstd);
        memcpy(blocks, header, header_size);
        blocks += header_size;
        n = place & SEGMENT_LAST ? ZSTD_compressEnd(zstd, blocks, SEGMENT_STORED_MAX - header_size, content, size)
                                 : ZSTD_compressContinue(zstd, blocks, SEGMENT_STORED_MAX - header_size, content, size);
        if (ZSTD_isError(n))
                return error_set(reterr, ELIBBAD, REFUSAL_MACHINE, "zstd: %s", ZSTD_getErrorName(n));
        *ret_size = header_size + n;
        return 0;
}

/* ---- unpacking ---- */

/* Takes n bytes of the frame that at, a place in it, has behind the header; what is stored may have it or not. */
static const uint8_t *take(const uint8_t **at, const uint8_t *end, size_t n) {
        const uint8_t *p = *at;

        if (n > (size_t) (end - p))
                return NULL;
        *at += n;
        return p;
}

static int decode(ZSTD_DCtx *d, const uint8_t *at, const uint8_t *end, uint8_t *content, size_t content_size) {
        const uint8_t *header = (const uint8_t *) SEGMENT_HEADER, *header_end = header + SEGMENT_HEADER_SIZE;
        size_t done = 0;

        if ((size_t) (end - at) >= SEGMENT_HEADER_SIZE && memcmp(at, header, SEGMENT_HEADER_SIZE) == 0)
                at += SEGMENT_HEADER_SIZE;
        while (done < content_size) {
                size_t wanted = ZSTD_nextSrcSizeToDecompress(d), n;
                const uint8_t *p = header < header_end ? take(&header, header_end, wanted) : take(&at, end, wanted);

                if (!p || wanted == 0)
                        return -EBADMSG;
                n = ZSTD_decompressContinue(d, content + done, content_size - done, p, wanted);
                if (ZSTD_isError(n))
                        return -EBADMSG;
                done += n;
        }
        return 0;
}

int segment_unpack(const void *stored, size_t stored_size, void *ret_content, size_t content_size, Error *reterr) {
        const uint8_t *at = stored;
        ZSTD_DCtx *d = ZSTD_createDCtx();
        int r = -EBADMSG;

        if (!d)
                abort();
        if (content_size > 0 && content_size <= SEGMENT_CONTENT_MAX && !ZSTD_isError(ZSTD_decompressBegin(d)))
                r = decode(d, at, at + stored_size, ret_content, content_size);
        ZSTD_freeDCtx(d);
        if (r < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "a segment of %zu bytes does not have %zu bytes of content", stored_size,
                                 content_size);
        return 0;
}

/* ---- the encoder itself ---- */

static const char *test_answer(unsigned level) {
        static const char *const answers[SEGMENT_LEVEL_MAX - SEGMENT_LEVEL_MIN + 1] = {
                "a1199efe42f94d3f19b8826425c9e7f551e5a4a23a5600f49c0704de3ac48b98",
                "889072a975771e06499f8f017f86df0f3f556e822b6b2186a9abc26d035ef2f6",
                "7c25aca20e8900da6f8ca1b08cd348866c9a4b8ab85eaca10feb05a97108c844",
                "194c52318b51e5f72477a4d735780574306bc71e5baa52a147d6c42c648c9031",
                "8165456b9aed2bbabf3d30b5c72cd5a8d29a6b2b0536c468c05e8a3f425642cf",
                "a4ff187faaeba950ced7a34c831d75d7c3524e86db5d94c9cbb07cd7793c3d98",
                "47252495b21a4adefdb5a131ddec250fb673597b9fa4322616609a2bf968e032",
        };

        return answers[level - SEGMENT_LEVEL_MIN];
}

/* A whole segment and what is left, which are the first and the last of a frame. */
static int digest_test_content(SegmentEncoder *c, const uint8_t *content, uint8_t *stored, Sha256 *ret, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        size_t first = 0, last = 0;
        int r;

        r = segment_pack(c, content, SEGMENT_CONTENT_MAX, SEGMENT_FIRST, stored, &first, reterr);
        if (r < 0)
                return r;
        hasher_update(hasher, stored, first);
        r = segment_pack(c, content + SEGMENT_CONTENT_MAX, TEST_CONTENT_SIZE - SEGMENT_CONTENT_MAX, SEGMENT_LAST,
                         stored, &last, reterr);
        if (r < 0)
                return r;
        hasher_update(hasher, stored, last);
        hasher_final(hasher, ret);
        return 0;
}

int segment_self_test(unsigned level, Error *reterr) {
        _cleanup_(segment_encoder_freep) SegmentEncoder *c = NULL;
        _cleanup_free_ uint8_t *content = NULL, *stored = NULL;
        _cleanup_free_ char *digest = NULL;
        Sha256 h;
        int r;

        r = segment_encoder_new(level, &c, reterr);
        if (r < 0)
                return r;
        content = xmalloc(TEST_CONTENT_SIZE);
        stored = xmalloc(SEGMENT_STORED_MAX);
        known_content(content, TEST_CONTENT_SIZE);
        r = digest_test_content(c, content, stored, &h, reterr);
        if (r < 0)
                return r;
        digest = sha256_hex(&h);
        if (!streq(digest, test_answer(level)))
                return error_set(reterr, ELIBBAD, REFUSAL_MACHINE,
                                 "the zstd encoder of this program (%s) is not " SEGMENT_ENCODER, ZSTD_versionString());
        return 0;
}
