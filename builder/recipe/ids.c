/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ids.h"
#include "io.h"

#define IDS_FILE_SIZE_MAX ((size_t) 1 << 20)
/* Debian policy 9.2.2: 0-99 are given by base-passwd, 100-999 to packages, 65534 is nobody. */
#define DYNAMIC_FIRST 100
#define DYNAMIC_LAST 999
#define ID_LAST 65534

/* Numbers that the kernel and everything else knows; nobody else may have them. */
static const struct {
        IdKind kind;
        const char *name;
        uint32_t id;
} fixed[] = {
        { ID_USER, "root", 0 },
        { ID_GROUP, "root", 0 },
        { ID_USER, "nobody", 65534 },
        { ID_GROUP, "nogroup", 65534 },
};

static const char *const kind_names[_ID_KIND_MAX] = { [ID_USER] = "user", [ID_GROUP] = "group" };

Ids *ids_free(Ids *ids) {
        for (size_t i = 0; ids && i < ids->n_entries; i++)
                free(ids->entries[i].name);
        if (ids)
                free(ids->entries);
        free(ids);
        return NULL;
}

static const IdEntry *find_id(const Ids *ids, IdKind kind, uint32_t id) {
        for (size_t i = 0; i < ids->n_entries; i++)
                if (ids->entries[i].kind == kind && ids->entries[i].id == id)
                        return &ids->entries[i];
        return NULL;
}

const IdEntry *ids_find(const Ids *ids, IdKind kind, const char *name) {
        for (size_t i = 0; i < ids->n_entries; i++)
                if (ids->entries[i].kind == kind && streq(ids->entries[i].name, name))
                        return &ids->entries[i];
        return NULL;
}

bool ids_has_uid(const Ids *ids, uint32_t id) {
        return find_id(ids, ID_USER, id);
}

bool ids_has_gid(const Ids *ids, uint32_t id) {
        return find_id(ids, ID_GROUP, id);
}

static void add(Ids *ids, IdKind kind, const char *name, uint32_t id, bool added) {
        GROW(ids->entries, ids->n_entries, ids->n_allocated);
        ids->entries[ids->n_entries++] = (IdEntry){ .kind = kind, .name = xstrdup(name), .id = id, .added = added };
}

static bool name_is_valid(const char *name) {
        if (isempty(name) || strlen(name) > 31)
                return false;
        for (const char *p = name; *p; p++)
                if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || *p == '_' ||
                      (p > name && ((*p >= '0' && *p <= '9') || *p == '-' || *p == '.' || (*p == '$' && !p[1])))))
                        return false;
        return true;
}

/* Whether the name and the number may belong together. */
static bool is_allowed(IdKind kind, const char *name, uint32_t id) {
        for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
                if (fixed[i].kind == kind && streq(fixed[i].name, name) != (fixed[i].id == id))
                        return false;
        return true;
}

static int bad_line(const char *what, unsigned line, Error *reterr, const char *why) {
        error_set(reterr, EBADMSG, REFUSAL_BAD_SYNTAX, "%s:%u: %s", what, line, why);
        return error_hint(
                reterr,
                "Each line is \"user NAME NUMBER\" or \"group NAME NUMBER\". Restore the file from version control "
                "rather than deleting it: numbers must not move.");
}

static int parse_line(Ids *ids, char *line, const char *what, unsigned number, Error *reterr) {
        _cleanup_strv_free_ char **words = NULL;
        IdKind kind;
        uint64_t id;

        line = strstrip(line);
        if (!*line || *line == '#')
                return 0;
        words = strv_split(line, " \t");
        if (strv_length(words) != 3)
                return bad_line(what, number, reterr, "three words were expected");
        for (kind = 0; kind < _ID_KIND_MAX; kind++)
                if (streq(words[0], kind_names[kind]))
                        break;
        if (kind == _ID_KIND_MAX)
                return bad_line(what, number, reterr, "neither \"user\" nor \"group\"");
        if (!name_is_valid(words[1]))
                return bad_line(what, number, reterr, "not an account name");
        if (!parse_u64(words[2], &id) || id > ID_LAST)
                return bad_line(what, number, reterr, "not a number from 0 to 65534");
        if (!is_allowed(kind, words[1], (uint32_t) id))
                return bad_line(what, number, reterr, "root is 0, nobody and nogroup are 65534, and nobody else is");
        if (ids_find(ids, kind, words[1]))
                return bad_line(what, number, reterr, "this name stands here twice");
        if (find_id(ids, kind, (uint32_t) id))
                return bad_line(what, number, reterr, "this number stands here twice");
        if (ids->n_entries >= IDS_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "%s: more than %d accounts", what, IDS_MAX);
        add(ids, kind, words[1], (uint32_t) id, false);
        return 0;
}

int ids_parse(const char *text, const char *what, Ids **ret, Error *reterr) {
        _cleanup_(ids_freep) Ids *ids = xnew(Ids, 1);
        unsigned number = 0;

        for (const char *p = text; *p;) {
                size_t n = strcspn(p, "\n");
                _cleanup_free_ char *line = xstrndup(p, n);
                int r;

                r = parse_line(ids, line, what, ++number, reterr);
                if (r < 0)
                        return r;
                p += n + (p[n] == '\n');
        }
        *ret = TAKE_PTR(ids);
        return 0;
}

