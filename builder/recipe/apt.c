/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <strings.h>

#include "apt.h"
#include "io.h"
#include "log.h"
#include "process.h"

#define OUTPUT_MAX ((size_t) 64 << 20)
#define REASONS_MAX 30 /* lines of apt's reasons in one message */
#define PLAN_MAX 100000

/* Taken over from the machine: how to reach the network, and how old an archive may be. Never what loosens the check of
 * signatures. */
static const char *const passed_on[] = {
        "Acquire::http::",     "Acquire::https::",           "Acquire::Retries",    "Acquire::ForceIPv4",
        "Acquire::ForceIPv6",  "Acquire::Check-Valid-Until", "Acquire::Check-Date", "Acquire::Max-ValidTime",
        "Acquire::Queue-Mode", "Acquire::Min-ValidTime",
};

char *uri_encode_path(const char *path) {
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
        _cleanup_buffer_ Buffer b = {};

        for (const char *p = path; *p; p++)
                if (strchr(plain, *p))
                        buffer_append(&b, p, 1);
                else
                        buffer_printf(&b, "%%%02X", (unsigned char) *p);
        return b.size > 0 ? buffer_steal(&b) : xstrdup("");
}

/* ---- the machine's settings ------------------------------------------------------------------------------ */

AptSettings *apt_settings_free(AptSettings *s) {
        for (size_t i = 0; s && i < s->n_items; i++) {
                free(s->items[i].name);
                free(s->items[i].value);
        }
        if (s)
                free(s->items);
        free(s);
        return NULL;
}

int apt_settings_read(AptSettings **ret, Error *reterr) {
        static const char *const argv[] = { "apt-config", "dump", "--no-empty", "--format", "%f%N%v%n", NULL };
        _cleanup_(apt_settings_freep) AptSettings *s = xnew(AptSettings, 1);
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_free_ char *output = NULL;
        int r;

        r = process_run((char *const *) argv, NULL, &output, NULL, reterr);
        if (r < 0) {
                error_set(reterr, ENOENT, REFUSAL_MACHINE, "apt is not usable on this machine: %s",
                          reterr ? reterr->message : "");
                return error_hint(reterr, "Locking needs apt of Debian 12 or 13. Builds from a finished lock and store "
                                          "do not.");
        }
        lines = strv_split(output, "\n");
        STRV_FOREACH (line, lines) {
                char *tab = strchr(*line, '\t');

                if (!tab || strncasecmp(*line, "Acquire::", 9) != 0)
                        continue;
                GROW(s->items, s->n_items, s->n_allocated);
                s->items[s->n_items++] =
                        (struct AptSetting){ xstrndup(*line, (size_t) (tab - *line)), xstrdup(tab + 1) };
        }
        *ret = TAKE_PTR(s);
        return 0;
}

const char *apt_settings_get(const AptSettings *s, const char *name) {
        const char *value = NULL;

        for (size_t i = 0; i < s->n_items; i++)
                if (strcasecmp(s->items[i].name, name) == 0)
                        value = s->items[i].value;
        return value;
}

bool apt_settings_get_bool(const AptSettings *s, const char *name, bool fallback) {
        static const char *const no[] = { "no", "false", "without", "off", "disable", "0" };
        const char *value = apt_settings_get(s, name);

        if (isempty(value))
                return fallback;
        for (size_t i = 0; i < ELEMENTSOF(no); i++)
                if (strcasecmp(value, no[i]) == 0)
                        return false;
        return true;
}

const char *apt_settings_proxy(const AptSettings *s, const char *uri) {
        const char *scheme = startswith(uri, "https://") ? "https" : startswith(uri, "http://") ? "http" : NULL, *value;
        _cleanup_free_ char *general = NULL, *special = NULL, *host = NULL;

        if (!scheme)
                return NULL;
        uri += strlen(scheme) + 3;
        host = xstrndup(uri, strcspn(uri, ":/"));
        general = xasprintf("Acquire::%s::Proxy", scheme);
        special = xasprintf("Acquire::%s::Proxy::%s", scheme, host);
        value = apt_settings_get(s, special) ?: apt_settings_get(s, general);
        if (!value && streq(scheme, "https")) /* apt-transport-https(1): falls back to that of http */
                value = apt_settings_get(s, "Acquire::http::Proxy");
        if (!value)
                return NULL;
        return strcasecmp(value, "DIRECT") == 0 || strcasecmp(value, "false") == 0 ? "" : value;
}

/* ---- the private folder ---------------------------------------------------------------------------------- */

static bool is_passed_on(const struct AptSetting *s) {
        for (size_t i = 0; i < ELEMENTSOF(passed_on); i++)
                if (strncasecmp(s->name, passed_on[i], strlen(passed_on[i])) == 0)
                        return !strpbrk(s->value, "\"\n") && !strpbrk(s->name, " \"\n;{}");
        return false;
}

