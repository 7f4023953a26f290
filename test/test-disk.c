/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* dm-verity hash trees and partition tables, each judged by the tool whose format it is. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gpt.h"
#include "io.h"
#include "process.h"
#include "verity.h"

#define MIB (UINT64_C(1) << 20)

typedef struct Fixture {
        char *folder, *data, *hash, *disk;
        VerityOptions options;
} Fixture;

static int set_up(void **state) {
        Fixture *f = xnew(Fixture, 1);

        assert_int_equal(io_temporary_folder("test-disk", &f->folder, NULL), 0);
        f->data = path_join(f->folder, "data");
        f->hash = path_join(f->folder, "hash");
        f->disk = path_join(f->folder, "disk");
        memset(f->options.salt, 0xa5, sizeof(f->options.salt));
        memset(f->options.uuid, 0x5a, sizeof(f->options.uuid));
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->data);
        free(f->hash);
        free(f->disk);
        free(f);
        return 0;
}

/* Every block is different, so that swapped blocks would be noticed. */
static void write_blocks(const char *path, uint64_t n_blocks) {
        _cleanup_free_ uint8_t *data = xcalloc(n_blocks, VERITY_BLOCK_SIZE);

        for (uint64_t i = 0; i < n_blocks; i++)
                memcpy(data + i * VERITY_BLOCK_SIZE, &i, sizeof(i));
        assert_int_equal(io_write_file(AT_FDCWD, path, data, n_blocks * VERITY_BLOCK_SIZE, 0644, NULL), 0);
}

static void flip_byte(const char *path, uint64_t offset) {
        _cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t byte;

        assert_int_equal(io_pread_all(fd, &byte, 1, offset, NULL), 0);
        byte ^= 1;
        assert_int_equal(io_pwrite_all(fd, &byte, 1, offset, NULL), 0);
}

static void root_hash_and_size_are_those_of_libcryptsetup(void **state) {
        Fixture *f = *state;
        static const uint64_t sizes[] = { 1, 2, 127, 128, 129, 255, 256, 257, 1000, 128 * 128, 128 * 128 + 1, 20000 };

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                _cleanup_close_ int fd = -EBADF, hash_fd = -EBADF;
                Sha256 theirs, ours;
                Error e = {};

                write_blocks(f->data, sizes[i]);
                if (verity_format(f->data, sizes[i] * VERITY_BLOCK_SIZE, f->hash, &f->options, &theirs, &e) < 0)
                        fail_msg("%s", e.message);
                fd = open(f->data, O_RDONLY | O_CLOEXEC);
                hash_fd = open(f->hash, O_RDONLY | O_CLOEXEC);
                assert_int_equal(verity_root_hash(fd, 0, sizes[i] * VERITY_BLOCK_SIZE, f->options.salt, &ours, NULL),
                                 0);
                assert_memory_equal(ours.bytes, theirs.bytes, SHA256_SIZE);
                assert_int_equal(lseek(hash_fd, 0, SEEK_END), verity_hash_size(sizes[i] * VERITY_BLOCK_SIZE));
                if (verity_verify(f->data, f->hash, &theirs, &e) < 0)
                        fail_msg("%s", e.message);
        }
}

/* At an offset in a larger file, as on a device: the same bytes as libcryptsetup's, nothing beside them. */
static void the_tree_we_write_is_that_of_libcryptsetup(void **state) {
        Fixture *f = *state;
        static const uint64_t sizes[] = { 1, 2, 127, 128, 129, 256, 257, 128 * 128, 128 * 128 + 1, 20000 };
        const uint64_t offset = 3 * MIB;

        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                uint64_t data_size = sizes[i] * VERITY_BLOCK_SIZE, tree_size = verity_hash_size(data_size), found;
                _cleanup_free_ char *theirs = NULL, *ours = NULL;
                _cleanup_close_ int data = -EBADF, disk = -EBADF;
                Sha256 their_root, our_root;
                VerityOptions options;
                size_t size;

                write_blocks(f->data, sizes[i]);
                assert_int_equal(verity_format(f->data, data_size, f->hash, &f->options, &their_root, NULL), 0);
                assert_int_equal(io_read_file(AT_FDCWD, f->hash, 2 * MIB, &theirs, &size, NULL), 0);
                assert_int_equal(size, tree_size);
                data = open(f->data, O_RDONLY | O_CLOEXEC);
                disk = open(f->disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                assert_int_equal(ftruncate(disk, (off_t) (offset + tree_size + 4096)), 0);
                assert_int_equal(verity_write_tree(data, 0, data_size, disk, offset, &f->options, &our_root, NULL), 0);
                assert_true(sha256_equal(&their_root, &our_root));
                assert_int_equal(lseek(disk, 0, SEEK_END), offset + tree_size + 4096);
                ours = xmalloc(tree_size);
                assert_int_equal(io_pread_all(disk, ours, tree_size, offset, NULL), 0);
                assert_memory_equal(ours, theirs, tree_size);
                assert_int_equal(verity_read_superblock(disk, offset, &found, &options, NULL), 0);
                assert_int_equal(found, data_size);
                assert_memory_equal(options.salt, f->options.salt, VERITY_SALT_SIZE);
                assert_memory_equal(options.uuid, f->options.uuid, 16);
                assert_int_equal(verity_read_superblock(disk, 0, &found, &options, NULL), -EBADMSG);
        }
}

