/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Trees with everything an image can hold, for the EROFS tests: sizes around block borders, hard links, extended
 * attributes, devices, large folders, names in other scripts; always the same ones. And images of them, which are of
 * BUILD_TIME: each test has its own. */

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "erofs.h"
#include "io.h"
#include "liberofs.h"
#include "process.h"

/* --- trees ------------------------------------------------------------------------------------------------------- */

typedef struct Item {
        mode_t mode;
        char path[700];
        uint64_t size; /* files; character devices: minor number */
        unsigned seed; /* of the content and the attributes */
        const char *target;
} Item;

typedef struct Items {
        Item *items;
        size_t n, n_allocated;
} Items;

static unsigned next_random(unsigned *state) {
        *state = *state * 1664525u + 1013904223u;
        return *state >> 8;
}

/* Runs of text and runs of noise, so that clusters of every kind occur. */
static char *make_content(uint64_t size, unsigned seed) {
        static const char *const words[] = { "kernel ", "module ", "\n", "\t", "the quick brown fox ",
                                             "0x7f",    "\0\0\0\0" };
        char *content = xmalloc(size + 64);

        for (uint64_t done = 0; done < size;) {
                unsigned n = 1 + next_random(&seed) % 3000;
                bool noise = next_random(&seed) % 4 == 0;

                for (; n > 0 && done < size; n--) {
                        const char *word = words[next_random(&seed) % ELEMENTSOF(words)];
                        size_t length = noise ? 1 : MAX(strlen(word), (size_t) 4);

                        for (size_t i = 0; i < length && done < size; i++)
                                content[done++] = noise ? (char) next_random(&seed) : i < strlen(word) ? word[i] : 0;
                }
        }
        return content;
}

static Item *add(Items *l, mode_t mode, uint64_t size, const char *target, const char *fmt, ...) _printf_(5, 6);
static Item *add(Items *l, mode_t mode, uint64_t size, const char *target, const char *fmt, ...) {
        va_list ap;
        Item *i;

        GROW(l->items, l->n, l->n_allocated);
        i = l->items + l->n++;
        *i = (Item){ .mode = mode, .size = size, .seed = (unsigned) l->n * 2654435761u, .target = target };
        va_start(ap, fmt);
        vsnprintf(i->path, sizeof(i->path), fmt, ap);
        va_end(ap);
        return i;
}

static void make_items(Items *l) {
        static const uint64_t sizes[] = { 0, 1, 4095, 4096, 4097, 16384, 65536, 100000, 5 << 20 };
        char deep[600] = "/usr/deep", name[256];
        unsigned seed = 7;

        add(l, S_IFDIR | 0755, 0, NULL, "/usr");
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
                add(l, S_IFREG | 0644, sizes[i], NULL, "/usr/size-%" PRIu64, sizes[i]);
        /* Longer than the piece that one thread compresses. */
        add(l, S_IFREG | 0600, (17u << 20) + 123, NULL, "/usr/lib/large");
        add(l, S_IFREG | 0644, 300000, NULL, "/usr/lib/modules/6.12/kernel/some.ko");
        add(l, S_IFREG | 04755, 40000, NULL, "/usr/bin/sudo");
        add(l, S_IFREG | 02755, 40000, NULL, "/usr/bin/write");
        add(l, S_IFDIR | 01777, 0, NULL, "/usr/sticky");
        add(l, S_IFDIR | 0700, 0, NULL, "/usr/empty");
        add(l, S_IFLNK | 0777, 0, "../lib/large", "/usr/bin/link");
        add(l, S_IFLNK | 0777, 0, "x", "/usr/bin/short");
        memset(name, 'l', 255);
        name[255] = 0;
        add(l, S_IFREG | 0644, 9, NULL, "/usr/%s", name);
        add(l, S_IFCHR | 0666, 3, NULL, "/usr/dev/null");
        add(l, S_IFCHR | 0600, 70000, NULL, "/usr/dev/high");
        add(l, S_IFBLK | 0660, 16, NULL, "/usr/dev/vda");
        add(l, S_IFIFO | 0600, 0, NULL, "/usr/dev/fifo");
        add(l, S_IFSOCK | 0600, 0, NULL, "/usr/dev/socket");
        add(l, S_IFREG | 0644, 5, NULL, "/usr/share/\303\244\303\266\303\274 \346\274\242\345\255\227.txt");
        add(l, S_IFREG | 0644, 5, NULL, "/usr/share/\377\376 not text");
        add(l, S_IFREG | 0644, 5, NULL, "/usr/share/with space\nand newline");
        for (int i = 0; i < 2000; i++)
                add(l, S_IFREG | 0644, (uint64_t) (i % 7), NULL, "/usr/share/many/entry-number-%d", i * 7919 % 2000);
        for (int i = 0; i < 50; i++) {
                add(l, S_IFDIR | 0755, 0, NULL, "%s", deep);
                strcat(deep, "/d");
        }
        for (int i = 0; i < 300; i++)
                add(l, S_IFREG | 0644, next_random(&seed) % 20000, NULL, "/usr/lib/p%u/q%u/file%d",
                    next_random(&seed) % 5, next_random(&seed) % 7, i);
        add(l, S_IFREG | 0644, 100, NULL, "/etc/outside");
}

