/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "updater-fixture.h"

#define PIECE ((size_t) 65536)
#define IMAGE_SIZE ((size_t) FIXTURE_MIB + 8192)

/* A release of a made-up image, its root hash by libcryptsetup. */
typedef struct Image {
        char *data;
        ReleaseDescription description;
} Image;

static void image_done(Image *i) {
        free(i->data);
}

static Image make_image(const MachineFixture *f, const char *version, char content) {
        Image i = { .data = xmalloc(IMAGE_SIZE) };
        VerityOptions o = { .salt = "thirty-two bytes that are fixed.", .uuid = "sixteen of them." };
        _cleanup_free_ char *data = path_join(f->folder, "image"), *tree = path_join(f->folder, "tree");
        _cleanup_error_ Error e = {};

        for (size_t k = 0; k < IMAGE_SIZE; k++)
                i.data[k] = (char) (content + (k / 97 ^ k % 31));
        machine_fixture_write(f->folder, "image", i.data, IMAGE_SIZE);
        updater_ok(verity_format(data, IMAGE_SIZE, tree, &o, &i.description.root_hash, &e), &e);
        i.description.product = (char *) "desk";
        i.description.version = (char *) version;
        i.description.verity_size = verity_hash_size(IMAGE_SIZE);
        memcpy(i.description.verity_salt.bytes, o.salt, 32);
        memcpy(i.description.verity_uuid, o.uuid, 16);
        i.description.artifacts[ARTIFACT_USR] = (Artifact){ .present = true, .size = IMAGE_SIZE };
        return i;
}

static void write_all(SlotWriter *w, const Image *i) {
        /* From the end, as order is of no matter. */
        for (size_t n = (IMAGE_SIZE + PIECE - 1) / PIECE; n-- > 0;) {
                _cleanup_error_ Error e = {};

                updater_ok(slot_writer_write(w, n * PIECE, i->data + n * PIECE, MIN(PIECE, IMAGE_SIZE - n * PIECE), &e),
                           &e);
        }
}

static void fill(const MachineFixture *f, const Slot *slot, const Image *i) {
        _cleanup_(slot_writer_freep) SlotWriter *w = NULL;
        _cleanup_error_ Error e = {};

        updater_ok(slot_writer_open(f->disk, slot, &i->description, &w, &e), &e);
        write_all(w, i);
        updater_ok(slot_writer_finish(w, "signature", 9, &e), &e);
}

static Refusal verify(const MachineFixture *f, const Slot *slot, const Image *i) {
        _cleanup_error_ Error e = {};

        return slot_verify(f->disk, slot, &i->description.root_hash, IMAGE_SIZE, NULL, NULL, &e) < 0 ? e.id
                                                                                                     : REFUSAL_NONE;
}

static void flip(const MachineFixture *f, uint64_t offset) {
        int fd = open(f->disk, O_RDWR | O_CLOEXEC);
        uint8_t byte;

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, (off_t) offset), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t) offset), 1);
        safe_close(fd);
}

static Sha256 hash_range(const MachineFixture *f, uint64_t offset, uint64_t size) {
        _cleanup_free_ char *data = xmalloc(size);
        int fd = open(f->disk, O_RDONLY | O_CLOEXEC);
        Sha256 h;

        assert_int_equal(io_pread_all(fd, data, size, offset, NULL), 0);
        safe_close(fd);
        sha256_buffer(data, size, &h);
        return h;
}

/* ---- writing ---- */

static void what_was_written_is_verified(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a'), other = make_image(f, "3", 'b');
        Sha256 before = hash_range(f, m->slots[0].usr.offset, 4 * FIXTURE_MIB), after;
        uint64_t size = 0;

        fill(f, slot, &i);
        assert_int_equal(verify(f, slot, &i), REFUSAL_NONE);
        assert_int_equal(verify(f, slot, &other), REFUSAL_HASH_MISMATCH);
        assert_int_equal(slot_data_size(f->disk, slot, &size, NULL), 0);
        assert_int_equal(size, IMAGE_SIZE);
        after = hash_range(f, m->slots[0].usr.offset, 4 * FIXTURE_MIB);
        assert_true(sha256_equal(&before, &after));
}