static void a_part_of_a_file_has_its_own_root_hash(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int fd = -EBADF;
        Sha256 whole, part, again;

        write_blocks(f->data, 300);
        fd = open(f->data, O_RDONLY | O_CLOEXEC);
        assert_int_equal(verity_root_hash(fd, 4096, 200 * 4096, f->options.salt, &part, NULL), 0);
        assert_int_equal(verity_root_hash(fd, 0, 300 * 4096, f->options.salt, &whole, NULL), 0);
        assert_int_equal(verity_root_hash(fd, 4096, 200 * 4096, f->options.salt, &again, NULL), 0);
        assert_false(sha256_equal(&whole, &part));
        assert_true(sha256_equal(&again, &part));
        assert_true(verity_root_hash(fd, 4096, 300 * 4096, f->options.salt, &part, NULL) < 0);
}

static void formatting_twice_gives_the_same_tree(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *first = NULL, *second = NULL;
        size_t first_size, second_size;
        Sha256 root;

        write_blocks(f->data, 300);
        assert_int_equal(verity_format(f->data, 300 * 4096, f->hash, &f->options, &root, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, f->hash, MIB, &first, &first_size, NULL), 0);
        assert_int_equal(verity_format(f->data, 300 * 4096, f->hash, &f->options, &root, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, f->hash, MIB, &second, &second_size, NULL), 0);
        assert_int_equal(first_size, second_size);
        assert_memory_equal(first, second, first_size);
}

static void a_changed_byte_is_found_and_its_block_named(void **state) {
        Fixture *f = *state;
        static const struct {
                bool in_hash;
                uint64_t offset;
                const char *position;
        } cases[] = {
                { false, 0, "byte 0" },
                { false, 4096 * 299 + 4095, "byte 1224704" },
                { false, 4096 * 77 + 5, "byte 315392" },
                { true, 4096, NULL },     /* top of the tree */
                { true, 2 * 4096, NULL }, /* leaves */
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_error_ Error e = {};
                Sha256 root;

                write_blocks(f->data, 300);
                assert_int_equal(verity_format(f->data, 300 * 4096, f->hash, &f->options, &root, NULL), 0);
                flip_byte(cases[i].in_hash ? f->hash : f->data, cases[i].offset);
                assert_true(verity_verify(f->data, f->hash, &root, &e) < 0);
                assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
                if (cases[i].position && !strstr(e.message, cases[i].position))
                        fail_msg("%s not in: %s", cases[i].position, e.message);
        }
}

