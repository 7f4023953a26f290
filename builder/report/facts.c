/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <linux/capability.h>
#include <time.h>

#include "facts.h"

/* A file of more than this part of /usr is worth a name of its own in the picture. */
#define LARGE_FILE_SHARE 1000

static const char *const capability_names[] = {
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
};

static SizeNode *size_node_free(SizeNode *n) {
        if (!n)
                return NULL;
        for (size_t i = 0; i < n->n_children; i++)
                size_node_free(n->children[i]);
        free(n->children);
        free(n->name);
        free(n);
        return NULL;
}

Facts *facts_free(Facts *f) {
        if (!f)
                return NULL;
        for (size_t i = 0; i < f->n_units; i++) {
                free(f->units[i].name);
                free(f->units[i].by);
        }
        free(f->units);
        free(f->setid);
        free(f->capable);
        free(f->packages);
        size_node_free(f->folders);
        release_free(f->release);
        manifest_free(f->manifest);
        contents_free(f->contents);
        free(f);
        return NULL;
}

char *size_node_path(const SizeNode *n) {
        _cleanup_free_ char *above = NULL;

        if (!n->parent)
                return xstrdup(n->name);
        above = size_node_path(n->parent);
        return xasprintf("%s/%s", above, n->name);
}

/* --- folders --- */

static SizeNode *add_size_node(SizeNode *parent, const char *name) {
        SizeNode *n = xnew(SizeNode, 1);

        n->name = xstrdup(name);
        n->parent = parent;
        if (parent) {
                GROW(parent->children, parent->n_children, parent->n_allocated);
                parent->children[parent->n_children++] = n;
        }
        return n;
}

/* Entries come in the order of a walk, so the folder that an entry is in is the last one made or above it. */
static SizeNode *parent_of(SizeNode *last, size_t depth_of_last, size_t depth) {
        while (depth_of_last > depth) {
                last = last->parent;
                depth_of_last--;
        }
        return last;
}

static size_t path_depth(const char *path) {
        size_t n = 0;

        for (const char *p = path + 1; *p; p++)
                n += *p == '/';
        return n;
}

static int size_node_compare(const void *a, const void *b) {
        const SizeNode *x = *(SizeNode *const *) a, *y = *(SizeNode *const *) b;

        if (x->bytes != y->bytes)
                return x->bytes > y->bytes ? -1 : 1;
        return strcmp(x->name, y->name);
}

static void sum_up(SizeNode *n) {
        for (size_t i = 0; i < n->n_children; i++) {
                sum_up(n->children[i]);
                n->bytes += n->children[i]->bytes;
                n->n_files += n->children[i]->n_files;
        }
        if (n->n_children > 0)
                qsort(n->children, n->n_children, sizeof(*n->children), size_node_compare);
}

static void count_folders(Facts *f) {
        SizeNode *last = f->folders = add_size_node(NULL, "/usr");
        size_t depth_of_last = 0;

        for (size_t i = 1; i < f->contents->n_entries; i++) {
                const ContentsEntry *e = &f->contents->entries[i];
                size_t depth = path_depth(e->path);
                /* A hand-made manifest may lack a folder's own entry: its files then count for the one above. */
                SizeNode *parent = parent_of(last, depth_of_last, depth - 1);

                depth_of_last = MIN(depth_of_last, depth - 1);
                last = parent;
                if (S_ISDIR(e->mode)) {
                        last = add_size_node(parent, strrchr(e->path, '/') + 1);
                        depth_of_last++;
                        continue;
                }
                if (contents_entry_bytes(e) > f->bytes / LARGE_FILE_SHARE) {
                        SizeNode *file = add_size_node(parent, strrchr(e->path, '/') + 1);

                        file->file = true;
                        file->bytes = contents_entry_bytes(e);
                        file->n_files = 1;
                        continue;
                }
                parent->bytes += contents_entry_bytes(e);
                parent->n_files++;
        }
        sum_up(f->folders);
}

static void collect_folders(SizeNode *n, SizeNode **items, size_t *n_items) {
        for (size_t i = 0; i < n->n_children; i++) {
                /* Nine tenths in one child: the child says it better. */
                const SizeNode *c = n->children[i];
                bool mostly_one =
                        c->n_children > 0 && !c->children[0]->file && c->children[0]->bytes > c->bytes / 10 * 9;

                if (c->file)
                        continue;
                if (!mostly_one)
                        items[(*n_items)++] = n->children[i];
                collect_folders(n->children[i], items, n_items);
        }
}

size_t facts_largest_folders(const Facts *f, SizeNode ***ret) {
        SizeNode **items = xnew(SizeNode *, f->n_folders + 1);
        size_t n = 0;

        collect_folders(f->folders, items, &n);
        if (n > 0)
                qsort(items, n, sizeof(*items), size_node_compare);
        *ret = items;
        return n;
}

