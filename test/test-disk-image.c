/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The disk image: what is where, the same bytes twice, and every refusal. fsck.vfat, mdir, sgdisk and veritysetup are
 * asked for their opinion. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "disk.h"
#include "esp.h"
#include "io.h"
#include "process.h"
#include "verity.h"

#define MIB (UINT64_C(1) << 20)
#define USR_BLOCKS 700
#define EPOCH INT64_C(1795000000)

typedef struct Fixture {
        char *folder, *usr, *verity, *disk;
        DiskOptions options;
} Fixture;

static int set_up(void **state) {
        static const DiskFile extra[] = { { .path = "loader/keys/auto/PK.auth", .data = "pk", .size = 2 } };
        VerityOptions verity = { .salt = { 1 }, .uuid = { 2 } };
        _cleanup_free_ uint8_t *data = xcalloc(USR_BLOCKS, VERITY_BLOCK_SIZE);
        Fixture *f = xnew(Fixture, 1);
        Sha256 root;

        assert_int_equal(io_temporary_folder("test-disk-image", &f->folder, NULL), 0);
        f->usr = path_join(f->folder, "usr");
        f->verity = path_join(f->folder, "verity");
        f->disk = path_join(f->folder, "disk.raw");
        for (uint32_t i = 0; i < USR_BLOCKS; i++)
                memcpy(data + i * VERITY_BLOCK_SIZE, &i, sizeof(i));
        assert_int_equal(io_write_file(AT_FDCWD, f->usr, data, USR_BLOCKS * VERITY_BLOCK_SIZE, 0644, NULL), 0);
        assert_int_equal(verity_format(f->usr, USR_BLOCKS * VERITY_BLOCK_SIZE, f->verity, &verity, &root, NULL), 0);
        f->options = (DiskOptions){
                .output = f->disk,
                .image_id = "minimal",
                .version = "2026.11.1",
                .architecture = "amd64",
                .epoch = EPOCH,
                .esp_size = 40 * MIB,
                .usr_size = 4 * MIB,
                .root_size = 3 * MIB,
                .boot_loader = { .data = "loader", .size = 6 },
                .loader_conf = "timeout 0\n",
                .uki = { .path = "minimal_2026.11.1+3-0.efi", .source = f->usr },
                .extra_files = extra,
                .n_extra_files = ELEMENTSOF(extra),
                .usr_path = f->usr,
                .verity_path = f->verity,
                .root_hash = root,
                .verity_sig = "{\"signature\":\"\"}",
                .verity_sig_size = 16,
        };
        *state = f;
        return 0;
}

static int tear_down(void **state) {
        Fixture *f = *state;

        io_remove_tree(AT_FDCWD, f->folder, NULL);
        free(f->folder);
        free(f->usr);
        free(f->verity);
        free(f->disk);
        free(f);
        return 0;
}

static void build(const Fixture *f) {
        _cleanup_error_ Error e = {};

        unlink(f->disk);
        if (disk_build(&f->options, &e) < 0)
                fail_msg("%s", e.message);
}

static void run_ok(char **ret_output, const char *const *argv) {
        const ProcessOptions opt = { .merge_stderr = true };
        _cleanup_free_ char *output = NULL;
        _cleanup_error_ Error e = {};

        if (process_run((char *const *) argv, &opt, &output, NULL, &e) < 0)
                fail_msg("%s", e.message);
        if (ret_output)
                *ret_output = TAKE_PTR(output);
}

