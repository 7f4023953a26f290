/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "inspect.h"
#include "changes.h"
#include "html.h"
#include "io.h"
#include "json.h"
#include "log.h"
#include "text.h"

/* Lines of the lists of largest things in the text; --json and --html have all. */
#define LARGEST_SHOWN 15

static void text_identity(Buffer *b, const Facts *f) {
        const Release *r = f->release;
        _cleanup_free_ char *time = facts_time(r->epoch), *lock = sha256_hex(&r->lock),
                            *root = sha256_hex(&r->root_hash);
        _cleanup_free_ char *cluster = format_bytes(r->cluster);

        buffer_printf(b, "%s %s (%s)\n", r->image_id, r->version, r->architecture);
        text_field(b, "recipe", "%s", r->recipe);
        text_field(b, "packages of", "%s", time);
        text_field(b, "lock", "%s", lock);
        text_field(b, "root hash", "%s", root);
        text_field(b, "kernel", "%s", r->kernel_version);
        text_field(b, "command line", "%s", r->command_line);
        if (r->layout == USR_LAYOUT_PLAIN)
                text_field(b, "layout", "EROFS, plain");
        else
                text_field(b, "layout", "EROFS, lz4hc level %" PRIu64 ", clusters of %s", r->level, cluster);
}

static void text_signatures(Buffer *b, const Facts *f) {
        const Release *r = f->release;

        text_heading(b, "Signatures");
        if (!release_is_signed(r))
                buffer_puts(b, "  This release is not signed; sealab sign does that.\n");
        for (size_t i = 0; i < r->n_certificates; i++) {
                const ReleaseCertificate *c = &r->certificates[i];
                _cleanup_free_ char *hex = sha256_hex(&c->fingerprint), *until = facts_time(c->not_after);

                text_field(b,
                           streq(c->role, "usr")   ? "/usr"
                           : streq(c->role, "uki") ? "UKI"
                                                   : c->role,
                           "%s, valid until %s%s", c->subject, until,
                           c->development ? ", DEVELOPMENT KEY: do not ship" : "");
                text_field(b, "", "SHA-256 %s", hex);
        }
}

static void text_files(Buffer *b, const Facts *f) {
        const Release *r = f->release;

        text_heading(b, "Files");
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                _cleanup_free_ char *name = release_file_name(r, (ReleasePart) i), *size = NULL;

                if (!r->files[i].present)
                        continue;
                size = format_bytes(r->files[i].size);
                buffer_printf(b, "  %9s  %s\n", size, name);
        }
}

static void text_sizes(Buffer *b, const Facts *f) {
        _cleanup_free_ char *bytes = format_bytes(f->bytes), *files = text_number(f->n_files);
        _cleanup_free_ char *symlinks = text_number(f->n_symlinks), *n_folders = text_number(f->n_folders);
        _cleanup_free_ SizeNode **folders = NULL;
        size_t n = facts_largest_folders(f, &folders);

        text_heading(b, "Contents of /usr");
        buffer_printf(b,
                      "  %s in %s files, %s symbolic links, %s folders; %zu packages in the image, %zu in the initrd\n",
                      bytes, files, symlinks, n_folders, f->n_image_packages, f->n_initrd_packages);
        text_heading(b, "Largest packages");
        for (size_t i = 0; i < MIN(f->n_packages, (size_t) LARGEST_SHOWN); i++) {
                const PackageSize *p = &f->packages[i];
                _cleanup_free_ char *size = format_bytes(p->bytes);

                buffer_printf(b, "  %9s %3u%%  %s%s%s\n", size, text_percent(p->bytes, f->bytes), p->name,
                              p->package ? " " : "", p->package ? p->package->version : "");
        }
        text_heading(b, "Largest folders");
        for (size_t i = 0; i < MIN(n, (size_t) LARGEST_SHOWN); i++) {
                _cleanup_free_ char *size = format_bytes(folders[i]->bytes), *path = size_node_path(folders[i]);

                buffer_printf(b, "  %9s %3u%%  ", size, text_percent(folders[i]->bytes, f->bytes));
                text_append(b, path);
                buffer_puts(b, "\n");
        }
}

static void text_rights(Buffer *b, const Facts *f) {
        text_heading(b, "Set-user-id and set-group-id files");
        for (size_t i = 0; i < f->n_setid; i++) {
                const ContentsEntry *e = f->setid[i];
                _cleanup_free_ char *owner = facts_owner(f->contents, e);

                buffer_printf(b, "  %04o %-20s ", e->mode & 07777, owner);
                text_append(b, e->path);
                buffer_printf(b, "  %s\n", e->package ?: FACTS_NO_PACKAGE);
        }
        if (f->n_setid == 0)
                buffer_puts(b, "  none\n");
        text_heading(b, "File capabilities");
        for (size_t i = 0; i < f->n_capable; i++) {
                _cleanup_free_ char *capabilities = facts_capabilities(f->capable[i]);

                buffer_printf(b, "  %-25s ", capabilities);
                text_append(b, f->capable[i]->path);
                buffer_printf(b, "  %s\n", f->capable[i]->package ?: FACTS_NO_PACKAGE);
        }
        if (f->n_capable == 0)
                buffer_puts(b, "  none\n");
}