_unused_ static void shuffle(Items *l, unsigned seed) {
        for (size_t i = l->n; i > 1; i--) {
                size_t j = next_random(&seed) % i;
                Item x = l->items[i - 1];

                l->items[i - 1] = l->items[j];
                l->items[j] = x;
        }
}

static void set_xattr(Tree *t, const char *path, const char *name, const void *value, size_t size) {
        Node *n = tree_lookup(t, path);

        assert_non_null(n);
        assert_int_equal(tree_set_xattr(n->inode, name, value, size), 0);
}

static void link_names(Tree *t, const char *path, const char *existing) {
        _cleanup_error_ Error e = {};

        if (tree_add_hardlink(t, path, existing, NULL, &e) < 0)
                fail_msg("%s", e.message);
}

static Tree *make_tree(const Items *l) {
        static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 32 };
        char *large_value = make_content(20000, 99);
        _cleanup_error_ Error e = {};
        Tree *t;

        assert_int_equal(tree_new(NULL, &t, &e), 0);
        for (size_t k = 0; k < l->n; k++) {
                const Item *i = l->items + k;
                const NodeAttributes a = {
                        .mode = i->mode & 07777,
                        .uid = i->seed % 5 == 0 ? 70000 : i->seed % 3,
                        .gid = i->seed % 7,
                        .mtime = i->seed,
                };
                int r;

                if (S_ISDIR(i->mode))
                        r = tree_add_folder(t, i->path, &a, NULL, &e);
                else if (S_ISLNK(i->mode))
                        r = tree_add_symlink(t, i->path, &a, i->target, NULL, &e);
                else if (S_ISREG(i->mode)) {
                        _cleanup_free_ char *content = make_content(i->size, i->seed);

                        r = tree_add_file(t, i->path, &a, content, i->size, NULL, &e);
                } else
                        r = tree_add_device(t, i->path, &a, i->mode & S_IFMT, makedev(1, (unsigned) i->size), NULL, &e);
                if (r < 0)
                        fail_msg("%s", e.message);
        }
        link_names(t, "/usr/bin/sudoedit", "/usr/bin/sudo");
        link_names(t, "/usr/aaa-first-name", "/usr/bin/sudo");
        link_names(t, "/usr/dev/zero-link", "/usr/dev/null");
        link_names(t, "/usr/lib/link-link", "/usr/bin/link");
        /* The other name is not part of the image. */
        link_names(t, "/usr/lib/inside", "/etc/outside");
        set_xattr(t, "/usr", "user.root", "root", 4);
        set_xattr(t, "/usr/bin/write", "security.capability", capability, sizeof(capability));
        set_xattr(t, "/usr/bin/sudo", "user.empty", NULL, 0);
        set_xattr(t, "/usr/bin/sudo", "user.zz", "2", 1);
        set_xattr(t, "/usr/bin/sudo", "user.aa", "1", 1);
        set_xattr(t, "/usr/bin/sudo", "trusted.large", large_value, 20000);
        set_xattr(t, "/usr/bin/link", "trusted.link", "l", 1);
        set_xattr(t, "/usr/empty", "system.posix_acl_default", "\2\0\0\0\1\0\7\0\377\377\377\377", 12);
        set_xattr(t, "/usr/size-0", "security.selinux", "system_u:object_r:etc_t:s0", 27);
        set_xattr(t, "/usr/share/many", "user.folder", "f", 1);
        free(large_value);
        return t;
}

typedef struct State {
        Items items;
        Tree *tree;
} State;

_unused_ static int set_up(void **state) {
        State *s = xnew(State, 1);

        make_items(&s->items);
        s->tree = make_tree(&s->items);
        *state = s;
        return 0;
}

_unused_ static int tear_down(void **state) {
        State *s = *state;

        tree_free(s->tree);
        free(s->items.items);
        free(s);
        return 0;
}

/* --- images ------------------------------------------------------------------------------------------------------ */

/* Without a name, gone when it is closed. */
static inline int new_file(void) {
        const char *folder = getenv("TMPDIR");
        _cleanup_error_ Error e = {};
        int fd = -EBADF;

        if (io_tmpfile(isempty(folder) ? "/var/tmp" : folder, &fd, &e) < 0)
                fail_msg("%s", e.message);
        return fd;
}

static inline int write_image(const Tree *t, const ErofsOptions *o, uint64_t *ret_size) {
        _cleanup_error_ Error e = {};
        uint64_t size = 0;
        int fd = new_file();
        struct stat st;

        if (erofs_write(t, "/usr", o, fd, &size, &e) < 0)
                fail_msg("%s", e.message);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(size, st.st_size);
        assert_int_equal(size % EROFS_BLOCK_BYTES, 0);
        if (ret_size)
                *ret_size = size;
        return fd;
}

/* As the builder makes them: kernel modules are not packed. */
static inline int write_layout(const Tree *t, ErofsLayout layout) {
        const ErofsOptions o = { .layout = layout, .build_time = BUILD_TIME, .modules_plain = true, .n_workers = 1 };

        return write_image(t, &o, NULL);
}

/* All of it, and not a byte more in memory. */
static inline char *read_file(int fd, size_t *ret_size) {
        struct stat st;
        char *data;

        assert_int_equal(fstat(fd, &st), 0);
        data = xmalloc(st.st_size > 0 ? (size_t) st.st_size : 1);
        assert_int_equal(io_pread_all(fd, data, (size_t) st.st_size, 0, NULL), 0);
        *ret_size = (size_t) st.st_size;
        return data;
}
