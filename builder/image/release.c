/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>

#include "gpt.h"
#include "io.h"
#include "release.h"
#include "version.h"

/* A root hash file is 64 digits and a newline; whatever is longer is not one. */
#define ROOT_HASH_FILE_MAX 256
#define CHECK_STEP (UINT64_C(16) << 20)
#define ID_ALPHABET "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

static const struct {
        const char *suffix;
        bool required;
} parts[_RELEASE_PART_MAX] = {
        [RELEASE_USR] = { ".usr.erofs", true },
        [RELEASE_VERITY] = { ".usr.verity", true },
        [RELEASE_ROOT_HASH] = { ".usr.roothash", true },
        [RELEASE_VERITY_SIG] = { ".usr.verity-sig", false },
        [RELEASE_INITRD] = { ".initrd", true },
        [RELEASE_UNSIGNED_UKI] = { ".unsigned.efi", true },
        [RELEASE_UKI] = { ".efi", false },
        [RELEASE_BOOT_LOADER] = { ".boot.unsigned.efi", true },
        [RELEASE_DISK] = { ".disk.raw", false },
        [RELEASE_SBOM] = { ".spdx.json", true },
        [RELEASE_PACKAGES] = { ".packages.json", true },
        [RELEASE_CONTENTS] = { ".contents.jsonl.zst", true },
};

Release *release_new(const char *folder, const char *image_id, const char *version) {
        Release *r = xnew(Release, 1);

        r->folder = xstrdup(folder);
        r->image_id = xstrdup(image_id);
        r->version = xstrdup(version);
        return r;
}

static void certificate_done(ReleaseCertificate *c) {
        free(c->role);
        free(c->subject);
        *c = (ReleaseCertificate){};
}

Release *release_free(Release *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_certificates; i++)
                certificate_done(&r->certificates[i]);
        for (size_t i = 0; i < r->n_tools; i++) {
                free(r->tools[i].name);
                free(r->tools[i].value);
        }
        free(r->certificates);
        free(r->tools);
        free(r->folder);
        free(r->image_id);
        free(r->version);
        free(r->architecture);
        free(r->recipe);
        free(r->kernel_version);
        free(r->command_line);
        free(r);
        return NULL;
}

char *release_name(const char *image_id, const char *version) {
        return xasprintf("%s_%s", image_id, version);
}

int release_check_name(const char *image_id, const char *version, Error *reterr) {
        size_t size = strlen(image_id) + 1 + strlen(version);

        if (isempty(image_id) || strspn(image_id, ID_ALPHABET) != strlen(image_id) || strchr(".-", image_id[0])) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" cannot be the id of an image", image_id);
                return error_hint(reterr, "use letters, digits, \".\" and \"-\", beginning with a letter or digit");
        }
        if (!version_is_valid(version)) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s\" cannot be the version of an image", version);
                return error_hint(reterr, "use letters, digits and . + ~ ^ -, beginning with a letter or digit, "
                                          "for example 2026.11.1");
        }
        if (size > GPT_LABEL_MAX) {
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "\"%s_%s\" has %zu characters; a partition label holds %d",
                          image_id, version, size, GPT_LABEL_MAX);
                return error_hint(reterr, "choose a shorter Id= or Version=");
        }
        return 0;
}

const char *release_part_suffix(ReleasePart part) {
        return parts[part].suffix;
}

char *release_file_name(const Release *r, ReleasePart part) {
        return xasprintf("%s_%s%s", r->image_id, r->version, parts[part].suffix);
}

char *release_file_path(const Release *r, ReleasePart part) {
        _cleanup_free_ char *name = release_file_name(r, part);

        return path_join(r->folder, name);
}

int release_read_file(const Release *r, ReleasePart part, char **ret, size_t *ret_size, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(r, part);

        return io_read_file(AT_FDCWD, path, RELEASE_FILE_MAX, ret, ret_size, reterr);
}

bool release_is_signed(const Release *r) {
        return r->files[RELEASE_UKI].present && r->files[RELEASE_VERITY_SIG].present;
}

