/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Hash trees of dm-verity through libcryptsetup; verity-tree.c has the same tree by our own code. */

#include <ctype.h>
#include <libcryptsetup.h>

#include "io.h"
#include "verity.h"

#define DIGESTS_PER_BLOCK (VERITY_BLOCK_SIZE / SHA256_SIZE)

typedef struct crypt_device CryptDevice;
DEFINE_CLEANUP(CryptDevice *, crypt_free)

/* libcryptsetup says what is wrong in words only, often in two messages of which the first is the precise one. */
static void keep_message(int level, const char *message, void *userdata) {
        char **kept = userdata;
        char *all;

        if (level != CRYPT_LOG_ERROR)
                return;
        all = xasprintf("%s%s%s", *kept ?: "", *kept ? " " : "", message);
        free(*kept);
        *kept = xstrdup(strstrip(all));
        free(all);
}

static int cryptsetup_error(int r, const char *message, Error *reterr, const char *doing, const char *path) {
        if (r == -ENOSPC)
                return error_errno(reterr, r, "%s %s", doing, path);
        return error_set(reterr, -r, REFUSAL_SYSTEM, "%s %s: %s", doing, path, message ?: strerror(-r));
}

/* libcryptsetup wants the file to exist and writes into what is there. */
static int create_hash_file(const char *path, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", path);
        return 0;
}

static void format_uuid(const uint8_t id[static 16], char ret[static 37]) {
        char *p = ret;

        for (int i = 0; i < 16; i++) {
                if (i == 4 || i == 6 || i == 8 || i == 10)
                        *p++ = '-';
                p += snprintf(p, 3, "%02x", id[i]);
        }
}

int verity_format(const char *data_path, uint64_t data_size, const char *hash_path, const VerityOptions *opt,
                  Sha256 *ret_root, Error *reterr) {
        _cleanup_(crypt_freep) CryptDevice *cd = NULL;
        _cleanup_free_ char *message = NULL;
        struct crypt_params_verity params = {
                .hash_name = "sha256",
                .data_device = data_path,
                .salt = (const char *) opt->salt,
                .salt_size = VERITY_SALT_SIZE,
                .hash_type = 1,
                .data_block_size = VERITY_BLOCK_SIZE,
                .hash_block_size = VERITY_BLOCK_SIZE,
                .data_size = data_size / VERITY_BLOCK_SIZE,
                .flags = CRYPT_VERITY_CREATE_HASH,
        };
        size_t root_size = SHA256_SIZE;
        char uuid[37];
        Sha256 root;
        int r;

        r = verity_check_size(data_size, reterr);
        if (r >= 0 && !io_exists(AT_FDCWD, data_path))
                r = error_errno(reterr, ENOENT, "cannot open %s", data_path);
        if (r >= 0)
                r = create_hash_file(hash_path, reterr);
        if (r < 0)
                return r;
        format_uuid(opt->uuid, uuid);
        r = crypt_init(&cd, hash_path);
        if (r < 0)
                return error_errno(reterr, r, "cannot open %s", hash_path);
        crypt_set_log_callback(cd, keep_message, &message);
        r = crypt_format(cd, CRYPT_VERITY, NULL, NULL, uuid, NULL, 0, &params);
        if (r >= 0)
                r = crypt_volume_key_get(cd, CRYPT_ANY_SLOT, (char *) root.bytes, &root_size, NULL, 0);
        if (r < 0)
                return cryptsetup_error(r, message, reterr, "cannot make the hash tree of", data_path);
        *ret_root = root;
        return 0;
}

/* From "Verification failed at position 8192." */
static bool message_position(const char *message, uint64_t *ret) {
        static const char words[] = "at position ";
        const char *p = message ? strstr(message, words) : NULL;
        _cleanup_free_ char *digits = NULL;

        if (!p)
                return false;
        p += strlen(words);
        digits = xstrndup(p, strspn(p, "0123456789"));
        return parse_u64(digits, ret);
}

int verity_verify(const char *data_path, const char *hash_path, const Sha256 *root, Error *reterr) {
        _cleanup_(crypt_freep) CryptDevice *cd = NULL;
        _cleanup_free_ char *message = NULL;
        struct crypt_params_verity params = { .flags = CRYPT_VERITY_CHECK_HASH };
        uint64_t position;
        int r;

        if (!io_exists(AT_FDCWD, data_path) || !io_exists(AT_FDCWD, hash_path))
                return error_errno(reterr, ENOENT, "cannot open %s",
                                   io_exists(AT_FDCWD, data_path) ? hash_path : data_path);
        r = crypt_init_data_device(&cd, hash_path, data_path);
        if (r < 0)
                return error_errno(reterr, r, "cannot open %s", hash_path);
        crypt_set_log_callback(cd, keep_message, &message);
        r = crypt_load(cd, CRYPT_VERITY, &params);
        if (r < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not a dm-verity hash tree: %s", hash_path,
                                 message ?: strerror(-r));
        r = crypt_activate_by_volume_key(cd, NULL, (const char *) root->bytes, SHA256_SIZE, CRYPT_ACTIVATE_READONLY);
        if (r >= 0)
                return 0;
        /* A wrong block is the one, a tree whose top is not the root hash the other. */
        if (r != -EPERM && r != -EFAULT)
                return cryptsetup_error(r, message, reterr, "cannot verify", data_path);
        if (message_position(message, &position))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s is not what its hash tree %s says: the first bad block is at byte %" PRIu64,
                                 data_path, hash_path, position);
        return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                         "%s and its hash tree %s do not have this root hash: %s", data_path, hash_path,
                         message ?: "verification failed");
}

uint64_t verity_hash_size(uint64_t data_size) {
        uint64_t n = data_size / VERITY_BLOCK_SIZE + (data_size % VERITY_BLOCK_SIZE != 0), total = 1;

        while (n > 1) {
                n = n / DIGESTS_PER_BLOCK + (n % DIGESTS_PER_BLOCK != 0);
                total += n;
        }
        return total * VERITY_BLOCK_SIZE;
}

void verity_partition_ids(const Sha256 *root, char ret_data[static 37], char ret_hash[static 37]) {
        format_uuid(root->bytes, ret_data);
        format_uuid(root->bytes + 16, ret_hash);
}
