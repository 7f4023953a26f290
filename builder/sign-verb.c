/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "ceremony.h"
#include "disk.h"
#include "io.h"
#include "log.h"
#include "seal.h"
#include "sign-verb.h"

typedef struct Signing {
        const SignVerbOptions *opt;
        Release *release;
        KeySet *keys;
} Signing;

static void signing_done(Signing *s) {
        release_free(s->release);
        key_set_free(s->keys);
}

static const char *key_folder(const SignVerbOptions *opt) {
        return opt->keys ?: io_exists(AT_FDCWD, "keys/dev") ? "keys/dev" : NULL;
}

static int open_signing(Signing *s, const char *release, bool certificates_only, Error *reterr) {
        const char *folder = s->opt->keys ?: key_folder(s->opt);
        KeySetFlags flags = (certificates_only ? KEY_SET_CERTIFICATES_ONLY : 0) |
                            (s->opt->release_build ? KEY_SET_RELEASE_BUILD : 0);
        int r;

        if (!folder) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "no keys were named");
                return error_hint(
                        reterr,
                        "Name their folder with --keys DIR (for --export and --import the certificates are enough).");
        }
        r = release_open(release, &s->release, reterr);
        if (r >= 0)
                r = key_set_load(folder, KEY_ROLES_RELEASE, flags, &s->keys, reterr);
        return r;
}

/* The sizes of the disk image that is there, so that signing needs no recipe; 1 if there is none. */
static int read_disk_sizes(const Release *release, SealDisk *ret, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, RELEASE_DISK);
        _cleanup_disk_layout_ DiskLayout layout = {};
        uint64_t end = 0;
        struct stat st;
        int r;

        if (!release->files[RELEASE_DISK].present)
                return 1;
        r = disk_read_slots(path, release->architecture, &layout, reterr);
        if (r < 0)
                return r;
        if (stat(path, &st) < 0)
                return error_errno(reterr, errno, "cannot look at %s", path);
        for (size_t i = 0; i < layout.n_partitions; i++)
                end = MAX(end, layout.partitions[i].offset + layout.partitions[i].size);
        /* One alignment unit at the end holds the table's backup. */
        *ret = (SealDisk){ .esp_size = layout.esp->size,
                           .usr_size = layout.slots[0].usr->size,
                           .root_size = (uint64_t) st.st_size - end - DISK_ALIGNMENT };
        return 0;
}

static int attach(Signing *s, const SealSignatures *signatures, Error *reterr) {
        SealDisk disk;
        int r, has_disk;

        has_disk = read_disk_sizes(s->release, &disk, reterr);
        if (has_disk < 0)
                return has_disk;
        r = seal_attach(s->keys, signatures, has_disk == 0 ? &disk : NULL, s->opt->progress, s->release, reterr);
        if (r >= 0)
                r = release_write(s->release, reterr);
        if (r < 0)
                return r;
        log_info("%s is signed%s.", s->release->folder, s->release->development_keys ? " with development keys" : "");
        return 0;
}

typedef struct Parts {
        char *uki, *loader;
        size_t uki_size, loader_size;
} Parts;

static void parts_done(Parts *p) {
        free(p->uki);
        free(p->loader);
}

/* Made from the release itself each time, also at import: what comes back is measured against what is here, not against
 * what was once exported. */
