/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "release-fixture.h"

#include <sys/stat.h>

#include "disk.h"
#include "openpgp.h"
#include "process.h"
#include "sums.h"
#include "sysupdate.h"
#include "transfers.h"
#include "verity.h"
#include "xz.h"

#define NOW INT64_C(1764000000) /* 2025-11-24 */
#define DIGITS "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- manifests ---- */

static void manifests_come_out_sorted_in_binary_mode(void **state) {
        static const char text[] = DIGITS "  b\n" DIGITS " *a\n" DIGITS " *c/d\n";
        _cleanup_sums_ Sums s = {};
        _cleanup_error_ Error e = {};
        _cleanup_free_ char *out = NULL;

        assert_ok(sums_parse(text, strlen(text), "sums", &s, &e), &e);
        sums_remove(&s, "none");
        sums_remove(&s, "b");
        sums_set(&s, "b c", &s.lines[0].sha256);
        out = sums_format(&s);
        assert_string_equal(out, DIGITS " *a\n" DIGITS " *b c\n" DIGITS " *c/d\n");
        assert_non_null(sums_find(&s, "c/d"));
        assert_null(sums_find(&s, "b"));
}

static void an_empty_manifest_is_none(void **state) {
        _cleanup_sums_ Sums s = {};
        _cleanup_free_ char *out = NULL;

        assert_int_equal(sums_parse("", 0, "sums", &s, NULL), 0);
        out = sums_format(&s);
        assert_string_equal(out, "");
}

static void malformed_manifests_are_refused(void **state) {
        static const char *const texts[] = {
                "\n",
                DIGITS,
                DIGITS " *a",
                DIGITS " *\n",
                DIGITS " a\n",
                DIGITS "\t*a\n",
                DIGITS " *a\r\n",
                DIGITS " */etc/passwd\n",
                DIGITS " *../a\n",
                DIGITS " *a/../b\n",
                DIGITS " *a\\nb\n",
                DIGITS " *a\n" DIGITS " *a\n",
                "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef *a\n",
                "0123 *a\n",
                "# a comment\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_sums_ Sums s = {};
                _cleanup_error_ Error e = {};

                if (sums_parse(texts[i], strlen(texts[i]), "sums", &s, &e) >= 0)
                        fail_msg("read: %s", texts[i]);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
        assert_true(sums_parse(DIGITS " *a\0b\n", 2 * SHA256_SIZE + 6, "sums", &(Sums){}, NULL) < 0);
}

/* ---- compression ---- */

/* More than two pieces, one of which cannot be made smaller. */
static void xz_reads_what_was_written_with_any_number_of_workers(void **state) {
        enum { SIZE = (20 << 20) + 123 };
        const char *folder = *state;
        _cleanup_free_ char *data = xmalloc(SIZE), *from = path_join(folder, "from");
        const unsigned workers[] = { 1, 3 };
        uint32_t random = 1;
        Sha256 digests[2];

        memset(data, 'x', SIZE);
        for (size_t i = 9 << 20; i < 18 << 20; i++)
                data[i] = (char) ((random = random * 1664525 + 1013904223) >> 24);
        fixture_write(from, data, SIZE);
        for (size_t i = 0; i < ELEMENTSOF(workers); i++) {
                _cleanup_free_ char *to = xasprintf("%s/%zu.xz", folder, i), *plain = NULL;
                const char *const argv[] = { "xz", "-dc", to, NULL };
                _cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC),
                                    out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                _cleanup_error_ Error e = {};
                uint64_t size, real_size;
                size_t plain_size;
                Sha256 real;

                assert_ok(xz_write(in, SIZE, out, workers[i], NULL, &size, digests + i, &e), &e);
                assert_ok(sha256_file(AT_FDCWD, to, &real, &real_size, &e), &e);
                assert_int_equal(size, real_size);
                assert_true(sha256_equal(&real, digests + i));
                assert_ok(process_run((char *const *) argv, NULL, &plain, &plain_size, &e), &e);
                assert_int_equal(plain_size, SIZE);
                assert_memory_equal(plain, data, SIZE);
        }
        assert_true(sha256_equal(digests, digests + 1));
}

