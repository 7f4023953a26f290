/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <openssl/evp.h>

#include "base64.h"

char *base64_encode(const void *data, size_t size) {
        char *text;

        if (size > INT_MAX / 2)
                abort();
        text = xmalloc(size / 3 * 4 + 5);
        text[EVP_EncodeBlock((unsigned char *) text, data, (int) size)] = 0;
        return text;
}

bool base64_decode(const char *text, size_t max_size, void **ret, size_t *ret_size) {
        size_t text_size = strlen(text), size = text_size / 4 * 3;
        _cleanup_free_ char *again = NULL;
        _cleanup_free_ unsigned char *data = NULL;

        if (text_size % 4 != 0 || text_size > INT_MAX / 2 || size > max_size + 2)
                return false;
        data = xmalloc(size + 1);
        if (text_size > 0 && EVP_DecodeBlock(data, (const unsigned char *) text, (int) text_size) != (int) size)
                return false;
        for (size_t i = 1; i <= 2 && i < text_size && text[text_size - i] == '='; i++)
                size--;
        /* OpenSSL forgives white space and left-over bits; a second spelling of the same bytes is not wanted here. */
        again = base64_encode(data, size);
        if (size > max_size || !streq(again, text))
                return false;
        *ret = TAKE_PTR(data);
        *ret_size = size;
        return true;
}
