/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "settings.h"
#include "io.h"
#include "log.h"
#include "transfers.h"

#define TEXT_MAX ((size_t) 1 << 20)

static int put(Tree *t, const char *path, int64_t epoch, const char *text, Error *reterr) {
        return tree_add_file(t, path, &(NodeAttributes){ .mode = 0644, .mtime = epoch }, text, strlen(text), NULL,
                             reterr);
}

/* ---- os-release ------------------------------------------------------------------------------------------ */

/* Shell quoting as os-release(5) wants it: always double quotes, four characters escaped. */
static void append_assignment(Buffer *b, const NameValue *v) {
        buffer_printf(b, "%s=\"", v->name);
        for (const char *p = v->value; *p; p++) {
                if (strchr("\"$`\\", *p))
                        buffer_puts(b, "\\");
                buffer_append(b, p, 1);
        }
        buffer_puts(b, "\"\n");
}

static bool line_sets(const char *line, const NameValue *values, size_t n_values) {
        for (size_t i = 0; i < n_values; i++) {
                const char *rest = startswith(line, values[i].name);

                if (rest && *rest == '=')
                        return true;
        }
        return false;
}

char *settings_os_release(const char *text, const NameValue *values, size_t n_values) {
        _cleanup_strv_free_ char **lines = strv_split(text, "\n");
        _cleanup_buffer_ Buffer b = {};

        STRV_FOREACH (line, lines)
                if (!line_sets(*line, values, n_values))
                        buffer_printf(&b, "%s\n", *line);
        for (size_t i = 0; i < n_values; i++)
                append_assignment(&b, &values[i]);
        return buffer_steal(&b);
}

static int apply_os_release(Tree *t, const Recipe *recipe, const char *version, int64_t epoch, Error *reterr) {
        _cleanup_free_ char *old = NULL, *text = NULL;
        _cleanup_free_ NameValue *values = xnew(NameValue, recipe->n_os_release + 2);
        Node *n = tree_resolve(t, "/usr/lib/os-release");
        size_t count = 0;
        int r;

        if (n) {
                r = tree_read_file(t, n, TEXT_MAX, &old, NULL, reterr);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < recipe->n_os_release; i++)
                values[count++] = recipe->os_release[i];
        values[count++] = (NameValue){ (char *) "IMAGE_ID", recipe->image_id };
        values[count++] = (NameValue){ (char *) "IMAGE_VERSION", (char *) version };
        text = settings_os_release(old ?: "", values, count);
        return put(t, "/usr/lib/os-release", epoch, text, reterr);
}

/* ---- locale, keyboard, name, time ------------------------------------------------------------------------ */

/* Debian's tmpfiles lines force /etc/vconsole.conf to be a link to default/keyboard, so that is where both the
 * console's and X's layout stand. A package's own file is left alone unless the recipe says something. */
static int apply_keymap(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        int r;

        if (recipe->keymap)
                text = xasprintf("KEYMAP=%s\nXKBLAYOUT=%.*s\n", recipe->keymap, (int) strcspn(recipe->keymap, "-_"),
                                 recipe->keymap);
        else if (tree_lookup(t, "/etc/default/keyboard"))
                return 0;
        else
                text = xstrdup("# The kernel's own layout. Set Keymap= in the recipe, or use localectl.\n");
        r = put(t, "/etc/default/keyboard", epoch, text, reterr);
        if (r < 0)
                return r;
        (void) tree_remove(t, "/etc/vconsole.conf");
        return tree_add_symlink(t, "/etc/vconsole.conf", &(NodeAttributes){ .mode = 0777, .mtime = epoch },
                                "default/keyboard", NULL, reterr);
}

static int apply_locale(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        _cleanup_free_ char *locale = xasprintf("LANG=%s\n", recipe->locale), *hostname = NULL, *zone = NULL,
                            *zone_path = NULL;
        int r;

        r = put(t, "/etc/locale.conf", epoch, locale, reterr);
        if (r >= 0)
                r = apply_keymap(t, recipe, epoch, reterr);
        if (r >= 0 && recipe->hostname) {
                hostname = xasprintf("%s\n", recipe->hostname);
                r = put(t, "/etc/hostname", epoch, hostname, reterr);
        }
        if (r < 0)
                return r;
        zone_path = path_join("/usr/share/zoneinfo", recipe->timezone);
        /* UTC is what the system uses without a link; other zones need their data. */
        if (!tree_resolve(t, zone_path)) {
                if (streq(recipe->timezone, "UTC"))
                        return 0;
                error_set(reterr, ENOENT, REFUSAL_BAD_VALUE, "Timezone=%s: the image has no such zone",
                          recipe->timezone);
                return error_hint(reterr, "Add the package tzdata, or correct the name.");
        }
        zone = xasprintf("../usr/share/zoneinfo/%s", recipe->timezone);
        tree_remove(t, "/etc/localtime");
        r = tree_add_symlink(t, "/etc/localtime", &(NodeAttributes){ .mode = 0777, .mtime = epoch }, zone, NULL,
                             reterr);
        if (r >= 0) {
                _cleanup_free_ char *text = xasprintf("%s\n", recipe->timezone);

                r = put(t, "/etc/timezone", epoch, text, reterr);
        }
        return r;
}

