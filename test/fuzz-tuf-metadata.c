/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The four documents of a TUF repository, told apart by the first byte (r, t, s; anything else: targets). The canonical
 * form must say the same as what it was made from, and a document around it must be read the same. */

#include "tuf-json.h"
#include "tuf-metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
        if (!ok)
                abort();
}

/* Canonical JSON has raw control characters, all of them inside strings; JSON wants them escaped. */
static void to_json(const Buffer *canonical, Buffer *ret) {
        for (size_t i = 0; i < canonical->size; i++) {
                uint8_t byte = (uint8_t) canonical->data[i];

                if (byte < 0x20)
                        buffer_printf(ret, "\\u%04x", byte);
                else
                        buffer_append(ret, &byte, 1);
        }
}

static void check_canonical(const TufMetadata *m) {
        const json_t *content = json_object_get(m->document, "signed");
        _cleanup_buffer_ Buffer text = {}, again = {};
        _cleanup_json_ json_t *copy = NULL;

        to_json(&m->canonical, &text);
        must(json_parse(text.data, text.size, "again", &copy, NULL) >= 0 && json_equal(content, copy));
        must(tuf_canonical_encode(copy, &again, NULL) >= 0);
        must(again.size == m->canonical.size && memcmp(again.data, m->canonical.data, again.size) == 0);
}

static void check_lookups(const TufMetadata *m) {
        for (size_t i = 0; i < m->keys.n_items; i++)
                must(tuf_keys_find(&m->keys, tuf_key_id(m->keys.items[i])) == m->keys.items[i]);
        for (size_t i = 0; i < m->n_meta; i++)
                must(tuf_find_meta(m, m->meta[i].name) == &m->meta[i]);
        for (size_t i = 0; i < m->n_targets; i++) {
                must(tuf_find_target(m, m->targets[i].path) == &m->targets[i]);
                must(tuf_target_path_is_valid(m->targets[i].path));
        }
        for (size_t i = 0; i < m->n_delegations; i++) {
                const TufDelegation *d = &m->delegations[i];

                must(tuf_find_delegation(m, d->name) == d && d->role.threshold >= 1 && !d->paths != !d->hash_prefixes);
                for (size_t j = 0; j < m->n_targets; j++)
                        (void) tuf_delegation_matches(d, m->targets[j].path);
        }
}

/* Nobody can count more often than there are keys, signatures and entries in the role. */
static void check_signatures(const TufMetadata *m) {
        size_t n = m->type == TUF_ROOT ? tuf_count_signatures(m, &m->keys, &m->roles[TUF_ROOT]) : 0;

        must(n <= m->keys.n_items && n <= json_array_size(json_object_get(m->document, "signatures")));
        must(m->type != TUF_ROOT || n <= strv_length(m->roles[TUF_ROOT].key_ids));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(tuf_metadata_freep) TufMetadata *m = NULL;
        TufType type;

        if (size < 1)
                return 0;
        type = *data == 'r' ? TUF_ROOT : *data == 't' ? TUF_TIMESTAMP : *data == 's' ? TUF_SNAPSHOT : TUF_TARGETS;
        if (tuf_metadata_parse(type, data + 1, size - 1, "input", &m, NULL) < 0)
                return 0;
        check_canonical(m);
        if (tuf_metadata_decode(m, "input", NULL) < 0)
                return 0;
        must(m->version >= 1);
        check_lookups(m);
        check_signatures(m);
        return 0;
}
