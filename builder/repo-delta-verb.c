/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>

#include "log.h"
#include "publish.h"
#include "repo-verb.h"

static void print(const char *product, const char *version, const char *channel, const char *outcome,
                  const Downloads *downloads, bool as_json) {
        if (as_json) {
                _cleanup_json_ json_t *o =
                        json_pack("{s:s, s:s, s:s, s:s, s:o}", "product", product, "version", version, "channel",
                                  channel, "outcome", outcome, "downloads", downloads_to_json(downloads));
                _cleanup_free_ char *line = json_format_line(o);

                puts(line);
        } else if (downloads->n_from > 0) {
                _cleanup_free_ char *table = downloads_format(downloads);

                fputs(table, stdout);
        }
}

int repo_verb_delta(const char *place, const char *product, const char *version, const RepoVerbOptions *opt,
                    Error *reterr) {
        const uint64_t n = opt->deltas != REPO_NOT_GIVEN ? opt->deltas : opt->olders ? 0 : PUBLISH_DELTAS_DEFAULT;
        _cleanup_free_ char *said = xasprintf("Devices find the deltas for %s %s from now on.", product, version);
        _cleanup_downloads_ Downloads downloads = {};
        _cleanup_(storage_freep) Storage *storage = NULL;
        _cleanup_(change_freep) Change *c = NULL;
        const PublishOptions o = { .channel = opt->channel ?: "stable",
                                   .workers = (unsigned) MIN(opt->workers, (uint64_t) UINT_MAX),
                                   .deltas = (size_t) MIN(n, (uint64_t) SIZE_MAX),
                                   .from = opt->olders,
                                   .downloads = &downloads,
                                   .now = repo_verb_now(),
                                   .progress = opt->progress };
        int r;

        r = storage_open(place, false, &storage, reterr);
        if (r >= 0)
                r = change_begin(storage, o.now, &c, reterr);
        if (r >= 0)
                r = publish_deltas(c, product, version, &o, reterr);
        if (r < 0)
                return r;
        print(product, version, o.channel,
              r > 0          ? "unchanged"
              : opt->dry_run ? "dry-run"
                             : "added",
              &downloads, opt->json);
        if (r > 0)
                log_info("Nothing to do: it has the deltas that are of use.");
        else if (opt->dry_run)
                log_info("Nothing was published (--dry-run).");
        return r > 0 || opt->dry_run ? 0 : repo_verb_finish(c, opt, said, reterr);
}
