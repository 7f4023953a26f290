/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "downloads.h"

void downloads_done(Downloads *d) {
        for (size_t i = 0; i < d->n_from; i++) {
                free(d->from[i].version);
                strv_free(d->from[i].notes);
        }
        free(d->from);
        *d = (Downloads){};
}

uint64_t download_total(const DownloadBytes *b) {
        return b->usr + b->uki + b->metadata;
}

DownloadBytes download_cheapest(const Downloads *d, const DownloadFrom *from) {
        DownloadBytes b = from->reuse;

        if (from->usr_offered)
                b = (DownloadBytes){ .usr = from->usr_delta, .metadata = d->signature };
        b.uki = from->uki_offered ? from->uki_delta : from->reuse.uki;
        return b;
}

const DownloadFrom *downloads_find(const Downloads *d, const char *version) {
        for (size_t i = 0; i < d->n_from; i++)
                if (streq(d->from[i].version, version))
                        return &d->from[i];
        return NULL;
}

/* ---- for people ---- */

static void format_row(Buffer *b, int width, const char *label, const DownloadBytes *bytes) {
        _cleanup_free_ char *usr = format_bytes(bytes->usr), *uki = format_bytes(bytes->uki),
                            *metadata = format_bytes(bytes->metadata), *total = format_bytes(download_total(bytes));

        buffer_printf(b, "  %-*s %10s %10s %10s %10s\n", width, label, usr, uki, metadata, total);
}

char *downloads_format(const Downloads *d) {
        _cleanup_buffer_ Buffer b = {};
        int width = (int) strlen("A device downloads");

        for (size_t i = 0; i < d->n_from; i++)
                width = MAX(width, (int) strlen(d->from[i].version) + (int) strlen("from , by blocks"));
        buffer_printf(&b, "  %-*s %10s %10s %10s %10s\n", width, "A device downloads", "/usr", "UKI", "metadata",
                      "together");
        format_row(&b, width, "all of it", &d->full);
        for (size_t i = 0; i < d->n_from; i++) {
                const DownloadFrom *f = &d->from[i];
                _cleanup_free_ char *by_blocks = xasprintf("from %s, by blocks", f->version),
                                    *by_delta = xasprintf("from %s, by delta", f->version);
                const DownloadBytes cheapest = download_cheapest(d, f);

                format_row(&b, width, by_blocks, &f->reuse);
                if (f->usr_offered || f->uki_offered)
                        format_row(&b, width, by_delta, &cheapest);
                STRV_FOREACH (note, f->notes)
                        buffer_printf(&b, "  from %s: %s\n", f->version, *note);
        }
        return buffer_steal(&b);
}

/* ---- for programs ---- */

static json_t *bytes_to_json(const DownloadBytes *b) {
        return json_pack("{s:I, s:I, s:I, s:I}", "usr", (json_int_t) b->usr, "uki", (json_int_t) b->uki, "metadata",
                         (json_int_t) b->metadata, "total", (json_int_t) download_total(b));
}

static json_t *from_to_json(const Downloads *d, const DownloadFrom *f) {
        const DownloadBytes cheapest = download_cheapest(d, f);
        json_t *o = json_pack("{s:s, s:o, s:o}", "version", f->version, "reuse", bytes_to_json(&f->reuse), "cheapest",
                              bytes_to_json(&cheapest)),
               *delta = json_object(), *offered = json_array();

        if (f->usr_delta > 0)
                json_object_set_new(delta, "usr", json_integer((json_int_t) f->usr_delta));
        if (f->uki_delta > 0)
                json_object_set_new(delta, "uki", json_integer((json_int_t) f->uki_delta));
        if (f->usr_offered)
                json_array_append_new(offered, json_string("usr"));
        if (f->uki_offered)
                json_array_append_new(offered, json_string("uki"));
        json_object_set_new(o, "delta", delta);
        json_object_set_new(o, "offered", offered);
        json_object_set_new(o, "notes", json_from_strv(f->notes));
        return o;
}

json_t *downloads_to_json(const Downloads *d) {
        json_t *from = json_array();

        for (size_t i = 0; i < d->n_from; i++)
                json_array_append_new(from, from_to_json(d, &d->from[i]));
        return json_pack("{s:o, s:o}", "full", bytes_to_json(&d->full), "from", from);
}
