/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gelf.h>
#include <libelf.h>

#include "decompress.h"
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
        if (size >= SELFMAG && memcmp(data, ELFMAG, SELFMAG) == 0) {
                buffer_append(ret, data, size);
                return 0;
        }
        if (decompress(data, size, COMPRESSION_XZ | COMPRESSION_GZIP | COMPRESSION_ZSTD, MODULE_SIZE_MAX, ret, reterr) <
            0)
                return error_prefix(reterr, "cannot unpack the module");
        return 0;
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
