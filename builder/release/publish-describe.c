/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The last look at a release before devices see it. What is wrong here was wrong on one machine; later it is wrong on
 * all of them: so nothing is taken from the build record that can be had from the files. */

#include "io.h"
#include "pe.h"
#include "publish-internal.h"
#include "uki.h"
#include "verity.h"

#define MINIMUM_UPDATER "0.1.0"

static void advance(uint64_t bytes, void *userdata) {
        progress_advance(userdata, bytes);
}

static int check_signed(const Release *release, const PublishOptions *opt, Error *reterr) {
        if (!release_is_signed(release)) {
                error_set(reterr, EKEYREJECTED, REFUSAL_BAD_SIGNATURE, "%s is not signed", release->folder);
                return error_hint(reterr, "Sign it first: sealab sign %s --keys DIR", release->folder);
        }
        if (release->development_keys && !opt->allow_development) {
                error_set(reterr, EKEYREJECTED, REFUSAL_KEY, "%s is signed with development keys, which nobody guards",
                          release->folder);
                return error_hint(reterr,
                                  "Sign it with the real keys (sealab sign %s --keys DIR --release), or, for a "
                                  "repository that only test machines follow, say --allow-development",
                                  release->folder);
        }
        return 0;
}

static int check_digests(const Release *release, Progress *progress, Error *reterr) {
        uint64_t total = 0;
        int r;

        progress_begin(progress, "check", "Checking the release's files");
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++)
                total += release->files[i].present ? release->files[i].size : 0;
        progress_total(progress, total);
        r = release_check_files(release, advance, progress, reterr);
        if (r >= 0)
                progress_end(progress, NULL);
        return r;
}

static int open_part(const Release *release, ReleasePart part, int *ret, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, part);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

        if (fd < 0)
                return error_errno(reterr, errno, "%s", path);
        *ret = fd;
        return 0;
}

/* A device gets no hash tree but rebuilds it, from salt and UUID; the tree itself was signed through its root. */
static int describe_verity(const Release *release, Progress *progress, ReleaseDescription *d, Error *reterr) {
        _cleanup_close_ int image = -EBADF, tree = -EBADF;
        const uint64_t size = release->files[RELEASE_USR].size;
        VerityOptions options;
        uint64_t data_size;
        Sha256 root;
        int r;

        progress_begin(progress, "root-hash", "Computing the root hash of the image");
        r = open_part(release, RELEASE_USR, &image, reterr);
        if (r >= 0)
                r = open_part(release, RELEASE_VERITY, &tree, reterr);
        if (r >= 0)
                r = verity_read_superblock(tree, 0, &data_size, &options, reterr);
        if (r >= 0)
                r = verity_root_hash(image, 0, size, options.salt, &root, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", release->folder);
        if (data_size != size || !sha256_equal(&root, &release->root_hash)) {
                error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "%s: the root hash is not that of the image",
                          release->folder);
                return error_hint(reterr, "Do not publish it: build it again; sealab verify says more.");
        }
        d->root_hash = root;
        d->verity_size = verity_hash_size(size);
        memcpy(d->verity_salt.bytes, options.salt, sizeof(options.salt));
        memcpy(d->verity_uuid, options.uuid, sizeof(options.uuid));
        progress_end(progress, NULL);
        return 0;
}

static int command_line_digest(const char *image, size_t size, Sha256 *ret, Error *reterr) {
        _cleanup_(pe_done) PeImage pe = {};
        const PeSection *section;
        const void *data;
        int r;

        r = pe_parse(image, size, &pe, reterr);
        if (r < 0)
                return r;
        section = pe_find(&pe, ".cmdline");
        if (!section)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "no section .cmdline");
        data = pe_section_data(&pe, section, &size);
        sha256_buffer(data, size, ret);
        return 0;
}

