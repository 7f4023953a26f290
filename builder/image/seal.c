/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>
#include <zstd.h>

#include "disk.h"
#include "erofs.h"
#include "initrd-step.h"
#include "io.h"
#include "kernel.h"
#include "keys.h"
#include "seal.h"
#include "uki.h"
#include "verity.h"

#define BOOT_PACKAGE "systemd-boot-efi"
#define STUB_PATH "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
#define LOADER_PATH "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
#define LOADER_CONF "timeout 0\neditor no\n"

void seal_uuid(const char *purpose, const char *image_id, const char *version, uint8_t ret[static 16]) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 d;

        hasher_update_string(h, "sealab uuid 1");
        hasher_update_string(h, purpose);
        hasher_update_string(h, image_id);
        hasher_update_string(h, version);
        hasher_final(h, &d);
        memcpy(ret, d.bytes, 16);
        ret[6] = (uint8_t) ((ret[6] & 0x0f) | 0x80);
        ret[8] = (uint8_t) ((ret[8] & 0x3f) | 0x80);
}

static int open_part(Release *release, ReleasePart part, int *ret_fd, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, part);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", path);
        (void) fchmod(fd, 0644);
        *ret_fd = fd;
        return 0;
}

static int write_part(Release *release, ReleasePart part, const void *data, size_t size, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, part);
        int r;

        r = io_write_file(AT_FDCWD, path, data, size, 0644, reterr);
        return r < 0 ? r : release_add_file(release, part, reterr);
}

/* ---- image and hash tree --------------------------------------------------------------------------------- */

typedef struct Shown {
        Progress *progress;
        uint64_t done;
} Shown;

static void show_progress(uint64_t done, uint64_t total, void *userdata) {
        Shown *shown = userdata;

        if (shown->done == 0)
                progress_total(shown->progress, total);
        progress_advance(shown->progress, done - shown->done);
        shown->done = done;
}

static int write_image(const SealContext *c, Tree *t, Release *release, Error *reterr) {
        const Recipe *r = c->recipe;
        Shown shown_bytes = { .progress = c->progress };
        ErofsOptions o = { .layout = r->layout == USR_LAYOUT_PLAIN ? EROFS_LAYOUT_PLAIN : EROFS_LAYOUT_LZ4HC,
                           .level = (unsigned) r->level,
                           .cluster_size = (uint32_t) r->cluster,
                           .build_time = c->epoch,
                           .root_mtime = c->usr_epoch,
                           .n_workers = c->workers,
                           .progress = show_progress,
                           .userdata = &shown_bytes };
        _cleanup_close_ int fd = -EBADF;
        uint64_t size;
        int e;

        progress_begin(c->progress, "image", "Writing the EROFS image");
        seal_uuid("erofs", r->image_id, c->version, o.uuid);
        e = open_part(release, RELEASE_USR, &fd, reterr);
        if (e >= 0)
                e = erofs_write(t, "/usr", &o, fd, &size, reterr);
        if (e >= 0)
                e = release_add_file(release, RELEASE_USR, reterr);
        if (e < 0)
                return error_prefix(reterr, "EROFS image");
        release->layout = r->layout;
        release->level = r->layout == USR_LAYOUT_PLAIN ? 0 : r->level;
        release->cluster = r->layout == USR_LAYOUT_PLAIN ? 0 : r->cluster;
        release->download_budget = r->download_budget;
        _cleanup_free_ char *shown = format_bytes(size);
        progress_end(c->progress, "%s", shown);
        return 0;
}

/* The salt is fixed for an image line: a block that stays the same keeps its hash, which is what updates are made from.
 */
static int write_verity(const SealContext *c, Release *release, Error *reterr) {
        _cleanup_free_ char *data = release_file_path(release, RELEASE_USR),
                            *hash = release_file_path(release, RELEASE_VERITY), *hex = NULL, *line = NULL;
        VerityOptions o = {};
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 salt;
        int r;

        progress_begin(c->progress, "verity", "Building the hash tree");
        hasher_update_string(h, "sealab salt 1");
        hasher_update_string(h, c->recipe->image_id);
        hasher_final(h, &salt);
        memcpy(o.salt, salt.bytes, VERITY_SALT_SIZE);
        seal_uuid("verity", c->recipe->image_id, c->version, o.uuid);
        r = verity_format(data, release->files[RELEASE_USR].size, hash, &o, &release->root_hash, reterr);
        if (r < 0)
                return r;
        /* libcryptsetup made it with the user's umask; all files of a release are for everybody to read. */
        if (chmod(hash, 0644) < 0)
                return error_errno(reterr, errno, "cannot set the mode of %s", hash);
        r = release_add_file(release, RELEASE_VERITY, reterr);
        if (r < 0)
                return r;
        hex = sha256_hex(&release->root_hash);
        line = xasprintf("%s\n", hex);
        progress_end(c->progress, "root hash %.16s...", hex);
        return write_part(release, RELEASE_ROOT_HASH, line, strlen(line), reterr);
}