static void text_accounts(Buffer *b, const char *title, const Account *items, size_t n) {
        size_t column = 0;

        text_heading(b, title);
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *word = xasprintf("%s %" PRIu32, items[i].name, items[i].id);
                size_t size = strlen(word);

                if (column > 0 && column + size + 2 > 96) {
                        buffer_puts(b, ",\n");
                        column = 0;
                }
                buffer_puts(b, column > 0 ? ", " : "  ");
                text_append(b, word);
                column += size + 2;
        }
        buffer_puts(b, n > 0 ? "\n" : "  none\n");
}

static void text_units(Buffer *b, const Facts *f) {
        static const struct {
                UnitState state;
                const char *title;
        } groups[] = {
                { UNIT_ENABLED, "Enabled units" },
                { UNIT_MASKED, "Masked units" },
                { UNIT_ALIAS, "Unit aliases" },
        };

        for (size_t g = 0; g < ELEMENTSOF(groups); g++) {
                size_t n = 0;

                for (size_t i = 0; i < f->n_units; i++) {
                        const UnitLink *u = &f->units[i];

                        if (u->state != groups[g].state)
                                continue;
                        if (n++ == 0)
                                text_heading(b, groups[g].title);
                        buffer_puts(b, "  ");
                        text_append(b, u->name);
                        if (u->by) {
                                buffer_puts(b, u->state == UNIT_ENABLED ? "  by " : " -> ");
                                text_append(b, u->by);
                        }
                        buffer_puts(b, "\n");
                }
        }
}

char *inspect_format_text(const Facts *f) {
        Buffer b = {};

        text_identity(&b, f);
        text_signatures(&b, f);
        text_files(&b, f);
        text_sizes(&b, f);
        text_rights(&b, f);
        text_accounts(&b, "Users", f->contents->users, f->contents->n_users);
        text_accounts(&b, "Groups", f->contents->groups, f->contents->n_groups);
        text_units(&b, f);
        return buffer_steal(&b);
}

/* --- JSON --- */

static json_t *bytes_string(const char *s) {
        json_t *value = json_string(s);
        _cleanup_buffer_ Buffer b = {};

        if (value)
                return value;
        for (; *s; s++) /* not UTF-8: shown like control characters, not lost */
                if ((unsigned char) *s >= 0x80)
                        buffer_printf(&b, "\\x%02x", (unsigned char) *s);
                else
                        buffer_append(&b, s, 1);
        return json_string(b.data);
}