/* --- packages --- */

static int by_name(const void *a, const void *b) {
        return strcmp(((const PackageSize *) a)->name, ((const PackageSize *) b)->name);
}

static int by_size(const void *a, const void *b) {
        const PackageSize *x = a, *y = b;

        if (x->bytes != y->bytes)
                return x->bytes > y->bytes ? -1 : 1;
        return strcmp(x->name, y->name);
}

static int entry_by_package(const void *a, const void *b) {
        const ContentsEntry *x = *(const ContentsEntry *const *) a, *y = *(const ContentsEntry *const *) b;

        return strcmp(x->package ?: FACTS_NO_PACKAGE, y->package ?: FACTS_NO_PACKAGE);
}

static void add_package(Facts *f, const char *name, const ManifestPackage *p, uint64_t bytes, uint64_t n_files) {
        f->packages[f->n_packages++] = (PackageSize){ .name = name, .package = p, .bytes = bytes, .n_files = n_files };
}

/* Sums from the contents, so that they also hold for files whose package the manifest does not know. */
static void count_packages(Facts *f) {
        const ContentsEntry **sorted = xnew(const ContentsEntry *, f->contents->n_entries + 1);
        size_t n = 0, with_files;

        for (size_t i = 0; i < f->contents->n_entries; i++)
                if (!S_ISDIR(f->contents->entries[i].mode))
                        sorted[n++] = &f->contents->entries[i];
        if (n > 0)
                qsort(sorted, n, sizeof(*sorted), entry_by_package);
        f->packages = xnew(PackageSize, n + f->manifest->n_packages + 1);
        for (size_t i = 0; i < n;) {
                const char *name = sorted[i]->package ?: FACTS_NO_PACKAGE;
                uint64_t bytes = 0, n_files = 0;

                for (; i < n && streq(sorted[i]->package ?: FACTS_NO_PACKAGE, name); i++, n_files++)
                        bytes += contents_entry_bytes(sorted[i]);
                add_package(f, name, manifest_find(f->manifest, name), bytes, n_files);
        }
        free(sorted);
        with_files = f->n_packages;
        for (size_t i = 0; i < f->manifest->n_packages; i++) {
                const ManifestPackage *p = &f->manifest->packages[i];
                PackageSize key = { .name = p->name };

                f->n_image_packages += (p->purpose & LOCK_FOR_IMAGE) != 0;
                f->n_initrd_packages += (p->purpose & LOCK_FOR_INITRD) != 0;
                if ((p->purpose & LOCK_FOR_IMAGE) &&
                    !bsearch(&key, f->packages, with_files, sizeof(*f->packages), by_name))
                        add_package(f, p->name, p, 0, 0);
        }
        if (f->n_packages > 0)
                qsort(f->packages, f->n_packages, sizeof(*f->packages), by_size);
}

/* --- special rights and units --- */

static void note_entry(Facts *f, const ContentsEntry *e) {
        if (S_ISDIR(e->mode))
                f->n_folders++;
        else if (S_ISLNK(e->mode))
                f->n_symlinks++;
        else
                f->n_files++;
        f->bytes += contents_entry_bytes(e);
        if (S_ISREG(e->mode) && (e->mode & (S_ISUID | S_ISGID))) {
                GROW(f->setid, f->n_setid, f->n_setid_allocated);
                f->setid[f->n_setid++] = e;
        }
        if (contents_xattr(e, "security.capability")) {
                GROW(f->capable, f->n_capable, f->n_capable_allocated);
                f->capable[f->n_capable++] = e;
        }
}

static void note_unit(Facts *f, const ContentsEntry *e) {
        const char *rest = startswith(e->path, FACTS_UNITS_FOLDER), *slash;
        UnitLink u = { .target = e->target };

        if (!rest || !S_ISLNK(e->mode))
                return;
        slash = strchr(rest, '/');
        if (slash) {
                _cleanup_free_ char *folder = xstrndup(rest, (size_t) (slash - rest));
                char *dot = strrchr(folder, '.');

                if (!dot || strchr(slash + 1, '/') || (!streq(dot, ".wants") && !streq(dot, ".requires")))
                        return;
                *dot = '\0';
                u.state = UNIT_ENABLED;
                u.name = xstrdup(slash + 1);
                u.by = TAKE_PTR(folder);
        } else if (streq(e->target, "/dev/null")) {
                u.state = UNIT_MASKED;
                u.name = xstrdup(rest);
        } else {
                const char *base = strrchr(e->target, '/');

                u.state = UNIT_ALIAS;
                u.name = xstrdup(rest);
                u.by = xstrdup(base ? base + 1 : e->target);
        }
        GROW(f->units, f->n_units, f->n_units_allocated);
        f->units[f->n_units++] = u;
}

