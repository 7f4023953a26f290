/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "mirrors.h"
#include "process.h"

/* Which words can be Debian's own suites, where apt does not know the origin yet: other archives call theirs after
 * Debian's, but with something more ("bookworm-pgdg"). */
static const char *const debian_suites[] = { "stable",   "oldstable", "oldoldstable", "testing", "unstable", "sid",
                                             "bullseye", "bookworm",  "trixie",       "forky",   "duke" };

static char *clean_uri(const char *uri) {
        char *copy = startswith(uri, "file:/") && !startswith(uri, "file://") ? xasprintf("file://%s", uri + 5)
                                                                              : xstrdup(uri);

        for (size_t n = strlen(copy); n > 0 && copy[n - 1] == '/'; n--)
                copy[n - 1] = 0;
        return copy;
}

static bool is_usable(const char *uri) {
        return startswith(uri, "http://") || startswith(uri, "https://") || startswith(uri, "file:/");
}

bool mirror_is_security(const char *suite) {
        return endswith(suite, "-security") || endswith(suite, "/updates");
}

char *mirror_security_sibling(const char *uri) {
        static const char word[] = "/debian";
        const char *last = NULL;

        for (const char *p = uri; (p = strstr(p, word)); p++)
                if (p[strlen(word)] == 0 || p[strlen(word)] == '/')
                        last = p + strlen(word);
        return last ? xasprintf("%.*s-security%s", (int) (last - uri), uri, last) : NULL;
}

static bool is_debian_suite(const char *suite, bool security) {
        size_t n = strcspn(suite, "-/");

        if (security != mirror_is_security(suite))
                return false;
        if (!security && suite[n] != 0 && !streq(suite + n, "-updates"))
                return false;
        for (size_t i = 0; i < ELEMENTSOF(debian_suites); i++)
                if (strlen(debian_suites[i]) == n && strncmp(debian_suites[i], suite, n) == 0)
                        return true;
        return false;
}

char *mirror_from_targets(const char *targets, bool security) {
        _cleanup_strv_free_ char **lines = strv_split(targets, "\n");
        char *unknown = NULL;

        STRV_FOREACH (line, lines) {
                _cleanup_strv_free_ char **f = strv_split(*line, "|");
                bool known;

                if (strv_length(f) < 3 || !streq(f[2], "main") || !is_usable(f[0]) || !is_debian_suite(f[1], security))
                        continue;
                known = f[3] && f[3][0] != '$';
                if (known && streq(f[3], "Debian")) {
                        free(unknown);
                        return clean_uri(f[0]);
                }
                if (!known && !unknown)
                        unknown = clean_uri(f[0]);
        }
        return unknown;
}

/* Without release information apt lists what is configured but was never downloaded. */
static char *targets_of_machine(bool downloaded) {
        const char *const argv[] = { "apt-get",
                                     "indextargets",
                                     "--format",
                                     "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)",
                                     "Created-By: Packages",
                                     downloaded ? NULL : "--no-release-info",
                                     NULL };
        char *output = NULL;

        (void) process_run((char *const *) argv, NULL, &output, NULL, NULL);
        return output ?: xstrdup("");
}

typedef struct MachineMirrors {
        char *main, *security;
        bool read;
} MachineMirrors;

static void machine_mirrors_done(MachineMirrors *m) {
        free(m->main);
        free(m->security);
}

static void read_machine(MachineMirrors *m) {
        if (m->read)
                return;
        m->read = true;
        for (int downloaded = 1; downloaded >= 0; downloaded--) {
                _cleanup_free_ char *targets = targets_of_machine(downloaded);

                if (!m->main)
                        m->main = mirror_from_targets(targets, false);
                if (!m->security)
                        m->security = mirror_from_targets(targets, true);
        }
        if (!m->security && m->main)
                m->security = mirror_security_sibling(m->main);
}

static void from_recipe(const Recipe *recipe, const char *suite, char ***uris) {
        for (int special = 1; special >= 0; special--)
                STRV_FOREACH (mirror, recipe->mirrors) {
                        const char *equals = strchr(*mirror, '='), *scheme = strstr(*mirror, "://");
                        bool has_suite = equals && scheme && equals < scheme;

                        if (has_suite != (special == 1))
                                continue;
                        if (has_suite && (strlen(suite) != (size_t) (equals - *mirror) ||
                                          strncmp(*mirror, suite, strlen(suite)) != 0))
                                continue;
                        strv_push(uris, clean_uri(has_suite ? equals + 1 : *mirror));
                }
}

static int find_uris(const Recipe *recipe, const char *suite, const char *snapshot, MachineMirrors *machine,
                     char ***uris, Error *reterr) {
        const char *found;

        if (snapshot) {
                char *sibling = mirror_is_security(suite) ? mirror_security_sibling(snapshot) : NULL;

                strv_push(uris, sibling ?: xstrdup(snapshot));
                return 0;
        }
        from_recipe(recipe, suite, uris);
        if (*uris)
                return 0;
        read_machine(machine);
        found = mirror_is_security(suite) ? machine->security : machine->main;
        if (!found) {
                error_set(reterr, ENOENT, REFUSAL_BAD_VALUE,
                          "no mirror is known for suite %s: this machine's apt is not set up for Debian's archive",
                          suite);
                return error_hint(reterr,
                                  "Name one in the recipe, in section [Archive]: \"Mirror=%s=https://...\"; or "
                                  "use --snapshot URI.",
                                  suite);
        }
        strv_extend(uris, found);
        return 0;
}

int lock_mirrors_find(const Recipe *recipe, const char *snapshot_uri, LockMirrors **ret, Error *reterr) {
        _cleanup_(lock_mirrors_freep) LockMirrors *m = xnew(LockMirrors, 1);
        _cleanup_(machine_mirrors_done) MachineMirrors machine = {};
        _cleanup_free_ char *snapshot = NULL;
        int r;

        if (snapshot_uri) {
                if (!is_usable(snapshot_uri) || strpbrk(snapshot_uri, " \t\n\"'[]"))
                        return error_set(reterr, EINVAL, REFUSAL_USAGE,
                                         "--snapshot: not an https, http or file URI: %s", snapshot_uri);
                snapshot = clean_uri(snapshot_uri);
                m->snapshot = true;
        }
        /* Without apt there are none, and fetching by a finished lock works all the same. */
        if (apt_settings_read(&m->settings, NULL) < 0)
                m->settings = xnew(AptSettings, 1);
        m->items = xnew(struct LockMirror, strv_length(recipe->suites));
        STRV_FOREACH (suite, recipe->suites) {
                struct LockMirror *item = &m->items[m->n_items++];

                item->suite = xstrdup(*suite);
                r = find_uris(recipe, *suite, snapshot, &machine, &item->uris, reterr);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(m);
        return 0;
}

LockMirrors *lock_mirrors_free(LockMirrors *m) {
        for (size_t i = 0; m && i < m->n_items; i++) {
                free(m->items[i].suite);
                strv_free(m->items[i].uris);
        }
        if (m) {
                free(m->items);
                apt_settings_free(m->settings);
        }
        free(m);
        return NULL;
}

char *const *lock_mirrors_get(const LockMirrors *m, const char *suite) {
        for (size_t i = 0; i < m->n_items; i++)
                if (streq(m->items[i].suite, suite))
                        return m->items[i].uris;
        return NULL;
}