int ids_read(const char *recipe_folder, Ids **ret, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, IDS_FILE_NAME), *text = NULL;
        size_t size;
        int r;

        if (!io_exists(AT_FDCWD, path)) {
                *ret = xnew(Ids, 1);
                return 0;
        }
        r = io_read_file(AT_FDCWD, path, IDS_FILE_SIZE_MAX, &text, &size, reterr);
        if (r >= 0 && strlen(text) != size)
                r = error_set(reterr, EBADMSG, REFUSAL_BAD_SYNTAX, "%s holds a NUL byte", path);
        return r < 0 ? r : ids_parse(text, path, ret, reterr);
}

static int compare_entries(const void *a, const void *b) {
        const IdEntry *x = *(const IdEntry *const *) a, *y = *(const IdEntry *const *) b;

        return x->kind != y->kind ? (x->kind == ID_GROUP ? -1 : 1) : strcmp(x->name, y->name);
}

static void append_entries(Buffer *b, const Ids *ids, bool only_added) {
        _cleanup_free_ const IdEntry **sorted = xnew(const IdEntry *, ids->n_entries);

        for (size_t i = 0; i < ids->n_entries; i++)
                sorted[i] = &ids->entries[i];
        qsort(sorted, ids->n_entries, sizeof(sorted[0]), compare_entries);
        for (size_t i = 0; i < ids->n_entries; i++)
                if (!only_added || sorted[i]->added)
                        buffer_printf(b, "%-5s %s %u\n", kind_names[sorted[i]->kind], sorted[i]->name, sorted[i]->id);
}

char *ids_format(const Ids *ids) {
        _cleanup_buffer_ Buffer b = {};

        buffer_puts(&b, "# Numbers of users and groups, fixed for the life of this image line. Written by sealab "
                        "build; commit it.\n");
        append_entries(&b, ids, false);
        return buffer_steal(&b);
}

int ids_write(const Ids *ids, const char *recipe_folder, Error *reterr) {
        _cleanup_free_ char *path = path_join(recipe_folder, IDS_FILE_NAME), *text = ids_format(ids);

        return io_replace_file(AT_FDCWD, path, text, strlen(text), 0644, reterr);
}

static bool is_free(const Ids *ids, IdKind kind, const char *name, uint32_t id) {
        return id <= ID_LAST && is_allowed(kind, name, id) && !find_id(ids, kind, id);
}

/* Static numbers (below 100) mean the same on every Debian, so they come first; then that user and group of one name
 * have one number; then what the package's script chose. */
static bool choose(const Ids *ids, IdKind kind, const char *name, uint32_t preferred, uint32_t *ret) {
        const IdEntry *twin = ids_find(ids, kind == ID_USER ? ID_GROUP : ID_USER, name);

        for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
                if (fixed[i].kind == kind && streq(fixed[i].name, name)) {
                        *ret = fixed[i].id;
                        return !find_id(ids, kind, fixed[i].id);
                }
        if (preferred < DYNAMIC_FIRST && is_free(ids, kind, name, preferred))
                *ret = preferred;
        else if (twin && twin->id >= DYNAMIC_FIRST && is_free(ids, kind, name, twin->id))
                *ret = twin->id;
        else if (is_free(ids, kind, name, preferred))
                *ret = preferred;
        else
                return false;
        return true;
}

int ids_assign(Ids *ids, IdKind kind, const char *name, uint32_t preferred, uint32_t *ret, Error *reterr) {
        const IdEntry *known = ids_find(ids, kind, name);
        uint32_t id;

        if (known) {
                *ret = known->id;
                return 0;
        }
        if (!name_is_valid(name))
                return error_set(reterr, EINVAL, REFUSAL_IDS, "\"%s\" is not an account name", name);
        if (ids->n_entries >= IDS_MAX)
                return error_set(reterr, EFBIG, REFUSAL_TOO_LARGE, "more than %d accounts", IDS_MAX);
        if (!choose(ids, kind, name, preferred, &id)) {
                /* Free for both kinds, so that the account's twin can follow. */
                for (id = DYNAMIC_LAST; id >= DYNAMIC_FIRST; id--)
                        if (!find_id(ids, ID_USER, id) && !find_id(ids, ID_GROUP, id))
                                break;
                if (id < DYNAMIC_FIRST) {
                        error_set(reterr, ENOSPC, REFUSAL_IDS, "no number from %d to %d is left for %s %s",
                                  DYNAMIC_FIRST, DYNAMIC_LAST, kind_names[kind], name);
                        return error_hint(reterr, "Give it one by hand in ids.lock.");
                }
        }
        add(ids, kind, name, id, true);
        *ret = id;
        return 0;
}

char *ids_changes(const Ids *ids) {
        _cleanup_buffer_ Buffer b = {};

        append_entries(&b, ids, true);
        if (b.size == 0)
                return NULL;
        b.data[--b.size] = 0; /* the last newline */
        return buffer_steal(&b);
}
