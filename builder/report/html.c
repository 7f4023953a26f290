/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "html.h"
#include "html-parts.h"
#include "text.h"
#include "treemap.h"

#define FOLDER_DEPTH 4
#define FOLDER_ROWS 25

/* Length of the UTF-8 sequence at s (RFC 3629), or 0 if there is none. */
static size_t utf8_length(const char *s) {
        const unsigned char *p = (const unsigned char *) s;
        size_t n = p[0] < 0x80                    ? 1
                   : p[0] >= 0xC2 && p[0] <= 0xDF ? 2
                   : (p[0] & 0xF0) == 0xE0        ? 3
                   : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4
                                                  : 0;

        for (size_t i = 1; i < n; i++)
                if ((p[i] & 0xC0) != 0x80)
                        return 0;
        if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
            (p[0] == 0xF4 && p[1] > 0x8F))
                return 0;
        return n;
}

void html_append(Buffer *b, const char *s) {
        while (*s) {
                size_t n = utf8_length(s);

                if (n == 0 || ((unsigned char) *s < ' ' && *s != '\n' && *s != '\t') || *s == 127) {
                        buffer_puts(b, "\xEF\xBF\xBD");
                        s++;
                        continue;
                }
                switch (*s) {
                case '&':
                        buffer_puts(b, "&amp;");
                        break;
                case '<':
                        buffer_puts(b, "&lt;");
                        break;
                case '>':
                        buffer_puts(b, "&gt;");
                        break;
                case '"':
                        buffer_puts(b, "&quot;");
                        break;
                case '\'':
                        buffer_puts(b, "&#39;");
                        break;
                default:
                        buffer_append(b, s, n);
                }
                s += n;
        }
}

void html_element(Buffer *b, const char *tag, const char *fmt, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        text = xvasprintf(fmt, ap);
        va_end(ap);
        buffer_printf(b, "<%s>", tag);
        html_append(b, text);
        buffer_printf(b, "</%.*s>", (int) strcspn(tag, " "), tag);
}

void html_size_cell(Buffer *b, uint64_t bytes) {
        _cleanup_free_ char *text = format_bytes(bytes);

        buffer_printf(b, "<td class=\"n\" data-v=\"%" PRIu64 "\">%s</td>", bytes, text);
}

static void number_cell(Buffer *b, uint64_t n) {
        _cleanup_free_ char *text = text_number(n);

        buffer_printf(b, "<td class=\"n\" data-v=\"%" PRIu64 "\">%s</td>", n, text);
}

static void bar_cell(Buffer *b, uint64_t part, uint64_t whole) {
        buffer_printf(b, "<td class=\"b\" aria-hidden=\"true\"><span class=\"bar\" style=\"width:%.1f%%\"></span></td>",
                      whole == 0 ? 0 : (double) part * 100 / (double) whole);
}

void html_open_details(Buffer *b, const char *title, size_t n, bool open) {
        _cleanup_free_ char *count = text_number(n);

        buffer_printf(b, "<details%s>", open ? " open" : "");
        html_element(b, "summary", "%s (%s)", title, count);
        buffer_puts(b, "\n");
}

void html_close_details(Buffer *b) {
        buffer_puts(b, "</details>\n");
}

/* --- head --- */

static void append_head(Buffer *b, const Facts *f) {
        const Release *r = f->release;
        _cleanup_free_ char *time = facts_time(r->epoch);

        /* The policy makes it certain that the page asks for nothing, wherever it is opened. */
        buffer_puts(b, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                       "'unsafe-inline'; script-src 'unsafe-inline'\">\n");
        html_element(b, "title", "%s %s: release report", r->image_id, r->version);
        buffer_printf(
                b, "\n<style>\n%s</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#sizes\">Skip to contents</a>\n",
                html_style);
        buffer_puts(b, "<header>");
        html_element(b, "h1", "%s %s", r->image_id, r->version);
        html_element(b, "p class=\"soft\"", "%s, recipe %s, packages of %s, kernel %s", r->architecture, r->recipe,
                     time, isempty(r->kernel_version) ? "unknown" : r->kernel_version);
        buffer_puts(b, "<p>");
        if (release_is_signed(r))
                html_element(b, "span class=\"badge good\"", "signed");
        else
                html_element(b, "span class=\"badge bad\"", "not signed");
        if (r->development_keys)
                html_element(b, "span class=\"badge warn\"", "development keys: do not ship");
        buffer_puts(b, "</p>\n");
}

