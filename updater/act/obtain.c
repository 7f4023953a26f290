/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "delta-apply.h"
#include "io.h"
#include "log.h"
#include "obtain.h"
#include "pack.h"
#include "reuse.h"
#include "uki-blocks.h"
#include "verity.h"

#define SIGNATURE_MAX ((size_t) 1 << 20)
#define BUILT_SUFFIX ".built"

static const ReleaseDescription *description(const Obtain *o) {
        return o->plan->offer->description;
}

static void report(const Obtain *o, const char *step, uint64_t done, uint64_t total) {
        o->progress(step, done, total, o->userdata);
}

static void note_way(char way[static 32], const char *name) {
        size_t n = strlen(way);

        snprintf(way + n, 32 - n, "%s%s", n > 0 ? "+" : "", name);
}

/* Before more is fetched than was planned: to_come bytes for this artifact, later for those behind it. */
static int ask_for_more(const Obtain *o, uint64_t to_come, uint64_t later, Error *reterr) {
        uint64_t planned = o->plan->download, all = o->downloaded + to_come + later;

        if (all <= planned + OBTAIN_SLACK || all <= planned + planned / 4)
                return 0;
        return o->ask(all, o->userdata, reterr);
}

/* What ends an update, however else it could be had. */
static bool is_final(const Error *e) {
        return e->id == REFUSAL_NO_SPACE || e->id == REFUSAL_CANCELLED;
}

/* ---- /usr ---- */

typedef struct Usr {
        Obtain *o;
        SlotWriter *writer;
        Reuse *reuse;   /* NULL: nothing can be taken from another slot */
        uint64_t found; /* bytes of the image that could */
        uint64_t fetched;
        bool complete;
} Usr;

static void usr_done(Usr *u) {
        reuse_free(u->reuse);
}

static int read_slot(uint64_t offset, void *data, size_t size, void *userdata, Error *reterr) {
        const Usr *u = userdata;

        return slot_writer_read(u->writer, offset, data, size, reterr);
}

static int write_slot(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        Usr *u = userdata;

        u->fetched += size;
        return slot_writer_write(u->writer, offset, data, size, reterr);
}

static void usr_step(const char *step, uint64_t done, uint64_t total, void *userdata) {
        const Usr *u = userdata;

        report(u->o, step, done, total);
}

static void usr_download(uint64_t done, uint64_t total, void *userdata) {
        usr_step("download", done, total, userdata);
}

/* Sets complete if the slot has all of it. Only what no other way could mend is an error. */
static int usr_by_delta(Usr *u, Error *reterr) {
        Obtain *o = u->o;
        const Plan *plan = o->plan;
        const Slot *slot = &o->machine->slots[plan->usr_from];
        DeltaApply a = { .options = o->fetch,
                         .offer = plan->offer,
                         .delta = plan->usr_delta,
                         .unit = VERITY_BLOCK_SIZE,
                         .read = read_slot,
                         .write = write_slot,
                         .progress = usr_step,
                         .userdata = u };
        _cleanup_(delta_old_freep) DeltaOld *old = NULL;
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};
        int r;

        r = delta_old_open_slot(o->machine->disk, slot, &old, &e);
        if (r >= 0) {
                a.old = old;
                r = delta_apply(&a, &result, &e);
        }
        o->downloaded += result.downloaded;
        if (r < 0 && is_final(&e))
                return error_move(reterr, &e);
        if (r < 0)
                log_warning("not by the delta: %s", e.message);
        else if (r > 0)
                log_warning("%" PRIu64 " bytes did not come out of the delta", result.missing);
        u->complete = r == 0;
        if (result.made > 0)
                note_way(o->usr_way, "delta");
        return 0;
}

static bool is_not_there(uint64_t offset, size_t size, const Sha256 *sha256, void *userdata) {
        const Usr *u = userdata;

        report(u->o, "reuse", offset, description(u->o)->artifacts[ARTIFACT_USR].size);
        return !slot_writer_has(u->writer, offset, size, sha256);
}

static bool is_nowhere(uint64_t offset, size_t size, const Sha256 *sha256, void *userdata) {
        Usr *u = userdata;
        const void *bytes = reuse_find(u->reuse, offset, size, sha256);

        report(u->o, "reuse", offset, description(u->o)->artifacts[ARTIFACT_USR].size);
        if (!bytes || slot_writer_write(u->writer, offset, bytes, size, NULL) < 0)
                return true;
        u->found += size;
        return false;
}