Facts *facts_new(Release *release, Manifest *manifest, Contents *contents) {
        Facts *f = xnew(Facts, 1);

        f->release = release;
        f->manifest = manifest;
        f->contents = contents;
        for (size_t i = 0; i < contents->n_entries; i++) {
                note_entry(f, &contents->entries[i]);
                note_unit(f, &contents->entries[i]);
        }
        count_folders(f);
        count_packages(f);
        return f;
}

static int check_belongs(const char *path, const Release *r, const char *id, const char *version, Error *reterr) {
        if (streq(r->image_id, id) && streq(r->version, version))
                return 0;
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "%s is of %s_%s, not of %s_%s", path, id, version,
                         r->image_id, r->version);
}

int facts_load(const char *folder, Facts **ret, Error *reterr) {
        _cleanup_(release_freep) Release *release = NULL;
        _cleanup_(manifest_freep) Manifest *manifest = NULL;
        _cleanup_(contents_freep) Contents *contents = NULL;
        _cleanup_free_ char *manifest_path = NULL, *contents_path = NULL;
        int r;

        r = release_open(folder, &release, reterr);
        if (r < 0)
                return r;
        manifest_path = release_file_path(release, RELEASE_PACKAGES);
        r = manifest_read(AT_FDCWD, manifest_path, &manifest, reterr);
        if (r < 0)
                return r;
        r = check_belongs(manifest_path, release, manifest->image_id, manifest->version, reterr);
        if (r < 0)
                return r;
        contents_path = release_file_path(release, RELEASE_CONTENTS);
        r = contents_read(AT_FDCWD, contents_path, &contents, reterr);
        if (r < 0)
                return r;
        r = check_belongs(contents_path, release, contents->image_id, contents->version, reterr);
        if (r < 0)
                return r;
        *ret = facts_new(TAKE_PTR(release), TAKE_PTR(manifest), TAKE_PTR(contents));
        return 0;
}

/* --- words --- */

static uint32_t little_endian(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

/* Revisions 2 and 3: magic, then two 32-bit words each of permitted and inheritable (3 adds a root id). */
char *facts_capabilities(const ContentsEntry *e) {
        const Xattr *x = contents_xattr(e, "security.capability");
        _cleanup_buffer_ Buffer b = {};
        const uint8_t *p = x ? x->value : NULL;
        uint64_t permitted, inheritable;
        uint32_t magic;

        if (!x)
                return NULL;
        if (x->size < XATTR_CAPS_SZ_2)
                return xstrdup("unreadable");
        magic = little_endian(p);
        if ((magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_2 &&
            (magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_3)
                return xstrdup("unreadable");
        permitted = little_endian(p + 4) | (uint64_t) little_endian(p + 12) << 32;
        inheritable = little_endian(p + 8) | (uint64_t) little_endian(p + 16) << 32;
        for (unsigned i = 0; i < 64; i++) {
                bool may = permitted >> i & 1, passes = inheritable >> i & 1;

                if (!may && !passes)
                        continue;
                if (i < ELEMENTSOF(capability_names))
                        buffer_printf(&b, "%scap_%s", b.size > 0 ? "," : "", capability_names[i]);
                else
                        buffer_printf(&b, "%s%u", b.size > 0 ? "," : "", i);
                buffer_printf(&b, "=%s%s%s", magic & VFS_CAP_FLAGS_EFFECTIVE ? "e" : "", passes ? "i" : "",
                              may ? "p" : "");
        }
        if ((magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_3 && x->size >= XATTR_CAPS_SZ_3)
                buffer_printf(&b, " [rootid=%" PRIu32 "]", little_endian(p + 20));
        return b.data ? buffer_steal(&b) : xstrdup("none");
}

static char *account_name(const Account *items, size_t n, uint32_t id) {
        for (size_t i = 0; i < n; i++)
                if (items[i].id == id)
                        return xstrdup(items[i].name);
        return xasprintf("%" PRIu32, id);
}

char *facts_owner(const Contents *c, const ContentsEntry *e) {
        _cleanup_free_ char *user = account_name(c->users, c->n_users, e->uid);
        _cleanup_free_ char *group = account_name(c->groups, c->n_groups, e->gid);

        return xasprintf("%s:%s", user, group);
}

char *facts_time(int64_t epoch) {
        time_t t = (time_t) epoch;
        struct tm tm;
        char s[32];

        if (!gmtime_r(&t, &tm) || strftime(s, sizeof(s), "%Y-%m-%d %H:%M UTC", &tm) == 0)
                return xasprintf("%" PRId64, epoch);
        return xstrdup(s);
}

const char *facts_type(mode_t mode) {
        switch (mode & S_IFMT) {
        case S_IFREG:
                return "file";
        case S_IFDIR:
                return "folder";
        case S_IFLNK:
                return "symbolic link";
        case S_IFCHR:
        case S_IFBLK:
                return "device";
        case S_IFIFO:
                return "fifo";
        default:
                return "socket";
        }
}
