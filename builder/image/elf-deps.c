/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <gelf.h>
#include <libelf.h>

#include "elf-deps.h"
#include "io.h"
#include "json.h"

#define NOTE_OWNER "FDO"
#define NOTE_TYPE_DLOPEN 0x407c0c0aU
#define NOTES_MAX 1000
/* A program, its library, that library's library ...: nothing real nests this deep. */
#define COPY_DEPTH_MAX 64

struct ElfCopier {
        Tree *to, *pool; /* borrowed */
        char **folders;  /* where the run-time linker looks by itself */
        char **runpaths; /* of all that was copied so far */
        unsigned depth;
};

static inline void elf_endp(Elf **e) {
        if (*e)
                elf_end(*e);
}

void elf_deps_done(ElfDeps *d) {
        free(d->interpreter);
        strv_free(d->needed);
        strv_free(d->runpath);
        strv_free(d->opened);
        *d = (ElfDeps){};
}

static int bad_elf(Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_FORMAT, "damaged ELF file: %s", elf_errmsg(-1) ?: "bad contents");
}

static int read_interpreter(const uint8_t *data, size_t size, const GElf_Phdr *p, ElfDeps *d, Error *reterr) {
        if (p->p_offset > size || p->p_filesz > size - p->p_offset || p->p_filesz == 0 ||
            !memchr(data + p->p_offset, 0, p->p_filesz))
                return bad_elf(reterr);
        free(d->interpreter);
        d->interpreter = xstrdup((const char *) data + p->p_offset);
        return 0;
}

static int read_dynamic(Elf *e, Elf_Scn *section, const GElf_Shdr *header, ElfDeps *d, Error *reterr) {
        Elf_Data *data = elf_getdata(section, NULL);
        GElf_Dyn entry;

        if (!data)
                return bad_elf(reterr);
        for (int k = 0; gelf_getdyn(data, k, &entry) && entry.d_tag != DT_NULL; k++) {
                const char *text;

                if (entry.d_tag != DT_NEEDED && entry.d_tag != DT_RUNPATH && entry.d_tag != DT_RPATH)
                        continue;
                text = elf_strptr(e, header->sh_link, entry.d_un.d_val);
                if (!text)
                        return bad_elf(reterr);
                if (entry.d_tag == DT_NEEDED)
                        strv_extend(&d->needed, text);
                else {
                        _cleanup_strv_free_ char **folders = strv_split(text, ":");

                        strv_extend_strv(&d->runpath, folders);
                }
        }
        return 0;
}

/* [{"feature": ..., "priority": "recommended", "soname": ["libx.so.2", "libx.so.1"]}] */
static int read_wishes(const char *text, size_t size, ElfDeps *d, Error *reterr) {
        _cleanup_json_ json_t *array = NULL;
        json_t *object, *name;
        size_t i, k;
        int r = json_parse(text, strnlen(text, size), "dlopen note", &array, reterr);

        if (r < 0)
                return r;
        json_array_foreach (array, i, object) {
                const char *priority = json_string_value(json_object_get(object, "priority"));
                _cleanup_strv_free_ char **names = NULL;

                if (priority && !streq(priority, "required") && !streq(priority, "recommended"))
                        continue;
                json_array_foreach (json_object_get(object, "soname"), k, name)
                        if (json_string_value(name))
                                strv_extend(&names, json_string_value(name));
                if (names)
                        strv_push(&d->opened, strv_join(names, " "));
        }
        return 0;
}