static int usr_by_frames(Usr *u, Error *reterr) {
        Obtain *o = u->o;
        const FetchSink sink = { .write = write_slot, .progress = usr_download, .userdata = u };
        uint64_t map = o->plan->offer->download[ARTIFACT_USR_MAP];
        _cleanup_(pack_freep) Pack *p = NULL;
        int r;

        r = pack_open(o->fetch, o->plan->offer, &p, &o->downloaded, reterr);
        if (r < 0)
                return r;
        pack_mark(p, is_not_there, u);
        /* For little, the map would cost more than it brings. */
        if (pack_missing(p) > 2 * map) {
                uint64_t n = 0;

                r = reuse_prepare(o->fetch, o->plan->offer, o->machine, &o->machine->slots[o->plan->slot], &u->reuse,
                                  &n, reterr);
                o->downloaded += n;
                if (r < 0)
                        return r;
        }
        if (u->reuse)
                pack_mark(p, is_nowhere, u);
        u->reuse = reuse_free(u->reuse);
        if (pack_missing(p) == 0)
                return 0;
        r = ask_for_more(o, pack_missing(p), o->plan->uki_download, reterr);
        if (r < 0)
                return r;
        return pack_fetch(p, &sink, &o->downloaded, reterr);
}

static void note_frames(Usr *u) {
        if (u->found > 0)
                note_way(u->o->usr_way, way_name(WAY_REUSE));
        else if (u->fetched > 0 || u->o->usr_way[0] == 0)
                note_way(u->o->usr_way, way_name(WAY_FULL));
}

static int fetch_signature(Obtain *o, Buffer *ret, Error *reterr) {
        Document signature;
        uint64_t n = 0;
        int r;

        if (!description(o)->artifacts[ARTIFACT_VERITY_SIG].present)
                return 0;
        signature = document_of_artifact(o->plan->offer, ARTIFACT_VERITY_SIG);
        r = download_document(o->fetch, &signature, SIGNATURE_MAX, ret, &n, reterr);
        o->downloaded += n;
        return r;
}

int obtain_usr(Obtain *o, SlotWriter *writer, Error *reterr) {
        _cleanup_(usr_done) Usr u = { .o = o, .writer = writer };
        _cleanup_buffer_ Buffer signature = {};
        int r;

        r = fetch_signature(o, &signature, reterr);
        if (r >= 0 && o->plan->usr_way == WAY_DELTA)
                r = usr_by_delta(&u, reterr);
        if (r < 0)
                return r;
        if (u.complete) {
                _cleanup_error_ Error e = {};

                report(o, "hash-tree", 0, 0);
                r = slot_writer_finish(writer, signature.data, signature.size, &e);
                if (r >= 0 || e.id != REFUSAL_HASH_MISMATCH)
                        return r < 0 ? error_move(reterr, &e) : r;
                log_warning("not by the delta: %s", e.message);
        }
        u.fetched = 0;
        r = usr_by_frames(&u, reterr);
        note_frames(&u);
        if (r < 0)
                return r;
        report(o, "hash-tree", 0, 0);
        return slot_writer_finish(writer, signature.data, signature.size, reterr);
}

/* ---- the kernel image ---- */

typedef struct Uki {
        Obtain *o;
        int fd;
} Uki;

static int read_uki(uint64_t offset, void *data, size_t size, void *userdata, Error *reterr) {
        return io_pread_all(((const Uki *) userdata)->fd, data, size, offset, reterr);
}

static int write_uki(uint64_t offset, const void *data, size_t size, void *userdata, Error *reterr) {
        return io_pwrite_all(((const Uki *) userdata)->fd, data, size, offset, reterr);
}

static void uki_step(const char *step, uint64_t done, uint64_t total, void *userdata) {
        report(((const Uki *) userdata)->o, step, done, total);
}

static void uki_download(uint64_t done, uint64_t total, void *userdata) {
        uki_step("download", done, total, userdata);
}

static int check_uki(int fd, const Artifact *uki, Error *reterr) {
        struct stat st;
        Sha256 digest;
        int r;

        if (fstat(fd, &st) < 0 || (uint64_t) st.st_size != uki->size)
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "the kernel image is not complete");
        r = sha256_fd(fd, 0, uki->size, &digest, reterr);
        if (r >= 0 && !sha256_equal(&digest, &uki->sha256))
                return error_set(reterr, EBADMSG, REFUSAL_HASH_MISMATCH, "the kernel image is not what was signed");
        return r;
}

