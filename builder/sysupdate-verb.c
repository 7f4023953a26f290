/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <time.h>

#include "json.h"
#include "log.h"
#include "sysupdate-verb.h"
#include "sysupdate.h"

int sysupdate_verb(const char *release, const char *place, const SysupdateVerbOptions *opt, Error *reterr) {
        const SysupdateOptions o = { .gpg_key = opt->gpg_key,
                                     .best_before = opt->best_before,
                                     .workers = (unsigned) MIN(opt->workers, (uint64_t) UINT_MAX),
                                     .allow_development = opt->allow_development,
                                     .now = (int64_t) time(NULL),
                                     .progress = opt->progress };
        _cleanup_(release_freep) Release *r = NULL;
        _cleanup_(storage_freep) Storage *s = NULL;
        int outcome;

        outcome = release_open(release, &r, reterr);
        if (outcome >= 0)
                outcome = storage_open(place, true, &s, reterr);
        if (outcome >= 0)
                outcome = sysupdate_publish(s, r, &o, reterr);
        if (outcome < 0)
                return outcome;
        if (opt->json) {
                _cleanup_json_ json_t *j =
                        json_pack("{s:s, s:s, s:s, s:b}", "product", r->image_id, "version", r->version, "outcome",
                                  outcome > 0 ? "unchanged" : "published", "signed", opt->gpg_key != NULL);
                _cleanup_free_ char *line = json_format_line(j);

                puts(line);
                return 0;
        }
        if (outcome > 0)
                printf("%s has %s %s already; " SYSUPDATE_SUMS " is written%s anew.\n", place, r->image_id, r->version,
                       opt->gpg_key ? " and signed" : "");
        else
                printf("Published: %s %s in %s.\n", r->image_id, r->version, place);
        return 0;
}
