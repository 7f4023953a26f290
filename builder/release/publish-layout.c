/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which releases the frames of a new one's pack go by: the newest that any channel has of the product, whoever made
 * them. Only their maps are read. */

#include "log.h"
#include "publish-internal.h"
#include "version.h"

typedef struct History {
        ReleaseDescription **items; /* newest first */
        size_t n_items, n_allocated;
} History;

static void history_done(History *h) {
        for (size_t i = 0; i < h->n_items; i++)
                description_free(h->items[i]);
        free(h->items);
}

/* With maps that can be compared: of the same salt. */
static bool is_before(const ReleaseDescription *d, const ReleaseDescription *other) {
        return streq(other->product, d->product) && streq(other->architecture, d->architecture) &&
               version_compare(other->version, d->version) < 0 && other->artifacts[ARTIFACT_USR_MAP].present &&
               sha256_equal(&other->verity_salt, &d->verity_salt);
}

static int add_channel(History *h, const Repository *r, const char *channel, const ReleaseDescription *d,
                       Error *reterr) {
        _cleanup_channel_list_ ChannelList l = {};
        int result;

        result = channel_list_read(r, channel, &l, reterr);
        if (result < 0)
                return result;
        for (size_t i = 0; i < l.n_items; i++) {
                bool there = false;

                for (size_t k = 0; k < h->n_items && !there; k++)
                        there = streq(h->items[k]->version, l.items[i].description->version);
                if (there || !is_before(d, l.items[i].description))
                        continue;
                GROW(h->items, h->n_items, h->n_allocated);
                h->items[h->n_items++] = TAKE_PTR(l.items[i].description);
        }
        return 0;
}

static int compare(const void *a, const void *b) {
        const ReleaseDescription *const *x = a, *const *y = b;
        int r = version_compare((*y)->version, (*x)->version);

        return r != 0 ? r : strcmp((*y)->version, (*x)->version);
}

static int read_map(const Repository *r, const ReleaseDescription *d, BlockMap **ret, Error *reterr) {
        _cleanup_buffer_ Buffer b = {};
        int result;

        result = repository_read_target(r, d->artifacts[ARTIFACT_USR_MAP].target, BLOCK_MAP_SIZE_MAX, &b, reterr);
        return result < 0 ? result
                          : block_map_parse(b.data, b.size, d->artifacts[ARTIFACT_USR].size, "map of the image", ret,
                                            reterr);
}

int publish_layout(const Repository *r, const ReleaseDescription *d, const BlockMap *map, FrameIndex **ret,
                   Error *reterr) {
        _cleanup_(pack_layout_freep) PackLayout *layout = pack_layout_new(map);
        _cleanup_(history_done) History h = {};
        int result;

        for (size_t i = 0; i < r->n_channels; i++) {
                result = add_channel(&h, r, r->targets->delegations[i].name, d, reterr);
                if (result < 0)
                        return result;
        }
        if (h.n_items > 0)
                qsort(h.items, h.n_items, sizeof *h.items, compare);
        for (size_t i = 0; i < MIN(h.n_items, (size_t) PACK_HISTORY_MAX); i++) {
                _cleanup_(block_map_freep) BlockMap *older = NULL;
                _cleanup_error_ Error e = {};

                /* It costs devices bytes, not the release. */
                if (read_map(r, h.items[i], &older, &e) < 0)
                        log_warning("The pack does not follow what changed since %s: %s", h.items[i]->version,
                                    e.message);
                else
                        pack_layout_add(layout, older);
        }
        *ret = pack_layout_frames(layout);
        return 0;
}