static void partition_bytes(const Fixture *f, const GptPartition *p, size_t size, const void *wanted) {
        _cleanup_close_ int fd = open(f->disk, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ void *data = xmalloc(size);

        assert_int_equal(io_pread_all(fd, data, size, p->offset, NULL), 0);
        assert_memory_equal(data, wanted, size);
}

static void slots_are_as_the_specification_wants_them(void **state) {
        Fixture *f = *state;
        _cleanup_disk_layout_ DiskLayout l = {};
        _cleanup_free_ char *usr = NULL, *verity = NULL;
        _cleanup_error_ Error e = {};
        size_t usr_size, verity_size;
        char data_id[37], hash_id[37];
        const DiskSlot *a = l.slots, *b = l.slots + 1;

        build(f);
        if (disk_read_slots(f->disk, "amd64", &l, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(l.n_partitions, 7);
        verity_partition_ids(&f->options.root_hash, data_id, hash_id);
        assert_string_equal(a->usr->uuid, data_id);
        assert_string_equal(a->verity->uuid, hash_id);
        assert_string_equal(a->usr->label, "minimal_2026.11.1");
        assert_string_equal(a->verity->label, "minimal_2026.11.1_verity");
        assert_string_equal(a->sig->label, "minimal_2026.11.1_verity_sig");
        assert_string_equal(a->version, "2026.11.1");
        assert_int_equal(a->usr->flags, GPT_FLAG_READ_ONLY);
        assert_int_equal(l.esp->flags, 0);
        assert_false(a->is_empty);
        assert_true(b->is_empty);
        assert_int_equal(b->usr->flags, GPT_FLAG_NO_AUTO | GPT_FLAG_READ_ONLY);
        assert_int_equal(a->usr->size, b->usr->size);
        assert_int_equal(a->verity->size, b->verity->size);
        assert_int_equal(a->sig->size, b->sig->size);

        assert_int_equal(io_read_file(AT_FDCWD, f->usr, 1 << 24, &usr, &usr_size, NULL), 0);
        assert_int_equal(io_read_file(AT_FDCWD, f->verity, 1 << 24, &verity, &verity_size, NULL), 0);
        partition_bytes(f, a->usr, usr_size, usr);
        partition_bytes(f, a->verity, verity_size, verity);
        partition_bytes(f, a->sig, 16, f->options.verity_sig);
        memset(usr, 0, usr_size);
        partition_bytes(f, b->usr, usr_size, usr);
        partition_bytes(f, b->sig, 16, usr);
}

static void the_end_has_room_for_the_root_partition(void **state) {
        Fixture *f = *state;
        _cleanup_disk_layout_ DiskLayout l = {};
        const GptPartition *last;
        struct stat st;

        build(f);
        assert_int_equal(disk_read_slots(f->disk, "amd64", &l, NULL), 0);
        last = l.partitions + l.n_partitions - 1;
        assert_int_equal(stat(f->disk, &st), 0);
        assert_int_equal((uint64_t) st.st_size, last->offset + last->size + f->options.root_size + MIB);
        assert_true((uint64_t) st.st_blocks * 512 < 12 * MIB); /* sparse: about 3 + 3 MiB of content */
}

static void building_twice_gives_the_same_bytes(void **state) {
        Fixture *f = *state;
        Sha256 first, second;

        build(f);
        assert_int_equal(sha256_file(AT_FDCWD, f->disk, &first, NULL, NULL), 0);
        /* FAT counts in steps of two seconds; another time zone and mask must not show either. */
        sleep(3);
        setenv("TZ", "Pacific/Auckland", 1);
        umask(077);
        build(f);
        umask(022);
        unsetenv("TZ");
        assert_int_equal(sha256_file(AT_FDCWD, f->disk, &second, NULL, NULL), 0);
        assert_true(sha256_equal(&first, &second));
}

static void other_tools_accept_the_disk(void **state) {
        if (!io_exists(AT_FDCWD, "/usr/sbin/sgdisk") || !io_exists(AT_FDCWD, "/usr/sbin/veritysetup"))
                skip();

        Fixture *f = *state;
        _cleanup_disk_layout_ DiskLayout l = {};
        _cleanup_free_ char *esp = path_join(f->folder, "esp"), *output = NULL, *listing = NULL,
                            *copy = path_join(f->folder, "copy"), *joined = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_close_ int from = -EBADF, to = -EBADF;
        Sha256 a, b;

        build(f);
        assert_int_equal(disk_read_slots(f->disk, "amd64", &l, NULL), 0);
        run_ok(&output, (const char *[]){ "/usr/sbin/sgdisk", "--verify", f->disk, NULL });
        assert_non_null(strstr(output, "No problems found"));
        run_ok(NULL, (const char *[]){ "/usr/sbin/sfdisk", "--verify", f->disk, NULL });

        from = open(f->disk, O_RDONLY | O_CLOEXEC);
        to = open(esp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(ftruncate(to, (off_t) l.esp->size), 0);
        assert_int_equal(io_copy_range(from, l.esp->offset, to, 0, l.esp->size, NULL), 0);
        run_ok(NULL, (const char *[]){ "/usr/sbin/fsck.vfat", "-n", esp, NULL });
        run_ok(&listing, (const char *[]){ "mdir", "-b", "-/", "-i", esp, "::", NULL });
        lines = strv_split(listing, "\n");
        strv_sort(lines);
        joined = strv_join(lines, " ");
        assert_string_equal(joined, "::/EFI/ ::/EFI/BOOT/ ::/EFI/BOOT/BOOTX64.EFI ::/EFI/Linux/ "
                                    "::/EFI/Linux/minimal_2026.11.1+3-0.efi ::/EFI/systemd/ "
                                    "::/EFI/systemd/systemd-bootx64.efi ::/loader/ ::/loader/keys/ "
                                    "::/loader/keys/auto/ ::/loader/keys/auto/PK.auth ::/loader/loader.conf");
        run_ok(NULL, (const char *[]){ "mcopy", "-i", esp, "::/EFI/Linux/minimal_2026.11.1+3-0.efi", copy, NULL });
        assert_int_equal(sha256_file(AT_FDCWD, copy, &a, NULL, NULL), 0);
        assert_int_equal(sha256_file(AT_FDCWD, f->usr, &b, NULL, NULL), 0);
        assert_true(sha256_equal(&a, &b));
}

static void disks_with_large_sectors_can_be_made(void **state) {
        Fixture *f = *state;
        _cleanup_disk_layout_ DiskLayout l = {};
        _cleanup_free_ char *esp = path_join(f->folder, "esp4k");
        _cleanup_close_ int from = -EBADF, to = -EBADF;

        f->options.sector_size = 4096;
        f->options.esp_size = 300 * MIB;
        build(f);
        f->options.sector_size = 0;
        f->options.esp_size = 40 * MIB;
        assert_int_equal(disk_read_slots(f->disk, "amd64", &l, NULL), 0);
        from = open(f->disk, O_RDONLY | O_CLOEXEC);
        to = open(esp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(ftruncate(to, (off_t) l.esp->size), 0);
        assert_int_equal(io_copy_range(from, l.esp->offset, to, 0, l.esp->size, NULL), 0);
        run_ok(NULL, (const char *[]){ "/usr/sbin/fsck.vfat", "-n", esp, NULL });
}

static void every_size_from_the_least_gives_a_fat32(void **state) {
        static const uint64_t sizes[] = { 36, 37, 63, 64, 100, 128, 200, 256, 257, 260, 288, 512, 1024, 4096, 65536 };

        assert_int_equal(esp_cluster_sectors(30 * MIB, 512), 0);
        assert_int_equal(esp_cluster_sectors(100 * MIB, 4096), 0);
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                unsigned sectors = esp_cluster_sectors(sizes[i] * MIB, 512);

                assert_true(sectors > 0);
                assert_true(sizes[i] * MIB / 512 / sectors >= 65525);
                assert_true(sizes[i] * MIB / 512 / sectors <= 268435445);
        }
        assert_int_equal(esp_cluster_sectors(36 * MIB, 512), 1);
        assert_int_equal(esp_cluster_sectors(512 * MIB, 512), 8);
}

static void small_file_systems_are_full_to_the_last_byte_or_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *image = path_join(f->folder, "small");
        _cleanup_free_ uint8_t *data = xcalloc(1, 36 * MIB);
        size_t n_fitting = 0;

        for (uint64_t size = 35 * MIB + 360000; size < 36 * MIB; size += 20000) {
                const DiskFile file = { .path = "a/b/c", .data = data, .size = size };
                EspOptions o = { .image = image, .size = 36 * MIB, .sector_size = 512, .files = &file, .n_files = 1 };
                _cleanup_error_ Error e = {};
                int r;

                assert_int_equal(io_write_file(AT_FDCWD, image, NULL, 0, 0644, NULL), 0);
                assert_int_equal(truncate(image, (off_t) o.size), 0);
                r = esp_build(&o, &e);
                if (r < 0) {
                        assert_int_equal(e.id, REFUSAL_NO_SPACE);
                        assert_non_null(strstr(e.hint, "EspSize="));
                        continue;
                }
                n_fitting++;
                run_ok(NULL, (const char *[]){ "/usr/sbin/fsck.vfat", "-n", image, NULL });
        }
        assert_true(n_fitting > 2); /* the bound is not a lazy one: this is 98 % of the partition */
}

static void what_does_not_fit_is_refused_with_the_remedy(void **state) {
        Fixture *f = *state;
        static const struct {
                const char *name, *remedy;
                DiskOptions change;
                Refusal refusal;
        } cases[] = {
                { "usr", "UsrSize=64M", { .usr_size = 2 * MIB }, REFUSAL_NO_SPACE },
                { "sizes in whole MiB", "UsrSize=", { .usr_size = 4 * MIB + 4096 }, REFUSAL_BAD_VALUE },
                { "esp too small for FAT32", "EspSize=", { .esp_size = 20 * MIB }, REFUSAL_BAD_VALUE },
                { "label", "Version=", { .version = "2026.11.1-a-very-long-one" }, REFUSAL_BAD_VALUE },
                { "architecture", NULL, { .architecture = "vax" }, REFUSAL_BAD_VALUE },
                { "id with the separator", NULL, { .image_id = "a_b" }, REFUSAL_BAD_VALUE },
                { "uki name", NULL, { .uki = { .path = "../x.efi", .data = "x", .size = 1 } }, REFUSAL_BAD_VALUE },
                { "uki source", NULL, { .uki = { .path = "x.efi", .source = "/nowhere" } }, REFUSAL_NOT_FOUND },
                { "usr image", NULL, { .usr_path = "/nowhere" }, REFUSAL_NOT_FOUND },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const DiskOptions *c = &cases[i].change;
                DiskOptions o = f->options;
                _cleanup_error_ Error e = {};

                o.usr_size = c->usr_size ?: o.usr_size;
                o.esp_size = c->esp_size ?: o.esp_size;
                o.version = c->version ?: o.version;
                o.architecture = c->architecture ?: o.architecture;
                o.image_id = c->image_id ?: o.image_id;
                o.usr_path = c->usr_path ?: o.usr_path;
                if (c->uki.path)
                        o.uki = c->uki;
                unlink(f->disk);
                if (disk_build(&o, &e) >= 0)
                        fail_msg("accepted: %s", cases[i].name);
                if (e.id != cases[i].refusal)
                        fail_msg("%s: %s", cases[i].name, e.message);
                if (cases[i].remedy)
                        assert_non_null(strstr(e.hint, cases[i].remedy));
                assert_false(io_exists(AT_FDCWD, f->disk)); /* nothing half made */
        }
}

static void nothing_is_overwritten(void **state) {
        Fixture *f = *state;
        _cleanup_error_ Error e = {};

        build(f);
        assert_true(disk_build(&f->options, &e) < 0);
        assert_int_equal(e.id, REFUSAL_EXISTS);
        assert_true(io_exists(AT_FDCWD, f->disk));
}

static void impossible_names_on_the_esp_are_refused(void **state) {
        Fixture *f = *state;
        static const char *const names[] = {
                "../x", "/x", "a//b", "a b", "c:x", "a*", "loader/LOADER.CONF", "EFI", "efi/x", "EFI/BOOT", "\xc3\xa4",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const DiskFile extra = { .path = names[i], .data = "x", .size = 1 };
                DiskOptions o = f->options;
                _cleanup_error_ Error e = {};

                o.extra_files = &extra;
                o.n_extra_files = 1;
                unlink(f->disk);
                if (disk_build(&o, &e) >= 0)
                        fail_msg("accepted: %s", names[i]);
                assert_int_equal(e.id, REFUSAL_BAD_VALUE);
        }
}

static void ids_are_stable(void **state) {
        char id[37], other[37];

        disk_partition_id("minimal", "2026.11.1", "esp", id);
        assert_int_equal(id[14], '8');
        assert_non_null(strchr("89ab", id[19]));
        disk_partition_id("minimal", "2026.11.2", "esp", other);
        assert_string_not_equal(id, other);
        disk_partition_id("minimal2026.11.1", "", "esp", other);
        assert_string_not_equal(id, other);
}

static void signature_partitions_are_read_back(void **state) {
        static const char *const malformed[] = {
                "",
                "{}",
                "{\"rootHash\":\"00\",\"certificateFingerprint\":\"00\",\"signature\":\"\"}",
                "[]",
        };
        _cleanup_free_ void *sig = NULL, *padded = xcalloc(1, 4096);
        _cleanup_free_ char *text = NULL;
        Sha256 root = { { 1, 2, 3 } }, fingerprint = { { 4, 5, 6 } }, a, b;
        size_t size;

        text = disk_verity_sig_format(&root, &fingerprint, "signature", 9);
        memcpy(padded, text, strlen(text));
        assert_int_equal(disk_verity_sig_parse(padded, 4096, &a, &b, &sig, &size, NULL), 0);
        assert_true(sha256_equal(&a, &root) && sha256_equal(&b, &fingerprint));
        assert_int_equal(size, 9);
        assert_memory_equal(sig, "signature", 9);
        ((char *) padded)[4095] = 'x';
        assert_true(disk_verity_sig_parse(padded, 4096, &a, &b, &sig, &size, NULL) < 0);
        for (size_t i = 0; i < ELEMENTSOF(malformed); i++) {
                _cleanup_error_ Error e = {};

                assert_true(disk_verity_sig_parse(malformed[i], strlen(malformed[i]), &a, &b, &sig, &size, &e) < 0);
                assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
        }
}

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(slots_are_as_the_specification_wants_them),
                cmocka_unit_test(the_end_has_room_for_the_root_partition),
                cmocka_unit_test(building_twice_gives_the_same_bytes),
                cmocka_unit_test(other_tools_accept_the_disk),
                cmocka_unit_test(disks_with_large_sectors_can_be_made),
                cmocka_unit_test(every_size_from_the_least_gives_a_fat32),
                cmocka_unit_test(small_file_systems_are_full_to_the_last_byte_or_refused),
                cmocka_unit_test(what_does_not_fit_is_refused_with_the_remedy),
                cmocka_unit_test(nothing_is_overwritten),
                cmocka_unit_test(impossible_names_on_the_esp_are_refused),
                cmocka_unit_test(ids_are_stable),
                cmocka_unit_test(signature_partitions_are_read_back),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