/* ---- units ----------------------------------------------------------------------------------------------- */

static void append_units(Buffer *b, const char *verb, char *const *units) {
        STRV_FOREACH (u, units) {
                const char *at = strchr(*u, '@'), *dot = strrchr(*u, '.');

                /* "enable getty@.service tty1" is how systemd.preset(5) names an instance. */
                if (at && dot && dot > at + 1)
                        buffer_printf(b, "%s %.*s@%s %.*s\n", verb, (int) (at - *u), *u, dot, (int) (dot - at - 1),
                                      at + 1);
                else
                        buffer_printf(b, "%s %s\n", verb, *u);
        }
}

static int mask_units(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        STRV_FOREACH (u, recipe->mask) {
                _cleanup_free_ char *path = path_join("/etc/systemd/system", *u);
                int r;

                tree_remove(t, path);
                r = tree_add_symlink(t, path, &(NodeAttributes){ .mode = 0777, .mtime = epoch }, "/dev/null", NULL,
                                     reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The units that package scripts enabled, from the links they left: without this, the "disable *" below would turn off
 * what the packages want on, and without "disable *" systemd would turn on everything at first boot. */
typedef struct Enabled {
        char **units;
} Enabled;

static int collect_enabled(Tree *t, Node *n, const char *path, void *userdata) {
        Enabled *e = userdata;

        if (node_is_symlink(n) && !streq(n->inode->target, "/dev/null")) {
                const char *target = path_basename(n->inode->target);

                strv_extend(&e->units, n->name);
                /* An alias (dbus-org.example.service) is enabled through the unit it stands for. A template's instance
                 * links to the template, which must not be enabled by itself. */
                if (!strstr(target, "@."))
                        strv_extend(&e->units, target);
        }
        return 0;
}

static int apply_presets(Tree *t, const Recipe *recipe, bool user, int64_t epoch, Error *reterr) {
        const char *links = user ? "/etc/systemd/user" : "/etc/systemd/system";
        const char *folder = user ? "/usr/lib/systemd/user-preset" : "/usr/lib/systemd/system-preset";
        _cleanup_free_ char *path = path_join(folder, "00-sealab.preset"),
                            *defaults = path_join(folder, "98-sealab-default.preset");
        _cleanup_buffer_ Buffer own = {}, rest = {};
        Enabled e = {};
        Node *n = tree_lookup(t, links);
        int r;

        if (!user) {
                buffer_puts(&own, "# Made from [Units] of the recipe.\n");
                append_units(&own, "enable", recipe->enable);
                append_units(&own, "disable", recipe->disable);
                append_units(&own, "disable", recipe->mask);
                r = put(t, path, epoch, own.data, reterr);
                if (r < 0)
                        return r;
        }
        if (n)
                tree_walk(t, n, collect_enabled, &e);
        strv_sort_unique(e.units);
        buffer_puts(&rest, "# What the packages enable by themselves; everything else stays off.\n");
        append_units(&rest, "enable", e.units);
        buffer_puts(&rest, "disable *\n");
        strv_free(e.units);
        return put(t, defaults, epoch, rest.data, reterr);
}

/* ---- root ------------------------------------------------------------------------------------------------ */

/* shadow(5): only root's hash is set here, "locked" or empty by the recipe's wish. Those of other accounts stay as the
 * packages left them; the gate refuses every one that a password could match. The day of the last change becomes the
 * image's day in all lines, because passwd's tools wrote the day of the build. */
static int apply_shadow(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        Node *n = tree_lookup(t, "/etc/shadow");
        _cleanup_free_ char *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        _cleanup_buffer_ Buffer b = {};
        int r;

        if (!n)
                return 0;
        r = tree_read_file(t, n, TEXT_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines) {
                char *hash = strchr(*line, ':'), *day, *tail;

                if (!hash || !(day = strchr(hash + 1, ':')) || !(tail = strchr(day + 1, ':')))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "/etc/shadow holds a malformed line");
                *hash++ = 0;
                *day++ = 0;
                if (streq(*line, "root"))
                        hash = streq(recipe->root_password, "empty") ? (char *) "" : (char *) "!*";
                buffer_printf(&b, "%s:%s:%" PRIi64 "%s\n", *line, hash, epoch / 86400, tail);
        }
        return tree_replace_content(t, n, b.data ?: "", b.size, reterr);
}

static int apply_default_target(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        if (!recipe->default_target)
                return 0;
        tree_remove(t, "/etc/systemd/system/default.target");
        _cleanup_free_ char *target = path_join("/usr/lib/systemd/system", recipe->default_target);
        return tree_add_symlink(t, "/etc/systemd/system/default.target",
                                &(NodeAttributes){ .mode = 0777, .mtime = epoch }, target, NULL, reterr);
}

/* What repart.d(5) calls it. A key in a file opens what the TPM opens, too: the first boot makes one at random and
 * leaves it on the encrypted file system (initrd-list.c). */
static const char *encrypt_line(const Recipe *recipe) {
        if (streq_ptr(recipe->root_encryption, "tpm2"))
                return "Encrypt=key-file+tpm2\n";
        return streq_ptr(recipe->root_encryption, "passphrase") ? "Encrypt=key-file\n" : "";
}

/* repart.d(5): the root partition is the machine's own, made at its first boot behind the slots and grown when the disk
 * does. Only this one is described, so that repart neither adds slots nor touches them. */
static int apply_repart(Tree *t, const Recipe *recipe, int64_t epoch, Error *reterr) {
        Node *folder = tree_lookup(t, "/usr/lib/repart.d");
        const char *encrypt = encrypt_line(recipe);
        _cleanup_free_ char *text = NULL;

        for (size_t i = 0; folder && i < folder->n_children; i++) {
                if (!endswith(folder->children[i]->name, ".conf"))
                        continue;
                if (!*encrypt)
                        return 0; /* the recipe describes the partitions itself */
                error_set(reterr, EINVAL, REFUSAL_BAD_VALUE,
                          "RootEncryption=%s and /usr/lib/repart.d/%s both describe the root partition",
                          recipe->root_encryption, folder->children[i]->name);
                return error_hint(reterr, "Leave out one of them.");
        }
        text = xasprintf("# Made from [Disk] of the recipe.\n"
                         "[Partition]\nType=root\nLabel=root\nFormat=%s\n%sSizeMinBytes=%" PRIu64
                         "\nFactoryReset=yes\n",
                         recipe->root_format, encrypt, recipe->root_size_min);
        return put(t, "/usr/lib/repart.d/50-root.conf", epoch, text, reterr);
}

int settings_apply(Tree *t, const Recipe *recipe, const char *version, int64_t epoch, Error *reterr) {
        int r;

        r = apply_os_release(t, recipe, version, epoch, reterr);
        if (r >= 0)
                r = apply_locale(t, recipe, epoch, reterr);
        if (r >= 0)
                r = apply_presets(t, recipe, false, epoch, reterr);
        if (r >= 0)
                r = apply_presets(t, recipe, true, epoch, reterr);
        if (r >= 0)
                r = mask_units(t, recipe, epoch, reterr);
        if (r >= 0)
                r = apply_default_target(t, recipe, epoch, reterr);
        if (r >= 0)
                r = apply_repart(t, recipe, epoch, reterr);
        if (r >= 0)
                r = transfers_apply(t, recipe, epoch, reterr);
        if (r >= 0)
                r = apply_shadow(t, recipe, epoch, reterr);
        return r;
}

typedef struct UnitSearch {
        const char *unit;
        bool found;
} UnitSearch;

static int find_unit_link(Tree *t, Node *n, const char *path, void *userdata) {
        UnitSearch *s = userdata;

        if (node_is_symlink(n) && streq(n->name, s->unit))
                s->found = !streq(n->inode->target, "/dev/null");
        return s->found ? -ECANCELED : 0;
}

void settings_check_units(Tree *t, const Recipe *recipe) {
        Node *links = tree_lookup(t, "/etc/systemd/system");

        STRV_FOREACH (u, recipe->disable) {
                UnitSearch s = { .unit = *u };

                if (links)
                        tree_walk(t, links, find_unit_link, &s);
                if (s.found)
                        log_warning("Disable=%s has no effect: another enabled unit names it in Also=. Use Mask=%s "
                                    "instead.",
                                    *u, *u);
        }
}
