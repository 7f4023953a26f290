/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "release-fixture.h"

#include "diff.h"
#include "html.h"
#include "inspect.h"
#include "text.h"
#include "treemap.h"

static Facts *load(const char *folder, const char *version, const Lock *lock, Tree *t) {
        _cleanup_free_ char *path = fixture_release(folder, version, lock, t);
        _cleanup_error_ Error e = {};
        Facts *f = NULL;

        assert_ok(facts_load(path, &f, &e), &e);
        return f;
}

static void assert_has(const char *text, const char *part) {
        if (!strstr(text, part))
                fail_msg("\"%s\" is not in:\n%s", part, text);
}

/* --- facts --- */

static void facts_add_up(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *f = load(*state, "1", &fixture_lock, t);
        uint64_t sum = 0, files = 0;

        for (size_t i = 0; i < f->n_packages; i++) {
                sum += f->packages[i].bytes;
                files += f->packages[i].n_files;
                assert_true(i == 0 || f->packages[i - 1].bytes >= f->packages[i].bytes);
        }
        assert_int_equal(sum, f->bytes);
        assert_int_equal(files, f->n_files + f->n_symlinks);
        assert_int_equal(f->folders->bytes, f->bytes);
        assert_int_equal(f->folders->n_files, f->n_files + f->n_symlinks);
        assert_int_equal(f->n_image_packages, 3);
        assert_int_equal(f->n_initrd_packages, 1);
        assert_int_equal(f->n_setid, 1);
        assert_string_equal(f->setid[0]->path, "/usr/bin/chage");
        assert_int_equal(f->n_capable, 1);
        assert_int_equal(f->n_units, 3);
}

static void capabilities_are_decoded(void **state) {
        static const struct {
                uint8_t value[24];
                size_t size;
                const char *text;
        } cases[] = {
                { { 1, 0, 0, 2, 0, 0x20 }, 20, "cap_net_raw=ep" },
                { { 0, 0, 0, 2, 0, 0x20 }, 20, "cap_net_raw=p" },
                { { 0, 0, 0, 2, 0, 0, 0, 0, 1 }, 20, "cap_chown=i" },
                { { 1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0 }, 20, "cap_chown=ep,cap_bpf=ep" },
                { { 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80 }, 20, "63=ep" },
                { { 1, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xE8, 3, 0, 0 },
                  24,
                  "cap_chown=ep [rootid=1000]" },
                { { 1, 0, 0, 9 }, 20, "unreadable" },
                { { 1, 0, 0, 2 }, 4, "unreadable" },
                { { 1, 0, 0, 2 }, 20, "none" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char name[] = "security.capability";
                Xattr x = { .name = name, .value = (void *) cases[i].value, .size = cases[i].size };
                ContentsEntry e = { .xattrs = &x, .n_xattrs = 1 };
                _cleanup_free_ char *text = facts_capabilities(&e);

                assert_string_equal(text, cases[i].text);
        }
}

static void manifests_of_another_release_are_refused(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_free_ char *a = fixture_release(*state, "1", &fixture_lock, t);
        _cleanup_free_ char *b = fixture_release(*state, "2", &fixture_lock, t);
        _cleanup_(release_freep) Release *x = NULL, *y = NULL;
        _cleanup_free_ char *from = NULL, *to = NULL;
        _cleanup_(facts_freep) Facts *f = NULL;
        _cleanup_error_ Error e = {};

        assert_ok(release_open(a, &x, &e), &e);
        assert_ok(release_open(b, &y, &e), &e);
        from = release_file_path(x, RELEASE_PACKAGES);
        to = release_file_path(y, RELEASE_PACKAGES);
        assert_ok(io_rename_replace(AT_FDCWD, from, to, &e), &e);
        assert_true(facts_load(b, &f, &e) < 0);
        assert_int_equal(e.id, REFUSAL_BAD_FORMAT);
}

/* --- text and JSON --- */

static void the_text_says_what_matters(void **state) {
        static const char *const parts[] = {
                "mine 1 (amd64)",
                "6.12.107-amd64",
                "DEVELOPMENT KEY: do not ship",
                "mine_1.usr.erofs",
                "3 packages in the image, 1 in the initrd",
                "2755 root:shadow          /usr/bin/chage  local-tool",
                "cap_net_raw=ep            /usr/bin/ping  local-tool",
                "man 6",
                "ssh.service  by multi-user.target",
                "default.target -> multi-user.target",
                "esc\\x1b[2Jred",
        };
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *f = NULL;
        _cleanup_free_ char *text = NULL;

        fixture_file(t, "/usr/bin/esc\033[2Jred", 04755, 0, NULL, "x");
        f = load(*state, "1", &fixture_lock, t);
        text = inspect_format_text(f);
        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                assert_has(text, parts[i]);
        assert_null(strchr(text, '\033'));
}

static void json_holds_the_record_and_the_lists(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *f = NULL;
        _cleanup_json_ json_t *o = NULL;

        fixture_file(t, "/usr/bin/not-utf8-\xff", 04755, 0, NULL, "x");
        f = load(*state, "1", &fixture_lock, t);
        o = inspect_to_json(f);
        assert_string_equal(json_string_value(json_object_get(json_object_get(o, "release"), "imageId")), "mine");
        assert_true(json_is_true(json_object_get(o, "signed")));
        assert_int_equal(json_array_size(json_object_get(o, "packages")), 4); /* with what the build made */
        assert_int_equal(json_array_size(json_object_get(o, "setId")), 2);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "users"), "man")), 6);
        assert_int_equal(json_array_size(json_object_get(o, "units")), 3);
}