const ReleaseCertificate *release_certificate(const Release *r, const char *role) {
        for (size_t i = 0; i < r->n_certificates; i++)
                if (streq(r->certificates[i].role, role))
                        return &r->certificates[i];
        return NULL;
}

int release_add_file(Release *r, ReleasePart part, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(r, part);
        ReleaseFile f = { .present = true };
        int result;

        result = sha256_file(AT_FDCWD, path, &f.sha256, &f.size, reterr);
        if (result < 0)
                return result;
        r->files[part] = f;
        return 0;
}

void release_remove_file(Release *r, ReleasePart part) {
        r->files[part] = (ReleaseFile){};
}

static void update_development(Release *r) {
        r->development_keys = false;
        for (size_t i = 0; i < r->n_certificates; i++)
                r->development_keys = r->development_keys || r->certificates[i].development;
}

void release_set_certificate(Release *r, const char *role, const char *subject, const Sha256 *fingerprint,
                             int64_t not_after, bool development) {
        ReleaseCertificate c = {
                .role = xstrdup(role),
                .subject = xstrdup(subject),
                .fingerprint = *fingerprint,
                .not_after = not_after,
                .development = development,
        };
        size_t i = 0;

        while (i < r->n_certificates && !streq(r->certificates[i].role, role))
                i++;
        if (i == r->n_certificates) {
                r->certificates = xrealloc(r->certificates, ++r->n_certificates, sizeof(*r->certificates));
                r->certificates[i] = (ReleaseCertificate){};
        }
        certificate_done(&r->certificates[i]);
        r->certificates[i] = c;
        update_development(r);
}

void release_set_tool(Release *r, const char *name, const char *version) {
        size_t i = 0;

        while (i < r->n_tools && !streq(r->tools[i].name, name))
                i++;
        if (i == r->n_tools) {
                r->tools = xrealloc(r->tools, ++r->n_tools, sizeof(*r->tools));
                r->tools[i] = (NameValue){ .name = xstrdup(name) };
        }
        free(r->tools[i].value);
        r->tools[i].value = xstrdup(version);
}

static int check_required(const Release *r, const char *what, Error *reterr) {
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++)
                if (parts[i].required && !r->files[i].present)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s: it has no %s_%s%s", what,
                                         r->image_id, r->version, parts[i].suffix);
        return 0;
}

int release_write(const Release *r, Error *reterr) {
        _cleanup_free_ char *path = path_join(r->folder, RELEASE_RECORD), *text = NULL;
        int result;

        result = release_check_name(r->image_id, r->version, reterr);
        if (result < 0)
                return result;
        result = check_required(r, path, reterr);
        if (result < 0)
                return result;
        text = release_format(r);
        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

static int check_size(const Release *r, ReleasePart part, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(r, part);
        struct stat st;

        if (lstat(path, &st) < 0) {
                int code = errno;

                error_errno(reterr, code, "%s", path);
                if (code == ENOENT)
                        error_hint(reterr, "release.json names this file: copy the release again as a whole");
                return -code;
        }
        if (!S_ISREG(st.st_mode))
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is not a regular file", path);
        if ((uint64_t) st.st_size != r->files[part].size) {
                error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s has %lld bytes; release.json says %" PRIu64, path,
                          (long long) st.st_size, r->files[part].size);
                return error_hint(reterr, "the copy is incomplete or was changed: copy the release again, or build it");
        }
        return 0;
}

static int check_root_hash(const Release *r, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(r, RELEASE_ROOT_HASH), *text = NULL, *hex = NULL, *wanted = NULL;
        size_t size;
        int result;

        result = io_read_file(AT_FDCWD, path, ROOT_HASH_FILE_MAX, &text, &size, reterr);
        if (result < 0)
                return result;
        hex = sha256_hex(&r->root_hash);
        wanted = xasprintf("%s\n", hex);
        if (!streq(text, wanted))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s does not hold the root hash that release.json names (%s)", path, hex);
        return 0;
}