static void nothing_is_an_empty_stream(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *to = path_join(folder, "to.xz");
        _cleanup_close_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC),
                            out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        const char *const argv[] = { "xz", "-t", to, NULL };
        _cleanup_error_ Error e = {};
        Sha256 sha256;
        uint64_t size;

        assert_ok(xz_write(in, 0, out, 0, NULL, &size, &sha256, &e), &e);
        assert_true(size > 0);
        assert_ok(process_run((char *const *) argv, NULL, NULL, NULL, &e), &e);
}

/* ---- publishing ---- */

static char *make_release(const char *folder, const char *version) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        return fixture_release(folder, version, &fixture_lock, t);
}

static int publish(const char *folder, const char *release, const SysupdateOptions *opt, Refusal *ret_refusal) {
        SysupdateOptions o = *opt;
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_(storage_freep) Storage *s = NULL;
        _cleanup_free_ char *web = path_join(folder, "web");
        _cleanup_error_ Error e = {};
        int result;

        o.now = o.now ?: NOW;
        o.allow_development = !ret_refusal || *ret_refusal != REFUSAL_KEY;
        assert_ok(release_open(release, &r, &e), &e);
        assert_ok(storage_open(web, true, &s, &e), &e);
        result = sysupdate_publish(s, r, &o, &e);
        if (ret_refusal)
                *ret_refusal = e.id;
        else
                assert_ok(result, &e);
        return result;
}

static void read_web(const char *folder, const char *name, char **ret, size_t *ret_size) {
        _cleanup_free_ char *path = xasprintf("%s/web/%s", folder, name);
        _cleanup_error_ Error e = {};

        assert_ok(io_read_file(AT_FDCWD, path, 1 << 20, ret, ret_size, &e), &e);
}

static void read_sums(const char *folder, Sums *ret) {
        _cleanup_free_ char *text = NULL;
        _cleanup_error_ Error e = {};
        size_t size;

        read_web(folder, SYSUPDATE_SUMS, &text, &size);
        assert_ok(sums_parse(text, size, "sums", ret, &e), &e);
}

static void assert_unpacked(const char *folder, const char *name, const char *expected, size_t padded) {
        _cleanup_free_ char *path = xasprintf("%s/web/%s", folder, name), *plain = NULL, *wanted = NULL;
        const char *const argv[] = { "xz", "-dc", path, NULL };
        _cleanup_error_ Error e = {};
        size_t plain_size, size;

        assert_ok(process_run((char *const *) argv, NULL, &plain, &plain_size, &e), &e);
        assert_ok(io_read_file(AT_FDCWD, expected, 1 << 20, &wanted, &size, &e), &e);
        assert_int_equal(plain_size, padded ?: size);
        assert_memory_equal(plain, wanted, size);
        for (size_t i = size; i < padded; i++)
                assert_int_equal(plain[i], 0);
}