/* --- differences --- */

static Changes *compare(const Facts *a, const Facts *b) {
        _cleanup_error_ Error e = {};
        Changes *c = NULL;

        assert_ok(changes_find(a, b, true, &c, &e), &e);
        return c;
}

static const FileChange *change_of(const Changes *c, const char *path) {
        for (size_t i = 0; i < c->n_files; i++)
                if (streq(file_change_path(&c->files[i]), path))
                        return &c->files[i];
        return NULL;
}

static void a_release_does_not_differ_from_itself(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *f = load(*state, "1", &fixture_lock, t);
        _cleanup_(changes_freep) Changes *c = compare(f, f);

        assert_false(changes_is_different(c));
        assert_int_equal(c->n_blocks, 3);
        assert_int_equal(c->n_new_blocks, 0);
}

static void tools_alone_make_no_difference(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *a = load(*state, "1", &fixture_lock, t), *b = load(*state, "1", &fixture_lock, t);
        _cleanup_(changes_freep) Changes *c = NULL;
        _cleanup_free_ char *text = NULL;

        release_set_tool(b->release, "openssl", "3.5.1");
        c = compare(a, b);
        assert_false(changes_is_different(c));
        text = diff_format_text(c, false);
        assert_has(text, "openssl 3.5.1");
        assert_has(text, "Nothing that reaches a device is different.");
}

/* Changes something of every kind in the second tree. */
static void change_tree(Tree *t) {
        _cleanup_error_ Error e = {};
        Node *n;

        tree_lookup(t, "/usr/bin/chage")->inode->mode = S_IFREG | 0755;
        assert_ok(tree_remove(t, "/usr/bin/ping"), &e);
        fixture_file(t, "/usr/bin/new", 04755, 0, "local-tool", "new");
        n = tree_lookup(t, "/usr/lib/libstdc++.so.6");
        assert_ok(tree_replace_content(t, n, "shorter", 7, &e), &e);
        n->inode->uid = 6;
        n = tree_lookup(t, "/usr/share/factory/etc/passwd");
        assert_ok(tree_replace_content(t, n, "root:x:0:0:root:/root:/bin/bash\n", 32, &e), &e);
        n = tree_lookup(t, "/usr/share/factory/etc/group");
        assert_ok(tree_replace_content(t, n, "root:x:0:\nshadow:x:43:\nman:x:12:root\n", 37, &e), &e);
        assert_ok(tree_remove(t, FIXTURE_UNITS "apt-daily.timer"), &e);
        fixture_symlink(t, FIXTURE_UNITS "default.target", "/usr/lib/systemd/system/graphical.target");
}

typedef struct Pair {
        Tree *trees[2];
        Facts *from, *to;
        Changes *changes;
        LockPackage packages[4];
        Lock lock;
} Pair;

static void pair_make(Pair *p, const char *folder) {
        *p = (Pair){ .lock = fixture_lock };
        memcpy(p->packages, fixture_packages, sizeof(fixture_packages));
        p->packages[2].version = OWNED("14.2.0-20");
        p->lock.packages = p->packages + 1; /* without bash */
        p->lock.n_packages = 3;
        p->trees[0] = fixture_tree();
        p->trees[1] = fixture_tree();
        change_tree(p->trees[1]);
        p->from = load(folder, "2026.10.1", &fixture_lock, p->trees[0]);
        p->to = load(folder, "2026.11.1", &p->lock, p->trees[1]);
        p->changes = compare(p->from, p->to);
}

