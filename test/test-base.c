/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#include "folder-fixture.h"
#include "hash.h"
#include "io.h"
#include "json.h"
#include "process.h"

static void write_text(const char *path, const char *text) {
        assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

static void assert_text(const char *path, const char *text) {
        _cleanup_free_ char *found = NULL;

        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &found, NULL, NULL), 0);
        assert_string_equal(found, text);
}

/* ---- util ---- */

static void numbers_are_whole_decimal_strings(void **state) {
        static const struct {
                const char *text;
                bool good;
                uint64_t value;
        } cases[] = {
                { "0", true, 0 },
                { "007", true, 7 },
                { "18446744073709551615", true, UINT64_MAX },
                { "18446744073709551616", false, 0 },
                { "99999999999999999999", false, 0 },
                { "", false, 0 },
                { " 1", false, 0 },
                { "1 ", false, 0 },
                { "-1", false, 0 },
                { "+1", false, 0 },
                { "0x10", false, 0 },
                { "1.5", false, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t value = 42;

                assert_int_equal(parse_u64(cases[i].text, &value), cases[i].good);
                assert_int_equal(value, cases[i].good ? cases[i].value : 42);
        }
}

static void sizes_take_one_binary_suffix_and_never_overflow(void **state) {
        static const struct {
                const char *text;
                bool good;
                uint64_t value;
        } cases[] = {
                { "512", true, 512 },
                { "1K", true, 1024 },
                { "3M", true, 3 << 20 },
                { "2G", true, UINT64_C(2) << 30 },
                { "16777215T", true, UINT64_C(16777215) << 40 },
                { "16777216T", false, 0 },
                { "K", false, 0 },
                { "1k", false, 0 },
                { "1KB", false, 0 },
                { "1KK", false, 0 },
                { "", false, 0 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t value = 42;

                assert_int_equal(parse_size(cases[i].text, &value), cases[i].good);
                assert_int_equal(value, cases[i].good ? cases[i].value : 42);
        }
}

static void truth_has_four_spellings_in_lower_case(void **state) {
        static const struct {
                const char *text;
                int value; /* -1: refused */
        } cases[] = { { "yes", 1 }, { "true", 1 }, { "on", 1 },   { "1", 1 }, { "no", 0 }, { "false", 0 },
                      { "off", 0 }, { "0", 0 },    { "Yes", -1 }, { "", -1 }, { "y", -1 }, { "2", -1 } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                bool value = cases[i].value != 1;

                assert_int_equal(parse_bool(cases[i].text, &value), cases[i].value >= 0);
                assert_int_equal(value, cases[i].value >= 0 ? cases[i].value : 1);
        }
}

static void bytes_are_shown_in_binary_units(void **state) {
        static const struct {
                uint64_t bytes;
                const char *text;
        } cases[] = { { 0, "0 B" },
                      { 1023, "1023 B" },
                      { 1024, "1.0 KiB" },
                      { 1536, "1.5 KiB" },
                      { 20 << 20, "20 MiB" },
                      { UINT64_C(1503238553), "1.4 GiB" },
                      { UINT64_MAX, "16 EiB" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = format_bytes(cases[i].bytes);

                assert_string_equal(text, cases[i].text);
        }
}

static void hexadecimal_comes_back_and_wrong_digits_are_refused(void **state) {
        static const char *const bad[] = { "00ff7", "00ff7g", "00FF7F", "00ff7f0", "00ff7f00", "" };
        const uint8_t bytes[3] = { 0x00, 0xff, 0x7f };
        _cleanup_free_ char *hex = hex_encode(bytes, sizeof(bytes));
        uint8_t back[3];

        assert_string_equal(hex, "00ff7f");
        assert_true(hex_decode(hex, back, sizeof(back)));
        assert_memory_equal(back, bytes, sizeof(bytes));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(hex_decode(bad[i], back, sizeof(back)));
}

static void prefixes_suffixes_and_white_space(void **state) {
        char padded[] = " \t a b \n", blank[] = " \n\t", none[] = "";

        assert_string_equal(startswith("kernel/a.ko", "kernel/"), "a.ko");
        assert_null(startswith("ker", "kernel"));
        assert_string_equal(startswith("same", "same"), "");
        assert_string_equal(endswith("a.ko.xz", ".xz"), ".xz");
        assert_null(endswith("xz", ".xz"));
        assert_string_equal(endswith("a", ""), "");
        assert_string_equal(strstrip(padded), "a b");
        assert_string_equal(strstrip(blank), "");
        assert_string_equal(strstrip(none), "");
        assert_true(streq_ptr(NULL, NULL));
        assert_false(streq_ptr(NULL, ""));
}

static void vectors_keep_their_order_whatever_is_done_to_them(void **state) {
        _cleanup_strv_free_ char **l = NULL, **pieces = strv_split(",b,,a,c,", ","), **copy = NULL;
        _cleanup_free_ char *joined = NULL, *nothing = strv_join(NULL, ","), *empty_first = NULL;
        static const char *const with_empty[] = { "", "x", "", NULL };

        assert_int_equal(strv_length(NULL), 0);
        assert_null(strv_split("", ","));
        assert_null(strv_split(",,", ","));
        assert_int_equal(strv_length(pieces), 3);
        joined = strv_join(pieces, "-");
        assert_string_equal(joined, "b-a-c");
        assert_string_equal(nothing, "");
        empty_first = strv_join((char *const *) with_empty, ":");
        assert_string_equal(empty_first, ":x:");

        /* Every length over several growths, with removals and sorting between: sanitizers see a wrong capacity. */
        for (unsigned n = 0; n < 200; n++) {
                strv_extendf(&l, "%03u", (n * 37) % 200);
                if (n % 7 == 6) {
                        _cleanup_free_ char *last = xasprintf("%03u", (n * 37) % 200);

                        strv_remove(&l, last);
                        assert_false(strv_contains(l, last));
                        strv_extend(&l, "same");
                }
                if (n % 31 == 30)
                        strv_sort_unique(l);
        }
        strv_sort_unique(l);
        for (char **s = l; s[1]; s++)
                assert_true(strcmp(s[0], s[1]) < 0);
        assert_int_equal(strv_length(l), 200 - 200 / 7 + 1);
        copy = strv_copy(l);
        assert_int_equal(strv_length(copy), strv_length(l));
        STRV_FOREACH (s, copy)
                assert_true(strv_contains(l, *s));
        strv_remove(&pieces, "b");
        strv_remove(&pieces, "a");
        strv_remove(&pieces, "c");
        assert_int_equal(strv_length(pieces), 0);
        strv_extend_strv(&pieces, copy);
        assert_int_equal(strv_length(pieces), strv_length(copy));
}

static void buffer_holds_any_bytes_and_ends_in_nul(void **state) {
        _cleanup_buffer_ Buffer b = {}, none = {};
        _cleanup_free_ char *stolen = NULL, *empty = NULL;

        for (unsigned i = 0; i < 5000; i++) {
                buffer_append(&b, "\0x", 2);
                assert_int_equal(b.data[b.size], 0);
        }
        buffer_printf(&b, "%s-%d", "end", 7);
        assert_int_equal(b.size, 10005);
        assert_memory_equal(b.data + 9998, "\0xend-7", 8);
        stolen = buffer_steal(&b);
        assert_null(b.data);
        assert_int_equal(b.size, 0);
        assert_string_equal(stolen + 10000, "end-7");
        empty = buffer_steal(&none);
        assert_string_equal(empty, "");
}

/* ---- error ---- */

static void error_crosses_a_process_boundary_as_one_line(void **state) {
        static const struct {
                int code;
                Refusal id;
                const char *message, *hint;
        } cases[] = {
                { EPERM, REFUSAL_GATE, "the tree\nbreaks\t2 rules:\n  a\\nb", "Do this\\ or\n\tthat." },
                { ENOSPC, REFUSAL_NO_SPACE, "plain", NULL },
                { EIO, REFUSAL_SYSTEM, "", NULL },
                { EIO, REFUSAL_SCRIPT_FAILED, "ends in a backslash \\", "\\" },
                { EIO, REFUSAL_TOOL_FAILED, "\t\n\\t\\\\n", "\xc3\xa4 \x01" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {}, back = {};
                _cleanup_free_ char *line = NULL;

                error_set(&e, cases[i].code, cases[i].id, "%s", cases[i].message);
                if (cases[i].hint)
                        error_hint(&e, "%s", cases[i].hint);
                line = error_to_line(&e);
                assert_null(strchr(line, '\n'));
                assert_int_equal(error_from_line(line, &back), -cases[i].code);
                assert_int_equal(back.code, cases[i].code);
                assert_int_equal(back.id, cases[i].id);
                assert_string_equal(back.message, cases[i].message);
                assert_true(streq_ptr(back.hint, cases[i].hint));
        }
}

static void broken_line_from_a_child_is_an_error_of_its_own(void **state) {
        static const char *const lines[] = { "", "5", "5\tgate", "5\tgate\tmessage", "garbage" };

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                _cleanup_error_ Error e = {};

                assert_int_equal(error_from_line(lines[i], &e), -EPROTO);
                assert_int_equal(e.id, REFUSAL_SYSTEM);
        }
        /* A code that is no code must still be a failure. */
        assert_int_equal(error_from_line("0\tgate\tx\t", NULL), -EIO);
        assert_int_equal(error_from_line("-3\tgate\tx\t", NULL), -EIO);
}

static void every_refusal_has_a_name_and_a_failing_exit_status(void **state) {
        for (Refusal id = REFUSAL_NONE + 1; id < _REFUSAL_MAX; id++) {
                assert_non_null(refusal_name(id));
                assert_int_equal(refusal_from_name(refusal_name(id)), id);
                assert_in_range(refusal_exit_status(id), 1, 130);
        }
        assert_int_equal(refusal_exit_status(REFUSAL_NONE), 0);
        assert_int_equal(refusal_from_name("no-such-thing"), REFUSAL_NONE);
}

static void system_errors_choose_their_refusal(void **state) {
        static const struct {
                int code, expected;
                Refusal id;
                bool hint;
        } cases[] = {
                { EACCES, EACCES, REFUSAL_SYSTEM, false },    { -EACCES, EACCES, REFUSAL_SYSTEM, false },
                { ENOENT, ENOENT, REFUSAL_NOT_FOUND, false }, { ENOSPC, ENOSPC, REFUSAL_NO_SPACE, true },
                { EDQUOT, EDQUOT, REFUSAL_NO_SPACE, true },   { 0, EIO, REFUSAL_SYSTEM, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};

                assert_int_equal(error_errno(&e, cases[i].code, "cannot %s", "go on"), -cases[i].expected);
                assert_int_equal(e.code, cases[i].expected);
                assert_int_equal(e.id, cases[i].id);
                assert_int_equal(e.hint != NULL, cases[i].hint);
                assert_non_null(startswith(e.message, "cannot go on: "));
                assert_int_equal(error_errno(NULL, cases[i].code, "x"), -cases[i].expected);
        }
}

static void errors_are_prefixed_replaced_and_moved(void **state) {
        _cleanup_error_ Error e = {}, other = {};

        error_set(&e, EIO, REFUSAL_SYSTEM, "first");
        error_hint(&e, "a hint");
        /* The old message may be an argument of the new one; the old hint belongs to the old problem. */
        assert_int_equal(error_set(&e, EPERM, REFUSAL_GATE, "second after %s", e.message), -EPERM);
        assert_string_equal(e.message, "second after first");
        assert_null(e.hint);
        assert_int_equal(error_prefix(&e, "in %d", 7), -EPERM);
        assert_string_equal(e.message, "in 7: second after first");
        assert_int_equal(error_hint(&e, "again"), -EPERM);
        assert_int_equal(error_move(&other, &e), -EPERM);
        assert_null(e.message);
        assert_int_equal(other.id, REFUSAL_GATE);
        assert_string_equal(other.hint, "again");
        assert_int_equal(error_move(NULL, &other), -EPERM);
        assert_null(other.message);
        assert_true(error_hint(NULL, "x") < 0);
        assert_true(error_prefix(NULL, "x") < 0);
}

/* ---- hash ---- */

static void digests_are_those_of_the_standard(void **state) {
        static const struct {
                const char *text, *hex;
        } cases[] = {
                /* FIPS 180-4 examples */
                { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
                { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        };
        _cleanup_(hasher_freep) Hasher *h = hasher_new();

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *hex = NULL;
                Sha256 whole, parts, parsed;

                sha256_buffer(cases[i].text, strlen(cases[i].text), &whole);
                for (const char *p = cases[i].text; *p; p++)
                        hasher_update(h, p, 1);
                hasher_final(h, &parts); /* and the hasher begins anew */
                hex = sha256_hex(&whole);
                assert_string_equal(hex, cases[i].hex);
                assert_true(sha256_equal(&whole, &parts));
                assert_true(sha256_from_hex(hex, &parsed) && sha256_equal(&whole, &parsed));
        }
}

static void adjacent_strings_do_not_run_into_each_other(void **state) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 a, b;

        hasher_update_string(h, "ab");
        hasher_update_string(h, "c");
        hasher_final(h, &a);
        hasher_update_string(h, "a");
        hasher_update_string(h, "bc");
        hasher_final(h, &b);
        assert_false(sha256_equal(&a, &b));
}

static void part_of_a_file_is_hashed_and_a_short_one_refused(void **state) {
        _cleanup_free_ char *path = path_join(*state, "hashed");
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {}, missing = {};
        Sha256 wanted, found;
        uint64_t size;

        write_text(path, "xxabcyy");
        fd = open(path, O_RDONLY | O_CLOEXEC);
        sha256_buffer("abc", 3, &wanted);
        assert_int_equal(sha256_fd(fd, 2, 3, &found, NULL), 0);
        assert_true(sha256_equal(&wanted, &found));
        assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
        assert_true(sha256_fd(fd, 2, 6, &found, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        sha256_buffer("xxabcyy", 7, &wanted);
        assert_int_equal(sha256_file(AT_FDCWD, path, &found, &size, NULL), 0);
        assert_true(sha256_equal(&wanted, &found));
        assert_int_equal(size, 7);
        assert_true(sha256_file(AT_FDCWD, "/no/such/file", &found, NULL, &missing) < 0);
        assert_int_equal(missing.id, REFUSAL_NOT_FOUND);
}

static void sparse_file_hashes_as_if_its_holes_were_zeros(void **state) {
        static const struct {
                uint64_t at, size; /* "data" is written at; then the file is made that long */
        } cases[] = { { 0, 4 }, { 0, 3 << 20 }, { 3 << 20, (3 << 20) + 4 }, { (5 << 20) + 1, (9 << 20) + 7 } };
        _cleanup_free_ char *path = path_join(*state, "sparse");

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *full = xmalloc(cases[i].size);
                _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                Sha256 wanted, found;
                uint64_t size;

                assert_int_equal(pwrite(fd, "data", 4, (off_t) cases[i].at), 4);
                assert_int_equal(ftruncate(fd, (off_t) cases[i].size), 0);
                memset(full, 0, cases[i].size);
                memcpy(full + cases[i].at, "data", 4);
                sha256_buffer(full, cases[i].size, &wanted);
                assert_int_equal(sha256_file(AT_FDCWD, path, &found, &size, NULL), 0);
                assert_int_equal(size, cases[i].size);
                assert_true(sha256_equal(&wanted, &found));
        }
}

/* ---- io ---- */

static void reading_stops_at_the_limit(void **state) {
        _cleanup_free_ char *path = path_join(*state, "ten"), *text = NULL;
        _cleanup_error_ Error large = {}, missing = {}, folder = {};
        size_t size;

        write_text(path, "0123456789");
        assert_int_equal(io_read_file(AT_FDCWD, path, 10, &text, &size, NULL), 0);
        assert_int_equal(size, 10);
        assert_string_equal(text, "0123456789");
        assert_true(io_read_file(AT_FDCWD, path, 9, &text, &size, &large) < 0);
        assert_int_equal(large.id, REFUSAL_TOO_LARGE);
        assert_non_null(strstr(large.message, path));
        assert_true(io_read_file(AT_FDCWD, "/no/such/file", 9, &text, &size, &missing) < 0);
        assert_int_equal(missing.id, REFUSAL_NOT_FOUND);
        assert_int_equal(io_read_file(AT_FDCWD, *state, 9, &text, &size, &folder), -EISDIR);
}

static void file_is_replaced_as_a_whole_with_exactly_its_mode(void **state) {
        static int (*const writers[])(int, const char *, const void *, size_t, mode_t, Error *) = { io_replace_file,
                                                                                                    io_write_file };
        _cleanup_free_ char *folder = path_join(*state, "replace"), *path = path_join(folder, "f");
        mode_t old = umask(077);

        assert_int_equal(io_mkdir_parents(AT_FDCWD, folder, 0755, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(writers); i++) {
                _cleanup_error_ Error e = {};
                _cleanup_close_ int before = -EBADF;
                struct stat st;
                char kept[4] = "";

                assert_int_equal(writers[i](AT_FDCWD, path, "old", 3, 0600, NULL), 0);
                before = open(path, O_RDONLY | O_CLOEXEC);
                assert_int_equal(writers[i](AT_FDCWD, path, "new\0x", 5, 0664, NULL), 0);
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0664);
                assert_int_equal(st.st_size, 5);
                /* A reader that has the old one open keeps it. */
                assert_int_equal(io_pread_all(before, kept, 3, 0, NULL), 0);
                assert_string_equal(kept, "old");
                /* A failure leaves nothing half-made: a folder cannot be replaced by a file. */
                assert_true(writers[i](AT_FDCWD, folder, "x", 1, 0600, &e) < 0);
                assert_int_equal(io_unlink(AT_FDCWD, path, NULL), 0);
                assert_int_equal(io_unlink(AT_FDCWD, path, NULL), 1);
                assert_int_equal(rmdir(folder), 0); /* no temporary file is left beside it */
                assert_int_equal(mkdir(folder, 0755), 0);
        }
        umask(old);
}

static void rename_to_a_new_name_never_replaces(void **state) {
        _cleanup_free_ char *a = path_join(*state, "rename-a"), *b = path_join(*state, "rename-b");
        _cleanup_error_ Error e = {}, folder_error = {};

        write_text(a, "a");
        write_text(b, "b");
        assert_true(io_rename_new(AT_FDCWD, a, b, &e) < 0);
        assert_int_equal(e.id, REFUSAL_EXISTS);
        assert_text(b, "b");
        assert_int_equal(io_rename_replace(AT_FDCWD, a, b, NULL), 0);
        assert_text(b, "a");
        assert_int_equal(io_rename_new(AT_FDCWD, b, a, NULL), 0);
        assert_false(io_exists(AT_FDCWD, b));
        assert_int_equal(mkdir(b, 0755), 0); /* an empty folder counts too */
        assert_true(io_rename_new(AT_FDCWD, a, b, &folder_error) < 0);
        assert_int_equal(folder_error.id, REFUSAL_EXISTS);
}

static void tree_is_removed_without_following_links(void **state) {
        _cleanup_free_ char *outside = path_join(*state, "outside"), *tree = path_join(*state, "tree"),
                            *deep = path_join(tree, "a/b/c/d"), *closed = path_join(tree, "a/closed"),
                            *file = path_join(outside, "keep"), *link = path_join(tree, "a/link"),
                            *inner = path_join(closed, "inner"), *top = path_join(*state, "top-link");

        assert_int_equal(io_mkdir_parents(AT_FDCWD, deep, 0755, NULL), 0);
        assert_int_equal(io_mkdir_parents(AT_FDCWD, outside, 0755, NULL), 0);
        assert_int_equal(io_mkdir_parents(AT_FDCWD, inner, 0755, NULL), 0);
        write_text(file, "kept");
        assert_int_equal(symlink(outside, link), 0);
        assert_int_equal(symlink(outside, top), 0);
        assert_int_equal(chmod(closed, 0), 0);
        assert_int_equal(io_remove_tree(AT_FDCWD, tree, NULL), 0);
        assert_false(io_exists(AT_FDCWD, tree));
        assert_int_equal(io_remove_tree(AT_FDCWD, top, NULL), 0);
        assert_false(io_exists(AT_FDCWD, top));
        assert_text(file, "kept");
        assert_int_equal(io_remove_tree(AT_FDCWD, tree, NULL), 1);
        assert_int_equal(io_remove_tree(AT_FDCWD, file, NULL), 0); /* a file is a small tree */
        assert_int_equal(io_remove_tree(AT_FDCWD, outside, NULL), 0);
}

static void folders_are_made_with_their_parents(void **state) {
        _cleanup_free_ char *path = path_join(*state, "p/q/r"), *file = path_join(*state, "p/file"),
                            *below = path_join(file, "x");
        struct stat st;

        assert_int_equal(io_mkdir_parents(AT_FDCWD, path, 0750, NULL), 0);
        assert_int_equal(io_mkdir_parents(AT_FDCWD, path, 0700, NULL), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0750);
        write_text(file, "x");
        assert_int_equal(io_mkdir_parents(AT_FDCWD, below, 0755, NULL), -ENOTDIR);
}

static void exact_reads_and_writes(void **state) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_error_ Error e = {};
        char text[8] = "";

        assert_int_equal(io_tmpfile(*state, &fd, NULL), 0);
        assert_int_equal(io_pwrite_all(fd, "abcdef", 6, 4, NULL), 0);
        assert_int_equal(io_pread_all(fd, text, 6, 4, NULL), 0);
        assert_string_equal(text, "abcdef");
        assert_true(io_pread_all(fd, text, 7, 4, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_true(io_pwrite_all(-EBADF, "x", 1, 0, NULL) < 0);
}

#define MIB ((uint64_t) 1 << 20)

/* data 64K | hole up to 8 MiB | data 64K | hole up to 16 MiB */
static int make_sparse(const char *folder) {
        _cleanup_free_ char *data = xmalloc(65536);
        int fd;

        memset(data, 'd', 65536);
        assert_int_equal(io_tmpfile(folder, &fd, NULL), 0);
        assert_int_equal(io_pwrite_all(fd, data, 65536, 0, NULL), 0);
        assert_int_equal(io_pwrite_all(fd, data, 65536, 8 * MIB, NULL), 0);
        assert_int_equal(ftruncate(fd, (off_t) (16 * MIB)), 0);
        return fd;
}

static void holes_stay_holes_when_copied(void **state) {
        static const struct {
                uint64_t from, to, size;
        } cases[] = { { 0, 0, 16 * MIB },         { 0, 4096, 16 * MIB },
                      { 32768, 123, 8 * MIB },    { 100000, 0, MIB }, /* nothing but a hole */
                      { 8 * MIB + 1000, 0, 100 }, { 5, 5, 0 } };
        _cleanup_close_ int from = make_sparse(*state);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_close_ int to = -EBADF;
                Sha256 wanted, found;
                struct stat st;

                assert_int_equal(io_tmpfile(*state, &to, NULL), 0);
                assert_int_equal(ftruncate(to, (off_t) (cases[i].to + cases[i].size)), 0);
                assert_int_equal(io_copy_range(from, cases[i].from, to, cases[i].to, cases[i].size, NULL), 0);
                assert_int_equal(sha256_fd(from, cases[i].from, cases[i].size, &wanted, NULL), 0);
                assert_int_equal(sha256_fd(to, cases[i].to, cases[i].size, &found, NULL), 0);
                assert_true(sha256_equal(&wanted, &found));
                assert_int_equal(fstat(to, &st), 0);
                assert_int_equal(st.st_size, cases[i].to + cases[i].size);
                assert_true(st.st_blocks * 512 <= (int64_t) MIB);
        }
}

static void copying_more_than_there_is_fails(void **state) {
        _cleanup_close_ int from = make_sparse(*state), to = -EBADF;
        _cleanup_error_ Error range = {}, stream = {};

        assert_int_equal(io_tmpfile(*state, &to, NULL), 0);
        assert_true(io_copy_range(from, MIB, to, 0, 16 * MIB, &range) < 0);
        assert_int_equal(range.id, REFUSAL_BAD_FORMAT);
        assert_true(io_copy_stream(from, to, 16 * MIB + 1, &stream) < 0);
        assert_int_equal(stream.id, REFUSAL_BAD_FORMAT);
}

static void stream_is_appended(void **state) {
        _cleanup_free_ char *path = path_join(*state, "appended"), *source = path_join(*state, "source");
        _cleanup_close_ int from = -EBADF, to = -EBADF;

        write_text(path, "one ");
        write_text(source, "two three");
        from = open(source, O_RDONLY | O_CLOEXEC);
        to = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        assert_int_equal(io_copy_stream(from, to, 3, NULL), 0);
        assert_text(path, "one two");
}

static void paths_are_joined_and_taken_apart(void **state) {
        static const struct {
                const char *a, *b, *joined, *folder, *base;
        } cases[] = {
                { "a", "b", "a/b", "a", "b" },      { "a/", "b", "a/b", "a", "b" }, { "/", "b", "/b", "/", "b" },
                { "a", "/b/c", "/b/c", "/b", "c" }, { "", "b", "b", ".", "b" },     { "a", "b/", "a/b/", "a/b", "" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *joined = path_join(cases[i].a, cases[i].b), *folder = path_dirname(joined);

                assert_string_equal(joined, cases[i].joined);
                assert_string_equal(folder, cases[i].folder);
                assert_string_equal(path_basename(joined), cases[i].base);
        }
}

static void clean_relative_paths_are_told_from_others(void **state) {
        static const char *const good[] = { "a", "a/b", "...", ".a/..b", "a b" }, *const bad[] = {
                "", "/", "/a", ".", "..", "a/", "a//b", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b"
        };
        _cleanup_free_ char *longest = xcalloc(PATH_MAX + 1, 1);

        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_true(path_is_clean_relative(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_false(path_is_clean_relative(bad[i]));
        memset(longest, 'a', PATH_MAX - 1);
        assert_true(path_is_clean_relative(longest));
        longest[PATH_MAX - 1] = 'a';
        assert_false(path_is_clean_relative(longest));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(numbers_are_whole_decimal_strings),
                cmocka_unit_test(sizes_take_one_binary_suffix_and_never_overflow),
                cmocka_unit_test(truth_has_four_spellings_in_lower_case),
                cmocka_unit_test(bytes_are_shown_in_binary_units),
                cmocka_unit_test(hexadecimal_comes_back_and_wrong_digits_are_refused),
                cmocka_unit_test(prefixes_suffixes_and_white_space),
                cmocka_unit_test(vectors_keep_their_order_whatever_is_done_to_them),
                cmocka_unit_test(buffer_holds_any_bytes_and_ends_in_nul),
                cmocka_unit_test(error_crosses_a_process_boundary_as_one_line),
                cmocka_unit_test(broken_line_from_a_child_is_an_error_of_its_own),
                cmocka_unit_test(every_refusal_has_a_name_and_a_failing_exit_status),
                cmocka_unit_test(system_errors_choose_their_refusal),
                cmocka_unit_test(errors_are_prefixed_replaced_and_moved),
                cmocka_unit_test(digests_are_those_of_the_standard),
                cmocka_unit_test(adjacent_strings_do_not_run_into_each_other),
                cmocka_unit_test(part_of_a_file_is_hashed_and_a_short_one_refused),
                cmocka_unit_test(sparse_file_hashes_as_if_its_holes_were_zeros),
                cmocka_unit_test(reading_stops_at_the_limit),
                cmocka_unit_test(file_is_replaced_as_a_whole_with_exactly_its_mode),
                cmocka_unit_test(rename_to_a_new_name_never_replaces),
                cmocka_unit_test(tree_is_removed_without_following_links),
                cmocka_unit_test(folders_are_made_with_their_parents),
                cmocka_unit_test(exact_reads_and_writes),
                cmocka_unit_test(holes_stay_holes_when_copied),
                cmocka_unit_test(copying_more_than_there_is_fails),
                cmocka_unit_test(stream_is_appended),
                cmocka_unit_test(paths_are_joined_and_taken_apart),
                cmocka_unit_test(clean_relative_paths_are_told_from_others),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
