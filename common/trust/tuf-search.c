/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* 5.6.7: delegations. */

#include "io.h"
#include "log.h"
#include "tuf-client-internal.h"

/* One edge of the graph that is still to be followed. */
typedef struct Visit {
        const TufMetadata *delegator;
        const TufDelegation *delegation;
} Visit;

typedef struct Search {
        Visit *pending; /* the next one last */
        size_t n_pending, allocated;
        char **visited; /* names of roles */
} Search;

static void search_done(Search *s) {
        free(s->pending);
        strv_free(s->visited);
}

static TufDelegated *find_delegated(TufClient *c, const char *role) {
        for (size_t i = 0; i < c->n_delegated; i++)
                if (streq(c->delegated[i].role, role))
                        return &c->delegated[i];
        return NULL;
}

/* A role that bears a top-level role's name would be stored in that role's place. */
static int check_role_name(const char *name, Error *reterr) {
        for (TufType t = 0; t < _TUF_TYPE_MAX; t++)
                if (streq(name, tuf_type_name(t)))
                        return error_set(reterr, EINVAL, REFUSAL_BAD_FORMAT,
                                         "a delegated role has the name \"%s\" of a top-level role", name);
        return 0;
}

static int obtain_delegated(TufClient *c, const char *role, const char *file, TufTrust trust, TufMetadata **ret,
                            Error *reterr) {
        _cleanup_free_ char *listed = xasprintf("%s.json", role);
        TufWanted w = { .type = TUF_TARGETS, .file = file, .meta = tuf_find_meta(c->snapshot, listed), .trust = trust };

        if (!w.meta)
                return error_set(reterr, EINVAL, REFUSAL_MIXED, "snapshot.json does not list the delegated %s", listed);
        return tuf_client_obtain(c, &w, ret, reterr);
}

/* The document of a delegated role, verified by the keys of this very delegation: another one may have brought it here
 * by other keys. */
static int get_role(TufClient *c, const Visit *v, const TufMetadata **ret, Error *reterr) {
        const char *role = v->delegation->name;
        TufTrust trust = { .keys = &v->delegator->keys, .role = &v->delegation->role };
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        _cleanup_free_ char *file = tuf_role_file_name(role);
        TufDelegated *known = find_delegated(c, role);
        int r = check_role_name(role, reterr);

        if (r < 0)
                return r;
        if (known) {
                r = tuf_verify(known->metadata, trust.keys, trust.role, file, reterr);
                if (r < 0)
                        return r;
                *ret = known->metadata;
                return 0;
        }
        r = obtain_delegated(c, role, file, trust, &m, reterr);
        if (r < 0)
                return r;
        GROW(c->delegated, c->n_delegated, c->allocated_delegated);
        *ret = m;
        c->delegated[c->n_delegated++] = (TufDelegated){ .role = xstrdup(role), .metadata = TAKE_PTR(m) };
        return 0;
}

/* Lines up the delegations of one role that concern the path, so that they come next and in the document's order. After
 * a terminating one nothing else is looked at, neither its later siblings nor anything that was pending (5.6.7.2.1). */
static void push_delegations(Search *s, const TufMetadata *m, const char *path) {
        size_t first, n = 0;

        for (size_t i = 0; i < m->n_delegations; i++) {
                const TufDelegation *d = &m->delegations[i];

                if (!tuf_delegation_matches(d, path))
                        continue;
                n = i + 1;
                if (d->terminating) {
                        s->n_pending = 0;
                        break;
                }
        }
        first = s->n_pending;
        for (size_t i = n; i-- > 0;) {
                if (!tuf_delegation_matches(&m->delegations[i], path))
                        continue;
                GROW(s->pending, s->n_pending, s->allocated);
                s->pending[s->n_pending++] = (Visit){ .delegator = m, .delegation = &m->delegations[i] };
        }
        if (s->n_pending > first)
                log_debug("%s: %zu delegations to look into", path, s->n_pending - first);
}

static int require_refreshed(const TufClient *c, Error *reterr) {
        if (c->targets)
                return 0;
        return error_set(reterr, EINVAL, REFUSAL_USAGE, "the repository's metadata was not refreshed yet");
}

int tuf_client_find_target(TufClient *c, const char *path, const TufTarget **ret, Error *reterr) {
        _cleanup_(search_done) Search s = {};
        const TufMetadata *m = c->targets;
        size_t n_visited = 0;
        int r = require_refreshed(c, reterr);

        if (r < 0)
                return r;
        for (;;) {
                const TufTarget *t = tuf_find_target(m, path);
                Visit v;

                if (t) {
                        *ret = t;
                        return 0;
                }
                push_delegations(&s, m, path);
                /* 5.6.7.1: a role that was visited before is passed over, so that circles end. */
                do {
                        if (s.n_pending == 0)
                                return 1;
                        v = s.pending[--s.n_pending];
                } while (strv_contains(s.visited, v.delegation->name));
                if (++n_visited > TUF_VISITED_ROLES_MAX) {
                        log_debug("%s: not found in %d delegated roles, giving up", path, TUF_VISITED_ROLES_MAX);
                        return 1;
                }
                strv_extend(&s.visited, v.delegation->name);
                r = get_role(c, &v, &m, reterr);
                if (r < 0)
                        return r;
        }
}

int tuf_client_role(TufClient *c, const char *name, const TufMetadata **ret, Error *reterr) {
        const TufDelegation *d;
        int r = require_refreshed(c, reterr);

        if (r < 0)
                return r;
        d = tuf_find_delegation(c->targets, name);
        if (!d)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "the repository has no role \"%s\"", name);
        return get_role(c, &(Visit){ .delegator = c->targets, .delegation = d }, ret, reterr);
}

/* Section 6.2 of the specification leaves the choice of the hash; the shortest we know is enough. */
char *tuf_client_target_location(const TufClient *c, const TufTarget *target) {
        _cleanup_free_ char *hash = NULL;
        const char *name = path_basename(target->path);

        if (!c->root->consistent_snapshot)
                return xstrdup(target->path);
        hash = target->hashes.has_sha256 ? sha256_hex(&target->hashes.sha256)
                                         : hex_encode(target->hashes.sha512, sizeof(target->hashes.sha512));
        return xasprintf("%.*s%s.%s", (int) (name - target->path), target->path, hash, name);
}