/* ---- initrd and UKI -------------------------------------------------------------------------------------- */

static int write_initrd(const SealContext *c, Tree *t, const char *kernel, Release *release, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        bool cached;
        int r;

        progress_begin(c->progress, "initrd", "Making the initrd");
        r = open_part(release, RELEASE_INITRD, &fd, reterr);
        if (r >= 0)
                r = initrd_step(c, t, kernel, fd, reterr);
        if (r < 0)
                return r;
        cached = r == INITRD_STEP_CACHED;
        r = release_add_file(release, RELEASE_INITRD, reterr);
        if (r < 0)
                return r;
        _cleanup_free_ char *shown = format_bytes(release->files[RELEASE_INITRD].size);
        progress_end(c->progress, "%s%s", shown, cached ? " (cached)" : "");
        return 0;
}

/* systemd-veritysetup-generator finds both partitions by usrhash= alone; the mapped device must be named for the mount,
 * or /usr would be mounted from beneath dm-verity. */
static char *command_line(const SealContext *c, const Sha256 *root_hash) {
        _cleanup_free_ char *hex = sha256_hex(root_hash);
        const char *own = c->recipe->command_line;

        return xasprintf("usrhash=%s mount.usr=/dev/mapper/usr mount.usrfstype=erofs mount.usrflags=ro rw%s%s", hex,
                         isempty(own) ? "" : " ", own ?: "");
}

static int write_uki(const SealContext *c, Tree *t, const char *kernel, Release *release, Error *reterr) {
        _cleanup_free_ char *stub = NULL, *image = NULL, *initrd = NULL, *os_release = NULL, *line = NULL;
        _cleanup_free_ void *uki = NULL;
        Node *k = tree_lookup(t, KERNEL_IMAGE_PATH), *os = tree_resolve(t, "/usr/lib/os-release");
        size_t stub_size, image_size, initrd_size, size;
        int r;

        progress_begin(c->progress, "uki", "Assembling the UKI");
        r = tools_read_file(c->tools, BOOT_PACKAGE, STUB_PATH, RELEASE_FILE_MAX, &stub, &stub_size, reterr);
        if (r >= 0)
                r = tree_read_file(t, k, RELEASE_FILE_MAX, &image, &image_size, reterr);
        if (r >= 0)
                r = tree_read_file(t, os, 1 << 20, &os_release, NULL, reterr);
        if (r >= 0)
                r = release_read_file(release, RELEASE_INITRD, &initrd, &initrd_size, reterr);
        if (r < 0)
                return r;
        line = command_line(c, &release->root_hash);
        r = uki_assemble(&(UkiOptions){ .stub = stub,
                                        .stub_size = stub_size,
                                        .kernel = image,
                                        .kernel_size = image_size,
                                        .initrd = initrd,
                                        .initrd_size = initrd_size,
                                        .command_line = line,
                                        .os_release = os_release,
                                        .uname = kernel },
                         &uki, &size, reterr);
        if (r >= 0)
                r = write_part(release, RELEASE_UNSIGNED_UKI, uki, size, reterr);
        if (r < 0)
                return error_prefix(reterr, "UKI");
        release->kernel_version = xstrdup(kernel);
        release->command_line = TAKE_PTR(line);
        _cleanup_free_ char *shown = format_bytes(size);
        progress_end(c->progress, "%s", shown);
        return 0;
}

/* ---- signatures and disk --------------------------------------------------------------------------------- */

void seal_signatures_done(SealSignatures *s) {
        free(s->root_hash);
        free(s->uki);
        free(s->loader);
        *s = (SealSignatures){};
}

