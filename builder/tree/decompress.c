/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "decompress.h"
#include "archive-cleanup.h"

static int bad(struct archive *a, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it cannot be decompressed: %s",
                         (a ? archive_error_string(a) : NULL) ?: "it is damaged");
}

static bool enable(struct archive *a, unsigned mask) {
        return (!(mask & COMPRESSION_GZIP) || archive_read_support_filter_gzip(a) == ARCHIVE_OK) &&
               (!(mask & COMPRESSION_XZ) || archive_read_support_filter_xz(a) == ARCHIVE_OK) &&
               (!(mask & COMPRESSION_ZSTD) || archive_read_support_filter_zstd(a) == ARCHIVE_OK);
}

int decompress(const char *data, size_t size, unsigned mask, size_t max, Buffer *ret, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *a = archive_read_new();
        size_t begin = ret->size;
        struct archive_entry *e;

        if (!a || !enable(a, mask) || archive_read_support_format_raw(a) != ARCHIVE_OK ||
            archive_read_open_memory(a, data, size) != ARCHIVE_OK || archive_read_next_header(a, &e) != ARCHIVE_OK)
                return bad(a, reterr);
        /* The raw format takes anything; without a filter nobody looked at what it is. */
        if (archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "it is not compressed");
        for (;;) {
                const void *block;
                la_int64_t offset;
                size_t n;
                int r = archive_read_data_block(a, &block, &n, &offset);

                if (r == ARCHIVE_EOF)
                        return 0;
                if (r != ARCHIVE_OK)
                        return bad(a, reterr);
                if (n > max - (ret->size - begin))
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "it is larger than %zu bytes unpacked", max);
                buffer_append(ret, block, n);
        }
}
