/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>

#include "changes.h"
#include "io.h"

#define BLOCK_SIZE 4096
#define BLOCKS_AT_ONCE 256

Changes *changes_free(Changes *c) {
        if (!c)
                return NULL;
        for (size_t i = 0; i < c->n_values; i++) {
                free(c->values[i].from);
                free(c->values[i].to);
        }
        free(c->values);
        free(c->packages);
        free(c->files);
        free(c->sizes);
        free(c->accounts);
        free(c->units);
        free(c);
        return NULL;
}

/* --- values of the build record --- */

static void compare_values(Changes *c, const char *name, bool note, char *from, char *to) {
        if (streq_ptr(from, to)) {
                free(from);
                free(to);
                return;
        }
        GROW(c->values, c->n_values, c->n_values_allocated);
        c->values[c->n_values++] = (ValueChange){ .name = name, .from = from, .to = to, .note = note };
}

static void compare_texts(Changes *c, const char *name, const char *from, const char *to) {
        compare_values(c, name, false, xstrdup(from), xstrdup(to));
}

static char *describe_file(const ReleaseFile *f) {
        _cleanup_free_ char *hex = NULL;

        if (!f->present)
                return xstrdup("none");
        hex = sha256_hex(&f->sha256);
        return xasprintf("%" PRIu64 " bytes, SHA-256 %.16s...", f->size, hex);
}

static char *describe_certificate(const Release *r, const char *role) {
        const ReleaseCertificate *certificate = release_certificate(r, role);
        _cleanup_free_ char *hex = NULL;

        if (!certificate)
                return xstrdup("none");
        hex = sha256_hex(&certificate->fingerprint);
        return xasprintf("%s (SHA-256 %.16s...)", certificate->subject, hex);
}

static char *describe_tools(const Release *r) {
        _cleanup_strv_free_ char **l = NULL;

        for (size_t i = 0; i < r->n_tools; i++)
                strv_extendf(&l, "%s %s", r->tools[i].name, r->tools[i].value);
        if (l)
                strv_sort(l);
        return l ? strv_join(l, ", ") : xstrdup("none");
}

static char *describe_usr(const Release *r) {
        _cleanup_free_ char *cluster = NULL;

        if (r->layout == USR_LAYOUT_PLAIN)
                return xstrdup("plain");
        cluster = format_bytes(r->cluster);
        return xasprintf("lz4hc, level %" PRIu64 ", clusters of %s", r->level, cluster);
}

/* Without usrhash=, which differs whenever anything does and has a line of its own. */
static char *command_line_without_hash(const char *line) {
        _cleanup_strv_free_ char **words = strv_split(line, " "), **kept = NULL;

        STRV_FOREACH (word, words)
                if (!startswith(*word, "usrhash="))
                        strv_extend(&kept, *word);
        return kept ? strv_join(kept, " ") : xstrdup("");
}

/* In the order in which people ask. Files whose difference others explain (disk, SBOM, manifests) are left out here:
 * they are equal if everything else is. */
static void compare_records(Changes *c) {
        static const struct {
                ReleasePart part;
                const char *name;
        } parts[] = {
                { RELEASE_INITRD, "initrd" },
                { RELEASE_UNSIGNED_UKI, "UKI before signing" },
                { RELEASE_USR, "/usr image" },
                { RELEASE_VERITY, "hash tree" },
        };
        const Release *a = c->from->release, *b = c->to->release;

        compare_texts(c, "image", a->image_id, b->image_id);
        compare_texts(c, "version", a->version, b->version);
        compare_texts(c, "architecture", a->architecture, b->architecture);
        compare_values(c, "packages of", false, facts_time(a->epoch), facts_time(b->epoch));
        compare_texts(c, "kernel", a->kernel_version, b->kernel_version);
        compare_values(c, "kernel command line", false, command_line_without_hash(a->command_line),
                       command_line_without_hash(b->command_line));
        compare_values(c, "layout of /usr", false, describe_usr(a), describe_usr(b));
        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                compare_values(c, parts[i].name, false, describe_file(&a->files[parts[i].part]),
                               describe_file(&b->files[parts[i].part]));
        compare_values(c, "root hash", false, sha256_hex(&a->root_hash), sha256_hex(&b->root_hash));
        compare_values(c, "certificate of /usr", false, describe_certificate(a, "usr"), describe_certificate(b, "usr"));
        compare_values(c, "certificate of the UKI", false, describe_certificate(a, "uki"),
                       describe_certificate(b, "uki"));
        compare_values(c, "recipe.lock", true, sha256_hex(&a->lock), sha256_hex(&b->lock));
        compare_values(c, "tools", true, describe_tools(a), describe_tools(b));
}