static void append_card(Buffer *b, const char *title, const char *value, const char *note) {
        buffer_puts(b, "<div>");
        html_element(b, "dt", "%s", title);
        buffer_puts(b, "<dd>");
        html_append(b, value);
        if (note)
                html_element(b, "small", "%s", note);
        buffer_puts(b, "</dd></div>\n");
}

static void append_cards(Buffer *b, const Facts *f, const Changes *c) {
        const Release *r = f->release;
        _cleanup_free_ char *image = format_bytes(r->files[RELEASE_USR].size), *bytes = format_bytes(f->bytes);
        _cleanup_free_ char *uki = format_bytes(r->files[RELEASE_UNSIGNED_UKI].size), *packages = NULL, *initrd = NULL;
        _cleanup_free_ char *n_files = text_number(f->n_files), *in_files = xasprintf("in %s files", n_files);
        _cleanup_free_ char *initrd_size = format_bytes(r->files[RELEASE_INITRD].size), *with_initrd = NULL;

        packages = text_number(f->n_image_packages);
        initrd = xasprintf("and %zu in the initrd", f->n_initrd_packages);
        with_initrd = xasprintf("of it %s initrd", initrd_size);
        buffer_puts(b, "<dl class=\"cards\">\n");
        append_card(b, "/usr image", image, r->layout == USR_LAYOUT_PLAIN ? "EROFS, plain" : "EROFS, lz4hc");
        append_card(b, "Content", bytes, in_files);
        append_card(b, "Packages", packages, initrd);
        append_card(b, "UKI", uki, with_initrd);
        if (c && c->blocks_known) {
                _cleanup_free_ char *new_bytes = format_bytes(c->n_new_blocks * 4096);
                _cleanup_free_ char *since = xasprintf("of /usr since %s, unpacked", c->from->release->version);

                append_card(b, "Update", new_bytes, since);
        }
        buffer_puts(b, "</dl>\n</header>\n<main>\n");
}

static void append_link(Buffer *b, const char *title, const char *what, const char *detail) {
        buffer_puts(b, "<li>");
        html_element(b, "b", "%s", title);
        html_element(b, "span", "%s", what);
        if (detail)
                html_element(b, "code", "%s", detail);
        buffer_puts(b, "</li>\n");
}

static void append_certificate_link(Buffer *b, const Release *r, const char *role, const char *title,
                                    const char *missing) {
        const ReleaseCertificate *c = release_certificate(r, role);
        _cleanup_free_ char *hex = c ? sha256_hex(&c->fingerprint) : NULL, *until = c ? facts_time(c->not_after) : NULL;
        _cleanup_free_ char *what = c ? xasprintf("%s, valid until %s", c->subject, until) : NULL;

        append_link(b, title, what ?: missing, hex);
}

static void append_trust(Buffer *b, const Facts *f) {
        const Release *r = f->release;
        _cleanup_free_ char *uki =
                sha256_hex(&r->files[r->files[RELEASE_UKI].present ? RELEASE_UKI : RELEASE_UNSIGNED_UKI].sha256);
        _cleanup_free_ char *root = sha256_hex(&r->root_hash), *blocks = NULL;
        _cleanup_free_ char *n = text_number(r->files[RELEASE_USR].size / 4096);

        blocks = xasprintf("%s blocks of 4 KiB, checked by dm-verity as they are read", n);
        buffer_puts(b, "<section aria-labelledby=\"trust\"><h2 id=\"trust\">Trust chain</h2>\n<ol class=\"chain\">\n");
        append_certificate_link(b, r, "uki", "Firmware trusts", "nothing: the UKI is not signed");
        append_link(b, "the UKI",
                    r->files[RELEASE_UKI].present ? "signed; kernel, initrd and command line inside" : "not signed",
                    uki);
        append_link(b, "the root hash", "in the UKI's command line as usrhash=", root);
        append_link(b, "all of /usr", blocks, NULL);
        buffer_puts(b, "</ol>\n<p class=\"soft\">The root hash has a signature of its own besides: ");
        if (release_certificate(r, "usr")) {
                const ReleaseCertificate *c = release_certificate(r, "usr");
                _cleanup_free_ char *hex = sha256_hex(&c->fingerprint);

                html_append(b, c->subject);
                buffer_puts(b, " ");
                html_element(b, "code", "%s", hex);
        } else
                buffer_puts(b, "none");
        buffer_puts(b, "</p>\n</section>\n");
}

