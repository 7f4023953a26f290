/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gelf.h>
#include <libelf.h>

#include "archive-cleanup.h"
#include "module.h"

static inline void elf_endp(Elf **e) {
        if (*e)
                elf_end(*e);
}

static int bad_module(Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "not a kernel module: %s", elf_errmsg(-1) ?: "damaged");
}

char *module_name(const char *file) {
        const char *end = strstr(file, ".ko");
        char *name;

        if (!end || (end[3] && end[3] != '.'))
                return NULL;
        name = xstrndup(file, (size_t) (end - file));
        for (char *p = name; *p; p++)
                if (*p == '-')
                        *p = '_';
        return name;
}

int module_unpack(const char *data, size_t size, Buffer *ret, Error *reterr) {
        _cleanup_(archive_read_freep) struct archive *a = archive_read_new();
        struct archive_entry *e;

        if (size >= SELFMAG && memcmp(data, ELFMAG, SELFMAG) == 0) {
                buffer_append(ret, data, size);
                return 0;
        }
        if (!a || archive_read_support_filter_xz(a) != ARCHIVE_OK ||
            archive_read_support_filter_gzip(a) != ARCHIVE_OK || archive_read_support_filter_zstd(a) != ARCHIVE_OK ||
            archive_read_support_format_raw(a) != ARCHIVE_OK || archive_read_open_memory(a, data, size) != ARCHIVE_OK ||
            archive_read_next_header(a, &e) != ARCHIVE_OK)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the module cannot be decompressed: %s",
                                 (a ? archive_error_string(a) : NULL) ?: "it is damaged");
        /* The raw format takes anything; without a filter nobody looked at what it is. */
        if (archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "neither a module nor a compressed one");
        for (;;) {
                const void *block;
                la_int64_t offset;
                size_t n;
                int r = archive_read_data_block(a, &block, &n, &offset);

                if (r == ARCHIVE_EOF)
                        return 0;
                if (r != ARCHIVE_OK)
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "the module cannot be decompressed: %s",
                                         archive_error_string(a) ?: "it is damaged");
                if (n > MODULE_SIZE_MAX - ret->size)
                        return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "the module is larger than %zu bytes",
                                         MODULE_SIZE_MAX);
                buffer_append(ret, block, n);
        }
}

int module_info(const char *data, size_t size, char ***ret, Error *reterr) {
        _cleanup_(elf_endp) Elf *e = NULL;
        _cleanup_strv_free_ char **l = NULL;
        Elf_Scn *section = NULL;
        size_t names;

        if (elf_version(EV_CURRENT) == EV_NONE || !(e = elf_memory((char *) data, size)) || elf_kind(e) != ELF_K_ELF ||
            elf_getshdrstrndx(e, &names) < 0)
                return bad_module(reterr);
        while ((section = elf_nextscn(e, section))) {
                const char *name;
                Elf_Data *d;
                GElf_Shdr h;

                if (!gelf_getshdr(section, &h) || !(name = elf_strptr(e, names, h.sh_name)))
                        return bad_module(reterr);
                if (!streq(name, ".modinfo"))
                        continue;
                if (!(d = elf_getdata(section, NULL)))
                        return bad_module(reterr);
                for (size_t k = 0; k < d->d_size;) {
                        const char *p = (const char *) d->d_buf + k;
                        size_t n = strnlen(p, d->d_size - k);

                        if (n > 0)
                                strv_push(&l, xstrndup(p, n));
                        k += n + 1;
                }
        }
        *ret = TAKE_PTR(l);
        return 0;
}
