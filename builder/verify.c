/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "contents.h"
#include "disk.h"
#include "erofs.h"
#include "io.h"
#include "json.h"
#include "keys.h"
#include "release.h"
#include "sign.h"
#include "uki.h"
#include "verify.h"
#include "verity.h"

#define SIGNATURE_FILE_MAX ((size_t) 1 << 20)

typedef struct Verify {
        const VerifyOptions *opt;
        Release *release;
        Certificate *usr_certificate, *uki_certificate; /* NULL: nobody to trust */
        json_t *results;
        char *skipped; /* why the check that runs cannot say anything; set by the check */
} Verify;

static void verify_done(Verify *v) {
        release_free(v->release);
        certificate_free(v->usr_certificate);
        certificate_free(v->uki_certificate);
        json_decref(v->results);
        free(v->skipped);
}

static void advance(uint64_t bytes, void *userdata) {
        progress_advance(userdata, bytes);
}

static int check_digests(Verify *v, Error *reterr) {
        uint64_t total = 0;

        for (size_t i = 0; i < _RELEASE_PART_MAX; i++)
                total += v->release->files[i].present ? v->release->files[i].size : 0;
        progress_total(v->opt->progress, total);
        return release_check_files(v->release, advance, v->opt->progress, reterr);
}

static int check_root_hash_file(Verify *v, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(v->release, RELEASE_ROOT_HASH), *text = NULL;
        Sha256 found;
        int r;

        r = io_read_file(AT_FDCWD, path, 128, &text, NULL, reterr);
        if (r < 0)
                return r;
        if (!sha256_from_hex(strstrip(text), &found) || !sha256_equal(&found, &v->release->root_hash))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s does not hold the root hash of release.json", path);
        return 0;
}

static int check_hash_tree(Verify *v, Error *reterr) {
        _cleanup_free_ char *data = release_file_path(v->release, RELEASE_USR),
                            *hash = release_file_path(v->release, RELEASE_VERITY);

        return verity_verify(data, hash, &v->release->root_hash, reterr);
}

static int check_contents(Verify *v, Error *reterr) {
        _cleanup_free_ char *image = release_file_path(v->release, RELEASE_USR),
                            *path = release_file_path(v->release, RELEASE_CONTENTS);
        _cleanup_(contents_freep) Contents *recorded = NULL, *found = NULL;
        _cleanup_(tree_freep) Tree *t = NULL;
        _cleanup_close_ int fd = open(image, O_RDONLY | O_CLOEXEC);
        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", image);
        r = erofs_read(fd, &(ErofsReadOptions){ .root_path = "/usr", .contents = EROFS_CONTENTS_STORE }, &t, reterr);
        if (r >= 0)
                r = contents_from_tree(t, "/usr", v->release->image_id, v->release->version, &found, reterr);
        if (r >= 0)
                r = contents_read(AT_FDCWD, path, &recorded, reterr);
        return r < 0 ? r : contents_check_equal(recorded, found, reterr);
}

static int check_command_line(Verify *v, Error *reterr) {
        ReleasePart part = v->release->files[RELEASE_UKI].present ? RELEASE_UKI : RELEASE_UNSIGNED_UKI;
        _cleanup_free_ char *path = release_file_path(v->release, part), *image = NULL;
        _cleanup_uki_ Uki uki = {};
        size_t size;
        int r;

        r = release_read_file(v->release, part, &image, &size, reterr);
        if (r >= 0)
                r = uki_read(image, size, &uki, reterr);
        if (r < 0)
                return r;
        if (!uki.has_usrhash || !sha256_equal(&uki.usrhash, &v->release->root_hash))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s: usrhash= on the command line is not the image's root hash", path);
        if (!streq_ptr(uki.image_version, v->release->version) || !streq_ptr(uki.image_id, v->release->image_id))
                return error_set(reterr, EBADMSG, REFUSAL_DIFFERENT, "%s says it is %s %s, the release %s %s", path,
                                 uki.image_id ?: "(nothing)", uki.image_version ?: "", v->release->image_id,
                                 v->release->version);
        return 0;
}