static void note_certificate(Release *release, const char *role, const Certificate *cert) {
        _cleanup_free_ char *subject = certificate_subject(cert);
        Sha256 fingerprint;

        certificate_fingerprint(cert, &fingerprint);
        release_set_certificate(release, role, subject, &fingerprint, certificate_not_after(cert),
                                certificate_is_development(cert));
}

int seal_make_signatures(const KeySet *keys, const Release *release, SealSignatures *ret, Error *reterr) {
        _cleanup_(seal_signatures_done) SealSignatures s = {};
        _cleanup_free_ char *uki = NULL, *loader = NULL;
        size_t uki_size, loader_size;
        int r;

        r = sign_roothash(keys, &release->root_hash, &s.root_hash, &s.root_hash_size, reterr);
        if (r >= 0)
                r = release_read_file(release, RELEASE_UNSIGNED_UKI, &uki, &uki_size, reterr);
        if (r >= 0)
                r = sign_efi(keys, uki, uki_size, &s.uki, &s.uki_size, reterr);
        if (r >= 0)
                r = release_read_file(release, RELEASE_BOOT_LOADER, &loader, &loader_size, reterr);
        if (r >= 0)
                r = sign_efi(keys, loader, loader_size, &s.loader, &s.loader_size, reterr);
        if (r < 0)
                return error_prefix(reterr, "signing");
        *ret = s;
        s = (SealSignatures){};
        return 0;
}

static int write_signatures(const KeySet *certificates, const SealSignatures *s, Release *release, Error *reterr) {
        const Certificate *verity = certificates->certificates[KEY_ROLE_VERITY];
        _cleanup_free_ char *json = NULL;
        Sha256 fingerprint;
        int r;

        certificate_fingerprint(verity, &fingerprint);
        json = disk_verity_sig_format(&release->root_hash, &fingerprint, s->root_hash, s->root_hash_size);
        r = write_part(release, RELEASE_VERITY_SIG, json, strlen(json), reterr);
        if (r >= 0)
                r = write_part(release, RELEASE_UKI, s->uki, s->uki_size, reterr);
        if (r < 0)
                return r;
        note_certificate(release, "usr", verity);
        note_certificate(release, "uki", certificates->certificates[KEY_ROLE_SECUREBOOT]);
        return 0;
}

/* Keys that firmware in setup mode can take over from the boot loader's menu: only where the key folder has them. */
static size_t enrolment_files(const KeysEnrolmentFile *files, size_t n, DiskFile *ret, char **names) {
        for (size_t i = 0; i < n; i++) {
                names[i] = xasprintf("loader/keys/sealab/%s", files[i].name);
                ret[i] = (DiskFile){ .path = names[i], .data = files[i].data, .size = files[i].size };
        }
        return n;
}

#define ENROLMENT_FILES 3

static int write_disk(const SealDisk *disk, const char *key_folder, const void *loader, size_t loader_size,
                      Release *release, Error *reterr) {
        bool is_signed = release->files[RELEASE_UKI].present;
        _cleanup_free_ char *final = release_file_path(release, RELEASE_DISK), *output = xasprintf("%s.new", final),
                            *usr = release_file_path(release, RELEASE_USR),
                            *verity = release_file_path(release, RELEASE_VERITY),
                            *uki = release_file_path(release, is_signed ? RELEASE_UKI : RELEASE_UNSIGNED_UKI),
                            *sig = NULL, *entry = xasprintf("%s_%s+3-0.efi", release->image_id, release->version);
        KeysEnrolmentFile *keys = NULL;
        DiskFile extra[ENROLMENT_FILES] = {};
        char *names[ENROLMENT_FILES] = {};
        size_t sig_size = 0, n_keys = 0;
        int e = 0;

        if (is_signed)
                e = release_read_file(release, RELEASE_VERITY_SIG, &sig, &sig_size, reterr);
        if (e >= 0 && is_signed && key_folder)
                e = keys_read_enrolment(key_folder, &keys, &n_keys, reterr);
        if (e >= 0)
                e = io_unlink(AT_FDCWD, output, reterr);
        if (e >= 0) {
                const DiskOptions o = {
                        .output = output,
                        .image_id = release->image_id,
                        .version = release->version,
                        .architecture = release->architecture,
                        .epoch = release->epoch,
                        .esp_size = disk->esp_size,
                        .usr_size = disk->usr_size ?: disk_default_usr_size(release->files[RELEASE_USR].size),
                        .root_size = disk->root_size,
                        .boot_loader = { .data = loader, .size = loader_size },
                        .loader_conf = LOADER_CONF,
                        .uki = { .path = entry, .source = uki },
                        .extra_files = extra,
                        .n_extra_files = enrolment_files(keys, MIN(n_keys, (size_t) ENROLMENT_FILES), extra, names),
                        .usr_path = usr,
                        .verity_path = verity,
                        .root_hash = release->root_hash,
                        .verity_sig = sig,
                        .verity_sig_size = sig_size
                };

                e = disk_build(&o, reterr);
        }
        for (size_t i = 0; i < ENROLMENT_FILES; i++)
                free(names[i]);
        keys_enrolment_free(keys, n_keys);
        if (e >= 0)
                e = io_rename_replace(AT_FDCWD, output, final, reterr);
        if (e >= 0)
                e = release_add_file(release, RELEASE_DISK, reterr);
        return e < 0 ? error_prefix(reterr, "disk image") : 0;
}

