/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "diff.h"
#include "json.h"
#include "text.h"

/* Lines of a group before "and N more" without DiffOptions.all: a new kernel changes four thousand files. */
#define FILES_SHOWN 12
#define SIZES_SHOWN 20

/* --- text --- */

static void text_values(Buffer *b, const Changes *c, bool notes) {
        size_t n = 0;

        for (size_t i = 0; i < c->n_values; i++) {
                const ValueChange *v = &c->values[i];

                if (v->note != notes)
                        continue;
                if (n++ == 0)
                        text_heading(b, notes ? "How they were built (not part of the result)" : "Release");
                buffer_printf(b, "  %s\n    - ", v->name);
                text_append(b, isempty(v->from) ? "none" : v->from);
                buffer_puts(b, "\n    + ");
                text_append(b, isempty(v->to) ? "none" : v->to);
                buffer_puts(b, "\n");
        }
}

static void text_total(Buffer *b, const char *label, uint64_t from, uint64_t to) {
        _cleanup_free_ char *x = format_bytes(from), *y = format_bytes(to), *change = format_size_change(from, to);

        text_field(b, label, "%s -> %s (%s)", x, y, from == to ? "same" : change);
}

static void text_totals(Buffer *b, const Changes *c) {
        const ReleaseFile *a = c->from->release->files, *z = c->to->release->files;

        text_heading(b, "Sizes");
        text_total(b, "content", c->from->bytes, c->to->bytes);
        text_total(b, "/usr image", a[RELEASE_USR].size, z[RELEASE_USR].size);
        text_total(b, "initrd", a[RELEASE_INITRD].size, z[RELEASE_INITRD].size);
        text_total(b, "UKI", a[RELEASE_UNSIGNED_UKI].size, z[RELEASE_UNSIGNED_UKI].size);
        if (c->blocks_known) {
                _cleanup_free_ char *n = text_number(c->n_new_blocks), *all = text_number(c->n_blocks);
                _cleanup_free_ char *bytes = format_bytes(c->n_new_blocks * 4096);

                text_field(b, "new blocks", "%s of %s (%u%%), %s before compression: of /usr, what block reuse fetches",
                           n, all, text_percent(c->n_new_blocks, c->n_blocks), bytes);
        }
}

static void text_packages(Buffer *b, const Changes *c) {
        static const char *const titles[] = { "Packages added", "Packages removed", "Packages changed" };

        for (size_t kind = 0; kind < ELEMENTSOF(titles); kind++) {
                size_t n = 0;

                for (size_t i = 0; i < c->n_packages; i++) {
                        const PackageChange *p = &c->packages[i];
                        const ManifestPackage *any = p->to ?: p->from;

                        if ((!p->from ? 0U : !p->to ? 1U : 2U) != kind)
                                continue;
                        if (n++ == 0)
                                text_heading(b, titles[kind]);
                        buffer_printf(b, "  %s ", p->name);
                        if (kind < 2)
                                buffer_printf(b, "%s (%s)\n", any->version, package_place(any));
                        else if (!streq(p->from->version, p->to->version))
                                buffer_printf(b, "%s -> %s (%s)\n", p->from->version, p->to->version,
                                              package_place(any));
                        else if (!sha256_equal(&p->from->sha256, &p->to->sha256))
                                buffer_printf(b, "%s: same version, another file\n", any->version);
                        else
                                buffer_printf(b, "%s: in %s -> in %s\n", any->version, package_place(p->from),
                                              package_place(p->to));
                }
        }
}

static void text_sizes(Buffer *b, const Changes *c, bool all) {
        size_t shown = all ? c->n_sizes : MIN(c->n_sizes, (size_t) SIZES_SHOWN);

        if (c->n_sizes > 0)
                text_heading(b, "Installed size by package");
        for (size_t i = 0; i < shown; i++) {
                _cleanup_free_ char *change = format_size_change(c->sizes[i].from, c->sizes[i].to);

                buffer_printf(b, "  %10s  %s\n", change, c->sizes[i].name);
        }
        if (shown < c->n_sizes)
                buffer_printf(b, "  and %zu more\n", c->n_sizes - shown);
}

static void text_file(Buffer *b, const Changes *c, const FileChange *f) {
        _cleanup_free_ char *description = file_change_describe(c, f);

        buffer_puts(b, f->from ? f->to ? "  * " : "  - " : "  + ");
        text_append(b, file_change_path(f));
        if (f->from && f->to) {
                buffer_puts(b, ": ");
                text_append(b, description);
        } else if (f->to && file_change_is_rights(f)) {
                _cleanup_free_ char *owner = facts_owner(c->to->contents, f->to);
                _cleanup_free_ char *capabilities = facts_capabilities(f->to);

                buffer_printf(b, ": mode %04o, %s%s%s", f->to->mode & 07777, owner, capabilities ? ", " : "",
                              capabilities ?: "");
        }
        buffer_puts(b, "\n");
}