static void a_release_becomes_four_files_named_by_version_and_partition(void **state) {
        static const struct {
                const char *suffix;
                ReleasePart part;
                size_t padded;
        } packed[] = { { ".usr.raw.xz", RELEASE_USR, 0 },
                       { ".usr-verity.raw.xz", RELEASE_VERITY, 0 },
                       { ".usr-verity-sig.raw.xz", RELEASE_VERITY_SIG, 16384 } };
        const char *folder = *state;
        _cleanup_free_ char *path = make_release(folder, "1.0"), *uki = NULL;
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};
        _cleanup_sums_ Sums s = {};
        char ids[3][37];
        size_t size;

        assert_int_equal(publish(folder, path, &(SysupdateOptions){}, NULL), 0);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 4);
        assert_ok(release_open(path, &r, &e), &e);
        verity_partition_ids(&r->root_hash, ids[0], ids[1]);
        disk_partition_id("mine", "1.0", "usr-verity-sig-a", ids[2]);
        for (size_t i = 0; i < ELEMENTSOF(packed); i++) {
                _cleanup_free_ char *name = xasprintf("mine_1.0_%s%s", ids[i], packed[i].suffix),
                                    *source = release_file_path(r, packed[i].part);

                assert_non_null(sums_find(&s, name));
                assert_unpacked(folder, name, source, packed[i].padded);
        }
        assert_non_null(sums_find(&s, "mine_1.0.efi"));
        read_web(folder, "mine_1.0.efi", &uki, &size);
        assert_string_equal(uki, "content");
        for (size_t i = 0; i < s.n_lines; i++) {
                _cleanup_free_ char *web = xasprintf("%s/web/%s", folder, s.lines[i].name);
                Sha256 sha256;

                assert_ok(sha256_file(AT_FDCWD, web, &sha256, NULL, &e), &e);
                assert_true(sha256_equal(&sha256, &s.lines[i].sha256));
        }
}

static void publishing_again_changes_nothing_and_a_second_release_is_added(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *two = make_release(folder, "2.0"), *before = NULL,
                            *after = NULL;
        _cleanup_sums_ Sums s = {};
        size_t size;

        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 0);
        read_web(folder, SYSUPDATE_SUMS, &before, &size);
        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 1);
        read_web(folder, SYSUPDATE_SUMS, &after, &size);
        assert_string_equal(before, after);
        assert_int_equal(publish(folder, two, &(SysupdateOptions){}, NULL), 0);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 8);
}

static void lines_of_files_that_were_deleted_go(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *two = make_release(folder, "2.0"), *uki = NULL;
        _cleanup_sums_ Sums s = {};

        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 0);
        uki = path_join(folder, "web/mine_1.0.efi");
        assert_int_equal(unlink(uki), 0);
        assert_int_equal(publish(folder, two, &(SysupdateOptions){}, NULL), 0);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 7);
        assert_null(sums_find(&s, "mine_1.0.efi"));
        /* The release again brings back what is missing, not more. */
        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 0);
        sums_done(&s);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 8);
}

/* A stop before the manifest leaves a file that no line names; one of the same size is not taken for it. */
static void a_payload_left_by_a_broken_attempt_is_replaced(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *web = path_join(folder, "web"),
                            *uki = path_join(web, "mine_1.0.efi"), *text = NULL;
        size_t size;

        assert_int_equal(mkdir(web, 0755), 0);
        fixture_write(uki, "CONTENT", 7);
        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 0);
        read_web(folder, "mine_1.0.efi", &text, &size);
        assert_string_equal(text, "content");
}

static void best_before_is_a_line_with_the_empty_hash_and_moves_on(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"),
                            *first = path_join(folder, "web/BEST-BEFORE-2025-12-04"),
                            *second = path_join(folder, "web/BEST-BEFORE-2025-12-09");
        _cleanup_sums_ Sums s = {};
        Sha256 empty;

        assert_int_equal(publish(folder, one, &(SysupdateOptions){ .best_before = 10 }, NULL), 0);
        read_sums(folder, &s);
        sha256_buffer("", 0, &empty);
        assert_true(sha256_equal(&sums_find(&s, "BEST-BEFORE-2025-12-04")->sha256, &empty));
        assert_int_equal(access(first, F_OK), 0);
        assert_int_equal(publish(folder, one, &(SysupdateOptions){ .best_before = 15 }, NULL), 1);
        sums_done(&s);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 5);
        assert_non_null(sums_find(&s, "BEST-BEFORE-2025-12-09"));
        assert_int_equal(access(second, F_OK), 0);
        assert_int_equal(access(first, F_OK), -1);
        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 1);
        sums_done(&s);
        read_sums(folder, &s);
        assert_int_equal(s.n_lines, 4);
}