static void hash_trees_of_other_images_are_refused(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};
        Sha256 root;

        write_blocks(f->data, 10);
        assert_int_equal(verity_format(f->data, 10 * 4096, f->hash, &f->options, &root, NULL), 0);
        root.bytes[31] ^= 1;
        assert_true(verity_verify(f->data, f->hash, &root, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
        write_blocks(f->hash, 2);
        assert_true(verity_verify(f->data, f->hash, &root, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        unlink(f->hash);
        assert_true(verity_verify(f->data, f->hash, &root, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
        assert_true(verity_format(f->data, 5000, f->hash, &f->options, &root, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(verity_format(f->data, 0, f->hash, &f->options, &root, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void veritysetup_accepts_our_tree(void **state) {
        if (!io_exists(AT_FDCWD, "/usr/sbin/veritysetup"))
                skip();

        Fixture *f = *state;
        _cleanup_free_ char *hex = NULL, *output = NULL;
        Sha256 root;
        Error e = {};

        write_blocks(f->data, 1000);
        assert_int_equal(verity_format(f->data, 1000 * 4096, f->hash, &f->options, &root, NULL), 0);
        hex = sha256_hex(&root);
        char *verify[] = { (char *) "/usr/sbin/veritysetup", (char *) "verify", f->data, f->hash, hex, NULL };
        if (process_run(verify, NULL, NULL, NULL, &e) < 0)
                fail_msg("%s", e.message);
        flip_byte(f->data, 4096 * 500);
        assert_true(process_run(verify, NULL, NULL, NULL, NULL) < 0);
        char *dump[] = { (char *) "/usr/sbin/veritysetup", (char *) "dump", f->hash, NULL };
        assert_int_equal(process_run(dump, NULL, &output, NULL, NULL), 0);
        assert_non_null(strstr(output, "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"));
}

static void partition_ids_are_the_halves_of_the_root_hash(void **state) {
        char data[37], hash[37];
        Sha256 root;

        assert_true(sha256_from_hex("00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210", &root));
        verity_partition_ids(&root, data, hash);
        assert_string_equal(data, "00112233-4455-6677-8899-aabbccddeeff");
        assert_string_equal(hash, "01234567-89ab-cdef-fedc-ba9876543210");
}

static const char disk_uuid[] = "11111111-2222-8333-8444-555555555555";

static const GptPartition layout[] = {
        { .type = PARTITION_ESP, .uuid = "aaaaaaaa-0000-8000-8000-000000000001", .label = "esp", .size = 3 * MIB },
        { .type = PARTITION_USR,
          .uuid = "aaaaaaaa-0000-8000-8000-000000000002",
          .label = "minimal_2026.11.1-abcdefghijklmnopqr",
          .size = 2 * MIB + 4096,
          .flags = GPT_FLAG_READ_ONLY },
        { .type = PARTITION_USR_VERITY,
          .uuid = "aaaaaaaa-0000-8000-8000-000000000003",
          .label = "_empty",
          .size = MIB,
          .flags = GPT_FLAG_NO_AUTO | GPT_FLAG_READ_ONLY },
        { .type = PARTITION_USR_VERITY_SIG, .uuid = "aaaaaaaa-0000-8000-8000-000000000004", .size = MIB },
        { .type = PARTITION_OTHER,
          .type_uuid = "0fc63daf-8483-4772-8e79-3d69d8477de4",
          .uuid = "aaaaaaaa-0000-8000-8000-000000000005",
          .label = "other",
          .size = MIB,
          .flags = GPT_FLAG_GROW_FILE_SYSTEM },
};

static void make_disk(const Fixture *f, unsigned sector_size, GptPartition partitions[static ELEMENTSOF(layout)]) {
        Error e = {};

        memcpy(partitions, layout, sizeof(layout));
        unlink(f->disk);
        assert_int_equal(io_write_file(AT_FDCWD, f->disk, NULL, 0, 0644, NULL), 0);
        assert_int_equal(truncate(f->disk, 16 * MIB), 0);
        if (gpt_create(f->disk, sector_size, disk_uuid, "amd64", partitions, ELEMENTSOF(layout), &e) < 0)
                fail_msg("%s", e.message);
}

static void tables_are_written_and_read_back(void **state) {
        Fixture *f = *state;
        static const unsigned sector_sizes[] = { 512, 4096 };

        for (size_t k = 0; k < ELEMENTSOF(sector_sizes); k++) {
                _cleanup_free_ GptPartition *l = NULL;
                GptPartition p[ELEMENTSOF(layout)];
                Error e = {};
                size_t n;

                make_disk(f, sector_sizes[k], p);
                if (gpt_read(f->disk, "amd64", &l, &n, &e) < 0)
                        fail_msg("%s", e.message);
                assert_int_equal(n, ELEMENTSOF(layout));
                for (size_t i = 0; i < n; i++) {
                        assert_int_equal(l[i].type, layout[i].type);
                        assert_string_equal(l[i].type_uuid, p[i].type_uuid);
                        assert_string_equal(l[i].uuid, layout[i].uuid);
                        assert_string_equal(l[i].label, layout[i].label);
                        assert_int_equal(l[i].offset, p[i].offset);
                        assert_int_equal(l[i].offset % MIB, 0);
                        assert_int_equal(l[i].size, layout[i].size);
                        assert_int_equal(l[i].flags, layout[i].flags);
                }
        }
}

static void retagging_changes_names_ids_and_flags_and_nothing_else(void **state) {
        Fixture *f = *state;
        static const unsigned sector_sizes[] = { 512, 4096 };

        for (size_t k = 0; k < ELEMENTSOF(sector_sizes); k++) {
                _cleanup_free_ GptPartition *before = NULL, *after = NULL;
                GptPartition p[ELEMENTSOF(layout)], changed[2];
                Error e = {};
                size_t n;

                make_disk(f, sector_sizes[k], p);
                assert_int_equal(gpt_read(f->disk, "amd64", &before, &n, NULL), 0);
                changed[0] = before[n - 1];
                changed[1] = before[1];
                snprintf(changed[0].label, sizeof changed[0].label, "another_1.0");
                snprintf(changed[1].uuid, sizeof changed[1].uuid, "00000000-1111-2222-3333-444444444444");
                changed[1].flags = GPT_FLAG_NO_AUTO;
                if (gpt_retag(f->disk, "amd64", changed, 2, &e) < 0)
                        fail_msg("%s", e.message);
                assert_int_equal(gpt_read(f->disk, "amd64", &after, &n, NULL), 0);
                for (size_t i = 0; i < n; i++) {
                        const GptPartition *wanted = i == n - 1 ? &changed[0] : i == 1 ? &changed[1] : &before[i];

                        assert_memory_equal(&after[i], wanted, sizeof *wanted);
                }
        }
}

static void a_partition_that_is_not_what_it_was_is_not_retagged(void **state) {
        Fixture *f = *state;
        _cleanup_free_ GptPartition *before = NULL;
        GptPartition p[ELEMENTSOF(layout)];
        Sha256 first, second;
        size_t n;

        make_disk(f, 512, p);
        assert_int_equal(gpt_read(f->disk, "amd64", &before, &n, NULL), 0);
        assert_int_equal(sha256_file(AT_FDCWD, f->disk, &first, NULL, NULL), 0);
        for (int i = 0; i < 3; i++) {
                GptPartition changed[2] = { before[0], before[1] };
                _cleanup_error_ Error e = {};

                snprintf(changed[0].label, sizeof changed[0].label, "another");
                if (i == 0)
                        changed[1].offset += MIB;
                else if (i == 1)
                        changed[1].size -= MIB;
                else
                        changed[1].number = 99;
                assert_true(gpt_retag(f->disk, "amd64", changed, 2, &e) < 0);
                assert_int_equal(e.id, REFUSAL_STALE);
                assert_int_equal(sha256_file(AT_FDCWD, f->disk, &second, NULL, NULL), 0);
                assert_true(sha256_equal(&first, &second));
        }
}

static void the_same_table_is_the_same_bytes(void **state) {
        Fixture *f = *state;
        GptPartition p[ELEMENTSOF(layout)];
        Sha256 first, second;

        make_disk(f, 512, p);
        assert_int_equal(sha256_file(AT_FDCWD, f->disk, &first, NULL, NULL), 0);
        make_disk(f, 512, p);
        assert_int_equal(sha256_file(AT_FDCWD, f->disk, &second, NULL, NULL), 0);
        assert_true(sha256_equal(&first, &second));
}

static void sgdisk_and_sfdisk_accept_our_table(void **state) {
        Fixture *f = *state;
        char *sgdisk[] = { (char *) "/usr/sbin/sgdisk", (char *) "--verify", f->disk, NULL };
        char *sfdisk[] = { (char *) "/usr/sbin/sfdisk", (char *) "--verify", f->disk, NULL };
        _cleanup_free_ char *output = NULL;
        GptPartition p[ELEMENTSOF(layout)];
        Error e = {};

        if (!io_exists(AT_FDCWD, sgdisk[0]) || !io_exists(AT_FDCWD, sfdisk[0]))
                skip();
        make_disk(f, 512, p);
        if (process_run(sgdisk, NULL, &output, NULL, &e) < 0 || !strstr(output, "No problems found"))
                fail_msg("%s %s", e.message ?: "", output ?: "");
        if (process_run(sfdisk, NULL, NULL, NULL, &e) < 0)
                fail_msg("%s", e.message);
}

static void damaged_tables_are_refused(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name;
                uint64_t offset;
        } cases[] = {
                { "primary header", 512 + 80 },
                { "primary header's checksum", 512 + 16 },
                { "primary entry", 1024 + 56 },
                { "backup header", 16 * MIB - 512 + 40 },
                { "backup signature", 16 * MIB - 512 },
                { "primary signature", 512 },
                { "backup entry", 16 * MIB - 33 * 512 + 60 },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                GptPartition p[ELEMENTSOF(layout)], *l = NULL;
                _cleanup_error_ Error e = {};
                size_t n;

                make_disk(f, 512, p);
                flip_byte(f->disk, cases[i].offset);
                if (gpt_read(f->disk, "amd64", &l, &n, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

static void impossible_tables_are_refused(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name;
                GptPartition partition;
                Refusal refusal;
        } cases[] = {
                { "too large", { .uuid = "aaaaaaaa-0000-8000-8000-000000000002", .size = 15 * MIB }, REFUSAL_NO_SPACE },
                { "overflow",
                  { .uuid = "aaaaaaaa-0000-8000-8000-000000000002", .size = UINT64_MAX - 4095 },
                  REFUSAL_NO_SPACE },
                { "no size", { .uuid = "aaaaaaaa-0000-8000-8000-000000000002" }, REFUSAL_BAD_VALUE },
                { "no id", { .size = MIB }, REFUSAL_BAD_VALUE },
                { "id of the first",
                  { .uuid = "aaaaaaaa-0000-8000-8000-000000000001", .size = MIB },
                  REFUSAL_BAD_VALUE },
                { "not aligned",
                  { .uuid = "aaaaaaaa-0000-8000-8000-000000000002", .size = MIB, .offset = 6 * MIB + 512 },
                  REFUSAL_BAD_VALUE },
                { "overlap",
                  { .uuid = "aaaaaaaa-0000-8000-8000-000000000002", .size = MIB, .offset = MIB },
                  REFUSAL_BAD_VALUE },
                { "other without type",
                  { .type = PARTITION_OTHER, .uuid = "aaaaaaaa-0000-8000-8000-000000000002", .size = MIB },
                  REFUSAL_BAD_VALUE },
        };
        GptPartition esp = layout[0];
        _cleanup_error_ Error e = {};

        assert_int_equal(io_write_file(AT_FDCWD, f->disk, NULL, 0, 0644, NULL), 0);
        assert_int_equal(truncate(f->disk, 16 * MIB), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                GptPartition p[2] = { layout[0], cases[i].partition };

                if (gpt_create(f->disk, 512, disk_uuid, "amd64", p, 2, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                assert_int_equal(e.id, cases[i].refusal);
        }
        assert_true(gpt_create(f->disk, 1024, disk_uuid, "amd64", &esp, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(gpt_create(f->disk, 512, "", "amd64", &esp, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        assert_true(gpt_create(f->disk, 512, disk_uuid, "vax", &esp, 1, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

static void files_without_a_table_are_refused(void **state) {
        Fixture *f = *state;
        GptPartition *l = NULL;
        _cleanup_error_ Error e = {};
        size_t n;

        write_blocks(f->data, 10);
        assert_true(gpt_read(f->data, "amd64", &l, &n, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        assert_int_equal(io_write_file(AT_FDCWD, f->data, NULL, 0, 0644, NULL), 0);
        assert_true(gpt_read(f->data, "amd64", &l, &n, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        unlink(f->data);
        assert_true(gpt_read(f->data, "amd64", &l, &n, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(root_hash_and_size_are_those_of_libcryptsetup),
                cmocka_unit_test(the_tree_we_write_is_that_of_libcryptsetup),
                cmocka_unit_test(a_part_of_a_file_has_its_own_root_hash),
                cmocka_unit_test(formatting_twice_gives_the_same_tree),
                cmocka_unit_test(a_changed_byte_is_found_and_its_block_named),
                cmocka_unit_test(hash_trees_of_other_images_are_refused),
                cmocka_unit_test(veritysetup_accepts_our_tree),
                cmocka_unit_test(partition_ids_are_the_halves_of_the_root_hash),
                cmocka_unit_test(tables_are_written_and_read_back),
                cmocka_unit_test(retagging_changes_names_ids_and_flags_and_nothing_else),
                cmocka_unit_test(a_partition_that_is_not_what_it_was_is_not_retagged),
                cmocka_unit_test(the_same_table_is_the_same_bytes),
                cmocka_unit_test(sgdisk_and_sfdisk_accept_our_table),
                cmocka_unit_test(damaged_tables_are_refused),
                cmocka_unit_test(impossible_tables_are_refused),
                cmocka_unit_test(files_without_a_table_are_refused),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