/* --- packages --- */

static void note_package(Changes *c, const ManifestPackage *from, const ManifestPackage *to) {
        if (from && to && streq(from->version, to->version) && sha256_equal(&from->sha256, &to->sha256) &&
            from->purpose == to->purpose)
                return;
        GROW(c->packages, c->n_packages, c->n_packages_allocated);
        c->packages[c->n_packages++] = (PackageChange){ .name = (to ?: from)->name, .from = from, .to = to };
}

static void compare_packages(Changes *c) {
        const Manifest *a = c->from->manifest, *b = c->to->manifest;
        size_t i = 0, j = 0;

        while (i < a->n_packages || j < b->n_packages) {
                const ManifestPackage *x = i < a->n_packages ? &a->packages[i] : NULL;
                const ManifestPackage *y = j < b->n_packages ? &b->packages[j] : NULL;
                int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);

                if (order == 0)
                        order = strcmp(x->architecture, y->architecture);
                note_package(c, order <= 0 ? x : NULL, order >= 0 ? y : NULL);
                i += order <= 0;
                j += order >= 0;
        }
}

static int package_size_by_name(const void *a, const void *b) {
        return strcmp((*(const PackageSize *const *) a)->name, (*(const PackageSize *const *) b)->name);
}

static const PackageSize **sizes_by_name(const Facts *f) {
        const PackageSize **l = xnew(const PackageSize *, f->n_packages + 1);

        for (size_t i = 0; i < f->n_packages; i++)
                l[i] = &f->packages[i];
        if (f->n_packages > 0)
                qsort(l, f->n_packages, sizeof(*l), package_size_by_name);
        return l;
}

static uint64_t distance(const SizeChange *s) {
        return s->from > s->to ? s->from - s->to : s->to - s->from;
}

static int size_change_compare(const void *a, const void *b) {
        uint64_t x = distance(a), y = distance(b);

        if (x != y)
                return x > y ? -1 : 1;
        return strcmp(((const SizeChange *) a)->name, ((const SizeChange *) b)->name);
}

static void compare_sizes(Changes *c) {
        const PackageSize **a = sizes_by_name(c->from), **b = sizes_by_name(c->to);
        size_t i = 0, j = 0;

        while (i < c->from->n_packages || j < c->to->n_packages) {
                const PackageSize *x = i < c->from->n_packages ? a[i] : NULL;
                const PackageSize *y = j < c->to->n_packages ? b[j] : NULL;
                int order = !x ? 1 : !y ? -1 : strcmp(x->name, y->name);
                SizeChange s = {
                        .name = order <= 0 ? x->name : y->name,
                        .from = order <= 0 ? x->bytes : 0,
                        .to = order >= 0 ? y->bytes : 0,
                };

                i += order <= 0;
                j += order >= 0;
                if (s.from == s.to)
                        continue;
                GROW(c->sizes, c->n_sizes, c->n_sizes_allocated);
                c->sizes[c->n_sizes++] = s;
        }
        free(a);
        free(b);
        if (c->n_sizes > 0)
                qsort(c->sizes, c->n_sizes, sizeof(*c->sizes), size_change_compare);
}

/* --- files, accounts, units --- */

static void note_file(const ContentsEntry *a, const ContentsEntry *b, TreeDifference what, void *userdata) {
        Changes *c = userdata;

        GROW(c->files, c->n_files, c->n_files_allocated);
        c->files[c->n_files++] = (FileChange){ .from = a, .to = b, .what = what };
}

static bool accounts_equal(const Account *a, const Account *b) {
        return a->id == b->id && a->gid == b->gid && streq_ptr(a->home, b->home) && streq_ptr(a->shell, b->shell) &&
               streq_ptr(a->members, b->members);
}

static void compare_accounts(Changes *c, bool user, const Account *a, size_t n_a, const Account *b, size_t n_b) {
        size_t i = 0, j = 0;

        while (i < n_a || j < n_b) {
                int order = i == n_a ? 1 : j == n_b ? -1 : strcmp(a[i].name, b[j].name);
                const Account *x = order <= 0 ? &a[i++] : NULL, *y = order >= 0 ? &b[j++] : NULL;

                if (x && y && accounts_equal(x, y))
                        continue;
                GROW(c->accounts, c->n_accounts, c->n_accounts_allocated);
                c->accounts[c->n_accounts++] = (AccountChange){ .user = user, .from = x, .to = y };
        }
}