/* ---- refusals ---- */

static void edit_record(const char *release, void (*edit)(Release *r)) {
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(release, &r, &e), &e);
        edit(r);
        assert_ok(release_write(r, &e), &e);
}

static void other_uki(Release *r) {
        _cleanup_free_ char *path = release_file_path(r, RELEASE_UKI);

        fixture_write(path, "another", 7);
        assert_int_equal(release_add_file(r, RELEASE_UKI, NULL), 0);
}

static void other_usr(Release *r) {
        _cleanup_free_ char *path = release_file_path(r, RELEASE_ROOT_HASH), *hex = NULL, *line = NULL;

        r->root_hash.bytes[0] ^= 1;
        hex = sha256_hex(&r->root_hash);
        line = xasprintf("%s\n", hex);
        fixture_write(path, line, strlen(line));
        assert_int_equal(release_add_file(r, RELEASE_ROOT_HASH, NULL), 0);
}

static void unsign(Release *r) {
        release_remove_file(r, RELEASE_UKI);
        release_remove_file(r, RELEASE_VERITY_SIG);
}

static void what_devices_could_not_follow_is_refused(void **state) {
        static const struct {
                const char *version;
                void (*edit)(Release *r);
                SysupdateOptions opt;
                Refusal refusal;
        } cases[] = {
                { "1.0", unsign, {}, REFUSAL_BAD_SIGNATURE },
                { "1.0", NULL, {}, REFUSAL_KEY }, /* development keys */
                { "1.0~rc1", NULL, {}, REFUSAL_BAD_VALUE },
                { "1.0^a", NULL, {}, REFUSAL_BAD_VALUE },
                { "1.0", NULL, { .best_before = SYSUPDATE_BEST_BEFORE_DAYS_MAX + 1 }, REFUSAL_BAD_VALUE },
        };
        const char *folder = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *name = xasprintf("%s/%zu", folder, i),
                                    *path = make_release(name, cases[i].version),
                                    *sums = path_join(folder, "web/" SYSUPDATE_SUMS);
                Refusal refusal = cases[i].refusal;

                if (cases[i].edit)
                        edit_record(path, cases[i].edit);
                assert_true(publish(folder, path, &cases[i].opt, &refusal) < 0);
                assert_int_equal(refusal, cases[i].refusal);
                assert_int_equal(access(sums, F_OK), -1);
        }
}

static void a_version_cannot_get_other_content(void **state) {
        static void (*const edits[])(Release * r) = { other_uki, other_usr };
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *before = NULL;
        size_t size;

        assert_int_equal(publish(folder, one, &(SysupdateOptions){}, NULL), 0);
        read_web(folder, SYSUPDATE_SUMS, &before, &size);
        for (size_t i = 0; i < ELEMENTSOF(edits); i++) {
                _cleanup_free_ char *name = xasprintf("%s/%zu", folder, i), *path = make_release(name, "1.0"),
                                    *after = NULL;
                Refusal refusal = REFUSAL_NONE;

                edit_record(path, edits[i]);
                assert_true(publish(folder, path, &(SysupdateOptions){}, &refusal) < 0);
                assert_int_equal(refusal, REFUSAL_EXISTS);
                read_web(folder, SYSUPDATE_SUMS, &after, &size);
                assert_string_equal(before, after);
        }
}

static void files_that_changed_since_the_build_are_refused(void **state) {
        static const ReleasePart parts[] = { RELEASE_USR, RELEASE_VERITY, RELEASE_VERITY_SIG, RELEASE_UKI };
        const char *folder = *state;

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                _cleanup_free_ char *name = xasprintf("%s/%zu", folder, i), *path = make_release(name, "1.0"),
                                    *file = NULL;
                _cleanup_(release_freep) Release *r = NULL;
                _cleanup_close_ int fd = -EBADF;
                Refusal refusal = REFUSAL_NONE;

                assert_int_equal(release_open(path, &r, NULL), 0);
                file = release_file_path(r, parts[i]);
                fd = open(file, O_WRONLY | O_CLOEXEC);
                assert_int_equal(pwrite(fd, "X", 1, 3), 1);
                assert_true(publish(folder, path, &(SysupdateOptions){}, &refusal) < 0);
                assert_int_equal(refusal, REFUSAL_HASH_MISMATCH);
        }
}