/* A file that APT_CONFIG names is read before all others, and tells apt where those are: nowhere. */
static int write_settings(const AptRoot *a, const AptOptions *opt, Error *reterr) {
        _cleanup_free_ char *path = path_join(a->folder, "apt.conf");
        _cleanup_buffer_ Buffer b = {};
        const char *f = a->folder;

        buffer_printf(&b, "Dir \"%s/\";\n", f);
        buffer_printf(&b, "Dir::State \"%s/state\";\nDir::State::lists \"%s/lists\";\n", f, f);
        buffer_printf(&b, "Dir::State::status \"%s/status\";\n", f);
        buffer_printf(&b, "Dir::State::extended_states \"%s/state/extended_states\";\n", f);
        buffer_printf(&b, "Dir::Cache \"%s/cache\";\nDir::Cache::archives \"%s/cache/archives\";\n", f, f);
        buffer_printf(&b, "Dir::Cache::pkgcache \"pkgcache.bin\";\nDir::Cache::srcpkgcache \"srcpkgcache.bin\";\n");
        buffer_printf(&b, "Dir::Log \"%s/log\";\nDir::Etc \"%s/etc\";\nDir::Etc::main \"apt.conf\";\n", f, f);
        buffer_puts(&b, "Dir::Etc::parts \"apt.conf.d\";\nDir::Etc::sourcelist \"sources.list\";\n"
                        "Dir::Etc::sourceparts \"sources.list.d\";\nDir::Etc::preferences \"preferences\";\n"
                        "Dir::Etc::preferencesparts \"preferences.d\";\nDir::Etc::trusted \"trusted.gpg\";\n"
                        "Dir::Etc::trustedparts \"trusted.gpg.d\";\n");
        /* Passwords for mirrors are the machine's matter. */
        buffer_puts(&b, "Dir::Etc::netrc \"/etc/apt/auth.conf\";\nDir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n");
        buffer_printf(&b, "APT::Architecture \"%s\";\nAPT::Architectures { \"%s\"; };\n", opt->architecture,
                      opt->architecture);
        /* The other user could not reach a private folder; what apt fetches is checked by us once more. */
        buffer_puts(&b, "APT::Sandbox::User \"root\";\n"
                        "APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\n"
                        "APT::Update::Error-Mode \"any\";\nAPT::Get::AllowUnauthenticated \"false\";\n"
                        "APT::Get::List-Cleanup \"false\";\nAPT::Color \"false\";\n");
        /* Names are names, never regular expressions that match something else. */
        buffer_puts(&b, "APT::Cmd::Pattern-Only \"true\";\n");
        /* Nothing is really installed, so no order of installation must exist. */
        buffer_puts(&b, "APT::Immediate-Configure \"false\";\n");
        buffer_puts(&b, "Acquire::AllowInsecureRepositories \"false\";\nAcquire::AllowWeakRepositories \"false\";\n"
                        "Acquire::AllowDowngradeToInsecureRepositories \"false\";\n"
                        "Acquire::Languages { \"none\"; };\nAcquire::PDiffs \"false\";\n"
                        "Acquire::GzipIndexes \"false\";\nAcquire::http::Timeout \"30\";\n"
                        "Acquire::https::Timeout \"30\";\nAcquire::Retries \"2\";\n");
        for (size_t i = 0; i < opt->settings->n_items; i++)
                if (is_passed_on(&opt->settings->items[i]))
                        buffer_printf(&b, "%s \"%s\";\n", opt->settings->items[i].name, opt->settings->items[i].value);
        return io_write_file(AT_FDCWD, path, b.data, b.size, 0644, reterr);
}

static int write_sources(const AptRoot *a, const AptOptions *opt, Error *reterr) {
        _cleanup_free_ char *path = path_join(a->folder, "etc/sources.list.d/sealab.sources"),
                            *components = strv_join(opt->components, " ");
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < opt->n_sources; i++) {
                const AptSource *s = &opt->sources[i];

                buffer_printf(&b, "Types: deb\nURIs: %s\nSuites: %s\nArchitectures: %s\n", s->uri, s->suite,
                              opt->architecture);
                if (s->local)
                        buffer_puts(&b, "Trusted: yes\n");
                else
                        buffer_printf(&b, "Components: %s\nSigned-By: %s\n", components, opt->keyring);
                if (s->ignore_expiry)
                        buffer_puts(&b, "Check-Valid-Until: no\n");
                buffer_puts(&b, "\n");
        }
        return io_write_file(AT_FDCWD, path, b.data ?: "", b.size, 0644, reterr);
}

