/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "channel.h"

int channel_check(const TufMetadata *m, const char *name, Error *reterr) {
        const char *is = json_string_value(json_object_get(json_object_get(m->document, "signed"), CHANNEL_MEMBER));

        if (!is)
                return error_set(reterr, EBADMSG, REFUSAL_MIXED,
                                 "the document of channel %s does not say that it is one", name);
        if (!streq(is, name))
                return error_set(reterr, EBADMSG, REFUSAL_MIXED,
                                 "what is called channel %s is the document of channel %s", name, is);
        return 0;
}
