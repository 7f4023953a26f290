/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "html-parts.h"
#include "html.h"
#include "text.h"

/* Rows of a package's list of files, so that a new kernel does not make a page of ten megabytes. */
#define FILES_SHOWN 200

static void append_values(Buffer *b, const Changes *c) {
        buffer_puts(b,
                    "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">What</th><th scope=\"col\">Before</th>"
                    "<th scope=\"col\">Now</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < c->n_values; i++) {
                const ValueChange *v = &c->values[i];

                if (v->note)
                        continue;
                buffer_puts(b, "<tr>");
                html_element(b, "th scope=\"row\"", "%s", v->name);
                html_element(b, "td class=\"m old\"", "%s", isempty(v->from) ? "none" : v->from);
                html_element(b, "td class=\"m new\"", "%s", isempty(v->to) ? "none" : v->to);
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
}

static const SizeChange *size_of(const Changes *c, const char *name) {
        for (size_t i = 0; i < c->n_sizes; i++)
                if (streq(c->sizes[i].name, name))
                        return &c->sizes[i];
        return NULL;
}

static void append_mark(Buffer *b, bool from, bool to) {
        if (!from)
                buffer_puts(b, "<span class=\"mark new\" aria-label=\"added\">+</span>");
        else if (!to)
                buffer_puts(b, "<span class=\"mark old\" aria-label=\"removed\">\xE2\x88\x92</span>");
        else
                buffer_puts(b, "<span class=\"mark\" aria-label=\"changed\">\xE2\x80\xA2</span>");
}

/* Where only the place changed, the version alone would show nothing. */
static void append_version(Buffer *b, const PackageChange *p, const ManifestPackage *which) {
        bool moved = p->from && p->to && p->from->purpose != p->to->purpose;

        if (which && moved)
                html_element(b, "td class=\"m\"", "%s (%s)", which->version, package_place(which));
        else
                html_element(b, "td class=\"m\"", "%s", which ? which->version : "");
}

static void append_packages(Buffer *b, const Changes *c) {
        if (c->n_packages == 0)
                return;
        html_open_details(b, "Packages", c->n_packages, true);
        buffer_puts(
                b, "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Package</th><th scope=\"col\">Before</th>"
                   "<th scope=\"col\">Now</th><th scope=\"col\" class=\"n\">Size</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < c->n_packages; i++) {
                const PackageChange *p = &c->packages[i];
                const SizeChange *s = size_of(c, p->name);
                _cleanup_free_ char *size = s ? format_size_change(s->from, s->to) : NULL;

                buffer_puts(b, "<tr><th scope=\"row\">");
                append_mark(b, p->from, p->to);
                html_append(b, p->name);
                buffer_puts(b, "</th>");
                append_version(b, p, p->from);
                append_version(b, p, p->to);
                html_element(b, "td class=\"n\"", "%s", size ?: "");
                buffer_puts(b, "</tr>\n");
        }
        buffer_puts(b, "</tbody></table></div>\n");
        html_close_details(b);
}

static void append_file_row(Buffer *b, const Changes *c, const FileChange *f) {
        _cleanup_free_ char *description = file_change_describe(c, f);

        buffer_puts(b, "<tr><td class=\"m\">");
        append_mark(b, f->from, f->to);
        html_append(b, file_change_path(f));
        buffer_puts(b, "</td>");
        html_element(b, "td", "%s", description);
        buffer_puts(b, "</tr>\n");
}

static void open_file_table(Buffer *b) {
        buffer_puts(b, "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Path</th>"
                       "<th scope=\"col\">Change</th></tr></thead><tbody>\n");
}

static void close_file_table(Buffer *b, size_t n) {
        buffer_puts(b, "</tbody></table></div>\n");
        if (n > FILES_SHOWN)
                html_element(b, "p class=\"soft\"", "and %zu more; sealab diff --all lists them", n - FILES_SHOWN);
}

static void append_selected(Buffer *b, const Changes *c, const char *title, bool (*selects)(const FileChange *f),
                            bool open) {
        size_t n = 0, shown = 0;

        for (size_t i = 0; i < c->n_files; i++)
                n += selects(&c->files[i]);
        if (n == 0)
                return;
        html_open_details(b, title, n, open);
        open_file_table(b);
        for (size_t i = 0; i < c->n_files; i++)
                if (selects(&c->files[i]) && shown++ < FILES_SHOWN)
                        append_file_row(b, c, &c->files[i]);
        close_file_table(b, n);
        html_close_details(b);
}

static void append_accounts(Buffer *b, const Changes *c) {
        if (c->n_accounts == 0)
                return;
        html_open_details(b, "Users and groups", c->n_accounts, true);
        buffer_puts(b, "<ul>\n");
        for (size_t i = 0; i < c->n_accounts; i++) {
                const AccountChange *a = &c->accounts[i];
                const Account *any = a->to ?: a->from;

                buffer_puts(b, "<li>");
                append_mark(b, a->from, a->to);
                buffer_puts(b, a->user ? "user " : "group ");
                html_append(b, any->name);
                if (a->from && a->to && a->from->id != a->to->id)
                        buffer_printf(b, " %" PRIu32 " \xE2\x86\x92 %" PRIu32, a->from->id, a->to->id);
                else
                        buffer_printf(b, " %" PRIu32, any->id);
                buffer_puts(b, "</li>\n");
        }
        buffer_puts(b, "</ul>\n");
        html_close_details(b);
}

static void append_units(Buffer *b, const Changes *c) {
        static const char *const words[] = {
                [UNIT_ENABLED] = "enabled by",
                [UNIT_MASKED] = "masked",
                [UNIT_ALIAS] = "alias of",
        };

        if (c->n_units == 0)
                return;
        html_open_details(b, "Units", c->n_units, true);
        buffer_puts(b, "<ul>\n");
        for (size_t i = 0; i < c->n_units; i++) {
                const UnitLink *u = c->units[i].to ?: c->units[i].from;

                buffer_puts(b, "<li>");
                append_mark(b, c->units[i].from, c->units[i].to);
                html_append(b, u->name);
                buffer_printf(b, " %s ", words[u->state]);
                html_append(b, u->by ?: "");
                buffer_puts(b, "</li>\n");
        }
        buffer_puts(b, "</ul>\n");
        html_close_details(b);
}

static void append_files(Buffer *b, const Changes *c) {
        _cleanup_free_ const FileChange **files = NULL;

        changes_by_package(c, &files);
        if (c->n_files > 0)
                buffer_puts(b, "<h3>Files by package</h3>\n");
        for (size_t i = 0, end; i < c->n_files; i = end) {
                const char *package = file_change_package(files[i]);

                for (end = i; end < c->n_files && streq(file_change_package(files[end]), package); end++)
                        ;
                html_open_details(b, package, end - i, false);
                open_file_table(b);
                for (size_t j = i; j < MIN(end, i + FILES_SHOWN); j++)
                        append_file_row(b, c, files[j]);
                close_file_table(b, end - i);
                html_close_details(b);
        }
}

void html_append_changes(Buffer *b, const Changes *c) {
        buffer_puts(b, "<section aria-labelledby=\"changed\">");
        html_element(b, "h2 id=\"changed\"", "What changed since %s", c->from->release->version);
        if (!changes_is_different(c)) {
                html_element(b, "p", "Nothing that reaches a device is different.");
                buffer_puts(b, "</section>\n");
                return;
        }
        if (c->blocks_known) {
                _cleanup_free_ char *bytes = format_bytes(c->n_new_blocks * 4096);
                _cleanup_free_ char *n = text_number(c->n_new_blocks), *all = text_number(c->n_blocks);

                html_element(b, "p",
                             "%s of the %s blocks of the new /usr are not in the old one (%u%%): %s is what an update "
                             "that reuses blocks fetches of it, before compression and without the UKI.",
                             n, all, text_percent(c->n_new_blocks, c->n_blocks), bytes);
        }
        append_values(b, c);
        append_packages(b, c);
        append_selected(b, c, "Rights: set-user-id, set-group-id, capabilities", file_change_is_rights, true);
        append_accounts(b, c);
        append_units(b, c);
        append_selected(b, c, "Defaults of /etc", file_change_is_etc, false);
        append_files(b, c);
        buffer_puts(b, "</section>\n");
}
