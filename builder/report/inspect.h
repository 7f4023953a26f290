/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* sealab inspect: what is in a release. */

#include "facts.h"

typedef struct InspectOptions {
        bool json;                   /* one JSON object on standard output instead of text */
        const char *html_path;       /* borrowed; NULL: none. Writes the page there as well, and no text */
        const char *previous_folder; /* borrowed; NULL: the newest older release of the image beside this one, if any */
} InspectOptions;

int inspect_release(const char *folder, const InspectOptions *opt, Error *reterr);

char *inspect_format_text(const Facts *f);
json_t *inspect_to_json(const Facts *f);