static int skip(Verify *v, const char *why) {
        v->skipped = xstrdup(why);
        return 0;
}

static int check_root_hash_signature(Verify *v, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(v->release, RELEASE_VERITY_SIG), *text = NULL,
                            *hex = sha256_hex(&v->release->root_hash);
        _cleanup_free_ void *sig = NULL;
        Sha256 root, fingerprint;
        size_t size, sig_size;
        int r;

        if (!v->release->files[RELEASE_VERITY_SIG].present)
                return skip(v, "unsigned");
        r = io_read_file(AT_FDCWD, path, SIGNATURE_FILE_MAX, &text, &size, reterr);
        if (r >= 0)
                r = disk_verity_sig_parse(text, size, &root, &fingerprint, &sig, &sig_size, reterr);
        if (r < 0)
                return r;
        if (!sha256_equal(&root, &v->release->root_hash))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is about another root hash", path);
        if (!v->usr_certificate)
                return skip(v, "no certificate to trust: name its folder with --keys");
        r = pkcs7_verify_detached(sig, sig_size, hex, strlen(hex), &v->usr_certificate, 1, reterr);
        return r < 0 ? error_prefix(reterr, "signature of the root hash") : 0;
}

static int check_uki_signature(Verify *v, Error *reterr) {
        _cleanup_free_ char *image = NULL;
        size_t size;
        int r;

        if (!v->release->files[RELEASE_UKI].present)
                return skip(v, "unsigned");
        if (!v->uki_certificate)
                return skip(v, "no certificate to trust: name its folder with --keys");
        r = release_read_file(v->release, RELEASE_UKI, &image, &size, reterr);
        if (r >= 0)
                r = uki_verify(image, size, &v->uki_certificate, 1, reterr);
        return r < 0 ? error_prefix(reterr, "signature of the UKI") : 0;
}

