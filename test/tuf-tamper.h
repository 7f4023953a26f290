/* SPDX-License-Identifier: LGPL-2.1-or-later */

#pragma once

/* One entry of the tamper table and what runs it. The table holds everything that can be wrong with metadata, each with
 * the refusal that it must meet. Beside them what looks wrong and is allowed. Where nothing else is said, the spoiled
 * document is signed as it should be and listed with its right length and hash, so that only the rule in question
 * stands in the way. */

#include "tuf-forge.h"

#define NOBODY (1U << 31)

typedef struct Case {
        const char *name;
        Doc doc;
        const char *path, *value;              /* put there before signing; without a value: removed */
        void (*edit)(Forge *f);                /* more of that */
        const char *find, *with;               /* replaced after signing */
        void (*spoil)(Forge *, Doc, Buffer *); /* more of that */
        unsigned signers;                      /* 0: as always */
        const char *target;                    /* looked for, once the metadata is fresh */
        bool first;                            /* the root is the one that comes with the machine */
        bool again;                            /* the client saw the repository before it was spoiled */
        bool careless;                         /* the transport keeps no limits */
        bool absent;                           /* nothing is wrong, but the target is not there */
        Refusal expected;                      /* REFUSAL_NONE: accepted */
} Case;

#define PUT(n, d, where, what, id)                                                                                     \
        { .name = n, .doc = d, .path = where, .value = what, .expected = id }

/* ---- running a case ------------------------------------------------------------------------------------------ */

static void spoil_text(Forge *f, Doc doc, Buffer *b) {
        _cleanup_free_ char *with = forge_expand(f, f->with), *find = forge_expand(f, f->find);

        forge_replace(b, find, with, strlen(with));
}

static void apply(Forge *f, const Case *c) {
        if (c->spoil || c->find) {
                f->spoil = c->spoil ?: spoil_text;
                f->spoil_doc = c->doc;
                f->find = c->find;
                f->with = c->with;
        }
        if (c->signers)
                f->signers[c->doc] = c->signers & ~NOBODY;
        if (c->edit)
                c->edit(f);
        if (c->path)
                forge_put(f, c->doc, c->path, c->value);
        f->dirty[c->doc] = true;
        f->rotated |= c->doc == DOC_ROOT;
        f->sim->ignore_limits = c->careless;
        forge_publish(f);
        if (c->first)
                forge_trust(f);
}

/* Whether a case went as expected; complaints are collected so that one run shows them all. */
static bool run_case(const Case *c) {
        _cleanup_(forge_freep) Forge *f = forge_new();
        const char *target = c->target ?: c->doc == DOC_STABLE ? "stable/x" : NULL, *got;
        int r;

        if (c->again)
                assert_int_equal(forge_refresh(f, target), 0);
        apply(f, c);
        r = forge_refresh(f, target);
        got = r < 0 ? refusal_name(f->sim->error.id) : r > 0 ? "absent" : "accepted";
        if (streq(got, c->absent ? "absent" : c->expected ? refusal_name(c->expected) : "accepted"))
                return true;
        print_error("%s: %s: %s, expected %s (%s)\n", forge_doc_names[c->doc], c->name, got,
                    c->absent     ? "absent"
                    : c->expected ? refusal_name(c->expected)
                                  : "accepted",
                    f->sim->error.message ?: "");
        return false;
}

/* n_refused: how many of them must be refused, for the count of the whole table. */
static void run_cases(const Case *cases, size_t n, size_t n_refused_min) {
        size_t n_wrong = 0, n_refused = 0;

        for (size_t i = 0; i < n; i++) {
                n_wrong += !run_case(&cases[i]);
                n_refused += cases[i].expected != REFUSAL_NONE;
                for (size_t k = 0; k < i; k++)
                        assert_false(cases[i].doc == cases[k].doc && streq(cases[i].name, cases[k].name));
        }
        print_message("           %zu cases, %zu of them refused\n", n, n_refused);
        assert_int_equal(n_wrong, 0);
        assert_true(n_refused >= n_refused_min);
}
#define RUN(cases, n_refused_min) run_cases(cases, ELEMENTSOF(cases), n_refused_min)