static void a_manifest_that_is_none_is_left_alone(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *web = path_join(folder, "web"),
                            *sums = path_join(web, SYSUPDATE_SUMS), *text = NULL;
        Refusal refusal = REFUSAL_NONE;
        size_t size;

        assert_int_equal(mkdir(web, 0755), 0);
        fixture_write(sums, "hello\n", 6);
        assert_true(publish(folder, one, &(SysupdateOptions){}, &refusal) < 0);
        assert_int_equal(refusal, REFUSAL_BAD_FORMAT);
        read_web(folder, SYSUPDATE_SUMS, &text, &size);
        assert_string_equal(text, "hello\n");
}

/* ---- signatures ---- */

/* A key made by gpg in a folder of its own; its secret and public halves as files. False without gpg. */
static bool make_key(const char *folder, char **ret_secret, char **ret_public) {
        _cleanup_free_ char *home = path_join(folder, "gpg"), *secret = path_join(folder, "secret.gpg"),
                            *public = path_join(folder, "public.gpg"),
                            *script = xasprintf("exec 2>/dev/null; mkdir -m 700 '%s' && export GNUPGHOME='%s' && "
                                                "gpg --batch --passphrase '' --quick-generate-key "
                                                "'Test <test@example.org>' ed25519 sign never && "
                                                "gpg --export-secret-keys >'%s' && gpg --export >'%s'; "
                                                "r=$?; gpgconf --kill all; exit $r",
                                                home, home, secret, public);
        const char *const argv[] = { "sh", "-c", script, NULL };

        if (process_run((char *const *) argv, NULL, NULL, NULL, NULL) < 0)
                return false;
        *ret_secret = TAKE_PTR(secret);
        *ret_public = TAKE_PTR(public);
        return true;
}

static int verify(const char *folder, const char *keyring) {
        _cleanup_free_ char *sums = path_join(folder, "web/" SYSUPDATE_SUMS),
                            *signature = path_join(folder, "web/" SYSUPDATE_SIGNATURE);
        const char *const argv[] = { "gpgv", "--homedir", folder, "--keyring", keyring, signature, sums, NULL };

        return process_run((char *const *) argv, NULL, NULL, NULL, NULL);
}

static void the_manifest_is_signed_and_signed_again_when_it_changes(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *two = make_release(folder, "2.0"), *secret = NULL,
                            *public = NULL;
        Refusal refusal = REFUSAL_NONE;

        if (!make_key(folder, &secret, &public))
                skip();
        assert_int_equal(publish(folder, one, &(SysupdateOptions){ .gpg_key = secret }, NULL), 0);
        assert_int_equal(verify(folder, public), 0);
        assert_int_equal(publish(folder, two, &(SysupdateOptions){ .gpg_key = secret }, NULL), 0);
        assert_int_equal(verify(folder, public), 0);
        /* Devices would refuse what is no longer signed. */
        assert_true(publish(folder, two, &(SysupdateOptions){}, &refusal) < 0);
        assert_int_equal(refusal, REFUSAL_KEY);
        assert_int_equal(verify(folder, public), 0);
}