static int write_preferences(const AptRoot *a, Error *reterr) {
        static const char text[] = "Package: *\nPin: release o=" APT_LOCAL_ORIGIN "\nPin-Priority: 1001\n";
        _cleanup_free_ char *path = path_join(a->folder, "etc/preferences");

        return io_write_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

int apt_root_new(const char *folder, const AptOptions *opt, AptRoot **ret, Error *reterr) {
        static const char *const folders[] = {
                "state",          "lists/partial",      "cache/archives/partial", "log",
                "etc/apt.conf.d", "etc/sources.list.d", "etc/preferences.d",      "etc/trusted.gpg.d",
        };
        _cleanup_(apt_root_freep) AptRoot *a = xnew(AptRoot, 1);
        _cleanup_free_ char *status = path_join(folder, "status");
        int r = 0;

        if (strpbrk(folder, "\"\n \\%[]"))
                return error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                                 "the temporary folder %s has a name that apt cannot take", folder);
        a->folder = xstrdup(folder);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(folders); i++) {
                _cleanup_free_ char *path = path_join(folder, folders[i]);

                r = io_mkdir_parents(AT_FDCWD, path, 0755, reterr);
        }
        if (r >= 0)
                r = io_write_file(AT_FDCWD, status, "", 0, 0644, reterr);
        if (r >= 0)
                r = write_settings(a, opt, reterr);
        if (r >= 0)
                r = write_sources(a, opt, reterr);
        if (r >= 0)
                r = write_preferences(a, reterr);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(a);
        return 0;
}

AptRoot *apt_root_free(AptRoot *a) {
        if (a)
                free(a->folder);
        free(a);
        return NULL;
}

static int set_environment(void *userdata) {
        return setenv("APT_CONFIG", userdata, 1);
}

int apt_root_run(const AptRoot *a, const char *const *argv, char **ret_output, Error *reterr) {
        _cleanup_free_ char *config = path_join(a->folder, "apt.conf"), *output = NULL;
        const ProcessOptions options = { .cwd = a->folder,
                                         .output_max = OUTPUT_MAX,
                                         .merge_stderr = true,
                                         .before_exec = set_environment,
                                         .userdata = config };
        int r;

        r = process_run((char *const *) argv, &options, &output, NULL, reterr);
        log_debug("%s %s: %s", argv[0], argv[1], output ?: "");
        if (ret_output)
                *ret_output = TAKE_PTR(output);
        return r;
}

int apt_root_update(const AptRoot *a, char **ret_output, Error *reterr) {
        static const char *const argv[] = { "apt-get", "update", "-q", NULL };

        return apt_root_run(a, argv, ret_output, reterr);
}

/* ---- what apt found -------------------------------------------------------------------------------------- */

void apt_indexes_done(AptIndexes *l) {
        for (size_t i = 0; i < l->n_items; i++) {
                free(l->items[i].path);
                free(l->items[i].suite);
                free(l->items[i].uri);
                free(l->items[i].component);
                free(l->items[i].name);
                free(l->items[i].release_path);
        }
        free(l->items);
        *l = (AptIndexes){};
}

/* apt names its files after their URIs, with '_' for '/': beside ..._dists_SUITE_main_binary-amd64_Packages lies
 * ..._dists_SUITE_InRelease. */
static char *release_path(const char *path, const char *name) {
        _cleanup_free_ char *flat = xstrdup(name);
        size_t n = strlen(path), m = strlen(name);

        for (char *p = flat; *p; p++)
                if (*p == '/')
                        *p = '_';
        if (n <= m || !streq(path + n - m, flat))
                return NULL;
        return xasprintf("%.*sInRelease", (int) (n - m), path);
}

int apt_root_indexes(const AptRoot *a, AptIndexes *ret, Error *reterr) {
        static const char *const argv[] = { "apt-get",
                                            "indextargets",
                                            "--format",
                                            "$(FILENAME)|$(RELEASE)|$(REPO_URI)|$(COMPONENT)|$(METAKEY)|.",
                                            "Created-By: Packages",
                                            NULL };
        _cleanup_(apt_indexes_done) AptIndexes l = {};
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_free_ char *output = NULL;
        int r;

        r = apt_root_run(a, argv, &output, reterr);
        if (r < 0)
                return r;
        lines = strv_split(output, "\n");
        STRV_FOREACH (line, lines) {
                _cleanup_strv_free_ char **fields = strv_split(*line, "|");
                AptIndex *index;

                /* The local source has no component, and we know what is in it. */
                if (strv_length(fields) != 6 || fields[0][0] != '/')
                        continue;
                GROW(l.items, l.n_items, l.n_allocated);
                index = &l.items[l.n_items++];
                *index = (AptIndex){ .path = xstrdup(fields[0]),
                                     .suite = xstrdup(fields[1]),
                                     .uri = xstrdup(fields[2]),
                                     .component = xstrdup(fields[3]),
                                     .name = xstrdup(fields[4]),
                                     .release_path = release_path(fields[0], fields[4]) };
                if (!index->release_path)
                        return error_set(reterr, EPROTO, REFUSAL_TOOL_FAILED,
                                         "apt keeps %s under an unexpected name: %s", index->name, index->path);
        }
        *ret = l;
        l = (AptIndexes){};
        return 0;
}

