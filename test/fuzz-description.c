/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The description of a release and, where the input is no object, the text of a rollout. What is accepted must come
 * back the same from what is written of it, and keep the promises that the code behind relies on. */

#include "delta.h"
#include "description.h"
#include "version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool x) {
        if (!x)
                abort();
}

static void try_rollout(const char *text) {
        static const char machine[] = "0123456789abcdef0123456789abcdef";
        _cleanup_free_ char *first = NULL, *second = NULL;
        Rollout a, b;
        int64_t turn;

        if (rollout_parse(text, &a, NULL) < 0)
                return;
        require(a.initial <= ROLLOUT_WHOLE && a.per_day <= ROLLOUT_WHOLE);
        first = rollout_format(&a);
        require(rollout_parse(first, &b, NULL) == 0);
        second = rollout_format(&b);
        require(streq(first, second));
        a.start = 1000;
        turn = rollout_turn(&a, machine);
        require(!rollout_includes(&a, machine, turn - 1) || turn == INT64_MAX);
        require(turn == INT64_MAX || rollout_includes(&a, machine, turn));
}

static void check(const ReleaseDescription *d) {
        _cleanup_free_ char *folder = description_target_path(d->product, d->version, "");

        require(d->product[0] != '.' && d->version[0] != '.' && !strchr(d->product, '/') && !strchr(d->version, '/'));
        require(d->artifacts[ARTIFACT_USR].present && d->artifacts[ARTIFACT_UKI].present);
        for (size_t i = 0; i < _ARTIFACT_KIND_MAX; i++) {
                const Artifact *a = &d->artifacts[i];
                const char *file = a->present ? startswith(a->target, folder) : "";

                require(!a->present || (file && *file && *file != '.' && !strchr(file, '/')));
                require(!a->present || (a->size > 0 && a->size <= DESCRIPTION_IMAGE_SIZE_MAX));
        }
        require(d->n_deltas <= DESCRIPTION_DELTAS_MAX);
        for (size_t i = 0; i < d->n_deltas; i++) {
                const ArtifactDelta *delta = &d->deltas[i];
                const char *file = startswith(delta->target, folder);

                require(delta->artifact == ARTIFACT_USR || delta->artifact == ARTIFACT_UKI);
                require(file && *file && *file != '.' && !strchr(file, '/'));
                require(version_is_valid(delta->from) && version_compare(delta->from, d->version) < 0);
                require(delta->head_size >= DELTA_HEADER_SIZE && delta->head_size <= DELTA_HEAD_MAX);
                require(i == 0 || description_delta_compare(delta - 1, delta) < 0);
        }
        require(!d->notes || strlen(d->notes) <= DESCRIPTION_NOTES_MAX);
        require(strv_length(d->supersedes) <= DESCRIPTION_SUPERSEDES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(description_freep) ReleaseDescription *a = NULL, *b = NULL;
        _cleanup_json_ json_t *custom = NULL, *first = NULL, *second = NULL;

        if (size == 0 || data[0] != '{') {
                _cleanup_free_ char *text = xstrndup((const char *) data, size);

                try_rollout(text);
                return 0;
        }
        if (json_parse((const char *) data, size, "input", &custom, NULL) < 0 ||
            description_parse(custom, "input", &a, NULL) < 0)
                return 0;
        check(a);
        first = description_to_json(a);
        require(description_parse(first, "again", &b, NULL) == 0);
        second = description_to_json(b);
        require(json_equal(first, second));
        return 0;
}