static void keys_that_cannot_sign_are_refused_and_nothing_appears(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *one = make_release(folder, "1.0"), *secret = NULL, *public = NULL,
                            *missing = path_join(folder, "none.gpg"), *sums = path_join(folder, "web/" SYSUPDATE_SUMS),
                            *uki = path_join(folder, "web/mine_1.0.efi");

        if (!make_key(folder, &secret, &public))
                skip();
        const char *const keys[] = { public, missing, "nobody@example.org" };

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                Refusal refusal = REFUSAL_NONE;

                assert_true(publish(folder, one, &(SysupdateOptions){ .gpg_key = keys[i] }, &refusal) < 0);
                assert_int_equal(refusal, REFUSAL_KEY);
                assert_int_equal(access(sums, F_OK), -1);
                assert_int_equal(access(uki, F_OK), -1);
        }
}

/* ---- transfer files ---- */

static int transfers(const char *source, const char *keyring, Tree **ret, Refusal *ret_refusal) {
        Recipe r = { .image_id = OWNED("mine"),
                     .sysupdate_source = OWNED(source),
                     .sysupdate_keyring = OWNED(keyring) };
        _cleanup_error_ Error e = {};
        int result;

        assert_ok(tree_new(NULL, ret, &e), &e);
        result = transfers_apply(*ret, &r, FIXTURE_EPOCH, &e);
        *ret_refusal = e.id;
        return result;
}

static void transfer_files_name_what_is_published_and_the_uki_comes_last(void **state) {
        static const char *const expected[] = {
                "/usr/lib/sysupdate.d/10-verity-sig.transfer\nMatchPattern=mine_@v_@u.usr-verity-sig.raw.xz\n"
                "MatchPattern=mine_@v_verity_sig\nMatchPartitionType=usr-verity-sig\n",
                "/usr/lib/sysupdate.d/20-verity.transfer\nMatchPattern=mine_@v_@u.usr-verity.raw.xz\n"
                "MatchPattern=mine_@v_verity\nMatchPartitionType=usr-verity\n",
                "/usr/lib/sysupdate.d/30-usr.transfer\nMatchPattern=mine_@v_@u.usr.raw.xz\nMatchPattern=mine_@v\n"
                "MatchPartitionType=usr\n",
                "/usr/lib/sysupdate.d/90-uki.transfer\nMatchPattern=mine_@v.efi\n"
                "MatchPattern=mine_@v+@l-@d.efi mine_@v+@l.efi mine_@v.efi\nTriesLeft=3\nPathRelativeTo=boot\n",
        };
        const char *folder = *state;
        _cleanup_free_ char *secret = NULL, *public = NULL;
        _cleanup_(tree_freep) Tree *t = NULL;
        Refusal refusal;

        if (!make_key(folder, &secret, &public))
                skip();
        assert_int_equal(transfers("https://example.org/a%20b", public, &t, &refusal), 0);
        assert_int_equal(tree_lookup(t, "/usr/lib/sysupdate.d")->n_children, ELEMENTSOF(expected));
        for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
                _cleanup_strv_free_ char **lines = strv_split(expected[i], "\n");
                _cleanup_free_ char *text = NULL;

                assert_int_equal(tree_read_file(t, tree_lookup(t, lines[0]), 65536, &text, NULL, NULL), 0);
                assert_non_null(strstr(text, "\nPath=https://example.org/a%%20b\n"));
                assert_non_null(strstr(text, "\nVerify=yes\n"));
                STRV_FOREACH (line, lines + 1) {
                        _cleanup_free_ char *whole = xasprintf("\n%s\n", *line);

                        if (!strstr(text, whole))
                                fail_msg("%s has no line %s", lines[0], *line);
                }
        }
        assert_non_null(tree_lookup(t, "/usr/lib/systemd/import-pubring.gpg"));
}

static void without_a_source_the_tree_stays_as_it_is(void **state) {
        _cleanup_(tree_freep) Tree *t = NULL;
        Refusal refusal;

        assert_int_equal(transfers(NULL, NULL, &t, &refusal), 0);
        assert_null(tree_lookup(t, "/usr/lib/sysupdate.d"));
}