/* The tree is, byte for byte, the one that libcryptsetup makes. */
static void the_tree_is_libcryptsetup_s(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_free_ char *path = path_join(f->folder, "tree"), *tree = NULL;
        Sha256 wanted, there;
        size_t size;

        fill(f, slot, &i);
        assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &tree, &size, NULL), 0);
        sha256_buffer(tree, size, &wanted);
        there = hash_range(f, slot->verity.offset, size);
        assert_true(sha256_equal(&wanted, &there));
}

static void an_older_signature_leaves_nothing(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_free_ char *long_one = xmalloc(FIXTURE_MIB), *there = xmalloc(FIXTURE_MIB);
        _cleanup_(slot_writer_freep) SlotWriter *w = NULL;
        int fd;

        memset(long_one, 's', FIXTURE_MIB);
        assert_int_equal(slot_writer_open(f->disk, slot, &i.description, &w, NULL), 0);
        write_all(w, &i);
        assert_int_equal(slot_writer_finish(w, long_one, FIXTURE_MIB, NULL), 0);
        assert_int_equal(slot_writer_finish(w, "short", 5, NULL), 0);
        fd = open(f->disk, O_RDONLY | O_CLOEXEC);
        assert_int_equal(io_pread_all(fd, there, FIXTURE_MIB, slot->sig.offset, NULL), 0);
        safe_close(fd);
        assert_string_equal(there, "short");
        for (size_t k = 5; k < FIXTURE_MIB; k++)
                assert_int_equal(there[k], 0);
}

static void an_interrupted_write_goes_on(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_(slot_writer_freep) SlotWriter *w = NULL;
        size_t there = 0, written = 0;

        assert_int_equal(slot_writer_open(f->disk, slot, &i.description, &w, NULL), 0);
        for (size_t n = 0; n < 7; n++)
                assert_int_equal(slot_writer_write(w, n * PIECE, i.data + n * PIECE, PIECE, NULL), 0);
        flip(f, slot->usr.offset + 3 * PIECE + 77);
        w = slot_writer_free(w);
        assert_int_equal(slot_writer_open(f->disk, slot, &i.description, &w, NULL), 0);
        for (size_t at = 0; at < IMAGE_SIZE; at += PIECE) {
                size_t n = MIN(PIECE, IMAGE_SIZE - at);
                Sha256 h;

                sha256_buffer(i.data + at, n, &h);
                if (slot_writer_has(w, at, n, &h)) {
                        there++;
                        continue;
                }
                assert_int_equal(slot_writer_write(w, at, i.data + at, n, NULL), 0);
                written++;
        }
        assert_int_equal(there, 6);
        assert_int_equal(written, (IMAGE_SIZE + PIECE - 1) / PIECE - 6);
        assert_int_equal(slot_writer_finish(w, NULL, 0, NULL), 0);
        assert_int_equal(verify(f, slot, &i), REFUSAL_NONE);
}

static void other_data_is_no_release(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_(slot_writer_freep) SlotWriter *w = NULL;
        _cleanup_error_ Error e = {};

        i.data[4096] ^= 1;
        assert_int_equal(slot_writer_open(f->disk, slot, &i.description, &w, NULL), 0);
        write_all(w, &i);
        assert_true(slot_writer_finish(w, NULL, 0, &e) < 0);
        assert_int_equal(e.id, REFUSAL_HASH_MISMATCH);
}

