/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/stat.h>

#include "install.h"
#include "io.h"
#include "log.h"
#include "settle.h"

#define TOOLS "/work/tools"
#define TARGET TOOLS "/target" /* seen by the tools as /target */
#define CONFIGURATION_MAX ((size_t) 1 << 20)
#define SETTLE_METHOD_VERSION 2

/* One run of tools on a part of the tree. */
typedef struct Settle {
        const SettleOptions *opt;
        Tree *tools;                        /* borrowed */
        Tree *part;                         /* what the tools see */
        const char *const *const *commands; /* argument vectors, NULL-terminated list */
        const char *const *remove; /* paths below the target removed before the result is sent; NULL-terminated */
        const char *result_path;   /* the folder that comes back, "/etc" */
        Tree *result;
} Settle;

static void settle_done(Settle *s) {
        tree_free(s->part);
        tree_free(s->result);
}

static int read_stream(int fd, void *userdata, Error *reterr) {
        Settle *s = userdata;

        return tree_import_stream(s->result, fd, 0, reterr);
}

static int materialise(Tree *t, const char *path, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;

        if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return error_errno(reterr, errno, "cannot create %s", path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(reterr, errno, "cannot open %s", path);
        return tree_materialise(t, fd, reterr);
}

static int inside(Sandbox *sandbox, void *userdata, Error *reterr) {
        Settle *s = userdata;
        _cleanup_free_ char *result = path_join(TARGET, s->result_path + 1);
        int r;

        r = materialise(s->tools, TOOLS, reterr);
        if (r >= 0)
                r = sandbox_prepare_root(sandbox, TOOLS, reterr);
        if (r >= 0)
                r = materialise(s->part, TARGET, reterr);
        for (size_t i = 0; r >= 0 && s->commands[i]; i++) {
                _cleanup_free_ char *output = NULL;

                r = sandbox_command(sandbox,
                                    &(SandboxCommand){ .root = TOOLS,
                                                       .argv = (char *const *) s->commands[i],
                                                       .epoch = s->opt->epoch },
                                    &output, reterr);
                if (!isempty(output))
                        log_debug("%s: %s", s->commands[i][0], output);
        }
        for (size_t i = 0; r >= 0 && s->remove && s->remove[i]; i++) {
                _cleanup_free_ char *path = path_join(TARGET, s->remove[i] + 1);

                r = io_remove_tree(AT_FDCWD, path, reterr);
        }
        if (r < 0)
                return r;
        return install_stream_folder(result, sandbox->output_fd, reterr);
}

static void settle_key(const Settle *s, Sha256 *ret) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        Sha256 tools, part;

        lock_digest_purpose(s->opt->lock, LOCK_FOR_TOOLS, &tools);
        tree_digest(s->part, false, &part);
        hasher_update_string(h, "settle " SEALAB_VERSION);
        hasher_update(h, &(int){ SETTLE_METHOD_VERSION }, sizeof(int));
        hasher_update(h, &tools, sizeof(tools));
        hasher_update(h, &part, sizeof(part));
        hasher_update(h, &s->opt->epoch, sizeof(s->opt->epoch));
        for (size_t i = 0; s->commands[i]; i++)
                for (size_t k = 0; s->commands[i][k]; k++)
                        hasher_update_string(h, s->commands[i][k]);
        hasher_final(h, ret);
}

static int keep(Settle *s, const Sha256 *key, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_store_temporary_ char *temporary = NULL;
        int r;

        r = store_cache_begin(s->opt->store, "settle", key, &fd, &temporary, reterr);
        if (r >= 0)
                r = tree_export_archive(s->result, fd, reterr);
        if (r >= 0)
                r = store_cache_commit(s->opt->store, "settle", key, temporary, reterr);
        return r;
}

/* Runs the commands, or takes what they made last time from the same input. */
static int settle_run(Settle *s, Error *reterr) {
        _cleanup_close_ int fd = -EBADF;
        Sha256 key;
        int r;

        r = tree_new(NULL, &s->result, reterr);
        if (r < 0)
                return r;
        settle_key(s, &key);
        if (s->opt->use_cache) {
                r = store_cache_get(s->opt->store, "settle", &key, &fd, reterr);
                if (r < 0)
                        return r;
                if (fd >= 0)
                        return read_stream(fd, s, reterr);
        }
        r = tools_tree(s->opt->tools, &s->tools, reterr);
        if (r >= 0)
                r = sandbox_run(s->opt->mode, inside, read_stream, s, reterr);
        if (r < 0)
                return r;
        return keep(s, &key, reterr);
}

/* Copies the parts that exist; the tools find the rest absent, as on a system that does not have it. */
static int take_parts(Settle *s, Tree *t, const char *const *paths, Error *reterr) {
        int r;

        r = tree_new(NULL, &s->part, reterr);
        for (size_t i = 0; r >= 0 && paths[i]; i++) {
                Node *n = tree_lookup(t, paths[i]);

                if (n)
                        r = tree_copy(s->part, paths[i], t, n, reterr);
        }
        /* Where the links are missing, --root= of some tools looks in the wrong place. */
        if (r >= 0)
                r = tree_add_merged_links(s->part, reterr);
        return r;
}

