/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "steps.h"
#include "hermetic.h"
#include "initrd-list.h"
#include "install.h"
#include "io.h"
#include "overlay.h"

#define RECORD_SIZE_MAX ((size_t) 1 << 20)

static const struct {
        const char *id, *title;
        bool cacheable;
} step_table[_STEP_MAX] = {
        [STEP_INSTALL] = { "install", "install packages", true },
        [STEP_BASE] = { "base", "leave out what the recipe drops", true },
        [STEP_FINISH] = { "finish", "apply the recipe, make hermetic, check", false },
        [STEP_INITRD] = { "initrd", "make the initrd", true },
        [STEP_IMAGE] = { "image", "write EROFS and hash tree", false },
        [STEP_UKI] = { "uki", "assemble the UKI", false },
        [STEP_SIGN] = { "sign", "sign root hash and UKI", false },
        [STEP_DISK] = { "disk", "lay out the disk image", false },
};

void steps_done(Steps *s) {
        for (size_t i = 0; i < _STEP_MAX; i++) {
                for (size_t k = 0; k < s->steps[i].n_inputs; k++)
                        free(s->steps[i].inputs[k].name);
                free(s->steps[i].inputs);
                free(s->steps[i].reason);
        }
        *s = (Steps){};
}

static void add_input(Step *s, const char *name, const Sha256 *digest) {
        GROW(s->inputs, s->n_inputs, s->n_allocated);
        s->inputs[s->n_inputs++] = (StepInput){ .name = xstrdup(name), .digest = *digest };
}

static void add_text(Step *s, const char *name, const char *text) {
        Sha256 d;

        sha256_buffer(text ?: "", text ? strlen(text) : 0, &d);
        add_input(s, name, &d);
}

static void finish_key(Step *s) {
        _cleanup_(hasher_freep) Hasher *h = hasher_new();

        hasher_update_string(h, s->id);
        for (size_t i = 0; i < s->n_inputs; i++) {
                hasher_update_string(h, s->inputs[i].name);
                hasher_update(h, s->inputs[i].digest.bytes, SHA256_SIZE);
        }
        hasher_final(h, &s->key);
}

/* The overlay's own tree digest: names, modes and contents, not where the recipe lies. */
static int overlay_digest(const Recipe *r, Sha256 *ret, Error *reterr) {
        _cleanup_(tree_freep) Tree *t = NULL;
        int e;

        e = tree_new(NULL, &t, reterr);
        if (e >= 0)
                e = overlay_apply(t, r, 0, reterr);
        if (e < 0)
                return e;
        tree_digest(t, false, ret);
        return 0;
}

/* Everything the recipe says, without the places it says it in. */
static char *settings_text(const Recipe *r, const char *const *sections) {
        _cleanup_buffer_ Buffer b = {};

        for (size_t i = 0; i < r->n_origins; i++) {
                const struct RecipeOrigin *o = &r->origins[i];

                for (const char *const *s = sections; *s; s++)
                        if (!o->overridden && streq(o->section, *s))
                                buffer_printf(&b, "%s.%s=%s\n", o->section, o->key, o->value ?: "");
        }
        return buffer_steal(&b);
}

static void compute_packages(const StepsContext *c, Steps *s) {
        static const char *const method = SEALAB_VERSION;
        Sha256 image, initrd, tools, base, lists;
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        _cleanup_free_ char *install_method = xasprintf("%s/%d", method, INSTALL_METHOD_VERSION);

        lock_digest_purpose(c->lock, LOCK_FOR_IMAGE, &image);
        lock_digest_purpose(c->lock, LOCK_FOR_INITRD, &initrd);
        lock_digest_purpose(c->lock, LOCK_FOR_TOOLS, &tools);
        add_input(&s->steps[STEP_INSTALL], "packages of the image", &image);
        add_text(&s->steps[STEP_INSTALL], "sealab", install_method);
        finish_key(&s->steps[STEP_INSTALL]);

        hermetic_base_key(c->recipe, h);
        hasher_final(h, &base);
        add_input(&s->steps[STEP_BASE], "installed packages", &s->steps[STEP_INSTALL].key);
        add_input(&s->steps[STEP_BASE], "Remove=, Drop=, Locale=, KeepLocales=, Modules=", &base);
        finish_key(&s->steps[STEP_BASE]);

        add_input(&s->steps[STEP_FINISH], "tree without what is dropped", &s->steps[STEP_BASE].key);
        add_input(&s->steps[STEP_FINISH], "packages of the tools", &tools);
        add_input(&s->steps[STEP_INITRD], "packages of the initrd", &initrd);
        add_input(&s->steps[STEP_INITRD], "packages of the tools", &tools);
        add_input(&s->steps[STEP_INITRD], "kernel and its modules", &s->steps[STEP_BASE].key);
        initrd_list_digest(&lists);
        add_input(&s->steps[STEP_INITRD], "what an initrd is made of", &lists);
}