static int make_request(Signing *s, Parts *p, SignRequest **ret, Error *reterr) {
        _cleanup_(sign_request_freep) SignRequest *request = NULL;
        _cleanup_free_ char *name = release_name(s->release->image_id, s->release->version),
                            *uki = xasprintf("UKI %s", name), *loader = xasprintf("systemd-boot of %s", name);
        int r;

        r = release_read_file(s->release, RELEASE_UNSIGNED_UKI, &p->uki, &p->uki_size, reterr);
        if (r >= 0)
                r = release_read_file(s->release, RELEASE_BOOT_LOADER, &p->loader, &p->loader_size, reterr);
        if (r < 0)
                return r;
        request = sign_request_new(s->release->image_id, s->release->version, &s->release->root_hash);
        r = sign_request_add_roothash(request, s->keys, reterr);
        if (r >= 0)
                r = sign_request_add_efi(request, s->keys, "uki", uki, p->uki, p->uki_size, reterr);
        if (r >= 0)
                r = sign_request_add_efi(request, s->keys, "boot-loader", loader, p->loader, p->loader_size, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(request);
        return 0;
}

static int export_request(Signing *s, Error *reterr) {
        _cleanup_(sign_request_freep) SignRequest *request = NULL;
        _cleanup_(parts_done) Parts parts = {};
        _cleanup_free_ char *text = NULL, *words = NULL;
        int r;

        r = make_request(s, &parts, &request, reterr);
        if (r < 0)
                return r;
        text = sign_request_format(request);
        words = sign_request_describe(request);
        r = io_replace_file(AT_FDCWD, s->opt->export_path, text, strlen(text), 0644, reterr);
        if (r < 0)
                return r;
        log_info("%s\n%s holds what is to be signed. On the key's machine: sealab sign --sign-file %s --keys DIR",
                 words, s->opt->export_path, s->opt->export_path);
        return 0;
}

static int import_response(Signing *s, Error *reterr) {
        _cleanup_(seal_signatures_done) SealSignatures signatures = {};
        _cleanup_(sign_request_freep) SignRequest *request = NULL;
        _cleanup_(parts_done) Parts parts = {};
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = make_request(s, &parts, &request, reterr);
        if (r >= 0)
                r = io_read_file(AT_FDCWD, s->opt->import_path, CEREMONY_FILE_SIZE_MAX, &text, &size, reterr);
        if (r >= 0)
                r = sign_response_apply(request, text, size, s->opt->import_path, s->keys, reterr);
        if (r >= 0)
                r = sign_item_finish_roothash(sign_request_find(request, "usr"), s->keys, &signatures.root_hash,
                                              &signatures.root_hash_size, reterr);
        if (r >= 0)
                r = sign_item_finish_efi(sign_request_find(request, "uki"), s->keys, parts.uki, parts.uki_size,
                                         &signatures.uki, &signatures.uki_size, reterr);
        if (r >= 0)
                r = sign_item_finish_efi(sign_request_find(request, "boot-loader"), s->keys, parts.loader,
                                         parts.loader_size, &signatures.loader, &signatures.loader_size, reterr);
        return r < 0 ? r : attach(s, &signatures, reterr);
}

static int sign_here(Signing *s, Error *reterr) {
        _cleanup_(seal_signatures_done) SealSignatures signatures = {};
        int r;

        r = seal_make_signatures(s->keys, s->release, &signatures, reterr);
        return r < 0 ? r : attach(s, &signatures, reterr);
}

static int sign_file(const SignVerbOptions *opt, Error *reterr) {
        _cleanup_free_ char *words = NULL;
        const char *folder = key_folder(opt), *out = opt->out_path ?: "signed.json";
        int r;

        if (!folder) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "no keys were named");
                return error_hint(reterr, "Name their folder with --keys DIR.");
        }
        r = ceremony_sign_file(opt->sign_path, folder, out, &words, reterr);
        if (r < 0)
                return r;
        log_info("%s\nSigned: %s. On the build machine: sealab sign RELEASE --import %s", words, out,
                 path_basename(out));
        return 0;
}

int sign_verb(const char *release, const SignVerbOptions *opt, Error *reterr) {
        _cleanup_(signing_done) Signing s = { .opt = opt };
        int n = !!opt->export_path + !!opt->sign_path + !!opt->import_path, r;

        if (n > 1)
                return error_set(reterr, EINVAL, REFUSAL_USAGE,
                                 "--export, --sign-file and --import are three steps: one at a time");
        if (opt->sign_path) {
                if (release)
                        return error_set(reterr, EINVAL, REFUSAL_USAGE,
                                         "--sign-file needs no release: the key's machine has none");
                return sign_file(opt, reterr);
        }
        if (!release)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "sealab sign needs: RELEASE");
        r = open_signing(&s, release, n > 0, reterr);
        if (r < 0)
                return r;
        if (opt->export_path)
                return export_request(&s, reterr);
        if (opt->import_path)
                return import_response(&s, reterr);
        return sign_here(&s, reterr);
}