static void pair_done(Pair *p) {
        changes_free(p->changes);
        facts_free(p->from);
        facts_free(p->to);
        tree_free(p->trees[0]);
        tree_free(p->trees[1]);
}

static void every_kind_of_change_is_found(void **state) {
        _cleanup_(pair_done) Pair p;
        const Changes *c;

        pair_make(&p, *state);
        c = p.changes;
        assert_true(changes_is_different(c));
        assert_int_equal(c->n_packages, 2);
        assert_string_equal(c->packages[0].name, "bash");
        assert_null(c->packages[0].to);
        assert_string_equal(c->packages[1].to->version, "14.2.0-20");
        assert_true(change_of(c, "/usr/bin/chage")->what == TREE_MODE);
        assert_true(file_change_is_rights(change_of(c, "/usr/bin/chage")));
        assert_true(file_change_is_rights(change_of(c, "/usr/bin/ping")));
        assert_true(file_change_is_rights(change_of(c, "/usr/bin/new")));
        assert_false(file_change_is_rights(change_of(c, "/usr/lib/libstdc++.so.6")));
        assert_true(change_of(c, "/usr/lib/libstdc++.so.6")->what == (TREE_CONTENT | TREE_OWNER));
        assert_true(file_change_is_etc(change_of(c, "/usr/share/factory/etc/passwd")));
        assert_false(file_change_is_etc(change_of(c, "/usr/bin/new")));
        assert_null(change_of(c, "/usr/bin/bash"));
        assert_int_equal(c->n_accounts, 2); /* user man gone, group shadow moved */
        assert_int_equal(c->n_units, 3);    /* a mask gone, an alias changed */
}

static void the_text_of_a_difference_says_what_changed(void **state) {
        static const char *const parts[] = {
                "mine 2026.10.1 -> mine 2026.11.1",
                "Packages removed\n  bash 5.2.15-2 (image, initrd)",
                "libstdc++6 14.2.0-19 -> 14.2.0-20 (image)",
                "* /usr/bin/chage: mode 2755 -> 0755",
                "+ /usr/bin/new: mode 4755, root:root",
                "- user man 6",
                "* group shadow 42 -> 43",
                "- apt-daily.timer masked",
                "+ default.target alias of graphical.target",
                "* /usr/share/factory/etc/passwd: content (-45 B)",
                "owner root:root (0:0) -> 6:root (6:0)",
                "0 of 3 (0%)",
        };
        _cleanup_(pair_done) Pair p;
        _cleanup_free_ char *text = NULL;

        pair_make(&p, *state);
        text = diff_format_text(p.changes, false);
        for (size_t i = 0; i < ELEMENTSOF(parts); i++)
                assert_has(text, parts[i]);
}

static void the_json_of_a_difference_is_complete(void **state) {
        _cleanup_json_ json_t *o = NULL;
        _cleanup_(pair_done) Pair p;

        pair_make(&p, *state);
        o = diff_to_json(p.changes);
        assert_true(json_is_true(json_object_get(o, "different")));
        assert_int_equal(json_array_size(json_object_get(o, "files")), p.changes->n_files);
        assert_int_equal(json_array_size(json_object_get(o, "packages")), 2);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "blocks"), "total")), 3);
}

static void a_new_usrhash_is_no_new_command_line(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *a = load(*state, "1", &fixture_lock, t), *b = load(*state, "1", &fixture_lock, t);
        _cleanup_(changes_freep) Changes *same = NULL, *other = NULL;

        free(b->release->command_line);
        b->release->command_line = xstrdup("quiet usrhash=11");
        same = compare(a, b);
        assert_int_equal(same->n_values, 0);
        free(b->release->command_line);
        b->release->command_line = xstrdup("usrhash=11 debug");
        other = compare(a, b);
        assert_int_equal(other->n_values, 1);
        assert_string_equal(other->values[0].to, "debug");
}

