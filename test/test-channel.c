/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "channel.h"

static Refusal judge(const char *member, const char *name) {
        _cleanup_free_ char *text =
                xasprintf("{\"signatures\":[],\"signed\":{\"_type\":\"targets\",\"spec_version\":\"1.0.0\","
                          "\"version\":1,\"expires\":\"2027-01-01T00:00:00Z\",\"targets\":{}%s}}",
                          member);
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_error_ Error e = {};

        if (tuf_metadata_parse(TUF_TARGETS, text, strlen(text), "channel", &m, &e) < 0)
                fail_msg("%s", e.message);
        return channel_check(m, name, &e) < 0 ? e.id : REFUSAL_NONE;
}

static void only_the_document_of_that_channel_is_taken(void **state) {
        assert_int_equal(judge(",\"sealab-channel\":\"stable\"", "stable"), REFUSAL_NONE);
        assert_int_equal(judge(",\"sealab-channel\":\"beta\"", "stable"), REFUSAL_MIXED);
        assert_int_equal(judge(",\"sealab-channel\":\"stable2\"", "stable"), REFUSAL_MIXED);
        assert_int_equal(judge(",\"sealab-channel\":\"\"", "stable"), REFUSAL_MIXED);
        assert_int_equal(judge(",\"sealab-channel\":7", "stable"), REFUSAL_MIXED);
        assert_int_equal(judge("", "stable"), REFUSAL_MIXED);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(only_the_document_of_that_channel_is_taken) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