static int compare_partition(const Release *release, ReleasePart part, const char *disk, const GptPartition *p,
                             Error *reterr) {
        _cleanup_close_ int fd = open(disk, O_RDONLY | O_CLOEXEC);
        Sha256 found;
        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", disk);
        r = sha256_fd(fd, p->offset, release->files[part].size, &found, reterr);
        if (r < 0)
                return r;
        if (!sha256_equal(&found, &release->files[part].sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s: partition %s is not %s", disk, p->label,
                                 release_part_suffix(part) + 1);
        return 0;
}

static int check_disk(Verify *v, Error *reterr) {
        _cleanup_free_ char *disk = release_file_path(v->release, RELEASE_DISK);
        _cleanup_disk_layout_ DiskLayout layout = {};
        const DiskSlot *slot;
        int r;

        if (!v->release->files[RELEASE_DISK].present)
                return skip(v, "the release has none");
        r = disk_read_slots(disk, v->release->architecture, &layout, reterr);
        if (r < 0)
                return r;
        slot = &layout.slots[layout.slots[0].is_empty ? 1 : 0];
        if (slot->is_empty || !streq_ptr(slot->version, v->release->version))
                return error_set(reterr, EBADMSG, REFUSAL_DIFFERENT, "%s holds no slot of version %s", disk,
                                 v->release->version);
        r = compare_partition(v->release, RELEASE_USR, disk, slot->usr, reterr);
        if (r >= 0)
                r = compare_partition(v->release, RELEASE_VERITY, disk, slot->verity, reterr);
        return r;
}

static const struct {
        const char *id, *title;
        int (*run)(Verify *v, Error *reterr);
} checks[] = {
        { "digests", "every file has the digest that release.json names", check_digests },
        { "root-hash-file", "the root hash file agrees with release.json", check_root_hash_file },
        { "hash-tree", "every block of the image is covered by the hash tree", check_hash_tree },
        { "contents", "the image holds exactly what the contents manifest lists", check_contents },
        { "command-line", "the UKI boots this image: usrhash=, id, version", check_command_line },
        { "root-hash-signature", "the root hash is signed", check_root_hash_signature },
        { "uki-signature", "the UKI is signed for Secure Boot", check_uki_signature },
        { "disk", "the disk image holds these files", check_disk },
};

static int load_certificates(Verify *v, Error *reterr) {
        const char *folder = v->opt->keys ?: io_exists(AT_FDCWD, "keys/dev") ? "keys/dev" : NULL;
        _cleanup_free_ char *usr = NULL, *uki = NULL;
        int r;

        if (!folder)
                return 0;
        usr = path_join(folder, "verity.crt");
        uki = path_join(folder, "secureboot.crt");
        r = certificate_load(usr, &v->usr_certificate, reterr);
        if (r >= 0)
                r = certificate_load(uki, &v->uki_certificate, reterr);
        return r;
}

static int run_check(Verify *v, size_t i, Error *reterr) {
        int r;

        progress_begin(v->opt->progress, checks[i].id, checks[i].title);
        v->skipped = NULL;
        r = checks[i].run(v, reterr);
        progress_end(v->opt->progress, NULL);
        json_array_append_new(v->results, json_pack("{s:s, s:s}", "check", checks[i].id, "result",
                                                    r < 0        ? "failed"
                                                    : v->skipped ? "not checked"
                                                                 : "ok"));
        if (!v->opt->json)
                printf("%-12s %s%s%s%s\n",
                       r < 0        ? "FAILED"
                       : v->skipped ? "not checked"
                                    : "ok",
                       checks[i].title, v->skipped ? " (" : "", v->skipped ?: "", v->skipped ? ")" : "");
        free(v->skipped);
        v->skipped = NULL;
        return r;
}

int verify_release(const char *folder, const VerifyOptions *opt, Error *reterr) {
        _cleanup_(verify_done) Verify v = { .opt = opt, .results = json_array() };
        int r;

        r = release_open(folder, &v.release, reterr);
        if (r >= 0)
                r = load_certificates(&v, reterr);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(checks); i++)
                r = run_check(&v, i, reterr);
        if (opt->json && r >= 0) {
                _cleanup_json_ json_t *o = json_pack("{s:s, s:O}", "release", folder, "checks", v.results);
                _cleanup_free_ char *text = json_format(o, false);

                fputs(text, stdout);
        }
        return r;
}

/* ---- two releases that should be one --------------------------------------------------------------------- */

static int name_first_difference(const Release *a, const Release *b, Error *reterr) {
        _cleanup_(contents_freep) Contents *x = NULL, *y = NULL;
        _cleanup_free_ char *ax = release_file_path(a, RELEASE_CONTENTS), *bx = release_file_path(b, RELEASE_CONTENTS);

        if (contents_read(AT_FDCWD, ax, &x, NULL) >= 0 && contents_read(AT_FDCWD, bx, &y, NULL) >= 0)
                (void) contents_check_equal(x, y, reterr);
        return -EBADMSG;
}

int verify_same(const char *a, const char *b, Error *reterr) {
        static const ReleasePart reproducible[] = { RELEASE_CONTENTS, RELEASE_PACKAGES,     RELEASE_SBOM,
                                                    RELEASE_USR,      RELEASE_VERITY,       RELEASE_ROOT_HASH,
                                                    RELEASE_INITRD,   RELEASE_UNSIGNED_UKI, RELEASE_BOOT_LOADER };
        _cleanup_(release_freep) Release *x = NULL, *y = NULL;
        int r;

        r = release_open(a, &x, reterr);
        if (r >= 0)
                r = release_open(b, &y, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(reproducible); i++) {
                ReleasePart p = reproducible[i];

                if (x->files[p].size == y->files[p].size && sha256_equal(&x->files[p].sha256, &y->files[p].sha256))
                        continue;
                error_set(reterr, EBADMSG, REFUSAL_DIFFERENT, "%s differs between %s and %s",
                          release_part_suffix(p) + 1, a, b);
                if (p == RELEASE_CONTENTS || p == RELEASE_USR)
                        return name_first_difference(x, y, reterr);
                return -EBADMSG;
        }
        return 0;
}
