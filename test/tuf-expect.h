/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What tests of TUF's client say to a simulated repository. Include cmocka first. */

#include "tuf-fixture.h"

static inline void must_refresh(Sim *s) {
        if (sim_refresh(s) < 0)
                fail_msg("refused: %s: %s", refusal_name(s->error.id), s->error.message);
}

static inline void must_refuse(Sim *s, Refusal id) {
        if (sim_refresh(s) >= 0)
                fail_msg("not refused, %s expected", refusal_name(id));
        if (s->error.id != id)
                fail_msg("%s expected: %s: %s", refusal_name(id), refusal_name(s->error.id), s->error.message);
        assert_null(tuf_client_targets(s->client));
}

static inline void must_store(Sim *s, const char *expected) {
        _cleanup_free_ char *stored = sim_stored(s);

        assert_string_equal(stored, expected);
}

static inline void must_have_asked(Sim *s, const char *expected) {
        _cleanup_free_ char *asked = strv_join(s->requests, " ");

        assert_string_equal(asked ?: "", expected);
}

/* 0: found; 1: not there. */
static inline int find(Sim *s, const char *path) {
        const TufTarget *t = NULL;
        int r;

        strv_free(TAKE_PTR(s->requests));
        r = tuf_client_find_target(s->client, path, &t, &s->error);
        if (r == 0)
                assert_string_equal(t->path, path);
        return r;
}

/* Replaces a document that the server has by one with other content and good signatures. */
static inline void serve_instead(Sim *s, const char *file, json_t *content, const char *keys) {
        unsigned list[SIM_KEYS];
        _cleanup_free_ char *document = sim_document(content, list, sim_parse_keys(keys, list));

        sim_put_text(&s->server, file, document);
}

static const char *const all_roles[] = { "root", "timestamp", "snapshot", "targets" };
