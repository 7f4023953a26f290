/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tree-fixture.h"

#include "stateless.h"

static void a_key_pair_of_the_installation_goes_with_all_its_names(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        put(t, "/etc/ssl/private/ssl-cert-snakeoil.key", "key");
        put(t, "/etc/ssl/certs/ssl-cert-snakeoil.pem", "certificate");
        put_link(t, "/etc/ssl/certs/5f554ee1.0", "ssl-cert-snakeoil.pem");
        put(t, "/etc/ssl/certs/authority.pem", "certificate");
        put_link(t, "/etc/ssl/certs/11111111.0", "authority.pem");
        stateless_remove_traces(t);
        assert_null(tree_lookup(t, "/etc/ssl/private/ssl-cert-snakeoil.key"));
        assert_null(tree_lookup(t, "/etc/ssl/certs/ssl-cert-snakeoil.pem"));
        assert_null(tree_lookup(t, "/etc/ssl/certs/5f554ee1.0"));
        assert_non_null(tree_lookup(t, "/etc/ssl/certs/authority.pem"));
        assert_non_null(tree_lookup(t, "/etc/ssl/certs/11111111.0"));
}

static void links_that_always_led_out_of_the_tree_stay(void **state) {
        _cleanup_(tree_freep) Tree *t = fixture_tree();

        put_link(t, "/etc/mtab", "../proc/self/mounts");
        put_link(t, "/etc/systemd/system/x.service", "/dev/null");
        put_link(t, "/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
        stateless_remove_traces(t);
        assert_non_null(tree_lookup(t, "/etc/mtab"));
        assert_non_null(tree_lookup(t, "/etc/systemd/system/x.service"));
        assert_non_null(tree_lookup(t, "/etc/resolv.conf"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_key_pair_of_the_installation_goes_with_all_its_names),
                cmocka_unit_test(links_that_always_led_out_of_the_tree_stay),
        };

        return cmocka_run_group_tests_name("traces", tests, NULL, NULL);
}
