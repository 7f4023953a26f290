/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include <sys/stat.h>

#include "accounts.h"

#define SYSUSERS "/usr/lib/sysusers.d/00-sealab-ids.conf"

static Ids *parse_ids(const char *text) {
        _cleanup_error_ Error e = {};
        Ids *ids = NULL;

        assert_done(ids_parse(text, "ids.lock", &ids, &e), &e);
        return ids;
}

/* As scripts left it: a took the first user, b the first group. ids.lock wants it the other way round. */
static Tree *tree_with_accounts(void) {
        Tree *t = fixture_tree();

        put(t, "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\na:x:101:202:A,,,:/var/a:/bin/sh\nb:x:102:201::/nonexistent:\n");
        put(t, "/etc/group", "root:x:0:\nb:x:201:a,root\na:x:202:\n");
        return t;
}

#define SWAPPED "user root 0\ngroup root 0\nuser a 102\nuser b 101\ngroup a 201\ngroup b 202\n"

static void pin(Tree *t, Ids *ids) {
        _cleanup_error_ Error e = {};

        assert_done(accounts_pin(t, ids, FIXTURE_TIME, &e), &e);
}

static void assert_owner(Tree *t, const char *path, uid_t uid, gid_t gid) {
        const Inode *i = tree_lookup(t, path)->inode;

        assert_int_equal(i->uid, uid);
        assert_int_equal(i->gid, gid);
}

static void exchanged_numbers_are_exchanged_everywhere(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED);

        put_folder(t, "/var/a", 0700, 101, 202);
        put_owned(t, "/var/a/x", 0600, 101, 201, "x");
        put_owned(t, "/var/b", 0600, 102, 0, "x");
        put_link(t, "/var/link", "a")->inode->uid = 102;
        pin(t, ids);
        assert_content(
                t, "/etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\na:x:102:201:A,,,:/var/a:/bin/sh\nb:x:101:202::/nonexistent:\n");
        assert_content(t, "/etc/group", "root:x:0:\nb:x:202:a,root\na:x:201:\n");
        assert_owner(t, "/var/a", 102, 201);
        assert_owner(t, "/var/a/x", 102, 202);
        assert_owner(t, "/var/b", 101, 0);
        assert_owner(t, "/var/link", 101, 0);
        assert_owner(t, "/etc/passwd", 0, 0);
}

static void file_with_several_names_changes_once(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED);

        put_owned(t, "/var/one", 0600, 101, 202, "x")->inode->mark = 7; /* somebody's leftover */
        /* Two: the exchange done twice would be none. */
        assert_int_equal(tree_add_hardlink(t, "/a-first-name", "/var/one", NULL, NULL), 0);
        pin(t, ids);
        assert_owner(t, "/var/one", 102, 201);
        assert_ptr_equal(tree_lookup(t, "/a-first-name")->inode, tree_lookup(t, "/var/one")->inode);
}

/* Version 2; entries of tag, permissions, id: all little-endian. */
#define ACL_ENTRY(tag, id) tag, 0, 7, 0, (id) &0xff, (id) >> 8, 0, 0
#define ACL_HEADER 2, 0, 0, 0
#define ACL_NONE 0xff, 0xff, 0xff, 0xff

static void access_control_lists_follow(void **state) {
        static const uint8_t before[] = { ACL_HEADER,
                                          1,
                                          0,
                                          7,
                                          0,
                                          ACL_NONE, /* owner */
                                          ACL_ENTRY(2, 101),
                                          ACL_ENTRY(2, 102),
                                          ACL_ENTRY(2, 300),
                                          4,
                                          0,
                                          5,
                                          0,
                                          ACL_NONE, /* group */
                                          ACL_ENTRY(8, 201),
                                          ACL_ENTRY(8, 0),
                                          0x10,
                                          0,
                                          7,
                                          0,
                                          101,
                                          0,
                                          0,
                                          0 /* the mask's id means nothing */ };
        static const uint8_t after[] = { ACL_HEADER,
                                         1,
                                         0,
                                         7,
                                         0,
                                         ACL_NONE,
                                         ACL_ENTRY(2, 102),
                                         ACL_ENTRY(2, 101),
                                         ACL_ENTRY(2, 300),
                                         4,
                                         0,
                                         5,
                                         0,
                                         ACL_NONE,
                                         ACL_ENTRY(8, 202),
                                         ACL_ENTRY(8, 0),
                                         0x10,
                                         0,
                                         7,
                                         0,
                                         101,
                                         0,
                                         0,
                                         0 };
        static const char *const names[] = { "system.posix_acl_access", "system.posix_acl_default", "user.other" };
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED);
        Node *n = put_folder(t, "/var/a", 0700, 0, 0), *odd = put_folder(t, "/var/odd", 0700, 0, 0);

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                assert_int_equal(tree_set_xattr(n->inode, names[i], before, sizeof(before)), 0);
        assert_int_equal(tree_set_xattr(odd->inode, names[0], before, 13), 0); /* cut off: left as it is */
        assert_int_equal(tree_set_xattr(odd->inode, names[1], before, 3), 0);
        pin(t, ids);
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                const Xattr *x = inode_xattr(n->inode, names[i]);

                assert_int_equal(x->size, sizeof(after));
                assert_memory_equal(x->value, i < 2 ? after : before, sizeof(after));
        }
        assert_memory_equal(inode_xattr(odd->inode, names[0])->value, before, 13);
        assert_int_equal(inode_xattr(odd->inode, names[1])->size, 3);
}

