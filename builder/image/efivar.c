/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <endian.h>
#include <time.h>

#include "efivar.h"

#define GUID_SIZE 16
#define WIN_CERTIFICATE_HEADER_SIZE 8
#define WIN_CERTIFICATE_REVISION 0x0200
#define WIN_CERTIFICATE_TYPE_EFI_GUID 0x0ef1
/* Non-volatile, boot service access, runtime access, time-based authenticated write access. */
#define VARIABLE_ATTRIBUTES UINT32_C(0x27)

/* GUIDs as they lie in memory: the first three fields little-endian. */
static const uint8_t guid_global[GUID_SIZE] = { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11,
                                                0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c };
static const uint8_t guid_security_database[GUID_SIZE] = { 0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
                                                           0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f };
static const uint8_t guid_x509[GUID_SIZE] = { 0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
                                              0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72 };
static const uint8_t guid_pkcs7[GUID_SIZE] = { 0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49,
                                               0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7 };
/* Ours: says only who put a certificate there. */
static const uint8_t guid_owner[GUID_SIZE] = { 0x5e, 0xa1, 0xab, 0x0d, 0x27, 0x4c, 0x1f, 0x4b,
                                               0x9c, 0x36, 0x61, 0xd2, 0x8e, 0x77, 0x03, 0xb5 };

static const struct {
        const char *name;
        const uint8_t *vendor;
} variables[_EFI_VARIABLE_MAX] = {
        [EFI_VARIABLE_PK] = { "PK", guid_global },
        [EFI_VARIABLE_KEK] = { "KEK", guid_global },
        [EFI_VARIABLE_DB] = { "db", guid_security_database },
};

static void append32(Buffer *b, uint32_t v) {
        v = htole32(v);
        buffer_append(b, &v, sizeof(v));
}

static void append16(Buffer *b, uint16_t v) {
        v = htole16(v);
        buffer_append(b, &v, sizeof(v));
}

static int append_time(Buffer *b, int64_t timestamp, Error *reterr) {
        static const uint8_t rest[8] = {}; /* nanoseconds, zone, daylight: must be zero here */
        time_t t = (time_t) timestamp;
        struct tm tm;
        uint8_t fields[6];

        if (timestamp <= 0 || !gmtime_r(&t, &tm) || tm.tm_year + 1900 > 9999)
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%" PRIi64 " cannot be a variable's time",
                                 timestamp);
        append16(b, (uint16_t) (tm.tm_year + 1900));
        fields[0] = (uint8_t) (tm.tm_mon + 1);
        fields[1] = (uint8_t) tm.tm_mday;
        fields[2] = (uint8_t) tm.tm_hour;
        fields[3] = (uint8_t) tm.tm_min;
        fields[4] = (uint8_t) tm.tm_sec;
        fields[5] = 0; /* padding */
        buffer_append(b, fields, sizeof(fields));
        buffer_append(b, rest, sizeof(rest));
        return 0;
}

const char *efi_variable_name(EfiVariable v) {
        return v < _EFI_VARIABLE_MAX ? variables[v].name : NULL;
}

int efi_signature_list(const Certificate *c, void **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ void *der = NULL;
        _cleanup_buffer_ Buffer b = {};
        size_t size;
        int r;

        r = certificate_to_der(c, &der, &size, reterr);
        if (r < 0)
                return r;
        buffer_append(&b, guid_x509, GUID_SIZE);
        append32(&b, (uint32_t) (GUID_SIZE + 12 + GUID_SIZE + size)); /* of the list */
        append32(&b, 0);                                              /* of a header, which this type lacks */
        append32(&b, (uint32_t) (GUID_SIZE + size));                  /* of each entry */
        buffer_append(&b, guid_owner, GUID_SIZE);
        buffer_append(&b, der, size);
        *ret_size = b.size;
        *ret = buffer_steal(&b);
        return 0;
}

int efi_authenticated_variable(EfiVariable v, const void *content, size_t size, int64_t timestamp,
                               const PrivateKey *key, const Certificate *certificate, void **ret, size_t *ret_size,
                               Error *reterr) {
        _cleanup_buffer_ Buffer signed_bytes = {}, b = {};
        _cleanup_free_ void *sig = NULL;
        size_t sig_size;
        int r;

        /* Signed is not the file but: name, vendor, attributes, time, content. */
        for (const char *p = variables[v].name; *p; p++)
                append16(&signed_bytes, (uint16_t) *p);
        buffer_append(&signed_bytes, variables[v].vendor, GUID_SIZE);
        append32(&signed_bytes, VARIABLE_ATTRIBUTES);
        r = append_time(&signed_bytes, timestamp, reterr);
        if (r < 0)
                return r;
        buffer_append(&signed_bytes, content, size);
        r = pkcs7_sign_variable(key, certificate, signed_bytes.data, signed_bytes.size, &sig, &sig_size, reterr);
        if (r >= 0)
                r = append_time(&b, timestamp, reterr);
        if (r < 0)
                return r;
        append32(&b, (uint32_t) (WIN_CERTIFICATE_HEADER_SIZE + GUID_SIZE + sig_size));
        append16(&b, WIN_CERTIFICATE_REVISION);
        append16(&b, WIN_CERTIFICATE_TYPE_EFI_GUID);
        buffer_append(&b, guid_pkcs7, GUID_SIZE);
        buffer_append(&b, sig, sig_size);
        buffer_append(&b, content, size);
        *ret_size = b.size;
        *ret = buffer_steal(&b);
        return 0;
}
