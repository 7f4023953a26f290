/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "plan.h"

#define NOW INT64_C(1795255200)
#define MIB (UINT64_C(1) << 20)

static Sha256 content_hash(const char *content) {
        Sha256 h;

        sha256_buffer(content, strlen(content), &h);
        return h;
}

static ReleaseDescription *make_description(void) {
        ReleaseDescription *d = xnew(ReleaseDescription, 1);

        d->product = xstrdup("desk");
        d->architecture = xstrdup("x86-64");
        d->version = xstrdup("3");
        d->root_hash = content_hash("3");
        d->verity_size = 65536;
        d->minimum_updater = xstrdup("0.1.0");
        d->rollout = ROLLOUT_EVERYBODY;
        d->artifacts[ARTIFACT_USR] = (Artifact){ .present = true, .size = 8 * MIB };
        d->artifacts[ARTIFACT_UKI] = (Artifact){ .present = true, .size = MIB };
        return d;
}

/* Version 2 runs from the first slot, 1 is in the second one. */
static Machine *make_machine(void) {
        static const char *const versions[] = { "2", "1" };
        Machine *m = xnew(Machine, 1);

        m->product = xstrdup("desk");
        m->version = xstrdup("2");
        m->architecture = xstrdup("x86-64");
        strcpy(m->machine_id, "0123456789abcdef0123456789abcdef");
        m->running = content_hash("2");
        m->entry_blessed = true;
        m->boot_free = 64 * MIB;
        for (size_t i = 0; i < ELEMENTSOF(versions); i++) {
                m->slots[m->n_slots++] = (Slot){ .usr = { .size = 64 * MIB },
                                                 .verity = { .size = MIB },
                                                 .sig = { .size = MIB },
                                                 .version = xstrdup(versions[i]),
                                                 .has_root_hash = true,
                                                 .root_hash = content_hash(versions[i]),
                                                 .running = i == 0 };
                m->entries[m->n_entries++] = (BootEntry){ .file = xasprintf("desk_%s.efi", versions[i]),
                                                          .version = xstrdup(versions[i]),
                                                          .size = MIB,
                                                          .has_root_hash = true,
                                                          .root_hash = content_hash(versions[i]) };
        }
        return m;
}

typedef struct WayCase {
        const char *name;
        const char *usr_from[3], *uki_from[3]; /* contents; in the order of the deltas */
        uint64_t usr_size[3], uki_size[3];
        bool map, uki_map;
        UpdateWay usr, uki;
        uint64_t download;
        bool at_most;
} WayCase;

/* Of version 3: 1000 for the pack, 10 for its index, 20 for the map, 100 for the kernel image, 5 for its map, 1 for the
 * signature. The machine runs 2; 1 is in the slot that is overwritten. */
static const WayCase way_cases[] = {
        { .name = "nothing", .usr = WAY_FULL, .download = 1111 },
        { .name = "a map", .map = true, .usr = WAY_REUSE, .download = 1131, .at_most = true },
        { .name = "a map of the kernel image",
          .uki_map = true,
          .usr = WAY_FULL,
          .uki = WAY_REUSE,
          .download = 1116,
          .at_most = true },
        { .name = "maps",
          .map = true,
          .uki_map = true,
          .usr = WAY_REUSE,
          .uki = WAY_REUSE,
          .download = 1136,
          .at_most = true },
        { .name = "a delta and a map of the kernel image",
          .usr_from = { "2" },
          .usr_size = { 50 },
          .uki_map = true,
          .usr = WAY_DELTA,
          .uki = WAY_REUSE,
          .download = 156,
          .at_most = true },
        { .name = "deltas and maps",
          .usr_from = { "2" },
          .usr_size = { 50 },
          .uki_from = { "file 2" },
          .uki_size = { 7 },
          .map = true,
          .uki_map = true,
          .usr = WAY_DELTA,
          .uki = WAY_DELTA,
          .download = 58 },
        { .name = "a delta that does not fit and a map of the kernel image",
          .uki_from = { "file 1" },
          .uki_size = { 7 },
          .uki_map = true,
          .uki = WAY_REUSE,
          .download = 1116,
          .at_most = true },
        { .name = "a delta", .usr_from = { "2" }, .usr_size = { 50 }, .usr = WAY_DELTA, .download = 151 },
        { .name = "a delta and a map",
          .usr_from = { "2" },
          .usr_size = { 50 },
          .map = true,
          .usr = WAY_DELTA,
          .download = 151 },
        { .name = "from what is overwritten", .usr_from = { "1" }, .usr_size = { 50 }, .download = 1111 },
        { .name = "from elsewhere", .usr_from = { "0" }, .usr_size = { 50 }, .download = 1111 },
        { .name = "larger than the whole", .usr_from = { "2" }, .usr_size = { 1010 }, .download = 1111 },
        { .name = "nearly as large", .usr_from = { "2" }, .usr_size = { 1009 }, .usr = WAY_DELTA, .download = 1110 },
        { .name = "the smallest",
          .usr_from = { "2", "2", "2" },
          .usr_size = { 60, 40, 50 },
          .usr = WAY_DELTA,
          .download = 141 },
        { .name = "one that fits",
          .usr_from = { "0", "2", "1" },
          .usr_size = { 10, 40, 20 },
          .usr = WAY_DELTA,
          .download = 141 },
        { .name = "both",
          .usr_from = { "2" },
          .usr_size = { 50 },
          .uki_from = { "file 2" },
          .uki_size = { 7 },
          .usr = WAY_DELTA,
          .uki = WAY_DELTA,
          .download = 58 },
        { .name = "the kernel image only",
          .uki_from = { "file 1", "file 2" },
          .uki_size = { 3, 7 },
          .uki = WAY_DELTA,
          .download = 1018 },
        { .name = "the entry that is retired", .uki_from = { "file 1" }, .uki_size = { 3 }, .download = 1111 },
        { .name = "a kernel image as large", .uki_from = { "file 2" }, .uki_size = { 100 }, .download = 1111 },
};