static void secret_keys_do_not_get_into_images(void **state) {
        const char *folder = *state;
        _cleanup_free_ char *secret = NULL, *public = NULL;
        _cleanup_(tree_freep) Tree *t = NULL;
        Refusal refusal;

        if (!make_key(folder, &secret, &public))
                skip();
        assert_true(transfers("https://example.org/", secret, &t, &refusal) < 0);
        assert_int_equal(refusal, REFUSAL_KEY);
}

static void keyrings_are_read_packet_by_packet(void **state) {
        static const struct {
                const char *bytes;
                size_t size;
                bool good;
        } cases[] = {
                { "", 0, false },
                { "\x98\x01k", 3, true },                                      /* public key, old format */
                { "\x99\x00\x01k", 4, true },                                  /* two bytes of length */
                { "\x9a\x00\x00\x00\x01k", 6, true },                          /* four */
                { "\x9bk", 2, false },                                         /* as long as the data */
                { "\xc6\x01k", 3, true },                                      /* new format */
                { "\xc6\xff\x00\x00\x00\x01k", 7, true },                      /* five */
                { "\xc6\xe1kk", 4, false },                                    /* parts */
                { "\xc6\xc0\x00", 3, false },                                  /* 192 bytes, which are not there */
                { "\xc6\x02k", 3, false },                                     /* cut off */
                { "\xc6", 1, false },                                          /* cut off */
                { "\xc6\xff\xff\xff\xff\xff", 6, false },                      /* 4 GiB */
                { "\x98\x01k\x94\x01s", 6, false },                            /* a secret key behind it */
                { "\xc6\x01k\xc7\x01s", 6, false },                            /* a secret subkey */
                { "\xcd\x01u", 3, false },                                     /* a user id alone */
                { "\x98\x01kx", 4, false },                                    /* no packet behind it */
                { "\x98\x01k\xb4\x01u\x88\x01s\xce\x01k\xc2\x01s", 15, true }, /* name, signature, subkey, signature */
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                _cleanup_free_ char *copy = xmemdup(cases[i].bytes, cases[i].size + 1);
                char *exact = xrealloc(TAKE_PTR(copy), MAX(cases[i].size, (size_t) 1), 1);
                int r = transfers_check_keyring(exact, cases[i].size, &e);

                free(exact);
                if ((r >= 0) != cases[i].good)
                        fail_msg("case %zu: %s", i, e.message ?: "taken");
                if (r < 0)
                        assert_int_equal(e.id, REFUSAL_KEY);
        }
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(manifests_come_out_sorted_in_binary_mode),
                cmocka_unit_test(an_empty_manifest_is_none),
                cmocka_unit_test(malformed_manifests_are_refused),
                WITH_FOLDER(xz_reads_what_was_written_with_any_number_of_workers),
                WITH_FOLDER(nothing_is_an_empty_stream),
                WITH_FOLDER(a_release_becomes_four_files_named_by_version_and_partition),
                WITH_FOLDER(publishing_again_changes_nothing_and_a_second_release_is_added),
                WITH_FOLDER(lines_of_files_that_were_deleted_go),
                WITH_FOLDER(a_payload_left_by_a_broken_attempt_is_replaced),
                WITH_FOLDER(best_before_is_a_line_with_the_empty_hash_and_moves_on),
                WITH_FOLDER(what_devices_could_not_follow_is_refused),
                WITH_FOLDER(a_version_cannot_get_other_content),
                WITH_FOLDER(files_that_changed_since_the_build_are_refused),
                WITH_FOLDER(a_manifest_that_is_none_is_left_alone),
                WITH_FOLDER(the_manifest_is_signed_and_signed_again_when_it_changes),
                WITH_FOLDER(keys_that_cannot_sign_are_refused_and_nothing_appears),
                WITH_FOLDER(transfer_files_name_what_is_published_and_the_uki_comes_last),
                cmocka_unit_test(without_a_source_the_tree_stays_as_it_is),
                WITH_FOLDER(secret_keys_do_not_get_into_images),
                cmocka_unit_test(keyrings_are_read_packet_by_packet),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