int steps_compute(const StepsContext *c, Steps *ret, Error *reterr) {
        static const char *const finish_sections[] = { "Image", "OsRelease", "Content", "Units",
                                                       "Gate",  "Update",    "Disk",    NULL };
        static const char *const initrd_sections[] = { "OsRelease", "Initrd", "Kernel", "Disk", NULL };
        static const char *const image_sections[] = { "Usr", NULL }, *const disk_sections[] = { "Disk", NULL };
        _cleanup_free_ char *finish = settings_text(c->recipe, finish_sections),
                            *initrd = settings_text(c->recipe, initrd_sections),
                            *image = settings_text(c->recipe, image_sections),
                            *disk = settings_text(c->recipe, disk_sections), *ids = ids_format(c->ids),
                            *epoch = xasprintf("%" PRIi64, c->epoch);
        _cleanup_(steps_done) Steps s = {};
        Sha256 overlay;
        int r;

        for (size_t i = 0; i < _STEP_MAX; i++)
                s.steps[i] = (Step){ .id = step_table[i].id,
                                     .title = step_table[i].title,
                                     .cacheable = step_table[i].cacheable };
        r = overlay_digest(c->recipe, &overlay, reterr);
        if (r < 0)
                return r;
        compute_packages(c, &s);
        add_input(&s.steps[STEP_FINISH], "overlay files", &overlay);
        add_text(&s.steps[STEP_FINISH], "settings of the recipe", finish);
        if (c->recipe->sysupdate_keyring) {
                Sha256 keyring;

                r = sha256_file(AT_FDCWD, c->recipe->sysupdate_keyring, &keyring, NULL, reterr);
                if (r < 0)
                        return r;
                add_input(&s.steps[STEP_FINISH], "SysupdateKeyring=", &keyring);
        }
        add_text(&s.steps[STEP_FINISH], "version", c->version);
        add_text(&s.steps[STEP_FINISH], "ids.lock", ids);
        add_text(&s.steps[STEP_FINISH], "time of the lock", epoch);
        finish_key(&s.steps[STEP_FINISH]);
        add_text(&s.steps[STEP_INITRD], "[OsRelease], [Initrd], [Kernel], [Disk]", initrd);
        add_text(&s.steps[STEP_INITRD], "time of the lock", epoch);
        finish_key(&s.steps[STEP_INITRD]);
        add_input(&s.steps[STEP_IMAGE], "finished tree", &s.steps[STEP_FINISH].key);
        add_text(&s.steps[STEP_IMAGE], "[Usr]", image);
        finish_key(&s.steps[STEP_IMAGE]);
        add_input(&s.steps[STEP_UKI], "root hash of the image", &s.steps[STEP_IMAGE].key);
        add_input(&s.steps[STEP_UKI], "initrd", &s.steps[STEP_INITRD].key);
        finish_key(&s.steps[STEP_UKI]);
        add_input(&s.steps[STEP_SIGN], "UKI", &s.steps[STEP_UKI].key);
        add_text(&s.steps[STEP_SIGN], "keys", c->key_folder);
        finish_key(&s.steps[STEP_SIGN]);
        add_input(&s.steps[STEP_DISK], "signed UKI and image", &s.steps[STEP_SIGN].key);
        add_text(&s.steps[STEP_DISK], "[Disk]", disk);
        finish_key(&s.steps[STEP_DISK]);
        *ret = s;
        s = (Steps){};
        return 0;
}

/* ---- the record of the last build
 * ---------------------------------------------------------------------------------------- */

static void record_key(const Recipe *recipe, Sha256 *ret) {
        _cleanup_free_ char *real = realpath(recipe->path, NULL);
        const char *path = real ?: recipe->path;

        sha256_buffer(path, strlen(path), ret);
}

static json_t *read_record(const Recipe *recipe, const Store *store) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        json_t *record = NULL;
        Sha256 key;
        size_t size;

        /* The record only explains; without it a plan is as right, just less talkative. */
        record_key(recipe, &key);
        if (store_cache_get(store, "plan", &key, &fd, NULL) != 0 ||
            io_read_fd(fd, RECORD_SIZE_MAX, &text, &size, NULL) < 0 ||
            json_parse(text, size, "plan", &record, NULL) < 0)
                return NULL;
        return record;
}