static void nothing_is_written_beyond_the_image(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_(slot_writer_freep) SlotWriter *w = NULL;
        static const uint64_t offsets[] = { IMAGE_SIZE, IMAGE_SIZE - 4095, UINT64_MAX, UINT64_MAX - 4095, INT64_MAX };
        Sha256 zero = {};

        assert_int_equal(slot_writer_open(f->disk, slot, &i.description, &w, NULL), 0);
        for (size_t k = 0; k < ELEMENTSOF(offsets); k++) {
                _cleanup_error_ Error e = {};

                assert_true(slot_writer_write(w, offsets[k], i.data, 4096, &e) < 0);
                assert_int_equal(e.id, REFUSAL_TOO_LARGE);
                assert_false(slot_writer_has(w, offsets[k], 4096, &zero));
        }
}

static void what_does_not_fit_is_refused(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        static const struct {
                uint64_t size;
                Refusal id;
        } cases[] = { { 2 * FIXTURE_MIB + 4096, REFUSAL_NO_SPACE },
                      { 0, REFUSAL_BAD_VALUE },
                      { 4097, REFUSAL_BAD_VALUE },
                      { UINT64_MAX & ~UINT64_C(4095), REFUSAL_NO_SPACE } };

        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                SlotWriter *w = NULL;
                _cleanup_error_ Error e = {};

                i.description.artifacts[ARTIFACT_USR].size = cases[k].size;
                assert_true(slot_writer_open(f->disk, machine_target_slot(m), &i.description, &w, &e) < 0);
                assert_null(w);
                assert_int_equal(e.id, cases[k].id);
        }
}

static void the_running_slot_is_never_written(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_error_ Error one = {}, two = {}, three = {};
        Sha256 before = hash_range(f, 0, 16 * FIXTURE_MIB), after;
        SlotWriter *w = NULL;

        assert_true(slot_writer_open(f->disk, &m->slots[0], &i.description, &w, &one) < 0);
        assert_int_equal(one.id, REFUSAL_BUSY);
        assert_true(slot_retag(f->disk, &m->slots[0], "amd64", "desk", "2", &i.description.root_hash, &two) < 0);
        assert_int_equal(two.id, REFUSAL_BUSY);
        assert_true(slot_retag(f->disk, &m->slots[0], "amd64", "desk", "2", NULL, &three) < 0);
        assert_int_equal(three.id, REFUSAL_BUSY);
        after = hash_range(f, 0, 16 * FIXTURE_MIB);
        assert_true(sha256_equal(&before, &after));
}

/* ---- verifying ---- */

static void each_flipped_bit_is_found(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        uint64_t tree = verity_hash_size(IMAGE_SIZE);
        const struct {
                uint64_t offset;
                Refusal id;
        } cases[] = {
                { slot->usr.offset, REFUSAL_HASH_MISMATCH },
                { slot->usr.offset + 4096, REFUSAL_HASH_MISMATCH },
                { slot->usr.offset + IMAGE_SIZE - 1, REFUSAL_HASH_MISMATCH },
                { slot->verity.offset, REFUSAL_BAD_FORMAT },           /* "verity" */
                { slot->verity.offset + 8, REFUSAL_BAD_FORMAT },       /* version */
                { slot->verity.offset + 40, REFUSAL_BAD_FORMAT },      /* number of blocks: or another mismatch */
                { slot->verity.offset + 90, REFUSAL_HASH_MISMATCH },   /* salt */
                { slot->verity.offset + 4000, REFUSAL_HASH_MISMATCH }, /* behind it, in its block */
                { slot->verity.offset + 4096, REFUSAL_HASH_MISMATCH },
                { slot->verity.offset + tree - 4000, REFUSAL_HASH_MISMATCH },
        };

        fill(f, slot, &i);
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                Refusal id;

                flip(f, cases[k].offset);
                id = verify(f, slot, &i);
                print_message("%zu: %s\n", k, refusal_name(id));
                assert_true(id == cases[k].id || id == REFUSAL_HASH_MISMATCH);
                flip(f, cases[k].offset);
        }
        assert_int_equal(verify(f, slot, &i), REFUSAL_NONE);
        /* What is behind both is nobody's matter. */
        flip(f, slot->usr.offset + IMAGE_SIZE);
        flip(f, slot->verity.offset + tree);
        assert_int_equal(verify(f, slot, &i), REFUSAL_NONE);
}

