/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "transfers.h"
#include "archive-signature.h"
#include "log.h"

#define FOLDER "/usr/lib/sysupdate.d"
#define KEYRING "/usr/lib/systemd/import-pubring.gpg"
/* Where systemd 258 and newer look. */
#define KEYRING_LINK "/usr/lib/systemd/import-pubring.pgp"

/* In the order of their work: first everything is fetched, then everything gets its final name. The UKI is the last to
 * appear, when all that it boots from is in place. */
static const struct {
        const char *name, *source, *type, *label;
} partitions[] = {
        { "10-verity-sig", ".usr-verity-sig.raw.xz", "usr-verity-sig", "_verity_sig" },
        { "20-verity", ".usr-verity.raw.xz", "usr-verity", "_verity" },
        { "30-usr", ".usr.raw.xz", "usr", "" },
};

static int put(Tree *t, const char *path, int64_t epoch, const void *data, size_t size, Error *reterr) {
        return tree_add_file(t, path, &(NodeAttributes){ .mode = 0644, .mtime = epoch }, data, size, NULL, reterr);
}

/* ---- transfer files -----------------------------------------------------------------------------------------------
 */

static void append_head(Buffer *b, const Recipe *recipe) {
        buffer_puts(b, "# Made from [Update] of the recipe.\n"
                       "[Transfer]\n"
                       "ProtectVersion=%A\n"
                       "Verify=yes\n"
                       "\n"
                       "[Source]\n"
                       "Type=url-file\n"
                       "Path=");
        /* sysupdate.d(5): specifiers begin with a percent sign. */
        for (const char *p = recipe->sysupdate_source; *p; p++) {
                buffer_append(b, p, 1);
                if (*p == '%')
                        buffer_puts(b, "%");
        }
        buffer_puts(b, "\n");
}

/* The flags are those of the disk image: read-only, and no longer "not to be mounted by itself", which empty slots
 * have. In one number, for systemd 257 passes over PartitionNoAuto= where the partition holds a signature. */
static int put_partition(Tree *t, const Recipe *recipe, size_t i, int64_t epoch, Error *reterr) {
        _cleanup_free_ char *path = xasprintf(FOLDER "/%s.transfer", partitions[i].name);
        const char *id = recipe->image_id;
        _cleanup_buffer_ Buffer b = {};

        append_head(&b, recipe);
        buffer_printf(&b,
                      "MatchPattern=%s_@v_@u%s\n"
                      "\n"
                      "[Target]\n"
                      "Type=partition\n"
                      "Path=auto\n"
                      "MatchPattern=%s_@v%s\n"
                      "MatchPartitionType=%s\n"
                      "PartitionFlags=0x1000000000000000\n"
                      "InstancesMax=2\n",
                      id, partitions[i].source, id, partitions[i].label, partitions[i].type);
        return put(t, path, epoch, b.data, b.size, reterr);
}

static int put_uki(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        const char *id = recipe->image_id;
        _cleanup_buffer_ Buffer b = {};

        append_head(&b, recipe);
        buffer_printf(&b,
                      "MatchPattern=%s_@v.efi\n"
                      "\n"
                      "[Target]\n"
                      "Type=regular-file\n"
                      "Path=/EFI/Linux\n"
                      "PathRelativeTo=boot\n"
                      "MatchPattern=%s_@v+@l-@d.efi %s_@v+@l.efi %s_@v.efi\n"
                      "Mode=0644\n"
                      "TriesLeft=3\n"
                      "TriesDone=0\n"
                      "InstancesMax=2\n",
                      id, id, id, id);
        return put(t, FOLDER "/90-uki.transfer", epoch, b.data, b.size, reterr);
}

/* ---- keys ---------------------------------------------------------------------------------------------------------
 */

/* RFC 9580, 4.2.1 and 4.2.2: the length behind the first byte, big-endian. Returns the header's size, or 0. Lengths
 * that only the end of the data or parts of it tell are for messages, not for keys. */
static size_t packet_header(const uint8_t *p, size_t size, size_t *ret_length) {
        size_t first = 1, n = 1, length = 0;

        if (size < 2)
                return 0;
        if (!(p[0] & 0x40))
                n <<= p[0] & 3;
        else if (p[1] >= 192 && p[1] < 224)
                n = 2;
        else if (p[1] == 255) {
                first = 2;
                n = 4;
        } else if (p[1] >= 224)
                return 0;
        if (n > 4 || size < first + n)
                return 0;
        for (size_t i = 0; i < n; i++)
                length = length << 8 | p[first + i];
        /* Two bytes of the newer format go on where one byte ends. */
        if (p[0] & 0x40 && n == 2)
                length = length - (192 << 8) + 192;
        *ret_length = length;
        return first + n;
}

int transfers_check_keyring(const void *keys, size_t size, Error *reterr) {
        enum { SECRET_KEY = 5, PUBLIC_KEY = 6, SECRET_SUBKEY = 7 };
        const uint8_t *p = keys;
        size_t n_keys = 0;

        while (size > 0) {
                unsigned tag = p[0] & 0x40 ? p[0] & 0x3f : p[0] >> 2 & 0xf;
                size_t length = 0, header = p[0] & 0x80 ? packet_header(p, size, &length) : 0;

                if (header == 0 || length > size - header)
                        return error_set(reterr, EBADMSG, REFUSAL_KEY, "its OpenPGP packets are malformed");
                if (tag == SECRET_KEY || tag == SECRET_SUBKEY)
                        return error_set(reterr, EBADMSG, REFUSAL_KEY, "it holds a secret key");
                n_keys += tag == PUBLIC_KEY;
                p += header + length;
                size -= header + length;
        }
        return n_keys > 0 ? 0 : error_set(reterr, EBADMSG, REFUSAL_KEY, "it holds no public key");
}

static int put_keyring(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        _cleanup_buffer_ Buffer keys = {};
        int r;

        r = openpgp_keys_read(recipe->sysupdate_keyring, &keys, reterr);
        if (r >= 0) {
                r = transfers_check_keyring(keys.data, keys.size, reterr);
                if (r < 0)
                        error_prefix(reterr, "%s", recipe->sysupdate_keyring);
        }
        if (r < 0) {
                error_prefix(reterr, "SysupdateKeyring=");
                return error_hint(reterr,
                                  "\"gpg --export ID\" writes such a file; only public keys belong into an image.");
        }
        r = put(t, KEYRING, epoch, keys.data, keys.size, reterr);
        if (r < 0)
                return r;
        (void) tree_remove(t, KEYRING_LINK);
        return tree_add_symlink(t, KEYRING_LINK, &(NodeAttributes){ .mode = 0777, .mtime = epoch },
                                "import-pubring.gpg", NULL, reterr);
}

int transfers_apply(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        static const char *const programs[][2] = { { "/usr/lib/systemd/systemd-sysupdate", "systemd-container" },
                                                   { "/usr/bin/gpg", "gpg" } };
        int r;

        if (!recipe->sysupdate_source)
                return 0;
        for (size_t i = 0; i < ELEMENTSOF(programs); i++)
                if (!tree_resolve(t, programs[i][0]))
                        log_warning("SysupdateSource=: the image has no %s, so nothing reads the transfer files "
                                    "(Install=%s)",
                                    programs[i][0], programs[i][1]);
        r = put_keyring(t, recipe, epoch, reterr);
        for (size_t i = 0; i < ELEMENTSOF(partitions) && r >= 0; i++)
                r = put_partition(t, recipe, i, epoch, reterr);
        return r < 0 ? r : put_uki(t, recipe, epoch, reterr);
}
