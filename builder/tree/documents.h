/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Manual pages, info pages and other documents, which Debian packs with gzip. A packed file is another one from its
 * first changed byte on, so that every update brings it anew: from a Debian 12 to its updates and a new kernel, 3.3 MB
 * of 13 MB of patches, where the same files unpacked take 0.2. The download compresses them again. */

#include "tree.h"

/* Larger ones stay as they are; the largest of Debian, a change log of the kernel, has 4 MB. */
#define DOCUMENT_SIZE_MAX ((size_t) 64 << 20)

/* /usr/share/doc, man and info: "ls.1.gz" becomes "ls.1", with the links that lead there, wherever they are. What must
 * keep its name (another file has the new one) or cannot be unpacked stays as it is. Archives (.tar.gz) do, too. */
int documents_unpack(Tree *t, Error *reterr);