/* 1: not by this way. */
static int uki_by_delta(Obtain *o, int *ret_fd, Error *reterr) {
        const Plan *plan = o->plan;
        const Artifact *uki = &description(o)->artifacts[ARTIFACT_UKI];
        const BootEntry *entry = &o->machine->entries[plan->uki_from];
        _cleanup_free_ char *path = machine_entry_path(o->machine, entry);
        _cleanup_(delta_old_freep) DeltaOld *old = NULL;
        _cleanup_close_ int fd = -EBADF;
        Uki u = { .o = o };
        DeltaApply a = { .options = o->fetch,
                         .offer = plan->offer,
                         .delta = plan->uki_delta,
                         .unit = 1,
                         .read = read_uki,
                         .write = write_uki,
                         .progress = uki_step,
                         .userdata = &u };
        DeltaOutcome result = {};
        _cleanup_error_ Error e = {};
        int r;

        r = download_cache_open(o->fetch, &uki->sha256, BUILT_SUFFIX, &fd, &e);
        u.fd = fd;
        if (r >= 0)
                r = delta_old_open_file(path, entry->size, &old, &e);
        if (r >= 0) {
                a.old = old;
                r = delta_apply(&a, &result, &e);
        }
        o->downloaded += result.downloaded;
        if (r == 0)
                r = check_uki(fd, uki, &e);
        if (r < 0 && is_final(&e))
                return error_move(reterr, &e);
        if (r != 0) {
                log_warning("the kernel image not by the delta: %s", e.message ?: "it is damaged");
                return 1;
        }
        note_way(o->uki_way, way_name(WAY_DELTA));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* 1: not by this way. What a delta has made counts as well. */
static int uki_by_blocks(Obtain *o, int *ret_fd, Error *reterr) {
        const Artifact *uki = &description(o)->artifacts[ARTIFACT_UKI];
        const BootEntry *entry = machine_entry_of_root_hash(o->machine, &o->machine->running);
        _cleanup_free_ char *path = entry ? machine_entry_path(o->machine, entry) : NULL;
        _cleanup_(uki_blocks_freep) UkiBlocks *blocks = NULL;
        _cleanup_close_ int fd = -EBADF;
        Uki u = { .o = o };
        const FetchSink sink = { .progress = uki_download, .userdata = &u };
        _cleanup_error_ Error e = {};
        uint64_t missing;
        int r;

        if (!path || !description(o)->artifacts[ARTIFACT_UKI_MAP].present)
                return 1;
        report(o, "reuse", 0, uki->size);
        r = download_cache_open(o->fetch, &uki->sha256, BUILT_SUFFIX, &fd, &e);
        if (r >= 0)
                r = uki_blocks_open(o->fetch, o->plan->offer, path, fd, &blocks, &o->downloaded, &e);
        missing = blocks ? uki_blocks_missing(blocks) : 0;
        if (blocks && missing == uki->size)
                return 1;
        if (blocks) {
                r = ask_for_more(o, missing, 0, reterr);
                if (r < 0)
                        return r;
                r = uki_blocks_fetch(blocks, &sink, &o->downloaded, &e);
                /* It is the same file: what nobody gives in parts, nobody gives as a whole. */
                if (r < 0 && e.id == REFUSAL_DOWNLOAD)
                        return error_move(reterr, &e);
        }
        if (r >= 0)
                r = check_uki(fd, uki, &e);
        if (r < 0 && is_final(&e))
                return error_move(reterr, &e);
        if (r < 0) {
                log_warning("the kernel image as a whole: %s", e.message);
                return 1;
        }
        note_way(o->uki_way, way_name(WAY_REUSE));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int uki_as_a_whole(Obtain *o, int *ret_fd, Error *reterr) {
        const Document uki = document_of_artifact(o->plan->offer, ARTIFACT_UKI);
        _cleanup_close_ int fd = -EBADF;
        Uki u = { .o = o };
        const FetchSink sink = { .progress = uki_download, .userdata = &u };
        struct stat st;
        uint64_t n = 0;
        int r;

        r = download_cache_open(o->fetch, &uki.sha256, "", &fd, reterr);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0 || (uint64_t) st.st_size > uki.size)
                st.st_size = 0;
        r = ask_for_more(o, uki.size - (uint64_t) st.st_size, 0, reterr);
        if (r < 0)
                return r;
        r = download_into(o->fetch, &uki, fd, &sink, &n, reterr);
        o->downloaded += n;
        if (r < 0)
                return r;
        note_way(o->uki_way, way_name(WAY_FULL));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int obtain_uki(Obtain *o, int *ret_fd, Error *reterr) {
        int r = o->plan->uki_way == WAY_DELTA ? uki_by_delta(o, ret_fd, reterr) : 1;

        if (r > 0)
                r = uki_by_blocks(o, ret_fd, reterr);
        return r > 0 ? uki_as_a_whole(o, ret_fd, reterr) : r;
}
