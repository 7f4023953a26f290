/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a Debian system comes to be without a Debian host. dpkg must run inside the target, because only then does the
 * result not depend on the host's dpkg; but the target is empty. So the essential packages are first unpacked by us,
 * which is enough for their dpkg to start, and then installed by it once more, properly. Everything else follows in
 * rounds: Debian policy wants a Pre-Depends configured before the package that names it is unpacked, anything else may
 * be unpacked together. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "archive-cleanup.h"
#include "deb.h"
#include "install.h"
#include "io.h"
#include "log.h"
#include "parallel.h"
#include "predepends.h"
#include "process.h"
#include "unpack.h"

#define TARGET "/work/target"
#define POLICY TARGET "/usr/sbin/policy-rc.d"
#define IDLE_DEPMOD TARGET "/usr/local/sbin/depmod" /* found before the real one */
#define STORE_INSIDE "/run/sealab-store"            /* in the target; its /run is a tmpfs of the sandbox */
#define DPKG_LIST_MAX ((size_t) 16 << 20)
#define STREAM_BLOCK ((size_t) 1 << 20)

typedef struct Install {
        const InstallOptions *opt;
        const LockPackage **packages; /* those for the image */
        size_t n_packages, n_essential;
        bool *essential;             /* parallel to packages: essential, or needed by one that is */
        PackageRelations *relations; /* parallel: control fields, owned here */
        unsigned *rounds;            /* parallel: when it may be unpacked; 0 = essential */
        unsigned n_rounds;
        Tree *bootstrap; /* the essential packages' files */
        Tree *result;    /* filled by the parent from the stream */
        size_t n_unpacked, n_configured;
} Install;

static void install_done(Install *i) {
        for (size_t k = 0; i->relations && k < i->n_packages; k++) {
                free((char *) i->relations[k].pre_depends);
                free((char *) i->relations[k].depends);
                free((char *) i->relations[k].provides);
        }
        free(i->relations);
        free(i->essential);
        free(i->rounds);
        free(i->packages);
        tree_free(i->bootstrap);
        tree_free(i->result);
}

/* ---- before the sandbox: what is there, in what order ---------------------------------------------------- */

static char *field_or_empty(const char *control, const char *name) {
        return deb_field(control, name) ?: xstrdup("");
}

