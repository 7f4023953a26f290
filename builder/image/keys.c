/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "efivar.h"
#include "io.h"
#include "keys.h"

/* Firmware is only sure to know RSA-2048; the kernel knows more. */
#define FIRMWARE_BITS 2048
#define VERITY_BITS_PRODUCTION 3072
#define DEVELOPMENT_DAYS (5 * 365)
/* Neither firmware nor kernel looks at the date; it reminds people to rotate. */
#define PRODUCTION_DAYS (15 * 365)
#define ENROLMENT_FILE_MAX ((size_t) 64 << 10)

static const struct {
        KeyRole role;
        const char *what;
} pairs[] = {
        { KEY_ROLE_VERITY, "root hash" },
        { KEY_ROLE_SECUREBOOT, "Secure Boot" },
        { KEY_ROLE_PLATFORM, "platform key" },
        { KEY_ROLE_EXCHANGE, "key exchange key" },
};

/* Who is in each variable, and who signs the change. */
static const struct {
        EfiVariable variable;
        KeyRole content, signer;
} enrolment[] = {
        { EFI_VARIABLE_PK, KEY_ROLE_PLATFORM, KEY_ROLE_PLATFORM },
        { EFI_VARIABLE_KEK, KEY_ROLE_EXCHANGE, KEY_ROLE_PLATFORM },
        { EFI_VARIABLE_DB, KEY_ROLE_SECUREBOOT, KEY_ROLE_EXCHANGE },
};

static int generate_into(const char *folder, const KeysOptions *opt, Error *reterr) {
        for (size_t i = 0; i < ELEMENTSOF(pairs); i++) {
                bool large = opt->production && pairs[i].role == KEY_ROLE_VERITY;
                _cleanup_free_ char *name = xasprintf("%s %s", opt->organisation ?: "sealab", pairs[i].what);
                int r;

                r = crypto_generate_pair(folder, key_role_name(pairs[i].role), name, !opt->production,
                                         large ? VERITY_BITS_PRODUCTION : FIRMWARE_BITS,
                                         opt->production ? PRODUCTION_DAYS : DEVELOPMENT_DAYS, reterr);
                if (r < 0)
                        return r;
        }
        return keys_write_enrolment(folder, reterr);
}

static int write_variable(const KeySet *s, const char *folder, size_t index, Error *reterr) {
        const Certificate *content = s->certificates[enrolment[index].content];
        const char *name = efi_variable_name(enrolment[index].variable);
        _cleanup_free_ char *auth_path = xasprintf("%s/%s.auth", folder, name);
        _cleanup_free_ char *list_path = xasprintf("%s/%s.esl", folder, name);
        _cleanup_free_ void *list = NULL, *auth = NULL;
        size_t list_size, auth_size;
        int r;

        r = efi_signature_list(content, &list, &list_size, reterr);
        if (r >= 0)
                r = efi_authenticated_variable(enrolment[index].variable, list, list_size,
                                               certificate_not_before(content), s->keys[enrolment[index].signer],
                                               s->certificates[enrolment[index].signer], &auth, &auth_size, reterr);
        if (r >= 0)
                r = io_write_file(AT_FDCWD, list_path, list, list_size, 0644, reterr);
        if (r >= 0)
                r = io_write_file(AT_FDCWD, auth_path, auth, auth_size, 0644, reterr);
        return r;
}

int keys_generate(const KeysOptions *opt, Error *reterr) {
        _cleanup_free_ char *parent = path_dirname(opt->folder);
        _cleanup_free_ char *temporary = xasprintf("%s/.%s.%d.new", parent, path_basename(opt->folder), (int) getpid());
        int r;

        if (isempty(path_basename(opt->folder)))
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "\"%s\" cannot be a key folder", opt->folder);
        if (io_exists(AT_FDCWD, opt->folder)) {
                error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s exists already", opt->folder);
                return error_hint(reterr, "keys are never overwritten: 'sealab keys show %s' says what is there",
                                  opt->folder);
        }
        r = io_mkdir_parents(AT_FDCWD, parent, 0755, reterr);
        if (r < 0)
                return r;
        if (mkdir(temporary, 0700) < 0)
                return error_errno(reterr, errno, "cannot create %s", temporary);
        r = generate_into(temporary, opt, reterr);
        if (r >= 0)
                r = io_rename_new(AT_FDCWD, temporary, opt->folder, reterr);
        if (r < 0)
                (void) io_remove_tree(AT_FDCWD, temporary, NULL);
        return r;
}

int keys_write_enrolment(const char *folder, Error *reterr) {
        _cleanup_free_ char *enrolment_folder = path_join(folder, KEYS_ENROLMENT_FOLDER);
        _cleanup_(key_set_freep) KeySet *s = NULL;
        int r;

        r = key_set_load(folder, KEY_ROLES_ENROLMENT & ~(1U << KEY_ROLE_SECUREBOOT), 0, &s, reterr);
        if (r < 0)
                return r;
        /* Only the certificate: the db key itself need not be at hand. */
        _cleanup_free_ char *path = xasprintf("%s/%s.crt", folder, key_role_name(KEY_ROLE_SECUREBOOT));
        r = certificate_load(path, s->certificates + KEY_ROLE_SECUREBOOT, reterr);
        if (r >= 0)
                r = io_mkdir_parents(AT_FDCWD, enrolment_folder, 0755, reterr);
        for (size_t i = 0; i < ELEMENTSOF(enrolment) && r >= 0; i++)
                r = write_variable(s, enrolment_folder, i, reterr);
        return r;
}

int keys_read_enrolment(const char *folder, KeysEnrolmentFile **ret, size_t *ret_n, Error *reterr) {
        KeysEnrolmentFile *files = xnew(KeysEnrolmentFile, ELEMENTSOF(enrolment));

        for (size_t i = 0; i < ELEMENTSOF(enrolment); i++) {
                char *data = NULL;
                int r;

                files[i].name = xasprintf("%s.auth", efi_variable_name(enrolment[i].variable));
                _cleanup_free_ char *path = xasprintf("%s/" KEYS_ENROLMENT_FOLDER "/%s", folder, files[i].name);
                r = io_read_file(AT_FDCWD, path, ENROLMENT_FILE_MAX, &data, &files[i].size, reterr);
                if (r < 0) {
                        keys_enrolment_free(files, ELEMENTSOF(enrolment));
                        if (r != -ENOENT || i > 0)
                                return r;
                        *ret = NULL;
                        *ret_n = 0;
                        error_done(reterr ?: &(Error){});
                        return 1;
                }
                files[i].data = data;
        }
        *ret = files;
        *ret_n = ELEMENTSOF(enrolment);
        return 0;
}

void keys_enrolment_free(KeysEnrolmentFile *files, size_t n) {
        for (size_t i = 0; files && i < n; i++) {
                free(files[i].name);
                free(files[i].data);
        }
        free(files);
}