static int not_a_release(const char *path, Error *reterr) {
        struct stat st;

        if (stat(path, &st) < 0)
                return error_errno(reterr, errno, "%s", path);
        if (!S_ISDIR(st.st_mode)) {
                error_set(reterr, ENOTDIR, REFUSAL_BAD_FORMAT, "%s is not a folder", path);
                return error_hint(reterr, "name the release's folder, for example out/minimal_2026.11.1");
        }
        error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s is not a release: it has no %s", path, RELEASE_RECORD);
        return error_hint(reterr, "sealab build makes releases; each is a folder ID_VERSION below its output folder");
}

int release_open(const char *path, Release **ret, Error *reterr) {
        _cleanup_free_ char *record = path_join(path, RELEASE_RECORD), *text = NULL;
        _cleanup_(release_freep) Release *r = NULL;
        size_t size;
        int result;

        if (!io_exists(AT_FDCWD, record))
                return not_a_release(path, reterr);
        result = io_read_file(AT_FDCWD, record, RELEASE_RECORD_SIZE_MAX, &text, &size, reterr);
        if (result < 0)
                return result;
        result = release_parse(text, size, record, &r, reterr);
        if (result < 0)
                return result;
        free(r->folder);
        r->folder = xstrdup(path);
        result = check_required(r, record, reterr);
        if (result < 0)
                return result;
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                if (!r->files[i].present)
                        continue;
                result = check_size(r, (ReleasePart) i, reterr);
                if (result < 0)
                        return result;
        }
        result = check_root_hash(r, reterr);
        if (result < 0)
                return result;
        *ret = TAKE_PTR(r);
        return 0;
}

static int hash_with_progress(const char *path, uint64_t size, Sha256 *ret,
                              void (*progress)(uint64_t bytes, void *userdata), void *userdata, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ char *chunk = xmalloc(CHECK_STEP);
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return error_errno(reterr, errno, "%s", path);
        for (uint64_t offset = 0; offset < size;) {
                size_t n = (size_t) MIN(CHECK_STEP, size - offset);
                int r = io_pread_all(fd, chunk, n, offset, reterr);

                if (r < 0)
                        return error_prefix(reterr, "%s", path);
                hasher_update(hasher, chunk, n);
                offset += n;
                if (progress)
                        progress(n, userdata);
        }
        hasher_final(hasher, ret);
        return 0;
}

int release_check_files(const Release *r, void (*progress)(uint64_t bytes, void *userdata), void *userdata,
                        Error *reterr) {
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                _cleanup_free_ char *path = release_file_path(r, (ReleasePart) i);
                Sha256 found;
                int result;

                if (!r->files[i].present)
                        continue;
                result = hash_with_progress(path, r->files[i].size, &found, progress, userdata, reterr);
                if (result < 0)
                        return result;
                if (!sha256_equal(&found, &r->files[i].sha256)) {
                        error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not the file that release.json names",
                                  path);
                        return error_hint(reterr, "do not publish this release: copy it again, or build it again");
                }
        }
        return 0;
}

static void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}

char *release_find_previous(const Release *r) {
        _cleanup_free_ char *real = realpath(r->folder, NULL), *best = NULL, *prefix = NULL;
        _cleanup_free_ char *parent = real ? path_dirname(real) : NULL;
        _cleanup_(closedirp) DIR *d = parent ? opendir(parent) : NULL;
        struct dirent *e;

        prefix = xasprintf("%s_", r->image_id);
        while (d && (e = readdir(d))) {
                const char *version = startswith(e->d_name, prefix);
                _cleanup_free_ char *folder = NULL, *record = NULL;

                if (!version || !version_is_valid(version) || version_compare(version, r->version) >= 0)
                        continue;
                if (best && version_compare(version, path_basename(best) + strlen(prefix)) <= 0)
                        continue;
                folder = path_join(parent, e->d_name);
                record = path_join(folder, RELEASE_RECORD);
                if (!io_exists(AT_FDCWD, record))
                        continue;
                free(best);
                best = TAKE_PTR(folder);
        }
        return TAKE_PTR(best);
}
