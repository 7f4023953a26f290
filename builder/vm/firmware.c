/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The variable store is EDK2's (MdeModulePkg/Include/Guid/VariableFormat.h): a firmware volume header, a store header,
 * then variables one after another, each aligned to four bytes, in flash that reads 0xFF where nothing was written. A
 * platform key that is present when the firmware starts means user mode, and that means Secure Boot is enforced. */

#include <endian.h>

#include "crypto.h"
#include "firmware.h"
#include "io.h"

#define VOLUME_SIGNATURE_OFFSET 40
#define VOLUME_HEADER_SIZE_OFFSET 48
#define VOLUME_MIN_SIZE 72
#define VARIABLE_START 0x55AA
#define VARIABLE_ADDED 0x3F
#define STORE_FORMATTED 0x5A
#define STORE_HEALTHY 0xFE

enum {
        NON_VOLATILE = 1 << 0,
        BOOT_SERVICE = 1 << 1,
        RUNTIME = 1 << 2,
        TIME_AUTHENTICATED = 1 << 5,
};

typedef struct Guid {
        uint8_t bytes[16];
} Guid;

/* In memory order: the first three fields are little-endian. */
static const Guid authenticated_store_guid = { { 0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14,
                                                 0x4e, 0xc3, 0x77, 0x92 } };
static const Guid global_variable_guid = { { 0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0,
                                             0x98, 0x03, 0x2b, 0x8c } };
static const Guid image_security_guid = { { 0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0,
                                            0x0e, 0x67, 0x65, 0x6f } };
static const Guid x509_guid = { { 0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b,
                                  0xf0, 0x72 } };
/* Who put the certificate there: ours, arbitrary but fixed. */
static const Guid owner_guid = { { 0x5e, 0xa1, 0xab, 0x00, 0x6b, 0x65, 0x79, 0x40, 0x80, 0x00, 0x73, 0x65, 0x61, 0x6c,
                                   0x61, 0x62 } };

typedef struct __attribute__((packed)) StoreHeader {
        Guid guid;
        uint32_t size;
        uint8_t format, state;
        uint16_t reserved;
        uint32_t reserved1;
} StoreHeader;

typedef struct __attribute__((packed)) EfiTime {
        uint16_t year;
        uint8_t month, day, hour, minute, second, pad1;
        uint32_t nanosecond;
        int16_t timezone;
        uint8_t daylight, pad2;
} EfiTime;

typedef struct __attribute__((packed)) VariableHeader {
        uint16_t start;
        uint8_t state, reserved;
        uint32_t attributes;
        uint64_t monotonic_count;
        EfiTime time;
        uint32_t public_key_index;
        uint32_t name_size, data_size;
        Guid vendor;
} VariableHeader;

typedef struct __attribute__((packed)) SignatureList {
        Guid type;
        uint32_t list_size, header_size, signature_size;
        Guid owner; /* of the one signature */
} SignatureList;

void firmware_done(Firmware *f) {
        free(f->code);
        free(f->secure_code);
        free(f->variables);
        *f = (Firmware){};
}

int firmware_find(Firmware *ret, Error *reterr) {
        /* Debian 13 builds the first of each without Secure Boot, Debian 12 with: the second has it on both. */
        static const char *const sets[][3] = {
                { "OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd" },
                { "OVMF_CODE.fd", "OVMF_CODE.secboot.fd", "OVMF_VARS.fd" },
        };
        const char *named = getenv("SEALAB_OVMF"), *folder = isempty(named) ? "/usr/share/OVMF" : named;

        for (size_t i = 0; i < ELEMENTSOF(sets); i++) {
                _cleanup_free_ char *code = path_join(folder, sets[i][0]);
                _cleanup_free_ char *secure_code = path_join(folder, sets[i][1]);
                _cleanup_free_ char *variables = path_join(folder, sets[i][2]);

                if (access(code, R_OK) < 0 || access(variables, R_OK) < 0)
                        continue;
                *ret = (Firmware){ .code = TAKE_PTR(code), .variables = TAKE_PTR(variables) };
                if (access(secure_code, R_OK) >= 0)
                        ret->secure_code = TAKE_PTR(secure_code);
                return 0;
        }
        error_set(reterr, ENOENT, REFUSAL_MACHINE, "there is no UEFI firmware for virtual machines (OVMF) in %s",
                  folder);
        return error_hint(reterr, "apt-get install ovmf (or set SEALAB_OVMF to the folder that holds %s).", sets[0][0]);
}