static void add_deltas(Offer *o, ArtifactKind artifact, const char *const from[static 3], const uint64_t *sizes) {
        ReleaseDescription *d = o->description;

        for (size_t i = 0; i < 3 && from[i]; i++) {
                o->delta_download[d->n_deltas] = sizes[i];
                d->deltas = xrealloc(d->deltas, d->n_deltas + 1, sizeof(ArtifactDelta));
                d->deltas[d->n_deltas++] = (ArtifactDelta){ .artifact = artifact, .from_id = content_hash(from[i]) };
        }
}

static void the_way_is_what_costs_least(void **state) {
        for (size_t i = 0; i < ELEMENTSOF(way_cases); i++) {
                const WayCase *c = &way_cases[i];
                _cleanup_(machine_freep) Machine *m = make_machine();
                _cleanup_(description_freep) ReleaseDescription *d = make_description();
                _cleanup_(plan_freep) Plan *p = NULL;
                UpdaterState u = {};
                Offer o = { .description = d };

                o.download[ARTIFACT_USR] = 1000;
                o.download[ARTIFACT_USR_INDEX] = 10;
                o.download[ARTIFACT_UKI] = 100;
                o.download[ARTIFACT_VERITY_SIG] = 1;
                o.download[ARTIFACT_USR_MAP] = c->map ? 20 : 0;
                d->artifacts[ARTIFACT_USR_MAP].present = c->map;
                o.download[ARTIFACT_UKI_MAP] = c->uki_map ? 5 : 0;
                d->artifacts[ARTIFACT_UKI_MAP].present = c->uki_map;
                add_deltas(&o, ARTIFACT_USR, c->usr_from, c->usr_size);
                add_deltas(&o, ARTIFACT_UKI, c->uki_from, c->uki_size);
                p = plan_make(m, &o, 1, &u, &(PlanRequest){}, "0.1.0", NOW);
                /* As long as nobody has looked at the files, none is known to fit. */
                assert_int_equal(p->uki_way, c->uki_map ? WAY_REUSE : WAY_FULL);
                for (size_t k = 0; k < m->n_entries; k++) {
                        _cleanup_free_ char *content = xasprintf("file %s", m->entries[k].version);

                        m->entries[k].has_sha256 = true;
                        m->entries[k].sha256 = content_hash(content);
                }
                plan_choose_ways(p, m);
                if (p->usr_way != c->usr || p->uki_way != c->uki || p->download != c->download ||
                    p->at_most != c->at_most)
                        fail_msg("%s: %s, %s, %" PRIu64, c->name, way_name(p->usr_way), way_name(p->uki_way),
                                 p->download);
                if (p->usr_way == WAY_DELTA)
                        assert_int_equal(p->usr_from, 0);
        }
}

/* Nothing to look through: what runs was started in another way. */
static void without_an_entry_of_what_runs_the_kernel_image_is_fetched_whole(void **state) {
        _cleanup_(machine_freep) Machine *m = make_machine();
        _cleanup_(description_freep) ReleaseDescription *d = make_description();
        _cleanup_(plan_freep) Plan *p = NULL;
        _cleanup_free_ char *text = NULL;
        UpdaterState u = {};
        Offer o = { .description = d };

        d->artifacts[ARTIFACT_UKI_MAP].present = true;
        o.download[ARTIFACT_UKI] = 100;
        o.download[ARTIFACT_UKI_MAP] = 5;
        m->entries[0].has_root_hash = false;
        p = plan_make(m, &o, 1, &u, &(PlanRequest){}, "0.1.0", NOW);
        assert_int_equal(p->uki_way, WAY_FULL);
        assert_int_equal(p->download, 100);
        assert_false(p->at_most);
        m->entries[0].has_root_hash = true;
        plan_choose_ways(p, m);
        assert_int_equal(p->uki_way, WAY_REUSE);
        text = plan_describe(p, m);
        assert_non_null(strstr(text, "at most "));
        assert_non_null(strstr(text, "less what is here already"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_way_is_what_costs_least),
                cmocka_unit_test(without_an_entry_of_what_runs_the_kernel_image_is_fetched_whole),
        };

        return cmocka_run_group_tests_name("plan-ways", tests, NULL, NULL);
}