static int read_notes(Elf_Scn *section, ElfDeps *d, Error *reterr) {
        Elf_Data *data = elf_getdata(section, NULL);
        size_t offset = 0, name, text;
        GElf_Nhdr note;

        if (!data)
                return bad_elf(reterr);
        for (unsigned k = 0; k < NOTES_MAX && (offset = gelf_getnote(data, offset, &note, &name, &text)) > 0; k++) {
                int r;

                if (note.n_type != NOTE_TYPE_DLOPEN || note.n_namesz != sizeof(NOTE_OWNER) ||
                    memcmp((char *) data->d_buf + name, NOTE_OWNER, sizeof(NOTE_OWNER)) != 0)
                        continue;
                r = read_wishes((char *) data->d_buf + text, note.n_descsz, d, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_sections(Elf *e, ElfDeps *d, Error *reterr) {
        Elf_Scn *section = NULL;
        GElf_Shdr header;
        int r = 0;

        while (r >= 0 && (section = elf_nextscn(e, section))) {
                if (!gelf_getshdr(section, &header))
                        return bad_elf(reterr);
                if (header.sh_type == SHT_DYNAMIC)
                        r = read_dynamic(e, section, &header, d, reterr);
                else if (header.sh_type == SHT_NOTE)
                        r = read_notes(section, d, reterr);
        }
        return r;
}

int elf_deps_read(const void *data, size_t size, ElfDeps *ret, Error *reterr) {
        _cleanup_(elf_endp) Elf *e = NULL;
        _cleanup_elf_deps_ ElfDeps d = {};
        bool dynamic = false;
        size_t n;
        int r;

        *ret = (ElfDeps){};
        if (size < SELFMAG || memcmp(data, ELFMAG, SELFMAG) != 0)
                return 1;
        if (elf_version(EV_CURRENT) == EV_NONE)
                return bad_elf(reterr);
        /* libelf only reads what it is given here; its interface has no const. */
        e = elf_memory((char *) (uintptr_t) data, size);
        if (!e || elf_kind(e) != ELF_K_ELF || elf_getphdrnum(e, &n) < 0)
                return bad_elf(reterr);
        for (size_t k = 0; k < n; k++) {
                GElf_Phdr p;

                if (!gelf_getphdr(e, (int) k, &p))
                        return bad_elf(reterr);
                dynamic = dynamic || p.p_type == PT_DYNAMIC;
                if (p.p_type == PT_INTERP) {
                        r = read_interpreter(data, size, &p, &d, reterr);
                        if (r < 0)
                                return r;
                }
        }
        if (!dynamic)
                return 1;
        r = read_sections(e, &d, reterr);
        if (r < 0)
                return r;
        *ret = d;
        d = (ElfDeps){};
        return 0;
}

/* --- copying --- */

ElfCopier *elf_copier_new(Tree *to, Tree *pool) {
        ElfCopier *c = xnew(ElfCopier, 1);
        const Node *lib = tree_lookup(pool, "/usr/lib");

        c->to = to;
        c->pool = pool;
        /* Debian's run-time linker has the multi-arch folder built in, before the plain ones. */
        for (size_t k = 0; lib && k < lib->n_children; k++)
                if (strstr(lib->children[k]->name, "-linux-gnu"))
                        strv_extendf(&c->folders, "/usr/lib/%s", lib->children[k]->name);
        strv_extend(&c->folders, "/usr/lib");
        strv_extend(&c->folders, "/usr/lib64");
        return c;
}

ElfCopier *elf_copier_free(ElfCopier *c) {
        if (!c)
                return NULL;
        strv_free(c->folders);
        strv_free(c->runpaths);
        free(c);
        return NULL;
}

/* The node of a path whose folders, but not whose last component, may be links. */
static Node *find_node(const ElfCopier *c, const char *path) {
        _cleanup_free_ char *folder = path_dirname(path);
        Node *n = tree_resolve(c->pool, folder);

        return n && node_is_folder(n) ? node_child(n, path_basename(path)) : NULL;
}

static int copy_from_folders(ElfCopier *c, char *const *folders, const char *name, Error *reterr) {
        STRV_FOREACH (folder, folders) {
                _cleanup_free_ char *path = path_join(*folder, name);
                int r = elf_copy(c, path, reterr);

                if (r <= 0)
                        return r;
        }
        return 1;
}

/* A run path counts only for the file that has it; but what its libraries need may be loaded already by then (systemd
 * does so with its two private libraries), so all run paths met so far are the last resort. */
static int copy_library(ElfCopier *c, const char *name, char *const *runpath, Error *reterr) {
        int r;

        if (name[0] == '/')
                return elf_copy(c, name, reterr);
        r = copy_from_folders(c, runpath, name, reterr);
        if (r > 0)
                r = copy_from_folders(c, c->folders, name, reterr);
        return r > 0 ? copy_from_folders(c, c->runpaths, name, reterr) : r;
}

/* Folders with $ORIGIN filled in; they are also remembered. */
static char **expand_runpath(ElfCopier *c, char *const *runpath, const char *origin) {
        char **l = NULL;

        STRV_FOREACH (folder, runpath) {
                const char *rest = startswith(*folder, "$ORIGIN") ?: startswith(*folder, "${ORIGIN}");

                strv_extendf(&l, "%s%s", rest ? origin : "", rest ?: *folder);
                if (!strv_contains(c->runpaths, l[strv_length(l) - 1]))
                        strv_extend(&c->runpaths, l[strv_length(l) - 1]);
        }
        return l;
}

static int copy_wish(ElfCopier *c, const char *wish, char *const *runpath, Error *reterr) {
        _cleanup_strv_free_ char **names = strv_split(wish, " ");

        STRV_FOREACH (name, names) {
                int r = copy_library(c, *name, runpath, reterr);

                if (r <= 0)
                        return r;
        }
        /* What opens a library by itself also lives without it. */
        return 0;
}

static int copy_needs(ElfCopier *c, const Node *n, const char *path, Error *reterr) {
        _cleanup_free_ char *data = NULL, *origin = path_dirname(path);
        _cleanup_strv_free_ char **runpath = NULL;
        _cleanup_elf_deps_ ElfDeps d = {};
        size_t size;
        int r = tree_read_file(c->pool, n, ELF_FILE_SIZE_MAX, &data, &size, reterr);

        if (r >= 0)
                r = elf_deps_read(data, size, &d, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        runpath = expand_runpath(c, d.runpath, origin);
        if (d.interpreter) {
                r = elf_copy(c, d.interpreter, reterr);
                if (r > 0)
                        return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s needs %s, which no package has", path,
                                         d.interpreter);
                if (r < 0)
                        return r;
        }
        STRV_FOREACH (name, d.needed) {
                r = copy_library(c, *name, runpath, reterr);
                if (r > 0)
                        return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND,
                                         "%s needs the library %s, which no package has", path, *name);
                if (r < 0)
                        return r;
        }
        STRV_FOREACH (wish, d.opened)
                if ((r = copy_wish(c, *wish, runpath, reterr)) < 0)
                        return r;
        return 0;
}

static int copy_link_target(ElfCopier *c, const Node *n, const char *path, Error *reterr) {
        _cleanup_free_ char *folder = path_dirname(path), *target = path_join(folder, n->inode->target);
        int r;

        /* Links into places that exist only at run time (/proc, /run) lead nowhere here, and should. */
        r = elf_copy(c, target, reterr);
        return r > 0 ? 0 : r;
}

static int copy_found(ElfCopier *c, const Node *n, Error *reterr) {
        _cleanup_free_ char *path = node_path(n);
        int r;

        if (node_is_folder(n)) {
                const NodeAttributes a = { .mode = n->inode->mode & 07777 };

                r = tree_add_folder(c->to, path, &a, NULL, reterr);
                for (size_t k = 0; r >= 0 && k < n->n_children; k++)
                        r = copy_found(c, n->children[k], reterr);
                return r;
        }
        if (tree_lookup(c->to, path))
                return 0;
        r = tree_copy(c->to, path, c->pool, n, reterr);
        if (r < 0)
                return r;
        if (node_is_symlink(n))
                return copy_link_target(c, n, path, reterr);
        return node_is_file(n) ? copy_needs(c, n, path, reterr) : 0;
}

int elf_copy(ElfCopier *c, const char *path, Error *reterr) {
        Node *n = find_node(c, path);
        int r;

        if (!n)
                return 1;
        if (++c->depth > COPY_DEPTH_MAX)
                return error_set(reterr, ELOOP, REFUSAL_TOO_LARGE, "%s: links or libraries are nested too deeply",
                                 path);
        r = copy_found(c, n, reterr);
        c->depth--;
        return r;
}

int elf_copy_library(ElfCopier *c, const char *soname, Error *reterr) {
        return copy_library(c, soname, NULL, reterr);
}
