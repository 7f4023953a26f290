/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The content of a usr-verity-sig partition: one JSON object, padded with NUL bytes to the partition's size. */

#include "base64.h"
#include "disk.h"
#include "json.h"

/* What systemd reads at most. */
#define VERITY_SIG_SIZE_MAX ((size_t) 4 << 20)

char *disk_verity_sig_format(const Sha256 *root_hash, const Sha256 *fingerprint, const void *sig, size_t sig_size) {
        _cleanup_free_ char *root_hex = sha256_hex(root_hash), *fingerprint_hex = sha256_hex(fingerprint),
                            *text = base64_encode(sig, sig_size);
        _cleanup_json_ json_t *object = json_pack("{s:s, s:s, s:s}", "rootHash", root_hex, "certificateFingerprint",
                                                  fingerprint_hex, "signature", text);

        if (!object)
                abort();
        return json_format_line(object);
}

int disk_verity_sig_parse(const void *data, size_t size, Sha256 *ret_root_hash, Sha256 *ret_fingerprint, void **ret_sig,
                          size_t *ret_sig_size, Error *reterr) {
        _cleanup_free_ char *root_hex = NULL, *fingerprint_hex = NULL, *text = NULL;
        size_t text_size = strnlen(data, size);
        _cleanup_json_ json_t *object = NULL;
        JsonReader reader;
        int r;

        if (size > VERITY_SIG_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "a root hash signature of %zu bytes is too large",
                                 size);
        for (size_t i = text_size; i < size; i++)
                if (((const char *) data)[i] != 0)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "bytes follow the root hash signature");
        r = json_parse(data, text_size, "root hash signature", &object, reterr);
        if (r < 0)
                return r;
        reader = json_reader(object, "root hash signature", reterr);
        json_take_string(&reader, "rootHash", false, &root_hex);
        json_take_string(&reader, "certificateFingerprint", false, &fingerprint_hex);
        json_take_string(&reader, "signature", false, &text);
        r = json_reader_end(&reader);
        if (r < 0)
                return r;
        if (!sha256_from_hex(root_hex, ret_root_hash) || !sha256_from_hex(fingerprint_hex, ret_fingerprint) ||
            !base64_decode(text, VERITY_SIG_SIZE_MAX, ret_sig, ret_sig_size))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the root hash signature is malformed");
        return 0;
}