static int find_version_specifier(Tree *t, Node *n, const char *path, void *userdata) {
        _cleanup_free_ char *text = NULL;
        bool *found = userdata;

        if (node_is_file(n) && !*found)
                *found = tree_read_file(t, n, CONFIGURATION_MAX, &text, NULL, NULL) < 0 || strstr(text, "%A");
        return 0;
}

/* Every release has a version of its own. The tools see it only where a line asks for it ("%A" of sysusers.d(5) and
 * tmpfiles.d(5)), so that otherwise the result of one release serves the next. */
static int hide_version(Tree *part, Error *reterr) {
        static const char *const folders[] = { "/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d", "/etc/sysusers.d",
                                               "/etc/tmpfiles.d" };
        Node *n = tree_lookup(part, "/usr/lib/os-release");
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_buffer_ Buffer kept = {};
        bool asked = false;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                Node *folder = tree_lookup(part, folders[i]);

                if (folder)
                        (void) tree_walk(part, folder, find_version_specifier, &asked);
        }
        if (asked || !n || !node_is_file(n))
                return 0;
        r = tree_read_file(part, n, CONFIGURATION_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines)
                if (!startswith(*line, "IMAGE_VERSION="))
                        buffer_printf(&kept, "%s\n", *line);
        return tree_replace_content(part, n, kept.data ?: "", kept.size, reterr);
}

int settle_etc(const SettleOptions *opt, Tree *t, Error *reterr) {
        static const char *const parts[] = { "/etc",
                                             "/usr/lib/os-release",
                                             "/usr/lib/sysusers.d",
                                             "/usr/lib/tmpfiles.d",
                                             "/usr/lib/systemd/system",
                                             "/usr/lib/systemd/user",
                                             "/usr/lib/systemd/system-preset",
                                             "/usr/lib/systemd/user-preset",
                                             "/usr/share/factory",
                                             NULL };
        static const char *const sysusers[] = { "systemd-sysusers", "--root=/target", NULL };
        static const char *const presets[] = { "systemctl", "--root=/target", "preset-all", NULL };
        static const char *const user_presets[] = { "systemctl", "--root=/target", "--global", "preset-all", NULL };
        static const char *const tmpfiles[] = { "systemd-tmpfiles", "--root=/target", "--create",
                                                "--boot",           "--prefix=/etc",  NULL };
        static const char *const *const commands[] = { sysusers, presets, user_presets, tmpfiles, NULL };
        _cleanup_(settle_done) Settle s = { .opt = opt, .commands = commands, .result_path = "/etc" };
        int r;

        r = take_parts(&s, t, parts, reterr);
        if (r >= 0)
                r = hide_version(s.part, reterr);
        if (r >= 0)
                r = settle_run(&s, reterr);
        if (r < 0)
                return error_prefix(reterr, "accounts and units");
        tree_remove(t, "/etc");
        return tree_copy(t, "/etc", s.result, s.result->root, reterr);
}

int settle_depmod(const SettleOptions *opt, Tree *t, const char *release, Error *reterr) {
        _cleanup_free_ char *folder = path_join("/usr/lib/modules", release), *kernel = path_join(folder, "kernel"),
                            *updates = path_join(folder, "updates"), *image = path_join(folder, "vmlinuz");
        const char *const depmod[] = { "depmod", "-b", "/target", release, NULL };
        const char *const *const commands[] = { depmod, NULL };
        const char *const parts[] = { folder, NULL };
        const char *const remove[] = { kernel, updates, image, NULL };
        _cleanup_(settle_done) Settle s = { .opt = opt, .commands = commands, .remove = remove, .result_path = folder };
        int r;

        r = take_parts(&s, t, parts, reterr);
        if (r >= 0) {
                tree_remove(s.part, image);
                r = settle_run(&s, reterr);
        }
        if (r < 0)
                return error_prefix(reterr, "module indexes of %s", release);
        return tree_copy(t, folder, s.result, s.result->root, reterr);
}

int settle_hwdb(const SettleOptions *opt, Tree *t, Error *reterr) {
        static const char *const parts[] = { "/usr/lib/udev/hwdb.d", NULL };
        static const char *const hwdb[] = { "systemd-hwdb", "--root=/target", "--usr", "update", NULL };
        static const char *const *const commands[] = { hwdb, NULL };
        static const char *const remove[] = { "/usr/lib/udev/hwdb.d", NULL };
        _cleanup_(settle_done)
                Settle s = { .opt = opt, .commands = commands, .remove = remove, .result_path = "/usr/lib/udev" };
        int r;

        if (!tree_lookup(t, parts[0]))
                return 0;
        r = take_parts(&s, t, parts, reterr);
        if (r >= 0)
                r = settle_run(&s, reterr);
        if (r < 0)
                return error_prefix(reterr, "hardware database");
        tree_remove(t, "/etc/udev/hwdb.bin");
        return tree_copy(t, "/usr/lib/udev", s.result, s.result->root, reterr);
}