/* --- sizes --- */

/* A folder that holds nothing but one folder is drawn as "fonts/truetype". */
static const SizeNode *only_folder(const SizeNode *n) {
        return n->n_children == 1 && !n->children[0]->file && n->children[0]->bytes == n->bytes ? n->children[0] : NULL;
}

static void map_folder(TreemapItem *item, const SizeNode *n, unsigned depth);

static void map_child(TreemapItem *item, const SizeNode *n, unsigned depth) {
        _cleanup_free_ char *bytes = format_bytes(n->bytes), *files = text_number(n->n_files), *path = NULL;
        _cleanup_free_ char *label = xstrdup(n->name);
        TreemapItem *child;

        for (const SizeNode *inner = only_folder(n); inner; inner = only_folder(n)) {
                char *longer = xasprintf("%s/%s", label, inner->name);

                free(label);
                label = longer;
                n = inner;
        }
        path = size_node_path(n);
        child = treemap_add(item, TAKE_PTR(label),
                            n->file ? xasprintf("%s: %s", path, bytes)
                                    : xasprintf("%s: %s in %s files", path, bytes, files),
                            n->bytes);
        if (depth < FOLDER_DEPTH)
                map_folder(child, n, depth + 1);
}

static void map_folder(TreemapItem *item, const SizeNode *n, unsigned depth) {
        uint64_t own = n->bytes;

        for (size_t i = 0; i < n->n_children && n->children[i]->bytes > 0; i++) {
                own -= n->children[i]->bytes;
                map_child(item, n->children[i], depth);
        }
        if (own > 0 && item->n_children > 0) {
                _cleanup_free_ char *path = size_node_path(n), *bytes = format_bytes(own);

                treemap_add(item, xstrdup("other files"), xasprintf("other files directly in %s: %s", path, bytes),
                            own);
        }
}

static const char *source_of(const PackageSize *p) {
        return p->package ? p->package->source : p->name;
}

static int by_source(const void *a, const void *b) {
        const PackageSize *x = *(const PackageSize *const *) a, *y = *(const PackageSize *const *) b;
        int d = strcmp(source_of(x), source_of(y));

        return d != 0 ? d : strcmp(x->name, y->name);
}

static void map_packages(TreemapItem *root, const Facts *f) {
        _cleanup_free_ const PackageSize **l = xnew(const PackageSize *, f->n_packages + 1);

        for (size_t i = 0; i < f->n_packages; i++)
                l[i] = &f->packages[i];
        if (f->n_packages > 0)
                qsort(l, f->n_packages, sizeof(*l), by_source);
        for (size_t i = 0, end; i < f->n_packages; i = end) {
                const char *source = source_of(l[i]);
                _cleanup_free_ char *sum_text = NULL;
                TreemapItem *group;
                uint64_t sum = 0;

                for (end = i; end < f->n_packages && streq(source_of(l[end]), source); end++)
                        sum += l[end]->bytes;
                if (sum == 0)
                        continue;
                sum_text = format_bytes(sum);
                group = treemap_add(root, xstrdup(end - i > 1 ? source : l[i]->name),
                                    end - i > 1 ? xasprintf("source %s: %s in %zu packages", source, sum_text, end - i)
                                                : xasprintf("%s: %s", l[i]->name, sum_text),
                                    sum);
                for (size_t j = i; end - i > 1 && j < end; j++) {
                        _cleanup_free_ char *bytes = format_bytes(l[j]->bytes);

                        if (l[j]->bytes > 0)
                                treemap_add(group, xstrdup(l[j]->name), xasprintf("%s: %s", l[j]->name, bytes),
                                            l[j]->bytes);
                }
        }
}