static void an_empty_slot_does_not_verify(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        uint64_t size = 0;

        assert_int_equal(verify(f, machine_target_slot(m), &i), REFUSAL_BAD_FORMAT);
        assert_true(slot_data_size(f->disk, machine_target_slot(m), &size, NULL) < 0);
}

/* At this place the superblock has its number of blocks. */
static void set_blocks(const MachineFixture *f, const Slot *slot, uint64_t n) {
        _cleanup_close_ int fd = open(f->disk, O_RDWR | O_CLOEXEC);

        assert_int_equal(io_pwrite_all(fd, &n, sizeof n, slot->verity.offset + 72, NULL), 0);
}

static void a_slot_s_tree_is_one_that_fits_into_it(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        const Slot *slot = machine_target_slot(m);
        _cleanup_(image_done) Image i = make_image(f, "2", 'a');
        _cleanup_close_ int fd = open(f->disk, O_RDONLY | O_CLOEXEC);
        const uint64_t wrong[] = { 1, slot->usr.size / 4096 + 1, slot->verity.size / 32, UINT64_MAX / 4096 };
        uint64_t blocks = 0;
        Sha256 leaf, digest;
        SlotTree tree;

        assert_int_equal(slot_read_tree(fd, slot, &tree, NULL), -ENOENT);
        fill(f, slot, &i);
        assert_int_equal(slot_read_tree(fd, slot, &tree, NULL), 0);
        assert_int_equal(tree.data_size, IMAGE_SIZE);
        assert_memory_equal(tree.salt, i.description.verity_salt.bytes, sizeof tree.salt);
        assert_int_equal(io_pread_all(fd, &leaf, sizeof leaf, tree.leaves + 5 * SHA256_SIZE, NULL), 0);
        {
                _cleanup_(hasher_freep) Hasher *h = hasher_new();

                hasher_update(h, tree.salt, sizeof tree.salt);
                hasher_update(h, i.data + 5 * 4096, 4096);
                hasher_final(h, &digest);
        }
        assert_true(sha256_equal(&leaf, &digest));
        assert_int_equal(io_pread_all(fd, &blocks, sizeof blocks, slot->verity.offset + 72, NULL), 0);
        assert_int_equal(blocks, IMAGE_SIZE / 4096);
        for (size_t k = 0; k < ELEMENTSOF(wrong); k++) {
                set_blocks(f, slot, wrong[k]);
                assert_int_equal(slot_read_tree(fd, slot, &tree, NULL), -ENOENT);
        }
}

/* ---- names ---- */

static void a_slot_is_named_and_emptied(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f), *named = NULL, *emptied = NULL;
        Sha256 h = fixture_hash("two");
        _cleanup_error_ Error e = {};

        updater_ok(slot_retag(f->disk, &m->slots[1], "amd64", "desk", "2", &h, &e), &e);
        named = machine_fixture_read(f);
        assert_string_equal(named->slots[1].version, "2");
        assert_string_equal(named->slots[1].usr.label, "desk_2");
        assert_string_equal(named->slots[1].verity.label, "desk_2_verity");
        assert_string_equal(named->slots[1].sig.label, "desk_2_verity_sig");
        assert_true(sha256_equal(&named->slots[1].root_hash, &h));
        assert_int_equal(named->slots[1].usr.flags & GPT_FLAG_NO_AUTO, 0);
        assert_memory_equal(&named->slots[0].usr, &m->slots[0].usr, sizeof(GptPartition));
        updater_ok(slot_retag(f->disk, &named->slots[1], "amd64", "desk", "2", NULL, &e), &e);
        emptied = machine_fixture_read(f);
        assert_true(emptied->slots[1].empty && !emptied->slots[1].has_root_hash);
        assert_true(emptied->slots[1].usr.flags & GPT_FLAG_NO_AUTO);
        assert_string_not_equal(emptied->slots[1].usr.uuid, named->slots[1].usr.uuid);
        assert_string_not_equal(emptied->slots[1].usr.uuid, emptied->slots[1].verity.uuid);
        assert_true(machine_running_slot(emptied) == &emptied->slots[0]);
}