/* Where the variables begin and end, of a store that holds none. */
static int find_free_space(const uint8_t *store, size_t store_size, size_t *ret_from, size_t *ret_to, Error *reterr) {
        uint16_t volume_header;
        StoreHeader header;
        size_t from, to;

        if (store_size < VOLUME_MIN_SIZE || memcmp(store + VOLUME_SIGNATURE_OFFSET, "_FVH", 4) != 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no firmware volume");
        memcpy(&volume_header, store + VOLUME_HEADER_SIZE_OFFSET, sizeof(volume_header));
        from = le16toh(volume_header);
        if (from < VOLUME_MIN_SIZE || from > store_size || store_size - from < sizeof(header))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "firmware volume with a bad header size");
        memcpy(&header, store + from, sizeof(header));
        if (memcmp(&header.guid, &authenticated_store_guid, sizeof(Guid)) != 0 || header.format != STORE_FORMATTED ||
            header.state != STORE_HEALTHY)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT,
                                 "no store of authenticated variables (a firmware without Secure Boot?)");
        if (le32toh(header.size) > store_size - from || le32toh(header.size) < sizeof(header))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "variable store with a bad size");
        to = from + le32toh(header.size);
        from += sizeof(header);
        for (size_t i = from; i < to && i < from + sizeof(VariableHeader); i++)
                if (store[i] != 0xFF)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the variable store is not empty");
        *ret_from = from;
        *ret_to = to;
        return 0;
}

static void append_variable(Buffer *b, const char *name, const Guid *vendor, uint32_t attributes, const void *data,
                            size_t size) {
        bool authenticated = attributes & TIME_AUTHENTICATED;
        VariableHeader header = {
                .start = htole16(VARIABLE_START),
                .state = VARIABLE_ADDED,
                .attributes = htole32(attributes),
                .name_size = htole32((uint32_t) (2 * (strlen(name) + 1))),
                .data_size = htole32((uint32_t) size),
                .vendor = *vendor,
        };

        /* Any time will do: it only has to be earlier than that of a later signed change. */
        if (authenticated)
                header.time = (EfiTime){ .year = htole16(2020), .month = 1, .day = 1 };
        while (b->size % 4 != 0)
                buffer_append(b, "\xFF", 1);
        buffer_append(b, &header, sizeof(header));
        for (const char *p = name;; p++) {
                buffer_append(b, (char[]){ *p, 0 }, 2);
                if (!*p)
                        break;
        }
        buffer_append(b, data, size);
}

static void append_key(Buffer *b, const char *name, const Guid *vendor, const FirmwareCertificate *c) {
        SignatureList list = {
                .type = x509_guid,
                .list_size = htole32((uint32_t) (sizeof(SignatureList) + c->size)),
                .signature_size = htole32((uint32_t) (sizeof(Guid) + c->size)),
                .owner = owner_guid,
        };
        _cleanup_buffer_ Buffer data = {};

        buffer_append(&data, &list, sizeof(list));
        buffer_append(&data, c->der, c->size);
        append_variable(b, name, vendor, NON_VOLATILE | BOOT_SERVICE | RUNTIME | TIME_AUTHENTICATED, data.data,
                        data.size);
}

int firmware_enroll(void *store, size_t store_size, const FirmwareCertificate certificates[3], Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        size_t from, to;
        int r;

        r = find_free_space(store, store_size, &from, &to, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < 3; i++)
                if (certificates[i].size > to - from)
                        return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "certificate of %zu bytes is too large",
                                         certificates[i].size);
        append_key(&b, "PK", &global_variable_guid, &certificates[0]);
        append_key(&b, "KEK", &global_variable_guid, &certificates[1]);
        append_key(&b, "db", &image_security_guid, &certificates[2]);
        if (b.size > to - from)
                return error_set(reterr, ENOSPC, REFUSAL_NO_SPACE, "the keys do not fit into the variable store");
        memcpy((uint8_t *) store + from, b.data, b.size);
        return 0;
}

static int enroll_files(char *store, size_t size, const FirmwareKeys *keys, Error *reterr) {
        const char *paths[3] = { keys->platform, keys->exchange, keys->database };
        FirmwareCertificate certificates[3] = {};
        void *der[3] = {};
        int r = 0;

        for (size_t i = 0; i < 3 && r >= 0; i++) {
                _cleanup_(certificate_freep) Certificate *c = NULL;

                r = certificate_load(paths[i], &c, reterr);
                if (r >= 0)
                        r = certificate_to_der(c, &der[i], &certificates[i].size, reterr);
                certificates[i].der = der[i];
        }
        if (r >= 0)
                r = firmware_enroll(store, size, certificates, reterr);
        for (size_t i = 0; i < 3; i++)
                free(der[i]);
        return r;
}

int firmware_write_variables(const Firmware *f, const FirmwareKeys *keys, const char *path, Error *reterr) {
        _cleanup_free_ char *store = NULL;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, f->variables, FIRMWARE_FILE_SIZE_MAX, &store, &size, reterr);
        if (r < 0)
                return r;
        if (keys) {
                r = enroll_files(store, size, keys, reterr);
                if (r < 0)
                        return error_prefix(reterr, "cannot put the Secure Boot keys into %s", f->variables);
        }
        return io_write_file(AT_FDCWD, path, store, size, 0600, reterr);
}