static void numbers_of_nobody_in_the_tree_stay(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED);

        put_owned(t, "/var/x", 0600, 4242, 4343, "x");
        pin(t, ids);
        assert_owner(t, "/var/x", 4242, 4343);
}

static void new_names_enter_the_list_the_same_whatever_their_order(void **state) {
        static const char *const passwd[] = {
                "root:x:0:0::/root:/bin/sh\nzoo:x:500:500::/:\nant:x:501:501::/:\ncat:x:502:502::/:\n",
                "root:x:0:0::/root:/bin/sh\ncat:x:500:500::/:\nzoo:x:501:501::/:\nant:x:502:502::/:\n",
        };
        static const char *const group[] = { "root:x:0:\nzoo:x:500:\nant:x:501:\ncat:x:502:\n",
                                             "root:x:0:\ncat:x:500:\nzoo:x:501:\nant:x:502:\n" };
        _cleanup_free_ char *first = NULL;

        for (size_t i = 0; i < ELEMENTSOF(passwd); i++) {
                /* All three preferred numbers belong to others already, so each gets one from the top. */
                _cleanup_(ids_freep) Ids *ids =
                        parse_ids("user x 500\nuser y 501\nuser z 502\ngroup x 500\ngroup y 501\ngroup z 502\n");
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_free_ char *text = NULL;

                put(t, "/etc/passwd", passwd[i]);
                put(t, "/etc/group", group[i]);
                pin(t, ids);
                text = ids_format(ids);
                assert_non_null(strstr(text, "user  ant 999\n"));
                assert_non_null(strstr(text, "group ant 999\n"));
                assert_non_null(strstr(text, "user  zoo 997\n"));
                if (first)
                        assert_string_equal(text, first);
                else
                        first = TAKE_PTR(text);
        }
}

static void sysusers_lines_say_the_same_numbers(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED "user person 1000\ngroup person 1000\n");
        _cleanup_free_ char *text = NULL;

        put(t, "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\na:x:101:202:A \"quoted\" 100% \\:/var/a:/bin/sh\nb:x:102:201::/none:\n"
            "person:x:1000:1000::/home/person:/bin/sh\n");
        put(t, "/etc/group", "root:x:0:\nb:x:201:a,root\na:x:202:\nperson:x:1000:\n");
        pin(t, ids);
        text = tree_text(t, SYSUSERS);
        assert_non_null(strstr(text, "\ng root 0\ng b 202\ng a 201\n"));
        assert_non_null(strstr(text, "\nu a 102:201 \"A \\\"quoted\\\" 100%% \\\\\" /var/a /bin/sh\n"));
        assert_non_null(strstr(text, "\nu b 101:202 \"\" /none -\n"));
        assert_null(strstr(text, "person"));
        assert_null(strstr(text, "u root"));
        assert_int_equal(tree_lookup(t, SYSUSERS)->inode->mtime, FIXTURE_TIME);
}

static void second_run_changes_nothing(void **state) {
        _cleanup_(tree_freep) Tree *t = tree_with_accounts();
        _cleanup_(ids_freep) Ids *ids = parse_ids(SWAPPED);
        Sha256 once, twice;

        put_owned(t, "/var/x", 0600, 101, 202, "x");
        pin(t, ids);
        tree_digest(t, true, &once);
        pin(t, ids);
        tree_digest(t, true, &twice);
        assert_true(sha256_equal(&once, &twice));
}

static void malformed_account_files_are_refused(void **state) {
        static const struct {
                const char *passwd, *group;
                Refusal id;
        } cases[] = {
                { "root:x:0:0::/root\n", "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:0:0::/root:/bin/sh:more\n", "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:null:0::/root:/bin/sh\n", "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:0:0::/root:/bin/sh\na:x:5:4294967296::/:\n", "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:4294967295:0::/root:/bin/sh\n", "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:0:0::/root:/bin/sh\n", "root:x:0\n", REFUSAL_BAD_FORMAT },
                { "root:x:0:0::/root:/bin/sh\n", "root:x:-1:\n", REFUSAL_BAD_FORMAT },
                { NULL, "root:x:0:\n", REFUSAL_BAD_FORMAT },
                { "root:x:0:0::/root:/bin/sh\n", NULL, REFUSAL_BAD_FORMAT },
                { "not a name:x:5:0::/:\n", "root:x:0:\n", REFUSAL_IDS },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_(ids_freep) Ids *ids = parse_ids("");
                _cleanup_(tree_freep) Tree *t = fixture_tree();
                _cleanup_error_ Error e = {};

                if (cases[i].passwd)
                        put(t, "/etc/passwd", cases[i].passwd);
                if (cases[i].group)
                        put(t, "/etc/group", cases[i].group);
                assert_refused(accounts_pin(t, ids, FIXTURE_TIME, &e), &e, cases[i].id);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(exchanged_numbers_are_exchanged_everywhere),
                cmocka_unit_test(file_with_several_names_changes_once),
                cmocka_unit_test(access_control_lists_follow),
                cmocka_unit_test(numbers_of_nobody_in_the_tree_stay),
                cmocka_unit_test(new_names_enter_the_list_the_same_whatever_their_order),
                cmocka_unit_test(sysusers_lines_say_the_same_numbers),
                cmocka_unit_test(second_run_changes_nothing),
                cmocka_unit_test(malformed_account_files_are_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