static void append_folder_table(Buffer *b, const Facts *f) {
        _cleanup_free_ SizeNode **folders = NULL;
        size_t n = facts_largest_folders(f, &folders);

        buffer_puts(b, "<h3>Largest folders</h3><div class=\"scroll\"><table><thead><tr><th scope=\"col\">Folder</th>"
                       "<th scope=\"col\" class=\"n\">Size</th><th scope=\"col\" class=\"n\">Files</th>"
                       "<th class=\"b\"></th></tr></thead><tbody>\n");
        for (size_t i = 0; i < MIN(n, (size_t) FOLDER_ROWS) && folders[i]->bytes >= f->bytes / 100; i++) {
                _cleanup_free_ char *path = size_node_path(folders[i]);

                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\" class=\"m\"", "%s", path);
                html_size_cell(b, folders[i]->bytes);
                number_cell(b, folders[i]->n_files);
                bar_cell(b, folders[i]->bytes, folders[0]->bytes);
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
}

static void append_package_table(Buffer *b, const Facts *f) {
        uint64_t largest = f->n_packages > 0 ? f->packages[0].bytes : 0;

        buffer_puts(
                b,
                "<h3>All packages</h3><div class=\"scroll\"><table class=\"sortable\"><thead><tr>"
                "<th scope=\"col\">Package</th><th scope=\"col\">Version</th><th scope=\"col\">Source</th>"
                "<th scope=\"col\" class=\"n\">Files</th><th scope=\"col\" class=\"n\">Size</th><th class=\"b\"></th>"
                "</tr></thead><tbody>\n");
        for (size_t i = 0; i < f->n_packages; i++) {
                const PackageSize *p = &f->packages[i];

                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\"", "%s", p->name);
                html_element(b, "td class=\"m\"", "%s", p->package ? p->package->version : "");
                html_element(b, "td", "%s", p->package ? p->package->source : "");
                number_cell(b, p->n_files);
                html_size_cell(b, p->bytes);
                bar_cell(b, p->bytes, largest);
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
}

static void append_sizes(Buffer *b, const Facts *f) {
        _cleanup_treemap_ TreemapItem folders = {}, packages = {};

        map_folder(&folders, f->folders, 1);
        treemap_settle(&folders);
        map_packages(&packages, f);
        treemap_settle(&packages);
        buffer_puts(b,
                    "<section aria-labelledby=\"sizes\"><h2 id=\"sizes\">Where the bytes are</h2>\n"
                    "<p class=\"soft\">Areas are sizes before compression; hard links count once.</p>\n"
                    "<div class=\"views\"><input type=\"radio\" name=\"view\" id=\"by-folder\" checked>"
                    "<label for=\"by-folder\">By folder</label><input type=\"radio\" name=\"view\" id=\"by-package\">"
                    "<label for=\"by-package\">By package</label>\n<section class=\"folder\">\n");
        treemap_append(b, &folders, "Sizes by folder; the table below has the largest ones in figures");
        append_folder_table(b, f);
        buffer_puts(b, "</section>\n<section class=\"package\">\n");
        treemap_append(b, &packages, "Sizes by package, grouped by source package; the table below has all in figures");
        append_package_table(b, f);
        buffer_puts(b, "</section></div></section>\n");
}

/* --- the rest --- */

static void append_rights(Buffer *b, const Facts *f) {
        buffer_puts(b, "<section aria-labelledby=\"rights\"><h2 id=\"rights\">Rights, accounts, units</h2>\n");
        html_open_details(b, "Files with special rights", f->n_setid + f->n_capable, true);
        buffer_puts(b, "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Path</th><th scope=\"col\">Right</th>"
                       "<th scope=\"col\">Owner</th><th scope=\"col\">Package</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < f->n_setid + f->n_capable; i++) {
                const ContentsEntry *e = i < f->n_setid ? f->setid[i] : f->capable[i - f->n_setid];
                _cleanup_free_ char *owner = facts_owner(f->contents, e), *capabilities = facts_capabilities(e);

                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\" class=\"m\"", "%s", e->path);
                if (i < f->n_setid)
                        html_element(b, "td", "%s%s%s (%04o)", e->mode & S_ISUID ? "set-user-id" : "",
                                     (e->mode & S_ISUID) && (e->mode & S_ISGID) ? ", " : "",
                                     e->mode & S_ISGID ? "set-group-id" : "", e->mode & 07777);
                else
                        html_element(b, "td", "%s", capabilities);
                html_element(b, "td", "%s", owner);
                html_element(b, "td", "%s", e->package ?: FACTS_NO_PACKAGE);
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
        html_close_details(b);
}