static void a_table_that_has_changed_is_left_alone(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        Sha256 h = fixture_hash("two"), before = hash_range(f, 0, 16 * FIXTURE_MIB), after;
        _cleanup_error_ Error e = {};

        m->slots[1].usr.offset += FIXTURE_MIB;
        assert_true(slot_retag(f->disk, &m->slots[1], "amd64", "desk", "2", &h, &e) < 0);
        assert_int_equal(e.id, REFUSAL_STALE);
        after = hash_range(f, 0, 16 * FIXTURE_MIB);
        assert_true(sha256_equal(&before, &after));
}

/* What a power cut inside the writing of a table may leave. */
static void a_damaged_copy_of_the_table_is_read_and_written_anew(void **state) {
        static const int64_t places[] = { 512 + 16, 1024 + 56, 1024 + 128, -512 + 16, -33 * 512 + 56 };

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                const MachineFixture *f = *state;
                _cleanup_(machine_freep) Machine *damaged = NULL, *retagged = NULL, *whole = NULL;
                _cleanup_free_ GptPartition *p = NULL;
                _cleanup_error_ Error e = {};
                uint64_t offset = (uint64_t) (places[i] < 0 ? places[i] + (int64_t) (16 * FIXTURE_MIB) : places[i]);
                Sha256 h = fixture_hash("two");
                size_t n;

                flip(f, offset);
                assert_true(gpt_read(f->disk, "amd64", &p, &n, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
                damaged = machine_fixture_read(f);
                assert_true(damaged->table_damaged);
                assert_true(machine_running_slot(damaged) == &damaged->slots[0]);
                assert_int_equal(gpt_repair(f->disk, "amd64", NULL), 1);
                assert_int_equal(gpt_repair(f->disk, "amd64", NULL), 0);
                whole = machine_fixture_read(f);
                assert_false(whole->table_damaged);
                assert_memory_equal(whole->slots, damaged->slots, sizeof(GptPartition));
                /* Giving names repairs it, too. */
                flip(f, offset);
                assert_int_equal(slot_retag(f->disk, &whole->slots[1], "amd64", "desk", "2", &h, NULL), 0);
                retagged = machine_fixture_read(f);
                assert_false(retagged->table_damaged);
                assert_string_equal(retagged->slots[1].version, "2");
        }
}

static void a_name_that_fits_no_label_is_refused(void **state) {
        const MachineFixture *f = *state;
        _cleanup_(machine_freep) Machine *m = machine_fixture_read(f);
        Sha256 h = fixture_hash("two");
        _cleanup_error_ Error e = {};

        assert_true(slot_retag(f->disk, &m->slots[1], "amd64", "a-very-long-product-name", "2026.11.1", &h, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_VALUE);
}

int main(void) {
#define with_machine(f) cmocka_unit_test_setup_teardown(f, machine_fixture_setup, machine_fixture_teardown)
        const struct CMUnitTest tests[] = {
                with_machine(what_was_written_is_verified),
                with_machine(the_tree_is_libcryptsetup_s),
                with_machine(an_older_signature_leaves_nothing),
                with_machine(an_interrupted_write_goes_on),
                with_machine(other_data_is_no_release),
                with_machine(nothing_is_written_beyond_the_image),
                with_machine(what_does_not_fit_is_refused),
                with_machine(the_running_slot_is_never_written),
                with_machine(each_flipped_bit_is_found),
                with_machine(an_empty_slot_does_not_verify),
                with_machine(a_slot_s_tree_is_one_that_fits_into_it),
                with_machine(a_slot_is_named_and_emptied),
                with_machine(a_table_that_has_changed_is_left_alone),
                with_machine(a_damaged_copy_of_the_table_is_read_and_written_anew),
                with_machine(a_name_that_fits_no_label_is_refused),
        };

        return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}