static bool same_unit(const UnitLink *a, const UnitLink *b) {
        return a->state == b->state && streq(a->name, b->name) && streq_ptr(a->by, b->by);
}

static const UnitLink *find_unit(const Facts *f, const UnitLink *u) {
        for (size_t i = 0; i < f->n_units; i++)
                if (same_unit(&f->units[i], u))
                        return &f->units[i];
        return NULL;
}

static void note_unit(Changes *c, const UnitLink *from, const UnitLink *to) {
        GROW(c->units, c->n_units, c->n_units_allocated);
        c->units[c->n_units++] = (UnitChange){ .from = from, .to = to };
}

static void compare_units(Changes *c) {
        for (size_t i = 0; i < c->from->n_units; i++)
                if (!find_unit(c->to, &c->from->units[i]))
                        note_unit(c, &c->from->units[i], NULL);
        for (size_t i = 0; i < c->to->n_units; i++)
                if (!find_unit(c->from, &c->to->units[i]))
                        note_unit(c, NULL, &c->to->units[i]);
}

/* --- blocks --- */

static int digest_compare(const void *a, const void *b) {
        return memcmp(a, b, sizeof(Sha256));
}

static int hash_blocks(const char *path, Sha256 **ret, size_t *ret_n, Error *reterr) {
        _cleanup_(hasher_freep) Hasher *hasher = hasher_new();
        _cleanup_free_ uint8_t *chunk = xmalloc((size_t) BLOCK_SIZE * BLOCKS_AT_ONCE);
        _cleanup_free_ Sha256 *digests = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        size_t n = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "%s", path);
        digests = xnew(Sha256, (size_t) st.st_size / BLOCK_SIZE + 1);
        for (uint64_t offset = 0; offset < (uint64_t) st.st_size;) {
                size_t size = (size_t) MIN((uint64_t) BLOCK_SIZE * BLOCKS_AT_ONCE, (uint64_t) st.st_size - offset);
                int r = io_pread_all(fd, chunk, size, offset, reterr);

                if (r < 0)
                        return error_prefix(reterr, "%s", path);
                for (size_t i = 0; i < size; i += BLOCK_SIZE) {
                        hasher_update(hasher, chunk + i, MIN((size_t) BLOCK_SIZE, size - i));
                        hasher_final(hasher, &digests[n++]);
                }
                offset += size;
        }
        *ret = TAKE_PTR(digests);
        *ret_n = n;
        return 0;
}

int changes_count_blocks(const char *a, const char *b, uint64_t *ret_blocks, uint64_t *ret_new, Error *reterr) {
        _cleanup_free_ Sha256 *old = NULL, *new = NULL;
        size_t n_old, n_new;
        uint64_t n = 0;
        int r;

        r = hash_blocks(a, &old, &n_old, reterr);
        if (r < 0)
                return r;
        r = hash_blocks(b, &new, &n_new, reterr);
        if (r < 0)
                return r;
        if (n_old > 0)
                qsort(old, n_old, sizeof(*old), digest_compare);
        for (size_t i = 0; i < n_new; i++)
                n += !bsearch(&new[i], old, n_old, sizeof(*old), digest_compare);
        *ret_blocks = n_new;
        *ret_new = n;
        return 0;
}

int changes_find(const Facts *from, const Facts *to, bool blocks, Changes **ret, Error *reterr) {
        _cleanup_(changes_freep) Changes *c = xnew(Changes, 1);
        const Contents *a = from->contents, *b = to->contents;

        c->from = from;
        c->to = to;
        compare_records(c);
        compare_packages(c);
        compare_sizes(c);
        contents_diff(a, b, note_file, c);
        compare_accounts(c, true, a->users, a->n_users, b->users, b->n_users);
        compare_accounts(c, false, a->groups, a->n_groups, b->groups, b->n_groups);
        compare_units(c);
        if (blocks) {
                _cleanup_free_ char *x = release_file_path(from->release, RELEASE_USR);
                _cleanup_free_ char *y = release_file_path(to->release, RELEASE_USR);
                int r = changes_count_blocks(x, y, &c->n_blocks, &c->n_new_blocks, reterr);

                if (r < 0)
                        return r;
                c->blocks_known = true;
        }
        *ret = TAKE_PTR(c);
        return 0;
}

/* --- questions --- */