static void append_accounts(Buffer *b, const char *title, const Account *items, size_t n) {
        html_open_details(b, title, n, false);
        buffer_puts(b, "<p>");
        for (size_t i = 0; i < n; i++) {
                buffer_puts(b, i > 0 ? ", " : "");
                html_append(b, items[i].name);
                buffer_printf(b, "\xC2\xA0%" PRIu32, items[i].id);
        }
        buffer_puts(b, "</p>\n");
        html_close_details(b);
}

static void append_units(Buffer *b, const Facts *f) {
        static const char *const words[] = {
                [UNIT_ENABLED] = "enabled by",
                [UNIT_MASKED] = "masked",
                [UNIT_ALIAS] = "alias of",
        };

        html_open_details(b, "Units enabled, masked or renamed", f->n_units, false);
        buffer_puts(b, "<div class=\"scroll\"><table><tbody>\n");
        for (size_t i = 0; i < f->n_units; i++) {
                const UnitLink *u = &f->units[i];

                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\" class=\"m\"", "%s", u->name);
                html_element(b, "td", "%s %s", words[u->state], u->by ?: "");
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
        html_close_details(b);
        buffer_puts(b, "</section>\n");
}

static void append_pair(Buffer *b, const char *key, const char *value) {
        html_element(b, "dt", "%s", key);
        buffer_puts(b, "<dd>");
        html_element(b, "code", "%s", isempty(value) ? "none" : value);
        buffer_puts(b, "</dd>\n");
}

static void append_record(Buffer *b, const Facts *f) {
        const Release *r = f->release;
        _cleanup_free_ char *lock = sha256_hex(&r->lock), *request = sha256_hex(&r->request),
                            *ids = sha256_hex(&r->ids);

        buffer_puts(b, "<section aria-labelledby=\"record\"><h2 id=\"record\">Files and build record</h2>\n"
                       "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">File</th><th scope=\"col\" "
                       "class=\"n\">Size</th>"
                       "<th scope=\"col\">SHA-256</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < _RELEASE_PART_MAX; i++) {
                _cleanup_free_ char *name = release_file_name(r, (ReleasePart) i),
                                    *hex = sha256_hex(&r->files[i].sha256);

                if (!r->files[i].present)
                        continue;
                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\" class=\"m\"", "%s", name);
                html_size_cell(b, r->files[i].size);
                html_element(b, "td class=\"m\"", "%s", hex);
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n<dl class=\"pairs\">\n");
        append_pair(b, "Command line", r->command_line);
        append_pair(b, "recipe.lock", lock);
        append_pair(b, "Request", request);
        append_pair(b, "ids.lock", ids);
        for (size_t i = 0; i < r->n_tools; i++)
                append_pair(b, r->tools[i].name, r->tools[i].value);
        buffer_puts(b, "</dl></section>\n");
}

char *html_format(const Facts *f, const Changes *changes) {
        const Contents *c = f->contents;
        Buffer b = {};

        append_head(&b, f);
        append_cards(&b, f, changes);
        append_trust(&b, f);
        append_sizes(&b, f);
        if (changes)
                html_append_changes(&b, changes);
        append_rights(&b, f);
        append_accounts(&b, "Users", c->users, c->n_users);
        append_accounts(&b, "Groups", c->groups, c->n_groups);
        append_units(&b, f);
        append_record(&b, f);
        buffer_printf(&b,
                      "</main>\n<footer><p>Made by sealab %s. This page asks for nothing from anywhere.</p></footer>\n"
                      "<script>\n%s</script>\n</body>\n</html>\n",
                      SEALAB_VERSION, html_script);
        return buffer_steal(&b);
}