static void text_selected_files(Buffer *b, const Changes *c, const char *title, bool (*selects)(const FileChange *f)) {
        size_t n = 0;

        for (size_t i = 0; i < c->n_files; i++) {
                if (!selects(&c->files[i]))
                        continue;
                if (n++ == 0)
                        text_heading(b, title);
                text_file(b, c, &c->files[i]);
        }
}

static void text_files(Buffer *b, const Changes *c, bool all) {
        _cleanup_free_ const FileChange **files = NULL;
        const char *package = NULL;
        size_t in_package = 0;

        changes_by_package(c, &files);
        if (c->n_files > 0)
                text_heading(b, "Files (+ added, - removed, * changed)");
        for (size_t i = 0; i < c->n_files; i++) {
                const char *p = file_change_package(files[i]);

                if (!package || !streq(package, p)) {
                        buffer_printf(b, "  %s\n", p);
                        package = p;
                        in_package = 0;
                }
                in_package++;
                if (all || in_package <= FILES_SHOWN) {
                        buffer_puts(b, "  ");
                        text_file(b, c, files[i]);
                }
                if (!all && in_package > FILES_SHOWN &&
                    (i + 1 == c->n_files || !streq(file_change_package(files[i + 1]), p)))
                        buffer_printf(b, "      and %zu more (--all shows them)\n", in_package - FILES_SHOWN);
        }
}

static void text_account(Buffer *b, const AccountChange *a) {
        const Account *any = a->to ?: a->from;

        buffer_printf(b, "  %c %s ", !a->from ? '+' : !a->to ? '-' : '*', a->user ? "user" : "group");
        text_append(b, any->name);
        if (!a->from || !a->to)
                buffer_printf(b, " %" PRIu32 "\n", any->id);
        else if (a->from->id != a->to->id)
                buffer_printf(b, " %" PRIu32 " -> %" PRIu32 "\n", a->from->id, a->to->id);
        else
                buffer_puts(b, a->user ? ": group, home or shell changed\n" : ": members changed\n");
}

static void text_accounts_and_units(Buffer *b, const Changes *c) {
        static const char *const words[] = {
                [UNIT_ENABLED] = "enabled",
                [UNIT_MASKED] = "masked",
                [UNIT_ALIAS] = "alias",
        };

        if (c->n_accounts > 0)
                text_heading(b, "Users and groups");
        for (size_t i = 0; i < c->n_accounts; i++)
                text_account(b, &c->accounts[i]);
        if (c->n_units > 0)
                text_heading(b, "Units");
        for (size_t i = 0; i < c->n_units; i++) {
                const UnitLink *u = c->units[i].to ?: c->units[i].from;

                buffer_printf(b, "  %c ", c->units[i].to ? '+' : '-');
                text_append(b, u->name);
                buffer_printf(b, " %s%s", words[u->state], u->by ? u->state == UNIT_ENABLED ? " by " : " of " : "");
                text_append(b, u->by ?: "");
                buffer_puts(b, "\n");
        }
}

/* Two builds of one lock that differ: say where to look, because the lists above will not. */
static void text_verdict(Buffer *b, const Changes *c) {
        const ReleaseFile *x = &c->from->release->files[RELEASE_USR], *y = &c->to->release->files[RELEASE_USR];

        if (!changes_is_different(c))
                buffer_puts(b, "\nNothing that reaches a device is different.\n");
        else if (c->n_files == 0 && !sha256_equal(&x->sha256, &y->sha256))
                buffer_puts(
                        b, "\nThe /usr images differ, yet every file and attribute in them is the same: the difference "
                           "is in times, identifiers, layout or the encoder.\n");
}

char *diff_format_text(const Changes *c, bool all) {
        Buffer b = {};

        buffer_printf(&b, "%s %s -> %s %s\n", c->from->release->image_id, c->from->release->version,
                      c->to->release->image_id, c->to->release->version);
        text_values(&b, c, false);
        text_totals(&b, c);
        text_packages(&b, c);
        text_selected_files(&b, c, "Rights: set-user-id, set-group-id and capabilities", file_change_is_rights);
        text_accounts_and_units(&b, c);
        text_selected_files(&b, c, "Defaults of /etc", file_change_is_etc);
        text_sizes(&b, c, all);
        text_files(&b, c, all);
        text_values(&b, c, true);
        text_verdict(&b, c);
        return buffer_steal(&b);
}

/* --- JSON --- */

static json_t *optional_string(const char *s) {
        json_t *value = s ? json_string(s) : json_null();

        return value ?: json_string("(not UTF-8)");
}