static void new_blocks_are_counted(void **state) {
        _cleanup_free_ char *a = path_join(*state, "a"), *b = path_join(*state, "b"), *data = xcalloc(5, 4096);
        _cleanup_error_ Error e = {};
        uint64_t blocks, new_blocks;

        data[0] = 1;
        data[4096] = 2;
        fixture_write(a, data, 3 * 4096); /* 1 2 0 */
        data[0] = 2;
        data[4096] = 1;
        data[2 * 4096] = 3;
        fixture_write(b, data, 4 * 4096 + 10); /* 2 1 3 0 and a short one */
        assert_ok(changes_count_blocks(a, b, &blocks, &new_blocks, &e), &e);
        assert_int_equal(blocks, 5);
        assert_int_equal(new_blocks, 2);
}

/* --- the page --- */

static bool is_void_element(const char *name) {
        static const char *const words[] = { "meta", "input", "rect", NULL };

        return strv_contains((char *const *) words, name);
}

/* Every element that is opened is closed, in order; the page's own script and style are stepped over. */
static void assert_balanced(const char *page) {
        _cleanup_strv_free_ char **open = NULL;
        size_t n = 0;

        for (const char *s = strchr(page, '<'); s; s = strchr(s, '<')) {
                bool closes = s[1] == '/';
                const char *start = s + 1 + closes, *end = strchr(s, '>');
                _cleanup_free_ char *name = xstrndup(start, strspn(start, "abcdefghijklmnopqrstuvwxyz0123456789"));

                assert_non_null(end);
                if (startswith(s, "<style>") || startswith(s, "<script>")) {
                        s = strstr(s, s[2] == 't' ? "</style>" : "</script>") + 1;
                        continue;
                }
                s = end;
                if (s[-1] == '/' || isempty(name) || is_void_element(name))
                        continue;
                if (!closes) {
                        strv_extend(&open, name);
                        n++;
                        continue;
                }
                if (n == 0 || !streq(open[n - 1], name))
                        fail_msg("</%s> closes <%s>", name, n > 0 ? open[n - 1] : "nothing");
                free(open[--n]);
                open[n] = NULL;
        }
        if (n > 0)
                fail_msg("<%s> is never closed", open[n - 1]);
}

static void the_page_is_self_contained_and_well_formed(void **state) {
        static const char *const forbidden[] = { "http:",   "https:", "src=", "url(",
                                                 "@import", "<link",  "<img", "<iframe" };
        _cleanup_(pair_done) Pair p;
        _cleanup_free_ char *page = NULL;

        pair_make(&p, *state);
        page = html_format(p.to, p.changes);
        for (size_t i = 0; i < ELEMENTSOF(forbidden); i++)
                if (strstr(page, forbidden[i]))
                        fail_msg("the page holds \"%s\"", forbidden[i]);
        assert_non_null(startswith(page, "<!DOCTYPE html>"));
        assert_has(page, "default-src 'none'");
        assert_has(page, "<html lang=\"en\">");
        assert_has(page, "prefers-color-scheme:dark");
        assert_has(page, "What changed since 2026.10.1");
        assert_has(page, "development keys: do not ship");
        assert_has(page, "role=\"img\"");
        assert_balanced(page);
}

static void names_cannot_break_out_of_the_page(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        _cleanup_(facts_freep) Facts *f = NULL;
        _cleanup_free_ char *page = NULL;

        fixture_file(t, "/usr/bin/<script>alert('1')<\xff&\"", 04755, 0, NULL,
                     "a file large enough to be in the picture");
        f = load(*state, "1", &fixture_lock, t);
        page = html_format(f, NULL);
        assert_null(strstr(page, "<script>alert"));
        assert_has(page, "&lt;script&gt;alert(&#39;1&#39;)&lt;\xEF\xBF\xBD&amp;&quot;");
        assert_balanced(page);
}