/* In a child: only the control file; the store's copy is checked against the lock on the way. */
static int read_control(size_t item, Buffer *ret, void *userdata, Error *reterr) {
        const Install *i = userdata;
        const LockPackage *p = i->packages[item];
        _cleanup_deb_control_ DebControl control = {};
        _cleanup_close_ int fd = -EBADF;
        const DebFile *text;
        int r;

        r = store_open_verified(i->opt->store, &p->sha256, p->size, &fd, reterr);
        if (r >= 0)
                r = deb_read(fd, p->name, NULL, "", 0, &control, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s %s", p->name, p->version);
        text = deb_control_file(&control, "control");
        if (text)
                buffer_append(ret, text->data, text->size);
        return 0;
}

static int take_control(size_t item, const char *data, size_t size, void *userdata, Error *reterr) {
        Install *i = userdata;
        const LockPackage *p = i->packages[item];

        i->relations[item] = (PackageRelations){ .name = p->name,
                                                 .pre_depends = field_or_empty(data, "Pre-Depends"),
                                                 .depends = field_or_empty(data, "Depends"),
                                                 .provides = field_or_empty(data, "Provides") };
        i->essential[item] = p->essential;
        progress_advance(i->opt->progress, p->size);
        return 0;
}

static int unpack_essential(Install *i, Error *reterr) {
        _cleanup_free_ const LockPackage **essential = xnew(const LockPackage *, i->n_essential);
        size_t n = 0;
        int r;

        for (size_t k = 0; k < i->n_packages; k++)
                if (i->essential[k])
                        essential[n++] = i->packages[k];
        r = tree_new(NULL, &i->bootstrap, reterr);
        if (r >= 0)
                r = unpack_packages(i->opt->store, essential, n, i->bootstrap, reterr);
        return r < 0 ? r : tree_add_merged_links(i->bootstrap, reterr);
}

static int read_packages(Install *i, Error *reterr) {
        const Lock *lock = i->opt->lock;
        uint64_t total = 0;
        int r;

        i->packages = xnew(const LockPackage *, lock->n_packages);
        for (size_t k = 0; k < lock->n_packages; k++)
                if (lock->packages[k].purpose & LOCK_FOR_IMAGE) {
                        i->packages[i->n_packages++] = &lock->packages[k];
                        total += lock->packages[k].size;
                }
        i->relations = xnew(PackageRelations, i->n_packages);
        i->essential = xnew(bool, i->n_packages);
        i->rounds = xnew(unsigned, i->n_packages);
        progress_total(i->opt->progress, total);
        r = parallel_run(i->n_packages, read_control, take_control, i, reterr);
        if (r < 0)
                return r;
        predepends_close(i->relations, i->n_packages, i->essential);
        for (size_t k = 0; k < i->n_packages; k++)
                i->n_essential += i->essential[k];
        if (i->n_essential == 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the lock holds no essential packages");
        i->n_rounds = predepends_rounds(i->relations, i->n_packages, i->essential, i->rounds);
        return unpack_essential(i, reterr);
}

/* ---- inside the sandbox ---------------------------------------------------------------------------------- */

static int put_file(const char *path, mode_t mode, const char *text, Error *reterr) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot create %s", path);
        if (fchmod(fd, mode) < 0)
                return error_errno(reterr, errno, "cannot set the mode of %s", path);
        return io_write_all(fd, text, strlen(text), reterr);
}

/* base-files wants groups that base-passwd brings, and neither depends on the other: the master lists must be there
 * first. */
static int put_accounts(Error *reterr) {
        static const char *const files[] = { "passwd", "group" };

        for (size_t k = 0; k < ELEMENTSOF(files); k++) {
                _cleanup_free_ char *from = xasprintf(TARGET "/usr/share/base-passwd/%s.master", files[k]),
                                    *to = xasprintf(TARGET "/etc/%s", files[k]), *text = NULL;
                size_t size;
                int r;

                r = io_read_file(AT_FDCWD, from, 1 << 20, &text, &size, reterr);
                if (r >= 0)
                        r = put_file(to, 0644, text, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int prepare_target(Install *i, Sandbox *s, Error *reterr) {
        static const char *const folders[] = {
                TARGET "/etc",
                TARGET "/var",
                TARGET "/var/lib",
                TARGET "/var/lib/dpkg",
                TARGET "/var/lib/dpkg/updates",
                TARGET "/var/lib/dpkg/info",
                TARGET "/usr",
                TARGET "/usr/sbin",
                TARGET "/usr/local",
                TARGET "/usr/local/sbin",
        };
        _cleanup_free_ char *store = path_join(i->opt->store->path, "sha256");
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (mkdir(TARGET, 0755) < 0 || (fd = open(TARGET, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                return error_errno(reterr, errno, "cannot create " TARGET);
        r = tree_materialise(i->bootstrap, fd, reterr);
        if (r < 0)
                return error_prefix(reterr, "unpacking the essential packages");
        for (size_t k = 0; k < ELEMENTSOF(folders); k++)
                if (mkdir(folders[k], 0755) < 0 && errno != EEXIST)
                        return error_errno(reterr, errno, "cannot create %s", folders[k]);
        r = put_accounts(reterr);
        if (r >= 0)
                r = put_file(TARGET "/var/lib/dpkg/status", 0644, "", reterr);
        /* invoke-rc.d asks this before it starts a service; nothing may start here. */
        if (r >= 0)
                r = put_file(POLICY, 0755, "#!/bin/sh\nexit 101\n", reterr);
        /* Indexes are made when it is known which modules stay; reading all of them here takes as long as unpacking all
         * packages. */
        if (r >= 0)
                r = put_file(IDLE_DEPMOD, 0755, "#!/bin/sh\nexit 0\n", reterr);
        if (r < 0)
                return r;
        /* Scripts of essential packages use awk before mawk's own script has made the link. */
        if (symlink("mawk", TARGET "/usr/bin/awk") < 0 && errno != EEXIST)
                return error_errno(reterr, errno, "cannot create a link for awk");
        r = sandbox_prepare_root(s, TARGET, reterr);
        if (r >= 0)
                r = sandbox_bind_read_only(s, store, TARGET STORE_INSIDE, reterr);
        return r;
}

static void show_line(const char *line, void *userdata) {
        Install *i = userdata;
        const char *rest;

        log_debug("dpkg: %s", line);
        if ((rest = startswith(line, "Unpacking ")))
                progress_detail(i->opt->progress, "unpacking %.*s (%zu of %zu)", (int) strcspn(rest, " :"), rest,
                                ++i->n_unpacked, i->n_packages);
        else if ((rest = startswith(line, "Setting up ")))
                progress_detail(i->opt->progress, "configuring %.*s (%zu of %zu)", (int) strcspn(rest, " :"), rest,
                                ++i->n_configured, i->n_packages);
}

/* dpkg knows an archive by its path in the store. */
static const char *name_of_archive(const Install *i, const char *path) {
        for (size_t k = 0; startswith(path, STORE_INSIDE) && k < i->n_packages; k++) {
                _cleanup_free_ char *hex = sha256_hex(&i->packages[k]->sha256);

                if (streq(path_basename(path), hex))
                        return i->packages[k]->name;
        }
        return path;
}

/* dpkg names the package and the script in a line of its own; the lines before it are what the script said. */
static int script_failed(const Install *i, const char *output, Error *reterr) {
        _cleanup_strv_free_ char **lines = strv_split(output, "\n");
        _cleanup_buffer_ Buffer said = {};
        _cleanup_free_ char *package = NULL, *tail = NULL;

        STRV_FOREACH (line, lines) {
                const char *rest = startswith(*line, "dpkg: error processing ");

                if (rest) {
                        rest = startswith(rest, "package ") ?: startswith(rest, "archive ") ?: rest;
                        package = xstrndup(rest, strcspn(rest, " "));
                        buffer_printf(&said, "%s\n", line[0]);
                        if (line[1])
                                buffer_printf(&said, "%s\n", line[1]);
                        tail = last_lines(said.data, 14);
                        break;
                }
                buffer_printf(&said, "%s\n", *line);
        }
        if (!package)
                return reterr ? -reterr->code : -EIO;
        error_set(reterr, EIO, REFUSAL_SCRIPT_FAILED, "package %s could not be installed:\n%s",
                  name_of_archive(i, package), tail);
        return error_hint(
                reterr, "Leave the package out, pin another version (sealab lock --update), or look at all output with "
                        "--debug.");
}

static int run_dpkg(Install *i, Sandbox *s, char *const *arguments, char **ret_output, Error *reterr) {
        static const char *const options[] = { "dpkg", "--force-unsafe-io", "--force-confdef", "--force-confnew",
                                               "--no-debsig" };
        static const char *const env[] = { "INITRD=No", "DPKG_COLORS=never", NULL };
        _cleanup_strv_free_ char **argv = NULL;
        _cleanup_free_ char *output = NULL;
        int r;

        for (size_t k = 0; k < ELEMENTSOF(options); k++)
                strv_extend(&argv, options[k]);
        strv_extend_strv(&argv, arguments);
        r = sandbox_command(s,
                            &(SandboxCommand){
                                    .root = TARGET,
                                    .argv = argv,
                                    .extra_env = (char *const *) env,
                                    .epoch = lock_epoch(i->opt->lock),
                                    .line = show_line,
                                    .userdata = i,
                            },
                            &output, reterr);
        if (r < 0 && output)
                r = script_failed(i, output, reterr);
        if (ret_output)
                *ret_output = TAKE_PTR(output);
        return r;
}

static int unpack_round(Install *i, Sandbox *s, unsigned round, Error *reterr) {
        _cleanup_strv_free_ char **arguments = NULL;

        /* Pre-Depends are met by the rounds; other dependencies only count when it comes to configuring. */
        strv_extend(&arguments, "--force-depends");
        strv_extend(&arguments, "--unpack");
        for (size_t k = 0; k < i->n_packages; k++)
                if (i->rounds[k] == round) {
                        _cleanup_free_ char *object = store_object_path(&i->packages[k]->sha256);

                        strv_extendf(&arguments, "/run/sealab-store/%s", startswith(object, "sha256/") ?: object);
                }
        return run_dpkg(i, s, arguments, NULL, reterr);
}

/* Before the last round some packages wait for others that are not unpacked yet; dpkg leaves those alone and says so by
 * its exit status. A script that failed is another matter. */
static int configure_pending(Install *i, Sandbox *s, bool last, Error *reterr) {
        static const char *const arguments[] = { "--configure", "--pending", NULL };
        _cleanup_free_ char *output = NULL;
        int r;

        r = run_dpkg(i, s, (char *const *) arguments, &output, reterr);
        if (r < 0 && !last && output && !strstr(output, "subprocess returned error")) {
                error_done(reterr);
                return 0;
        }
        return r;
}

static int check_complete(Sandbox *s, Error *reterr) {
        static const char *const argv[] = { "dpkg", "--audit", NULL };
        _cleanup_free_ char *output = NULL;
        int r;

        r = sandbox_command(s, &(SandboxCommand){ .root = TARGET, .argv = (char *const *) argv }, &output, reterr);
        if (r < 0)
                return r;
        if (!isempty(output))
                return error_set(reterr, EIO, REFUSAL_SCRIPT_FAILED, "dpkg reports an incomplete installation:\n%s",
                                 output);
        return 0;
}

static int inside(Sandbox *s, void *userdata, Error *reterr) {
        Install *i = userdata;
        int r;

        r = prepare_target(i, s, reterr);
        for (unsigned round = 0; r >= 0 && round < i->n_rounds; round++) {
                r = unpack_round(i, s, round, reterr);
                if (r >= 0)
                        r = configure_pending(i, s, round + 1 == i->n_rounds, reterr);
        }
        if (r >= 0)
                r = check_complete(s, reterr);
        if (r < 0)
                return r;
        if (unlink(POLICY) < 0 || unlink(IDLE_DEPMOD) < 0)
                return error_errno(reterr, errno, "cannot remove what kept scripts from working");
        return install_stream_folder(TARGET, s->output_fd, reterr);
}

/* ---- the stream out of the sandbox ----------------------------------------------------------------------- */

static int archive_failed(struct archive *a, const char *what, Error *reterr) {
        int e = archive_errno(a);

        return error_set(reterr, e > 0 ? e : EIO, REFUSAL_SYSTEM, "%s: %s", what,
                         archive_error_string(a) ?: "unknown error");
}

static int write_content(struct archive *out, struct archive_entry *entry, Error *reterr) {
        _cleanup_close_ int fd = open(archive_entry_sourcepath(entry), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        _cleanup_free_ char *buffer = xmalloc(STREAM_BLOCK);
        int64_t left = archive_entry_size(entry);

        if (fd < 0)
                return error_errno(reterr, errno, "cannot read %s", archive_entry_pathname(entry));
        while (left > 0) {
                ssize_t n = read(fd, buffer, MIN((size_t) left, STREAM_BLOCK));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return error_errno(reterr, n < 0 ? errno : EIO, "cannot read %s",
                                           archive_entry_pathname(entry));
                if (archive_write_data(out, buffer, (size_t) n) < 0)
                        return archive_failed(out, "cannot write the stream", reterr);
                left -= n;
        }
        return 0;
}

static int write_entry(struct archive *out, struct archive_entry *entry, Error *reterr) {
        if (archive_write_header(out, entry) < ARCHIVE_WARN)
                return archive_failed(out, archive_entry_pathname(entry), reterr);
        if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry) &&
            archive_entry_size(entry) > 0)
                return write_content(out, entry, reterr);
        return 0;
}

/* libarchive would turn access control lists into text of its own; as extended attributes they pass through unchanged.
 */
static int add_acls(struct archive_entry *entry, Error *reterr) {
        static const char *const names[] = { "system.posix_acl_access", "system.posix_acl_default" };
        uint8_t value[4096];

        for (size_t k = 0; k < ELEMENTSOF(names); k++) {
                ssize_t n = lgetxattr(archive_entry_pathname(entry), names[k], value, sizeof(value));

                if (n > 0)
                        archive_entry_xattr_add_entry(entry, names[k], value, (size_t) n);
                else if (n < 0 && errno != ENODATA && errno != EOPNOTSUPP)
                        return error_errno(reterr, errno, "cannot read the access control list of %s",
                                           archive_entry_pathname(entry));
        }
        return 0;
}

int install_stream_folder(const char *path, int fd, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *disk = archive_read_disk_new();
        _cleanup_(archive_write_freep) struct archive *out = archive_write_new();
        _cleanup_(archive_entry_linkresolver_freep) struct archive_entry_linkresolver *links =
                archive_entry_linkresolver_new();
        size_t prefix = strlen(path);
        int r;

        archive_read_disk_set_symlink_physical(disk);
        archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS | ARCHIVE_READDISK_NO_FFLAGS |
                                                     ARCHIVE_READDISK_NO_ACL);
        if (archive_read_disk_open(disk, path) != ARCHIVE_OK)
                return archive_failed(disk, path, reterr);
        archive_write_set_format_pax_restricted(out);
        archive_write_set_bytes_per_block(out, (int) STREAM_BLOCK);
        if (archive_write_open_fd(out, fd) != ARCHIVE_OK)
                return archive_failed(out, "cannot open the stream", reterr);
        archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);

        for (;;) {
                _cleanup_(archive_entry_freep) struct archive_entry *entry = archive_entry_new();
                struct archive_entry *ready, *spare = NULL;

                r = archive_read_next_header2(disk, entry);
                if (r == ARCHIVE_EOF)
                        break;
                if (r < ARCHIVE_WARN)
                        return archive_failed(disk, path, reterr);
                (void) archive_read_disk_descend(disk);
                /* API file systems of the sandbox are folders to the target, empty ones. */
                if (archive_entry_filetype(entry) == AE_IFSOCK)
                        continue;
                r = add_acls(entry, reterr);
                if (r < 0)
                        return r;
                _cleanup_free_ char *inside_path = xasprintf(".%s", archive_entry_pathname(entry) + prefix);
                archive_entry_copy_sourcepath(entry, archive_entry_pathname(entry));
                archive_entry_set_pathname(entry, inside_path);
                if (archive_entry_filetype(entry) != AE_IFREG)
                        archive_entry_set_size(entry, 0);
                ready = entry;
                archive_entry_linkify(links, &ready, &spare);
                if (ready) {
                        r = write_entry(out, ready, reterr);
                        if (r < 0)
                                return r;
                }
        }
        if (archive_write_close(out) != ARCHIVE_OK)
                return archive_failed(out, "cannot finish the stream", reterr);
        return 0;
}

/* ---- after the sandbox ----------------------------------------------------------------------------------- */

static int read_stream(int fd, void *userdata, Error *reterr) {
        Install *i = userdata;

        return tree_import_stream(i->result, fd, TREE_IMPORT_DEVICES, reterr);
}

bool install_plain_capability(const void *value, size_t size, uint8_t ret[static 20]) {
        const uint8_t *p = value;

        /* struct vfs_ns_cap_data of linux/capability.h, little-endian: magic, two pairs of sets, and in revision 3 a
         * root id. */
        if (size != 20 && size != 24)
                return false;
        if (p[3] != (size == 24 ? 3 : 2))
                return false;
        memcpy(ret, p, 20);
        ret[3] = 2;
        return true;
}

static int plain_capability(Tree *t, Node *n, const char *path, void *userdata) {
        const Xattr *x = inode_xattr(n->inode, "security.capability");
        uint8_t plain[20];

        if (x && install_plain_capability(x->value, x->size, plain))
                tree_set_xattr(n->inode, "security.capability", plain, sizeof(plain));
        return 0;
}

/* dpkg's lists name files by the paths the packages ship, which may lead through /bin -> usr/bin. */
static void note_owner(Tree *t, const char *path, const char *package) {
        _cleanup_free_ char *folder = path_dirname(path);
        Node *parent = tree_resolve(t, folder), *n = parent ? node_child(parent, path_basename(path)) : NULL;

        if (n && !node_is_folder(n) && !n->inode->package)
                n->inode->package = xstrdup(package);
}

/* dpkg's record has three lines for each diversion: a path, where other packages' files of that path go, and the
 * package that has the path for itself (":" for none). */
static const char *path_after_diversion(char *const *diversions, const char *path, const char *package) {
        for (char *const *d = diversions; d && d[0] && d[1] && d[2]; d += 3)
                if (streq(d[0], path) && !streq(d[2], package))
                        return d[1];
        return path;
}

static int read_diversions(Tree *t, char ***ret, Error *reterr) {
        Node *n = tree_lookup(t, "/var/lib/dpkg/diversions");
        _cleanup_free_ char *text = NULL;
        int r;

        if (!n)
                return 0;
        r = tree_read_file(t, n, DPKG_LIST_MAX, &text, NULL, reterr);
        if (r < 0)
                return error_prefix(reterr, "dpkg's diversions");
        *ret = strv_split(text, "\n");
        return 0;
}

static int note_owners(Tree *t, Error *reterr) {
        Node *info = tree_lookup(t, "/var/lib/dpkg/info");
        _cleanup_strv_free_ char **diversions = NULL;
        int r;

        r = read_diversions(t, &diversions, reterr);
        if (r < 0)
                return r;
        for (size_t k = 0; info && k < info->n_children; k++) {
                Node *list = info->children[k];
                const char *suffix = endswith(list->name, ".list");
                _cleanup_free_ char *package = NULL, *text = NULL;
                _cleanup_strv_free_ char **paths = NULL;

                if (!suffix)
                        continue;
                package = xstrndup(list->name, MIN(strcspn(list->name, ":"), (size_t) (suffix - list->name)));
                r = tree_read_file(t, list, DPKG_LIST_MAX, &text, NULL, reterr);
                if (r < 0)
                        return error_prefix(reterr, "%s", list->name);
                paths = strv_split(text, "\n");
                STRV_FOREACH (p, paths)
                        if (**p == '/')
                                note_owner(t, path_after_diversion(diversions, *p, package), package);
        }
        return 0;
}

int install_packages(const InstallOptions *opt, Tree **ret, Error *reterr) {
        _cleanup_(install_done) Install i = { .opt = opt };
        int r;

        progress_begin(opt->progress, "unpack", "Reading packages");
        r = read_packages(&i, reterr);
        if (r >= 0)
                r = tree_new(NULL, &i.result, reterr);
        if (r < 0)
                return r;
        progress_end(opt->progress, "%zu packages", i.n_packages);

        progress_begin(opt->progress, "install", "Installing packages");
        r = sandbox_run(opt->mode, inside, read_stream, &i, reterr);
        if (r < 0)
                return r;
        tree_walk(i.result, i.result->root, plain_capability, NULL);
        r = note_owners(i.result, reterr);
        if (r < 0)
                return r;
        progress_end(opt->progress, "%" PRIu64 " files", i.result->n_nodes);
        *ret = TAKE_PTR(i.result);
        return 0;
}