static json_t *packages_to_json(const Facts *f) {
        json_t *array = json_array();

        for (size_t i = 0; i < f->n_packages; i++) {
                const PackageSize *p = &f->packages[i];
                json_t *o = json_object();

                json_object_set_new(o, "name", json_string(p->name));
                if (p->package) {
                        json_object_set_new(o, "version", json_string(p->package->version));
                        json_object_set_new(o, "architecture", json_string(p->package->architecture));
                        json_object_set_new(o, "source", json_string(p->package->source));
                        json_object_set_new(o, "sourceVersion", json_string(p->package->source_version));
                }
                json_object_set_new(o, "installedBytes", json_integer((json_int_t) p->bytes));
                json_object_set_new(o, "files", json_integer((json_int_t) p->n_files));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *folders_to_json(const Facts *f) {
        _cleanup_free_ SizeNode **folders = NULL;
        size_t n = facts_largest_folders(f, &folders);
        json_t *array = json_array();

        for (size_t i = 0; i < MIN(n, (size_t) 100); i++) {
                _cleanup_free_ char *path = size_node_path(folders[i]);
                json_t *o = json_object();

                json_object_set_new(o, "path", bytes_string(path));
                json_object_set_new(o, "bytes", json_integer((json_int_t) folders[i]->bytes));
                json_object_set_new(o, "files", json_integer((json_int_t) folders[i]->n_files));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *special_to_json(const Facts *f, const ContentsEntry **items, size_t n) {
        json_t *array = json_array();

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *owner = facts_owner(f->contents, items[i]);
                _cleanup_free_ char *capabilities = facts_capabilities(items[i]);
                json_t *o = json_object();
                char mode[8];

                snprintf(mode, sizeof(mode), "%04o", items[i]->mode & 07777);
                json_object_set_new(o, "path", bytes_string(items[i]->path));
                json_object_set_new(o, "mode", json_string(mode));
                json_object_set_new(o, "owner", json_string(owner));
                if (capabilities)
                        json_object_set_new(o, "capabilities", json_string(capabilities));
                if (items[i]->package)
                        json_object_set_new(o, "package", json_string(items[i]->package));
                json_array_append_new(array, o);
        }
        return array;
}

static json_t *accounts_to_json(const Account *items, size_t n) {
        json_t *o = json_object();

        for (size_t i = 0; i < n; i++)
                json_object_set_new(o, items[i].name, json_integer(items[i].id));
        return o;
}

static json_t *units_to_json(const Facts *f) {
        static const char *const states[] = {
                [UNIT_ENABLED] = "enabled",
                [UNIT_MASKED] = "masked",
                [UNIT_ALIAS] = "alias",
        };
        json_t *array = json_array();

        for (size_t i = 0; i < f->n_units; i++) {
                const UnitLink *u = &f->units[i];
                json_t *o = json_object();

                json_object_set_new(o, "unit", bytes_string(u->name));
                json_object_set_new(o, "state", json_string(states[u->state]));
                if (u->by)
                        json_object_set_new(o, "by", bytes_string(u->by));
                json_array_append_new(array, o);
        }
        return array;
}

json_t *inspect_to_json(const Facts *f) {
        _cleanup_free_ char *text = release_format(f->release);
        json_t *o = json_object(), *contents = json_object();

        /* The record itself is the first member: whoever reads it knows its format. */
        json_object_set_new(o, "release", json_loads(text, 0, NULL));
        json_object_set_new(o, "signed", json_boolean(release_is_signed(f->release)));
        json_object_set_new(contents, "bytes", json_integer((json_int_t) f->bytes));
        json_object_set_new(contents, "files", json_integer((json_int_t) f->n_files));
        json_object_set_new(contents, "symlinks", json_integer((json_int_t) f->n_symlinks));
        json_object_set_new(contents, "folders", json_integer((json_int_t) f->n_folders));
        json_object_set_new(contents, "imagePackages", json_integer((json_int_t) f->n_image_packages));
        json_object_set_new(contents, "initrdPackages", json_integer((json_int_t) f->n_initrd_packages));
        json_object_set_new(o, "contents", contents);
        json_object_set_new(o, "packages", packages_to_json(f));
        json_object_set_new(o, "largestFolders", folders_to_json(f));
        json_object_set_new(o, "setId", special_to_json(f, f->setid, f->n_setid));
        json_object_set_new(o, "capabilities", special_to_json(f, f->capable, f->n_capable));
        json_object_set_new(o, "users", accounts_to_json(f->contents->users, f->contents->n_users));
        json_object_set_new(o, "groups", accounts_to_json(f->contents->groups, f->contents->n_groups));
        json_object_set_new(o, "units", units_to_json(f));
        return o;
}

/* --- the verb --- */

static int write_page(const Facts *f, const InspectOptions *opt, Error *reterr) {
        _cleanup_free_ char *found = opt->previous_folder ? NULL : release_find_previous(f->release), *page = NULL;
        const char *folder = opt->previous_folder ?: found;
        _cleanup_(facts_freep) Facts *previous = NULL;
        _cleanup_(changes_freep) Changes *changes = NULL;
        _cleanup_error_ Error e = {};
        int r = 0;

        if (folder)
                r = facts_load(folder, &previous, &e);
        if (r >= 0 && previous)
                r = changes_find(previous, f, true, &changes, &e);
        if (r < 0) {
                /* A release that was named must be readable; one that was merely found there need not be. */
                if (opt->previous_folder)
                        return error_move(reterr, &e);
                log_warning("the page says nothing about changes: %s", e.message);
        }
        page = html_format(f, changes);
        return io_write_file(AT_FDCWD, opt->html_path, page, strlen(page), 0644, reterr);
}

int inspect_release(const char *folder, const InspectOptions *opt, Error *reterr) {
        _cleanup_(facts_freep) Facts *f = NULL;
        int r;

        r = facts_load(folder, &f, reterr);
        if (r < 0)
                return r;
        if (opt->html_path) {
                r = write_page(f, opt, reterr);
                if (r < 0)
                        return r;
        }
        if (opt->json) {
                _cleanup_json_ json_t *o = inspect_to_json(f);
                _cleanup_free_ char *text = json_format(o, false);

                fputs(text, stdout);
        } else if (!opt->html_path) {
                _cleanup_free_ char *text = inspect_format_text(f);

                fputs(text, stdout);
        }
        return 0;
}