static char *changed_inputs(const Step *s, const json_t *record) {
        const json_t *last = record ? json_object_get(record, s->id) : NULL;
        _cleanup_strv_free_ char **changed = NULL;

        if (!last)
                return xstrdup("never built here");
        for (size_t i = 0; i < s->n_inputs; i++) {
                _cleanup_free_ char *hex = sha256_hex(&s->inputs[i].digest);
                const json_t *old = json_object_get(last, s->inputs[i].name);

                if (!json_is_string(old) || !streq(json_string_value(old), hex))
                        strv_extend(&changed, s->inputs[i].name);
        }
        if (!changed)
                return NULL;
        _cleanup_free_ char *list = strv_join(changed, ", ");
        return xasprintf("changed: %s", list);
}

int steps_judge(Steps *s, const Recipe *recipe, const Store *store, bool no_cache, Error *reterr) {
        _cleanup_json_ json_t *record = read_record(recipe, store);

        for (size_t i = 0; i < _STEP_MAX; i++) {
                Step *step = &s->steps[i];
                _cleanup_free_ char *path = store_cache_path(store, step->id, &step->key);

                step->cached = !no_cache && step->cacheable && access(path, R_OK) >= 0;
                free(step->reason);
                step->reason = step->cached ? xstrdup("same inputs as before") : changed_inputs(step, record);
                if (!step->reason)
                        step->reason = xstrdup(!step->cacheable ? "runs each time"
                                               : no_cache       ? "--no-cache"
                                                                : "the store's cache no longer holds it");
        }
        /* With the based tree in the cache nobody asks for the installed one. */
        if (s->steps[STEP_BASE].cached && !s->steps[STEP_INSTALL].cached) {
                s->steps[STEP_INSTALL].cached = true;
                free(s->steps[STEP_INSTALL].reason);
                s->steps[STEP_INSTALL].reason = xstrdup("not needed: the next step is cached");
        }
        return 0;
}

int steps_remember(const Steps *s, const Recipe *recipe, Store *store, Error *reterr) {
        _cleanup_json_ json_t *record = json_object();
        _cleanup_store_temporary_ char *temporary = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        Sha256 key;
        int r;

        for (size_t i = 0; i < _STEP_MAX; i++) {
                json_t *step = json_object();

                for (size_t k = 0; k < s->steps[i].n_inputs; k++) {
                        _cleanup_free_ char *hex = sha256_hex(&s->steps[i].inputs[k].digest);

                        json_object_set_new(step, s->steps[i].inputs[k].name, json_string(hex));
                }
                json_object_set_new(record, s->steps[i].id, step);
        }
        text = json_format(record, false);
        record_key(recipe, &key);
        r = store_cache_begin(store, "plan", &key, &fd, &temporary, reterr);
        if (r >= 0)
                r = io_write_all(fd, text, strlen(text), reterr);
        if (r >= 0)
                r = store_cache_commit(store, "plan", &key, temporary, reterr);
        return r;
}

char *steps_format(const Steps *s) {
        _cleanup_buffer_ Buffer b = {};

        buffer_printf(&b, "%-8s %-7s %-13s %s\n", "STEP", "", "KEY", "WHY");
        for (size_t i = 0; i < _STEP_MAX; i++) {
                _cleanup_free_ char *hex = sha256_hex(&s->steps[i].key);

                buffer_printf(&b, "%-8s %-7s %.12s  %s (%s)\n", s->steps[i].id, s->steps[i].cached ? "cached" : "run",
                              hex, s->steps[i].title, s->steps[i].reason);
        }
        return buffer_steal(&b);
}

json_t *steps_to_json(const Steps *s) {
        json_t *list = json_array();

        for (size_t i = 0; i < _STEP_MAX; i++) {
                _cleanup_free_ char *hex = sha256_hex(&s->steps[i].key);
                json_t *inputs = json_object();

                for (size_t k = 0; k < s->steps[i].n_inputs; k++) {
                        _cleanup_free_ char *digest = sha256_hex(&s->steps[i].inputs[k].digest);

                        json_object_set_new(inputs, s->steps[i].inputs[k].name, json_string(digest));
                }
                json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:s, s:o}", "step", s->steps[i].id, "title",
                                                      s->steps[i].title, "key", hex, "cached", s->steps[i].cached,
                                                      "reason", s->steps[i].reason, "inputs", inputs));
        }
        return list;
}