void apt_plan_done(AptPlan *p) {
        for (size_t i = 0; i < p->n_items; i++) {
                free(p->items[i].name);
                free(p->items[i].version);
                free(p->items[i].architecture);
        }
        free(p->items);
        *p = (AptPlan){};
}

/* apt quotes what may not stand in a file name, such as the colon of a version, as %3a. */
static bool unquote(char *s) {
        char *to = s;

        for (; *s; s++, to++) {
                unsigned char byte;

                if (*s != '%') {
                        *to = *s;
                        continue;
                }
                if (strlen(s) < 3)
                        return false;
                _cleanup_free_ char *digits = xasprintf("%c%c", s[1] >= 'A' && s[1] <= 'F' ? s[1] | 0x20 : s[1],
                                                        s[2] >= 'A' && s[2] <= 'F' ? s[2] | 0x20 : s[2]);
                if (!hex_decode(digits, &byte, 1) || byte == 0)
                        return false;
                *to = (char) byte;
                s += 2;
        }
        *to = 0;
        return true;
}

/* Neither names nor versions can hold an underscore. */
static bool parse_planned(const char *line, struct AptPlanned *ret) {
        const char *name = strstr(line + 1, "' "), *version, *architecture, *suffix;

        if (!name)
                return false;
        name += 2;
        version = memchr(name, '_', strcspn(name, " "));
        architecture = version ? memchr(version + 1, '_', strcspn(version + 1, " ")) : NULL;
        suffix = architecture ? strstr(architecture, ".deb ") : NULL;
        if (!suffix || memchr(architecture, ' ', (size_t) (suffix - architecture)))
                return false;
        ret->name = xstrndup(name, (size_t) (version - name));
        ret->version = xstrndup(version + 1, (size_t) (architecture - version - 1));
        ret->architecture = xstrndup(architecture + 1, (size_t) (suffix - architecture - 1));
        return unquote(ret->version);
}

int apt_plan_parse(const char *output, AptPlan *ret, Error *reterr) {
        _cleanup_strv_free_ char **lines = strv_split(output, "\n");
        _cleanup_(apt_plan_done) AptPlan plan = {};

        STRV_FOREACH (line, lines) {
                if (**line != '\'')
                        continue;
                if (plan.n_items >= PLAN_MAX)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "apt plans too many packages");
                GROW(plan.items, plan.n_items, plan.n_allocated);
                plan.items[plan.n_items++] = (struct AptPlanned){};
                if (!parse_planned(*line, &plan.items[plan.n_items - 1]))
                        return error_set(reterr, EPROTO, REFUSAL_TOOL_FAILED, "cannot understand apt: %s", *line);
        }
        *ret = plan;
        plan = (AptPlan){};
        return 0;
}

/* From where apt begins to explain, or the lines that it marks as errors. */
static char *reasons(const char *output) {
        const char *unmet = strstr(output, "The following packages have unmet dependencies")
                                    ?: strstr(output, " is a virtual package provided by:");
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_buffer_ Buffer b = {};
        size_t n = 0;

        while (unmet && unmet > output && unmet[-1] != '\n')
                unmet--;
        lines = strv_split(unmet ?: output, "\n");

        STRV_FOREACH (line, lines)
                if ((unmet || startswith(*line, "E: ")) && n++ < REASONS_MAX)
                        buffer_printf(&b, "%s%s", b.size > 0 ? "\n" : "", *line);
        return b.size > 0 ? buffer_steal(&b) : last_lines(output, 5);
}

int apt_root_plan(const AptRoot *a, char *const *packages, bool recommends, AptPlan *ret, Error *reterr) {
        _cleanup_strv_free_ char **argv = NULL;
        _cleanup_free_ char *output = NULL;
        int r;

        strv_extend(&argv, "apt-get");
        strv_extend(&argv, "install");
        /* Not --simulate: playing every step through takes apt fifteen times as long for a desktop's packages. */
        strv_extend(&argv, "--print-uris");
        strv_extend(&argv, "-q");
        strv_extend(&argv, "-y");
        strv_extend(&argv, recommends ? "--install-recommends" : "--no-install-recommends");
        strv_extend(&argv, "--");
        strv_extend_strv(&argv, packages);
        r = apt_root_run(a, (const char *const *) argv, &output, reterr);
        if (r < 0 && output) {
                _cleanup_free_ char *why = reasons(output);

                return error_set(reterr, ENOPKG, REFUSAL_UNRESOLVABLE, "%s", why);
        }
        return r < 0 ? r : apt_plan_parse(output, ret, reterr);
}
