/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small trees in few words, for the tests of the steps that change them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "folder-fixture.h"
#include "tree.h"

#define FIXTURE_TIME INT64_C(1700000000)
/* Recipes of tests borrow literals; they are never freed. */
#define OWNED(literal) ((char *) (literal))
#define OWNED_LIST(...) ((char *[]){ __VA_ARGS__, NULL })

static inline void assert_done(int r, const Error *e) {
        if (r < 0)
                fail_msg("%s: %s", refusal_name(e->id), e->message);
}

static inline void assert_refused(int r, const Error *e, Refusal id) {
        assert_true(r < 0);
        assert_string_equal(refusal_name(e->id), refusal_name(id));
        assert_false(isempty(e->message));
}

static inline Tree *fixture_tree(void) {
        _cleanup_error_ Error e = {};
        Tree *t = NULL;

        assert_done(tree_new(NULL, &t, &e), &e);
        return t;
}

static inline Node *put_owned(Tree *t, const char *path, mode_t mode, uid_t uid, gid_t gid, const char *text) {
        NodeAttributes a = { .mode = mode, .uid = uid, .gid = gid, .mtime = FIXTURE_TIME };
        _cleanup_error_ Error e = {};
        Node *n = NULL;

        assert_done(tree_add_file(t, path, &a, text, strlen(text), &n, &e), &e);
        return n;
}

static inline Node *put(Tree *t, const char *path, const char *text) {
        return put_owned(t, path, 0644, 0, 0, text);
}

/* A file of a package. */
static inline Node *put_package(Tree *t, const char *path, const char *package) {
        Node *n = put(t, path, "content");

        n->inode->package = xstrdup(package);
        return n;
}

static inline Node *put_folder(Tree *t, const char *path, mode_t mode, uid_t uid, gid_t gid) {
        NodeAttributes a = { .mode = mode, .uid = uid, .gid = gid, .mtime = FIXTURE_TIME };
        _cleanup_error_ Error e = {};
        Node *n = NULL;

        assert_done(tree_add_folder(t, path, &a, &n, &e), &e);
        return n;
}

static inline Node *put_link(Tree *t, const char *path, const char *target) {
        NodeAttributes a = { .mode = 0777, .mtime = FIXTURE_TIME };
        _cleanup_error_ Error e = {};
        Node *n = NULL;

        assert_done(tree_add_symlink(t, path, &a, target, &n, &e), &e);
        return n;
}

static inline char *tree_text(Tree *t, const char *path) {
        Node *n = tree_lookup(t, path);
        _cleanup_error_ Error e = {};
        char *text = NULL;

        if (!n)
                fail_msg("%s is not there", path);
        assert_true(node_is_file(n));
        assert_done(tree_read_file(t, n, 16 << 20, &text, NULL, &e), &e);
        return text;
}

static inline void assert_content(Tree *t, const char *path, const char *wanted) {
        _cleanup_free_ char *text = tree_text(t, path);

        assert_string_equal(text, wanted);
}

static inline void assert_link(Tree *t, const char *path, const char *target) {
        Node *n = tree_lookup(t, path);

        if (!n)
                fail_msg("%s is not there", path);
        assert_true(node_is_symlink(n));
        assert_string_equal(n->inode->target, target);
        assert_int_equal(n->inode->size, strlen(target));
}

static inline void assert_gone(Tree *t, const char *path) {
        if (tree_lookup(t, path))
                fail_msg("%s is still there", path);
}

static inline void assert_there(Tree *t, const char *path) {
        if (!tree_lookup(t, path))
                fail_msg("%s is gone", path);
}

/* A host file below the folder, with its parents. */
static inline void put_host(const char *folder, const char *path, const char *text) {
        _cleanup_free_ char *full = path_join(folder, path), *parent = path_dirname(full);
        _cleanup_error_ Error e = {};

        assert_done(io_mkdir_parents(AT_FDCWD, parent, 0755, &e), &e);
        assert_done(io_write_file(AT_FDCWD, full, text, strlen(text), 0644, &e), &e);
}