static json_t *values_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_values; i++) {
                const ValueChange *v = &c->values[i];
                json_t *o = json_object();

                json_object_set_new(o, "what", json_string(v->name));
                json_object_set_new(o, "from", optional_string(v->from));
                json_object_set_new(o, "to", optional_string(v->to));
                json_object_set_new(o, "reachesDevice", json_boolean(!v->note));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *packages_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_packages; i++) {
                const PackageChange *p = &c->packages[i];
                json_t *o = json_object();

                json_object_set_new(o, "name", json_string(p->name));
                json_object_set_new(o, "change", json_string(!p->from ? "added" : !p->to ? "removed" : "changed"));
                json_object_set_new(o, "from", optional_string(p->from ? p->from->version : NULL));
                json_object_set_new(o, "to", optional_string(p->to ? p->to->version : NULL));
                json_object_set_new(o, "source", json_string((p->to ?: p->from)->source));
                json_object_set_new(o, "in", json_string(package_place(p->to ?: p->from)));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *files_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_files; i++) {
                const FileChange *f = &c->files[i];
                _cleanup_free_ char *description = file_change_describe(c, f);
                json_t *o = json_object();

                json_object_set_new(o, "path", optional_string(file_change_path(f)));
                json_object_set_new(o, "change", json_string(!f->from ? "added" : !f->to ? "removed" : "changed"));
                json_object_set_new(o, "description", optional_string(description));
                json_object_set_new(o, "package", optional_string((f->to ?: f->from)->package));
                json_object_set_new(o, "rights", json_boolean(file_change_is_rights(f)));
                json_object_set_new(o, "etcDefault", json_boolean(file_change_is_etc(f)));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *accounts_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_accounts; i++) {
                const AccountChange *a = &c->accounts[i];
                json_t *o = json_object();

                json_object_set_new(o, "kind", json_string(a->user ? "user" : "group"));
                json_object_set_new(o, "name", json_string((a->to ?: a->from)->name));
                json_object_set_new(o, "from", a->from ? json_integer(a->from->id) : json_null());
                json_object_set_new(o, "to", a->to ? json_integer(a->to->id) : json_null());
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *sizes_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_sizes; i++) {
                json_t *o = json_object();

                json_object_set_new(o, "package", json_string(c->sizes[i].name));
                json_object_set_new(o, "from", json_integer((json_int_t) c->sizes[i].from));
                json_object_set_new(o, "to", json_integer((json_int_t) c->sizes[i].to));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *units_to_json(const Changes *c) {
        json_t *array = json_array();

        for (size_t i = 0; i < c->n_units; i++) {
                const UnitLink *u = c->units[i].to ?: c->units[i].from;
                json_t *o = json_object();

                json_object_set_new(o, "unit", optional_string(u->name));
                json_object_set_new(o, "change", json_string(c->units[i].to ? "added" : "removed"));
                json_object_set_new(o, "state",
                                    json_string(u->state == UNIT_ENABLED  ? "enabled"
                                                : u->state == UNIT_MASKED ? "masked"
                                                                          : "alias"));
                json_object_set_new(o, "by", optional_string(u->by));
                json_array_append_new(array, o);
        }
        return array;
}

json_t *diff_to_json(const Changes *c) {
        json_t *o = json_object();

        json_object_set_new(o, "different", json_boolean(changes_is_different(c)));
        json_object_set_new(o, "release", values_to_json(c));
        json_object_set_new(o, "contentBytes",
                            json_pack("{sIsI}", "from", (json_int_t) c->from->bytes, "to", (json_int_t) c->to->bytes));
        if (c->blocks_known)
                json_object_set_new(o, "blocks",
                                    json_pack("{sIsIsi}", "total", (json_int_t) c->n_blocks, "new",
                                              (json_int_t) c->n_new_blocks, "size", 4096));
        json_object_set_new(o, "packages", packages_to_json(c));
        json_object_set_new(o, "files", files_to_json(c));
        json_object_set_new(o, "accounts", accounts_to_json(c));
        json_object_set_new(o, "units", units_to_json(c));
        json_object_set_new(o, "installedBytes", sizes_to_json(c));
        return o;
}

int diff_releases(const char *a, const char *b, const DiffOptions *opt, Error *reterr) {
        _cleanup_(facts_freep) Facts *from = NULL, *to = NULL;
        _cleanup_(changes_freep) Changes *c = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = facts_load(a, &from, reterr);
        if (r < 0)
                return r;
        r = facts_load(b, &to, reterr);
        if (r < 0)
                return r;
        r = changes_find(from, to, true, &c, reterr);
        if (r < 0)
                return r;
        if (opt->json) {
                _cleanup_json_ json_t *o = diff_to_json(c);

                text = json_format(o, false);
        } else
                text = diff_format_text(c, opt->all);
        fputs(text, stdout);
        return changes_is_different(c) ? 1 : 0;
}