static void text_is_escaped_for_html(void **state) {
        static const struct {
                const char *from, *to;
        } cases[] = {
                { "plain", "plain" },
                { "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80" },
                { "\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD" },                                 /* overlong */
                { "\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },                 /* surrogate */
                { "\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" }, /* beyond Unicode */
                { "a\xE2\x82", "a\xEF\xBF\xBD\xEF\xBF\xBD" },                               /* cut */
                { "\033[1m", "\xEF\xBF\xBD[1m" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_buffer_ Buffer b = {};

                html_append(&b, cases[i].from);
                assert_string_equal(b.data, cases[i].to);
        }
}

static void the_page_is_written_and_finds_the_release_before(void **state) {
        _cleanup_free_ char *html = path_join(*state, "page.html"), *to = NULL, *page = NULL;
        InspectOptions opt = { .html_path = html };
        _cleanup_error_ Error e = {};
        _cleanup_(pair_done) Pair p;
        size_t size;

        pair_make(&p, *state);
        to = path_join(*state, "mine_2026.11.1");
        assert_ok(inspect_release(to, &opt, &e), &e);
        assert_ok(io_read_file(AT_FDCWD, html, 1 << 24, &page, &size, &e), &e);
        assert_has(page, "What changed since 2026.10.1");
        opt.previous_folder = "/nonexistent";
        assert_true(inspect_release(to, &opt, &e) < 0);
        assert_int_equal(e.id, REFUSAL_NOT_FOUND);
}

/* --- pictures --- */

static void areas_are_in_proportion_and_inside(void **state) {
        static const uint64_t values[] = { 600, 600, 400, 300, 200, 200, 100, 1 };
        TreemapBox within = { 10, 20, 600, 400 }, boxes[ELEMENTSOF(values)];
        double total = 0;

        for (size_t i = 0; i < ELEMENTSOF(values); i++)
                total += (double) values[i];
        treemap_layout(values, ELEMENTSOF(values), within, boxes);
        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                const TreemapBox *a = &boxes[i];
                double wanted = (double) values[i] / total * within.width * within.height;

                assert_true(a->x >= within.x - 0.01 && a->x + a->width <= within.x + within.width + 0.01);
                assert_true(a->y >= within.y - 0.01 && a->y + a->height <= within.y + within.height + 0.01);
                assert_true(a->width * a->height > wanted * 0.99 && a->width * a->height < wanted * 1.01);
                for (size_t j = 0; j < i; j++) {
                        const TreemapBox *b = &boxes[j];

                        assert_true(a->x + a->width <= b->x + 0.01 || b->x + b->width <= a->x + 0.01 ||
                                    a->y + a->height <= b->y + 0.01 || b->y + b->height <= a->y + 0.01);
                }
        }
}

static void nothing_can_be_laid_out_too(void **state) {
        static const uint64_t zeros[] = { 0, 0 };
        TreemapBox boxes[2];

        treemap_layout(zeros, 0, (TreemapBox){ 0, 0, 10, 10 }, boxes);
        treemap_layout(zeros, 2, (TreemapBox){ 0, 0, 10, 10 }, boxes);
        assert_true(boxes[1].width == 0);
}

static void what_is_too_small_to_see_becomes_one(void **state) {
        _cleanup_treemap_ TreemapItem root = {};
        uint64_t sum = 0;

        treemap_add(&root, xstrdup("large"), xstrdup("large"), 1000000);
        for (size_t i = 0; i < 300; i++)
                treemap_add(&root, xasprintf("small%zu", i), xstrdup(""), 10);
        treemap_settle(&root);
        assert_int_equal(root.n_children, 2);
        assert_string_equal(root.children[1].label, "300 more");
        for (size_t i = 0; i < root.n_children; i++)
                sum += root.children[i].value;
        assert_int_equal(sum, 1003000);
}

static void numbers_are_grouped(void **state) {
        static const struct {
                uint64_t n;
                const char *text;
        } cases[] = { { 0, "0" }, { 999, "999" }, { 1000, "1,000" }, { 1234567, "1,234,567" } };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = text_number(cases[i].n);

                assert_string_equal(text, cases[i].text);
        }
        assert_int_equal(text_percent(1, 3), 33);
        assert_int_equal(text_percent(0, 0), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(facts_add_up),
                cmocka_unit_test(capabilities_are_decoded),
                TEST(manifests_of_another_release_are_refused),
                TEST(the_text_says_what_matters),
                TEST(json_holds_the_record_and_the_lists),
                TEST(a_release_does_not_differ_from_itself),
                TEST(tools_alone_make_no_difference),
                TEST(every_kind_of_change_is_found),
                TEST(the_text_of_a_difference_says_what_changed),
                TEST(the_json_of_a_difference_is_complete),
                TEST(a_new_usrhash_is_no_new_command_line),
                TEST(new_blocks_are_counted),
                TEST(the_page_is_self_contained_and_well_formed),
                TEST(names_cannot_break_out_of_the_page),
                cmocka_unit_test(text_is_escaped_for_html),
                TEST(the_page_is_written_and_finds_the_release_before),
                cmocka_unit_test(areas_are_in_proportion_and_inside),
                cmocka_unit_test(nothing_can_be_laid_out_too),
                cmocka_unit_test(what_is_too_small_to_see_becomes_one),
                cmocka_unit_test(numbers_are_grouped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
