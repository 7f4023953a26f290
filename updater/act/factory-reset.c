/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <dirent.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "boot.h"
#include "conf.h"
#include "factory-reset.h"
#include "io.h"
#include "machine.h"
#include "state.h"

#define NOTE_FORMAT 1
#define NOTE_SIZE_MAX 4096

static char *variable_path(const UpdateContext *c) {
        return path_join(c->paths.root ?: "/", FACTORY_RESET_VARIABLE);
}

/* ---- the EFI variable ---- */

/* efivarfs protects files from being removed or written by accident. */
static void unprotect(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        int flags;

        if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_IMMUTABLE_FL)) {
                flags &= ~FS_IMMUTABLE_FL;
                (void) ioctl(fd, FS_IOC_SETFLAGS, &flags);
        }
}

/* One write() is one change of the variable: attributes (kept over power-off, seen while booting and running), then
 * text in UTF-16. The firmware has stored it when that returns. */
static int write_variable(const char *path, Error *reterr) {
        static const uint8_t value[] = { 7, 0, 0, 0, 'y', 0, 'e', 0, 's', 0, 0, 0 };
        _cleanup_close_ int fd = -EBADF;

        unprotect(path);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0644);
        if (fd < 0) {
                error_set(reterr, errno, REFUSAL_MACHINE, "cannot write the EFI variable FactoryReset: %s",
                          strerror(errno));
                return error_hint(reterr, "The system must have been started by UEFI firmware, with efivarfs mounted.");
        }
        return io_write_all(fd, value, sizeof value, reterr);
}

bool factory_reset_is_requested(const char *root) {
        _cleanup_free_ char *path = path_join(root, FACTORY_RESET_VARIABLE);

        return io_exists(AT_FDCWD, path);
}

/* ---- will there be somebody to do it? ---- */

static int file_marks_partition(const char *path, bool *ret, Error *reterr) {
        _cleanup_conf_diagnostics_ ConfDiagnostics diagnostics = {};
        _cleanup_(conf_freep) ConfFile *file = NULL;
        int r = conf_read(AT_FDCWD, path, &diagnostics, &file, reterr);

        for (size_t i = 0; r >= 0 && i < file->n_items; i++) {
                bool value;

                if (streq(file->items[i].section, "Partition") && streq(file->items[i].key, "FactoryReset") &&
                    parse_bool(file->items[i].value, &value) && value)
                        *ret = true;
        }
        return r < 0 ? r : 0;
}

static int check_definitions(const char *root, Error *reterr) {
        _cleanup_free_ char *folder = path_join(root, "usr/lib/repart.d");
        DIR *d = opendir(folder);
        const struct dirent *e;
        bool marked = false;
        int r = 0;

        while (d && r >= 0 && !marked && (e = readdir(d)))
                if (endswith(e->d_name, ".conf")) {
                        _cleanup_free_ char *path = path_join(folder, e->d_name);

                        r = file_marks_partition(path, &marked, reterr);
                }
        if (d)
                closedir(d);
        if (r < 0 || marked)
                return r;
        error_set(reterr, ENOENT, REFUSAL_MACHINE, "this image has nothing that a factory reset would wipe");
        return error_hint(reterr, "A partition of the recipe's repart.d/ must say FactoryReset=yes (repart.d(5)).");
}

/* ---- what is kept ---- */

typedef struct Note {
        uint64_t epoch;
        bool reverted; /* the boot loader was told what to start */
} Note;

static int write_note(const Machine *m, const UpdaterState *s, Error *reterr) {
        _cleanup_free_ char *path = path_join(m->boot, FACTORY_RESET_NOTE), *folder = path_dirname(path), *text = NULL;
        _cleanup_json_ json_t *o = json_pack("{s:i, s:s, s:I, s:b}", "format", NOTE_FORMAT, "product", m->product,
                                             "epoch", (json_int_t) s->epoch, "reverted", s->reverted);
        int r = io_mkdir_parents(AT_FDCWD, folder, 0755, reterr);

        text = json_format(o, false);
        if (r >= 0)
                r = io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
        /* The folder may be new, too. */
        return r < 0 ? r : io_sync_folder(AT_FDCWD, m->boot, reterr);
}