int seal_attach(const KeySet *certificates, const SealSignatures *s, const SealDisk *disk, Progress *progress,
                Release *release, Error *reterr) {
        _cleanup_free_ char *unsigned_loader = NULL;
        size_t size;
        int r;

        if (s) {
                progress_begin(progress, "sign", "Attaching signatures");
                r = write_signatures(certificates, s, release, reterr);
                if (r < 0)
                        return r;
                progress_end(progress, "root hash, UKI and boot loader%s",
                             release->development_keys ? ", with development keys" : "");
        }
        if (!disk)
                return 0;
        progress_begin(progress, "disk", "Laying out the disk image");
        r = release_read_file(release, RELEASE_BOOT_LOADER, &unsigned_loader, &size, reterr);
        if (r >= 0)
                r = write_disk(disk, certificates ? certificates->folder : NULL, s ? s->loader : unsigned_loader,
                               s ? s->loader_size : size, release, reterr);
        if (r < 0)
                return r;
        _cleanup_free_ char *shown = format_bytes(release->files[RELEASE_DISK].size);
        progress_end(progress, "%s, sparse", shown);
        return 0;
}

static void note_tools(const SealContext *c, Release *release) {
        const LockPackage *systemd = lock_find(c->lock, BOOT_PACKAGE);

        release_set_tool(release, "sealab", SEALAB_VERSION);
        release_set_tool(release, "liberofs", SEALAB_EROFS_VERSION);
        release_set_tool(release, "lz4", SEALAB_LZ4_VERSION);
        release_set_tool(release, "zstd", SEALAB_ZSTD_VERSION);
        if (systemd)
                release_set_tool(release, "systemd-boot", systemd->version);
}

int seal_tree(const SealContext *c, Tree *t, const char *kernel, Release *release, Error *reterr) {
        _cleanup_(seal_signatures_done) SealSignatures signatures = {};
        _cleanup_free_ char *loader = NULL;
        size_t loader_size;
        int r;

        if (!kernel) {
                error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "the image has no kernel");
                return error_hint(reterr, "Name one in the recipe: [Kernel] Package=linux-image-amd64");
        }
        note_tools(c, release);
        r = write_image(c, t, release, reterr);
        if (r >= 0)
                r = write_verity(c, release, reterr);
        if (r >= 0)
                r = write_initrd(c, t, kernel, release, reterr);
        if (r >= 0)
                r = write_uki(c, t, kernel, release, reterr);
        if (r >= 0)
                r = tools_read_file(c->tools, BOOT_PACKAGE, LOADER_PATH, RELEASE_FILE_MAX, &loader, &loader_size,
                                    reterr);
        if (r >= 0)
                r = write_part(release, RELEASE_BOOT_LOADER, loader, loader_size, reterr);
        if (r >= 0 && c->keys)
                r = seal_make_signatures(c->keys, release, &signatures, reterr);
        if (r < 0)
                return r;
        const SealDisk disk = { .esp_size = c->recipe->esp_size,
                                .usr_size = c->recipe->usr_size,
                                .root_size = c->recipe->root_size_min };
        return seal_attach(c->keys, c->keys ? &signatures : NULL, c->disk ? &disk : NULL, c->progress, release, reterr);
}
