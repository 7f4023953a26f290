/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Documents that Debian packs are in the image as they are, under names that say so; links still lead to them. */

#include "tree-fixture.h"

#include "archive-cleanup.h"
#include "documents.h"

static void put_packed(Tree *t, const char *path, const char *text) {
        static const NodeAttributes attributes = { .mode = 0640, .gid = 3, .mtime = FIXTURE_TIME, .package = "bash" };
        _cleanup_(archive_write_freep) struct archive *a = archive_write_new();
        _cleanup_(archive_entry_freep) struct archive_entry *e = archive_entry_new();
        uint8_t packed[4096];
        size_t size = 0;

        assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
        assert_int_equal(archive_write_add_filter_gzip(a), ARCHIVE_OK);
        assert_int_equal(archive_write_open_memory(a, packed, sizeof(packed), &size), ARCHIVE_OK);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_pathname(e, "x");
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        assert_int_equal(archive_write_data(a, text, strlen(text)), strlen(text));
        assert_int_equal(archive_write_close(a), ARCHIVE_OK);
        assert_int_equal(tree_add_file(t, path, &attributes, packed, size, NULL, NULL), 0);
}

static void unpack(Tree *t) {
        _cleanup_error_ Error e = {};

        assert_done(documents_unpack(t, &e), &e);
}

static void manuals_and_documents_are_unpacked(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();
        const Inode *i;

        put_packed(t, "/usr/share/man/man1/ls.1.gz", "lists");
        put_packed(t, "/usr/share/man/de/man1/ls.1.gz", "zeigt");
        put_packed(t, "/usr/share/doc/bash/changelog.Debian.gz", "changes");
        put_packed(t, "/usr/share/info/bash.info.gz", "info");
        unpack(t);
        assert_content(t, "/usr/share/man/man1/ls.1", "lists");
        assert_content(t, "/usr/share/man/de/man1/ls.1", "zeigt");
        assert_content(t, "/usr/share/doc/bash/changelog.Debian", "changes");
        assert_content(t, "/usr/share/info/bash.info", "info");
        assert_gone(t, "/usr/share/man/man1/ls.1.gz");
        i = tree_lookup(t, "/usr/share/man/man1/ls.1")->inode;
        assert_int_equal(i->mode & 07777, 0640);
        assert_int_equal(i->gid, 3);
        assert_string_equal(i->package, "bash");
        assert_int_equal(i->size, strlen("lists"));
}

static void links_lead_to_the_new_names(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        put_packed(t, "/usr/share/man/man1/vim.1.gz", "edits");
        put_link(t, "/usr/share/man/man1/vi.1.gz", "ex.1.gz");
        put_link(t, "/usr/share/man/man1/ex.1.gz", "/usr/share/man/man1/vim.1.gz");
        put_link(t, "/usr/share/doc/vim", "../man");
        put_link(t, "/usr/lib/vim/help", "../../share/doc/vim/man1/vim.1.gz");
        put_link(t, "/usr/lib/vim/manual.gz", "help");
        put_link(t, "/etc/vim.gz", "/usr/share/man/man1/vi.1.gz");
        put_link(t, "/usr/share/man/man1/lost.1.gz", "nowhere.1.gz");
        unpack(t);
        assert_link(t, "/usr/share/man/man1/vi.1", "ex.1");
        assert_link(t, "/usr/share/man/man1/ex.1", "/usr/share/man/man1/vim.1");
        assert_link(t, "/usr/lib/vim/help", "../../share/doc/vim/man1/vim.1");
        assert_link(t, "/usr/lib/vim/manual", "help");
        assert_gone(t, "/usr/share/man/man1/vi.1.gz");
        assert_link(t, "/etc/vim", "/usr/share/man/man1/vi.1");
        assert_link(t, "/usr/share/man/man1/lost.1.gz", "nowhere.1.gz");
        assert_ptr_equal(tree_resolve(t, "/etc/vim"), tree_lookup(t, "/usr/share/man/man1/vim.1"));
        assert_ptr_equal(tree_resolve(t, "/usr/lib/vim/help"), tree_lookup(t, "/usr/share/man/man1/vim.1"));
}

static void hard_links_stay_one_file(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        put_packed(t, "/usr/share/man/man1/a.1.gz", "both");
        assert_int_equal(tree_add_hardlink(t, "/usr/share/man/man1/b.1.gz", "/usr/share/man/man1/a.1.gz", NULL, NULL),
                         0);
        unpack(t);
        assert_content(t, "/usr/share/man/man1/b.1", "both");
        assert_ptr_equal(tree_lookup(t, "/usr/share/man/man1/a.1")->inode,
                         tree_lookup(t, "/usr/share/man/man1/b.1")->inode);
}

static void what_cannot_be_renamed_or_unpacked_stays(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        /* The name is taken: of the file, of a link to it, of another name of it. */
        put_packed(t, "/usr/share/doc/bash/README.gz", "packed");
        put(t, "/usr/share/doc/bash/README", "plain");
        put_packed(t, "/usr/share/doc/bash/NEWS.gz", "news");
        put_link(t, "/usr/share/doc/bash/news.gz", "NEWS.gz");
        put(t, "/usr/share/doc/bash/news", "plain");
        put_link(t, "/usr/share/doc/bash/NEWS.old.gz", "NEWS.gz");
        put_packed(t, "/usr/share/doc/bash/shared.gz", "shared");
        assert_int_equal(tree_add_hardlink(t, "/usr/lib/shared.gz", "/usr/share/doc/bash/shared.gz", NULL, NULL), 0);
        put(t, "/usr/share/doc/bash/broken.gz", "not gzip");
        put(t, "/usr/share/doc/bash/empty.gz", "");
        put_packed(t, "/usr/share/doc/bash/example.tar.gz", "archive");
        put_packed(t, "/usr/share/doc/bash/.gz", "nameless");
        put_packed(t, "/usr/lib/bash/data.gz", "data");
        put_packed(t, "/usr/share/docs/other.gz", "other");
        unpack(t);
        assert_there(t, "/usr/share/doc/bash/README.gz");
        assert_content(t, "/usr/share/doc/bash/README", "plain");
        assert_there(t, "/usr/share/doc/bash/NEWS.gz");
        assert_link(t, "/usr/share/doc/bash/news.gz", "NEWS.gz");
        assert_link(t, "/usr/share/doc/bash/NEWS.old.gz", "NEWS.gz");
        assert_ptr_equal(tree_lookup(t, "/usr/share/doc/bash/shared.gz")->inode,
                         tree_lookup(t, "/usr/lib/shared.gz")->inode);
        assert_content(t, "/usr/share/doc/bash/broken.gz", "not gzip");
        assert_content(t, "/usr/share/doc/bash/empty.gz", "");
        assert_there(t, "/usr/share/doc/bash/example.tar.gz");
        assert_there(t, "/usr/share/doc/bash/.gz");
        assert_there(t, "/usr/lib/bash/data.gz");
        assert_there(t, "/usr/share/docs/other.gz");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(manuals_and_documents_are_unpacked),
                cmocka_unit_test(links_lead_to_the_new_names),
                cmocka_unit_test(hard_links_stay_one_file),
                cmocka_unit_test(what_cannot_be_renamed_or_unpacked_stays),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