/* 1: there is none, or none that concerns us. */
static int read_note(const Machine *m, Note *ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(m->boot, FACTORY_RESET_NOTE), *product = NULL;
        _cleanup_json_ json_t *o = NULL;
        uint64_t format = 0;
        JsonReader reader;
        int r;

        if (!io_exists(AT_FDCWD, path))
                return 1;
        r = json_read_file(AT_FDCWD, path, NOTE_SIZE_MAX, &o, reterr);
        if (r < 0)
                return r;
        reader = json_reader(o, path, reterr);
        json_take_u64(&reader, "format", false, NOTE_FORMAT, &format);
        json_take_string(&reader, "product", false, &product);
        json_take_u64(&reader, "epoch", false, INT64_MAX, &ret->epoch);
        json_take_bool(&reader, "reverted", true, &ret->reverted);
        r = json_reader_end_open(&reader);
        return r < 0 ? r : !streq(product, m->product);
}

/* ---- asking, calling off, afterwards ---- */

int factory_reset_request(const UpdateContext *c, Error *reterr) {
        _cleanup_free_ char *variable = variable_path(c);
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = machine_read(&c->paths, &m, reterr);
        if (r >= 0)
                r = state_load(c->state_folder, &s, NULL, reterr);
        if (r >= 0)
                r = check_definitions(c->paths.root ?: "/", reterr);
        /* ORDER: the floor is safe before anything can wipe it. */
        if (r >= 0)
                r = write_note(m, s, reterr);
        if (r >= 0)
                r = write_variable(variable, reterr);
        return r < 0 ? r : 0;
}

int factory_reset_cancel(const UpdateContext *c, Error *reterr) {
        _cleanup_free_ char *variable = variable_path(c), *note = NULL;
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_close_ int lock = -EBADF;
        int r, absent = 0;

        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = machine_read(&c->paths, &m, reterr);
        /* ORDER: the other way round. */
        if (r >= 0) {
                unprotect(variable);
                r = absent = io_unlink(AT_FDCWD, variable, reterr);
        }
        if (r >= 0) {
                note = path_join(m->boot, FACTORY_RESET_NOTE);
                r = io_unlink(AT_FDCWD, note, reterr);
        }
        return r < 0 ? r : absent;
}

int factory_reset_settle(const UpdateContext *c, Error *reterr) {
        _cleanup_free_ char *note = NULL, *state = path_join(c->state_folder, "state.json");
        bool wiped = !io_exists(AT_FDCWD, state);
        _cleanup_(machine_freep) Machine *m = NULL;
        _cleanup_(state_freep) UpdaterState *s = NULL;
        _cleanup_close_ int lock = -EBADF;
        Note told = {};
        int r;

        /* Still to come, or called off by hand: the note is not for this boot. */
        if (factory_reset_is_requested(c->paths.root ?: "/"))
                return 0;
        r = update_lock(c, &lock, reterr);
        if (r >= 0)
                r = machine_read(&c->paths, &m, reterr);
        if (r >= 0)
                r = read_note(m, &told, reterr);
        if (r != 0)
                return r < 0 ? r : 0;
        r = state_load(c->state_folder, &s, NULL, reterr);
        if (r < 0)
                return r;
        s->epoch = MAX(s->epoch, told.epoch);
        /* ORDER: history first. A cut between the two writes the line twice, which is better than never. Where the
         * state is still there, power went before the firmware had been told. */
        if (wiped) {
                HistoryEntry e = { .when = c->now,
                                   .action = (char *) "factory-reset",
                                   .from = m->version,
                                   .result = (char *) "done" };

                r = history_append(c->state_folder, &e, reterr);
        }
        if (r >= 0)
                r = state_save(c->state_folder, s, reterr);
        /* The pin is forgotten, and what was for it with the boot loader goes too. Not earlier: the reset might have
         * been called off. */
        if (r >= 0 && told.reverted && !s->reverted)
                r = boot_set_default(m, NULL, reterr);
        /* ORDER: the note goes once its content is safe elsewhere. */
        if (r >= 0) {
                note = path_join(m->boot, FACTORY_RESET_NOTE);
                r = io_unlink(AT_FDCWD, note, reterr);
        }
        return r < 0 ? r : wiped;
}