static int check_uki(const Uki *uki, const Release *release, const char *path, Error *reterr) {
        if (!uki->is_signed) {
                error_set(reterr, EKEYREJECTED, REFUSAL_BAD_SIGNATURE, "%s has no signature", path);
                return error_hint(reterr, "Sign the release again: sealab sign %s --keys DIR", release->folder);
        }
        if (!uki->has_usrhash || !sha256_equal(&uki->usrhash, &release->root_hash))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH,
                                 "%s: usrhash= on the command line is not the image's root hash", path);
        if (!streq_ptr(uki->image_id, release->image_id) || !streq_ptr(uki->image_version, release->version))
                return error_set(reterr, EBADMSG, REFUSAL_MIXED, "%s says it is %s %s, the release %s %s", path,
                                 uki->image_id ?: "(nothing)", uki->image_version ?: "", release->image_id,
                                 release->version);
        return 0;
}

static int describe_uki(const Release *release, ReleaseDescription *d, Error *reterr) {
        _cleanup_free_ char *path = release_file_path(release, RELEASE_UKI), *image = NULL;
        _cleanup_uki_ Uki uki = {};
        size_t size;
        int r;

        r = release_read_file(release, RELEASE_UKI, &image, &size, reterr);
        if (r < 0)
                return r;
        r = uki_read(image, size, &uki, reterr);
        if (r >= 0)
                r = command_line_digest(image, size, &d->command_line, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        r = check_uki(&uki, release, path, reterr);
        if (r < 0)
                return r;
        d->kernel_version = xstrdup(uki.uname ?: release->kernel_version);
        return 0;
}

/* systemd's names, which partition types and os-release conditions use, from Debian's. */
static int describe_architecture(const Release *release, ReleaseDescription *d, Error *reterr) {
        if (streq(release->architecture, "amd64"))
                d->architecture = xstrdup("x86-64");
        else if (streq(release->architecture, "arm64"))
                d->architecture = xstrdup("arm64");
        else
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE, "%s: releases for %s cannot be published",
                                 release->folder, release->architecture);
        return 0;
}

static void describe_artifact(const Release *release, ReleasePart part, const char *suffix, ArtifactEncoding encoding,
                              ReleaseDescription *d, ArtifactKind kind) {
        _cleanup_free_ char *name = release_name(release->image_id, release->version),
                            *file = xasprintf("%s%s", name, suffix ?: release_part_suffix(part));

        if (!release->files[part].present)
                return;
        d->artifacts[kind] = (Artifact){ .present = true,
                                         .target = description_target_path(release->image_id, release->version, file),
                                         .encoding = encoding,
                                         .size = release->files[part].size,
                                         .sha256 = release->files[part].sha256 };
}

int publish_describe(const Release *release, const PublishOptions *opt, ReleaseDescription **ret, Error *reterr) {
        _cleanup_(description_freep) ReleaseDescription *d = xnew(ReleaseDescription, 1);
        int r;

        d->product = xstrdup(release->image_id);
        d->version = xstrdup(release->version);
        d->minimum_updater = xstrdup(MINIMUM_UPDATER);
        d->rollout = ROLLOUT_EVERYBODY;
        r = release_check_name(release->image_id, release->version, reterr);
        if (r >= 0)
                r = check_signed(release, opt, reterr);
        if (r >= 0)
                r = describe_architecture(release, d, reterr);
        if (r >= 0)
                r = check_digests(release, opt->progress, reterr);
        if (r >= 0)
                r = describe_uki(release, d, reterr);
        if (r >= 0)
                r = describe_verity(release, opt->progress, d, reterr);
        if (r < 0)
                return r;
        describe_artifact(release, RELEASE_USR, PUBLISH_PACK_SUFFIX, ENCODING_FRAMES, d, ARTIFACT_USR);
        describe_artifact(release, RELEASE_UKI, NULL, ENCODING_NONE, d, ARTIFACT_UKI);
        describe_artifact(release, RELEASE_VERITY_SIG, NULL, ENCODING_NONE, d, ARTIFACT_VERITY_SIG);
        *ret = TAKE_PTR(d);
        return 0;
}