bool changes_is_different(const Changes *c) {
        for (size_t i = 0; i < c->n_values; i++)
                if (!c->values[i].note)
                        return true;
        return c->n_packages > 0 || c->n_files > 0 || c->n_accounts > 0;
}

static bool same_capabilities(const ContentsEntry *a, const ContentsEntry *b) {
        const Xattr *x = a ? contents_xattr(a, "security.capability") : NULL;
        const Xattr *y = b ? contents_xattr(b, "security.capability") : NULL;

        if (!x || !y)
                return x == y;
        return x->size == y->size && memcmp(x->value, y->value, x->size) == 0;
}

static mode_t set_id_bits(const ContentsEntry *e) {
        return e && S_ISREG(e->mode) ? e->mode & (S_ISUID | S_ISGID) : 0;
}

bool file_change_is_rights(const FileChange *f) {
        mode_t a = set_id_bits(f->from), b = set_id_bits(f->to);

        /* The owner of a set-id file is part of what it may do. */
        return a != b || (b != 0 && (f->what & TREE_OWNER)) || !same_capabilities(f->from, f->to);
}

bool file_change_is_etc(const FileChange *f) {
        const char *rest = startswith(file_change_path(f), FACTS_ETC_FOLDER);

        return rest && (*rest == '/' || *rest == '\0');
}

const char *file_change_path(const FileChange *f) {
        return (f->to ?: f->from)->path;
}

const char *file_change_package(const FileChange *f) {
        return (f->to ?: f->from)->package ?: FACTS_NO_PACKAGE;
}

char *file_change_describe(const Changes *c, const FileChange *f) {
        const ContentsEntry *a = f->from, *b = f->to;
        _cleanup_strv_free_ char **l = NULL;

        if (!a)
                return xasprintf("added %s", facts_type(b->mode));
        if (!b)
                return xasprintf("removed %s", facts_type(a->mode));
        if (f->what & TREE_TYPE)
                return xasprintf("%s -> %s", facts_type(a->mode), facts_type(b->mode));
        if (f->what & TREE_CONTENT) {
                _cleanup_free_ char *size = format_size_change(a->size, b->size);

                if (S_ISLNK(b->mode))
                        strv_extendf(&l, "target %s -> %s", a->target, b->target);
                else
                        strv_extendf(&l, "content (%s)", a->size == b->size ? "same size" : size);
        }
        if (f->what & TREE_MODE)
                strv_extendf(&l, "mode %04o -> %04o", a->mode & 07777, b->mode & 07777);
        if (f->what & TREE_OWNER) {
                _cleanup_free_ char *x = facts_owner(c->from->contents, a), *y = facts_owner(c->to->contents, b);

                strv_extendf(&l, "owner %s (%u:%u) -> %s (%u:%u)", x, a->uid, a->gid, y, b->uid, b->gid);
        }
        if (f->what & TREE_XATTRS) {
                _cleanup_free_ char *x = facts_capabilities(a), *y = facts_capabilities(b);

                if (same_capabilities(a, b))
                        strv_extend(&l, "extended attributes");
                else
                        strv_extendf(&l, "capabilities %s -> %s", x ?: "none", y ?: "none");
        }
        if (f->what & TREE_LINKS)
                strv_extendf(&l, "hard link %s -> %s", a->hard_link ?: "none", b->hard_link ?: "none");
        return l ? strv_join(l, ", ") : xstrdup("");
}

const char *package_place(const ManifestPackage *p) {
        bool image = p->purpose & LOCK_FOR_IMAGE, initrd = p->purpose & LOCK_FOR_INITRD;

        return image && initrd ? "image, initrd" : image ? "image" : "initrd";
}

char *format_size_change(uint64_t from, uint64_t to) {
        _cleanup_free_ char *bytes = format_bytes(from > to ? from - to : to - from);

        return xasprintf("%s%s", from > to ? "-" : "+", bytes);
}

static int by_package(const void *a, const void *b) {
        const FileChange *x = *(const FileChange *const *) a, *y = *(const FileChange *const *) b;
        int d = strcmp(file_change_package(x), file_change_package(y));

        return d != 0 ? d : contents_path_compare(file_change_path(x), file_change_path(y));
}

void changes_by_package(const Changes *c, const FileChange ***ret) {
        const FileChange **l = xnew(const FileChange *, c->n_files + 1);

        for (size_t i = 0; i < c->n_files; i++)
                l[i] = &c->files[i];
        if (c->n_files > 0)
                qsort(l, c->n_files, sizeof(*l), by_package);
        *ret = l;
}
