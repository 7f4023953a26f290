/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* systemd-sysupdate knows of releases what the manifest says, so a payload counts once the manifest has its line. The
 * manifest and its signature are two files and cannot change at the same moment: see sign_and_write(). */

#include <time.h>

#include "disk.h"
#include "io.h"
#include "log.h"
#include "openpgp.h"
#include "sums.h"
#include "sysupdate.h"
#include "verity.h"
#include "xz.h"

#define BEST_BEFORE "BEST-BEFORE-"
#define DAY 86400
/* systemd wants nothing but zeros behind the signature's JSON, and what a partition held before stays behind a shorter
 * text. systemd-repart makes these partitions 16 KiB large, and sealab larger. */
#define SIG_PADDED_SIZE ((size_t) 16 << 10)
/* What systemd's version_is_valid() lets into file names. */
#define VERSION_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,_-+"

/* In the order in which transfers_apply() has them. */
typedef enum Payload { PAYLOAD_SIG, PAYLOAD_VERITY, PAYLOAD_USR, PAYLOAD_UKI, _PAYLOADS } Payload;

static const struct {
        ReleasePart part;
        const char *suffix; /* behind the partition's id */
        const char *title;
} payload_table[_PAYLOADS] = {
        [PAYLOAD_SIG] = { RELEASE_VERITY_SIG, ".usr-verity-sig.raw.xz", "the signature of the root hash" },
        [PAYLOAD_VERITY] = { RELEASE_VERITY, ".usr-verity.raw.xz", "the hash tree" },
        [PAYLOAD_USR] = { RELEASE_USR, ".usr.raw.xz", "/usr" },
        [PAYLOAD_UKI] = { RELEASE_UKI, ".efi", "the UKI" },
};

typedef struct Job {
        Storage *storage;
        const Release *release;
        const SysupdateOptions *opt;
        Sums sums;
        char *names[_PAYLOADS];
} Job;

static void job_done(Job *j) {
        sums_done(&j->sums);
        for (size_t i = 0; i < _PAYLOADS; i++)
                free(j->names[i]);
        storage_unlock(j->storage);
}

/* ---- what is there already ----------------------------------------------------------------------------------------
 */

static void name_payloads(Job *j) {
        const Release *r = j->release;
        _cleanup_free_ char *stem = release_name(r->image_id, r->version);
        char ids[_PAYLOADS][37];

        verity_partition_ids(&r->root_hash, ids[PAYLOAD_USR], ids[PAYLOAD_VERITY]);
        disk_partition_id(r->image_id, r->version, "usr-verity-sig-a", ids[PAYLOAD_SIG]);
        for (size_t i = 0; i < PAYLOAD_UKI; i++)
                j->names[i] = xasprintf("%s_%s%s", stem, ids[i], payload_table[i].suffix);
        j->names[PAYLOAD_UKI] = xasprintf("%s%s", stem, payload_table[PAYLOAD_UKI].suffix);
}

/* Who takes a release out deletes its files; its lines follow here. */
static int forget_missing(Job *j, Error *reterr) {
        for (size_t i = j->sums.n_lines; i > 0; i--) {
                const char *name = j->sums.lines[i - 1].name;
                uint64_t size;
                int r;

                if (startswith(name, BEST_BEFORE))
                        continue;
                r = storage_size(j->storage, name, &size, reterr);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                log_info("%s: %s is gone; " SYSUPDATE_SUMS " no longer names it", storage_name(j->storage), name);
                sums_remove(&j->sums, name);
        }
        return 0;
}

static int read_sums(Job *j, Error *reterr) {
        _cleanup_free_ char *what = path_join(storage_name(j->storage), SYSUPDATE_SUMS);
        _cleanup_buffer_ Buffer b = {};
        int r;

        r = storage_read(j->storage, SYSUPDATE_SUMS, SYSUPDATE_SUMS_SIZE_MAX, &b, reterr);
        if (r != 0)
                return r < 0 ? r : 0;
        r = sums_parse(b.data, b.size, what, &j->sums, reterr);
        return r < 0 ? r : forget_missing(j, reterr);
}

static bool is_own_name(const Job *j, const char *name) {
        for (size_t i = 0; i < _PAYLOADS; i++)
                if (streq(name, j->names[i]))
                        return true;
        return false;
}

/* A device that has this version would never fetch it again: it must not mean two things. */
static int check_other_content(const Job *j, Error *reterr) {
        _cleanup_free_ char *stem = release_name(j->release->image_id, j->release->version),
                            *prefix = xasprintf("%s_", stem);
        const SumsLine *uki = sums_find(&j->sums, j->names[PAYLOAD_UKI]);
        bool other = uki && !sha256_equal(&uki->sha256, &j->release->files[RELEASE_UKI].sha256);

        for (size_t i = 0; i < j->sums.n_lines; i++)
                other = other || (startswith(j->sums.lines[i].name, prefix) && !is_own_name(j, j->sums.lines[i].name));
        if (!other)
                return 0;
        error_set(reterr, EEXIST, REFUSAL_EXISTS, "%s has another %s already", storage_name(j->storage), stem);
        return error_hint(reterr, "Build it under a new version. Devices that have %s do not fetch it again.", stem);
}

/* ---- payloads -----------------------------------------------------------------------------------------------------
 */

/* The release's file; the signature as a copy with its padding. */
static int open_content(const Job *j, Payload p, int *ret_fd, uint64_t *ret_size, Error *reterr) {
        const ReleaseFile *f = j->release->files + payload_table[p].part;
        _cleanup_free_ char *path = release_file_path(j->release, payload_table[p].part);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint64_t size = f->size;
        Sha256 sha256;
        int r;

        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        r = sha256_fd(fd, 0, size, &sha256, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        if (!sha256_equal(&sha256, &f->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s is not what " RELEASE_RECORD " says",
                                 path);
        if (p == PAYLOAD_SIG) {
                const char *folder = getenv("TMPDIR");
                _cleanup_close_ int padded = -EBADF;

                size = (MAX(size, UINT64_C(1)) + SIG_PADDED_SIZE - 1) / SIG_PADDED_SIZE * SIG_PADDED_SIZE;
                r = io_tmpfile(isempty(folder) ? "/var/tmp" : folder, &padded, reterr);
                if (r >= 0)
                        r = io_copy_range(fd, 0, padded, 0, f->size, reterr);
                if (r >= 0)
                        r = io_pwrite_all(padded, "", 1, size - 1, reterr);
                if (r < 0)
                        return r;
                safe_close(TAKE_FD(fd));
                fd = TAKE_FD(padded);
        }
        *ret_fd = TAKE_FD(fd);
        *ret_size = size;
        return 0;
}

/* Not zstd: systemd-pull of systemd 257 does not know it, and installs such a file as it is. */
static int pack_content(const Job *j, int *fd, uint64_t *size, Sha256 *ret_sha256, Error *reterr) {
        const char *folder = getenv("TMPDIR");
        _cleanup_close_ int packed = -EBADF;
        int r;

        r = io_tmpfile(isempty(folder) ? "/var/tmp" : folder, &packed, reterr);
        if (r >= 0)
                r = xz_write(*fd, *size, packed, j->opt->workers, j->opt->progress, size, ret_sha256, reterr);
        if (r < 0)
                return r;
        safe_close(*fd);
        *fd = TAKE_FD(packed);
        return 0;
}

/* 1: it is there. */
static int add_payload(Job *j, Payload p, Error *reterr) {
        Sha256 sha256 = j->release->files[payload_table[p].part].sha256;
        _cleanup_close_ int fd = -EBADF;
        uint64_t size;
        int r;

        if (sums_find(&j->sums, j->names[p]))
                return 1;
        progress_begin(j->opt->progress, "sysupdate", payload_table[p].title);
        r = open_content(j, p, &fd, &size, reterr);
        if (r >= 0 && p != PAYLOAD_UKI)
                r = pack_content(j, &fd, &size, &sha256, reterr);
        /* A file that no manifest names was left by a publication that did not come to its end. It may be of another
         * content with the same size. */
        if (r >= 0)
                r = storage_remove(j->storage, j->names[p], reterr);
        if (r >= 0)
                r = storage_upload(j->storage, j->names[p], fd, size, NULL, reterr);
        if (r < 0)
                return r;
        sums_set(&j->sums, j->names[p], &sha256);
        progress_end(j->opt->progress, NULL);
        return 0;
}

/* ---- manifest -----------------------------------------------------------------------------------------------------
 */

/* systemd 260 and newer refuse the manifest behind that day. The file itself is only for "sha256sum -c". */
static int set_best_before(Job *j, char ***ret_old, Error *reterr) {
        time_t until = (time_t) (j->opt->now + (int64_t) j->opt->best_before * DAY);
        char name[sizeof(BEST_BEFORE "YYYY-MM-DD") + 16];
        struct tm tm;
        Sha256 empty;

        for (size_t i = j->sums.n_lines; i > 0; i--)
                if (startswith(j->sums.lines[i - 1].name, BEST_BEFORE)) {
                        strv_extend(ret_old, j->sums.lines[i - 1].name);
                        sums_remove(&j->sums, (*ret_old)[strv_length(*ret_old) - 1]);
                }
        if (j->opt->best_before == 0) {
                if (*ret_old)
                        log_warning("%s: " SYSUPDATE_SUMS
                                    " had a best-before date and no longer has one (--best-before)",
                                    storage_name(j->storage));
                return 0;
        }
        if (!gmtime_r(&until, &tm) || strftime(name, sizeof(name), BEST_BEFORE "%Y-%m-%d", &tm) == 0)
                return error_set(reterr, ERANGE, REFUSAL_BAD_VALUE, "there is no day %" PRIu64 " days from now",
                                 j->opt->best_before);
        sha256_buffer("", 0, &empty);
        sums_set(&j->sums, name, &empty);
        strv_remove(ret_old, name);
        return storage_write(j->storage, name, "", 0, STORAGE_IMMUTABLE, reterr);
}

static int check_key(const Job *j, Error *reterr) {
        uint64_t size;
        int r;

        if (j->opt->gpg_key)
                return openpgp_check(j->opt->gpg_key, reterr);
        r = storage_size(j->storage, SYSUPDATE_SIGNATURE, &size, reterr);
        if (r < 0)
                return r;
        if (r == 0) {
                error_set(reterr, ENOKEY, REFUSAL_KEY, "%s has a signed " SYSUPDATE_SUMS ", and no key was named",
                          storage_name(j->storage));
                return error_hint(reterr, "Name it with --gpg-key: devices refuse a manifest without a signature.");
        }
        log_warning("%s: " SYSUPDATE_SUMS " will not be signed (--gpg-key); only devices with Verify=no take it",
                    storage_name(j->storage));
        return 0;
}

/* ORDER: payloads, signature, manifest. Between the last two there is a new signature over an old manifest: devices
 * that come by get an error (never a wrong installation, since each manifest names only complete releases) and try
 * again later. So they do after a stop at this point, until the command is repeated: it always writes both. The other
 * way round the window would be no smaller, and a stop would leave a manifest in force that nobody has signed, for
 * devices that do not verify. */
static int sign_and_write(Job *j, Error *reterr) {
        _cleanup_free_ char *text = sums_format(&j->sums);
        _cleanup_buffer_ Buffer signature = {};
        size_t size = strlen(text);
        int r = 0;

        if (size > SYSUPDATE_SUMS_SIZE_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, SYSUPDATE_SUMS " would have %zu bytes", size);
        if (j->opt->gpg_key) {
                r = openpgp_sign(j->opt->gpg_key, text, size, &signature, reterr);
                if (r >= 0)
                        r = storage_write(j->storage, SYSUPDATE_SIGNATURE, signature.data, signature.size,
                                          STORAGE_SHORT, reterr);
        }
        return r < 0 ? r : storage_write(j->storage, SYSUPDATE_SUMS, text, size, STORAGE_SHORT, reterr);
}

/* ---- publishing ---------------------------------------------------------------------------------------------------
 */

static int check_release(const Release *r, const SysupdateOptions *opt, Error *reterr) {
        if (!release_is_signed(r)) {
                error_set(reterr, ENOKEY, REFUSAL_BAD_SIGNATURE, "%s is not signed", r->folder);
                return error_hint(reterr, "Sign it first: \"sealab sign %s --keys DIR\".", r->folder);
        }
        if (r->development_keys && !opt->allow_development) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s is signed with development keys, which nobody guards",
                          r->folder);
                return error_hint(reterr,
                                  "Sign it with the real keys (\"sealab sign %s --keys DIR --release\"), or, for a "
                                  "folder that only test machines follow, say --allow-development.",
                                  r->folder);
        }
        if (r->version[strspn(r->version, VERSION_CHARACTERS)])
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "systemd-sysupdate does not see versions with '~' or '^', such as %s", r->version);
        if (opt->best_before > SYSUPDATE_BEST_BEFORE_DAYS_MAX)
                return error_set(reterr, ERANGE, REFUSAL_BAD_VALUE, "--best-before takes 1 to %d days",
                                 SYSUPDATE_BEST_BEFORE_DAYS_MAX);
        return 0;
}

static int publish_locked(Job *j, Error *reterr) {
        _cleanup_strv_free_ char **old_dates = NULL;
        int r, n_there = 0;

        name_payloads(j);
        r = read_sums(j, reterr);
        if (r >= 0)
                r = check_other_content(j, reterr);
        if (r >= 0)
                r = check_key(j, reterr);
        for (Payload p = 0; p < _PAYLOADS && r >= 0; p++) {
                r = add_payload(j, p, reterr);
                n_there += r == 1;
        }
        if (r >= 0)
                r = set_best_before(j, &old_dates, reterr);
        if (r >= 0)
                r = sign_and_write(j, reterr);
        STRV_FOREACH (name, old_dates)
                if (r >= 0)
                        r = storage_remove(j->storage, *name, reterr);
        return r < 0 ? r : n_there == _PAYLOADS;
}

int sysupdate_publish(Storage *s, const Release *release, const SysupdateOptions *opt, Error *reterr) {
        int r;

        r = check_release(release, opt, reterr);
        if (r >= 0)
                r = storage_lock(s, reterr);
        if (r < 0)
                return r;
        _cleanup_(job_done) Job j = { .storage = s, .release = release, .opt = opt };
        return publish_locked(&j, reterr);
}
