/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/stat.h>

#include "initrd-step.h"
#include "initrd.h"
#include "io.h"
#include "segment.h"
#include "settle.h"
#include "unpack.h"

#define TEXT_MAX ((size_t) 1 << 20)
/* Of every file: nobody asks for it in an initrd, and the image's own time would make each frame another one in each
 * release, of which then nothing is the same as before. */
#define ENTRY_TIME 1

static int read_text(Tree *t, const char *path, char **ret, Error *reterr) {
        Node *n = tree_resolve(t, path);

        if (!n)
                return error_set(reterr, ENOENT, REFUSAL_BAD_FORMAT, "the tree has no %s", path);
        return tree_read_file(t, n, TEXT_MAX, ret, NULL, reterr);
}

/* The initrd says which distribution it is made of, not which image it is in: otherwise it would change with every
 * version. */
static char *without_image(const char *os_release) {
        _cleanup_strv_free_ char **lines = strv_split(os_release, "\n");
        _cleanup_buffer_ Buffer b = {};

        STRV_FOREACH (line, lines)
                if (!startswith(*line, "IMAGE_"))
                        buffer_printf(&b, "%s\n", *line);
        return buffer_steal(&b);
}

static int make(const SealContext *c, Tree *t, const char *kernel, int out_fd, Error *reterr) {
        _cleanup_(tree_freep) Tree *pool = NULL, *initrd = NULL;
        _cleanup_free_ char *full = NULL, *os_release = NULL, *group = NULL;
        const SettleOptions settle = { .store = c->store,
                                       .lock = c->lock,
                                       .mode = c->mode,
                                       .tools = c->tools,
                                       .epoch = c->epoch,
                                       .use_cache = c->use_cache };
        uint64_t size;
        int r;

        r = read_text(t, "/usr/lib/os-release", &full, reterr);
        if (r >= 0)
                r = read_text(t, "/usr/share/factory/etc/group", &group, reterr);
        if (r >= 0)
                r = unpack_purpose(c->store, c->lock, LOCK_FOR_INITRD, &pool, reterr);
        if (r < 0)
                return r;
        os_release = without_image(full);
        const InitrdOptions o = { .kernel = t,
                                  .kernel_release = kernel,
                                  .os_release = os_release,
                                  .group = group,
                                  .modules = c->recipe->initrd_modules,
                                  .packages = c->recipe->initrd_packages,
                                  .root_format = c->recipe->root_format,
                                  .tpm = streq_ptr(c->recipe->root_encryption, "tpm2"),
                                  .passphrase = streq_ptr(c->recipe->root_encryption, "passphrase") };
        r = initrd_collect(&o, pool, &initrd, reterr);
        if (r >= 0)
                r = settle_depmod(&settle, initrd, kernel, reterr);
        if (r >= 0)
                r = initrd_pack(initrd, &(InitrdPackOptions){ .level = SEGMENT_LEVEL, .epoch = ENTRY_TIME }, out_fd,
                                &size, reterr);
        return r;
}

/* What the initrd takes from the finished tree beside what its step's key covers: an overlay, sysusers.d or ids.lock
 * may have changed these, which nobody knows before the tree is there. */
static int digest_node(Tree *t, Node *n, const char *path, void *userdata) {
        Hasher *h = userdata;

        hasher_update_string(h, path);
        if (node_is_file(n))
                hasher_update(h, n->inode->digest.bytes, SHA256_SIZE);
        else
                hasher_update_string(h, n->inode->target ?: "");
        return 0;
}

static void digest_tree_inputs(Tree *t, const char *kernel, Sha256 *ret) {
        static const char *const files[] = { "/usr/lib/os-release", "/usr/share/factory/etc/group" };
        _cleanup_(hasher_freep) Hasher *h = hasher_new();
        _cleanup_free_ char *modules = path_join("/usr/lib/modules", kernel), *os_release = NULL;
        Node *n;

        hasher_update_string(h, "sealab-initrd-inputs-3");
        if (read_text(t, files[0], &os_release, NULL) >= 0) {
                _cleanup_free_ char *relevant = without_image(os_release);

                hasher_update_string(h, relevant);
        }
        if ((n = tree_resolve(t, files[1])))
                digest_node(t, n, files[1], h);
        if ((n = tree_lookup(t, modules)))
                tree_walk(t, n, digest_node, h);
        hasher_final(h, ret);
}

/* In the cache the initrd stands behind that digest. */
static int keep(const SealContext *c, const Sha256 *inputs, int fd, Error *reterr) {
        _cleanup_store_temporary_ char *temporary = NULL;
        _cleanup_close_ int cache = -EBADF;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return error_errno(reterr, errno, "cannot look at the initrd");
        r = store_cache_begin(c->store, "initrd", c->initrd_key, &cache, &temporary, reterr);
        if (r >= 0)
                r = io_pwrite_all(cache, inputs->bytes, SHA256_SIZE, 0, reterr);
        if (r >= 0)
                r = io_copy_range(fd, 0, cache, SHA256_SIZE, (uint64_t) st.st_size, reterr);
        if (r >= 0)
                r = store_cache_commit(c->store, "initrd", c->initrd_key, temporary, reterr);
        return r;
}

/* 1: the cache has none that was made of these inputs. */
static int take_cached(const SealContext *c, const Sha256 *inputs, int out_fd, Error *reterr) {
        _cleanup_close_ int cached = -EBADF;
        struct stat st;
        Sha256 found;
        int r;

        r = store_cache_get(c->store, "initrd", c->initrd_key, &cached, reterr);
        if (r != 0)
                return r;
        if (fstat(cached, &st) < 0)
                return error_errno(reterr, errno, "cannot look at the cached initrd");
        if (st.st_size < SHA256_SIZE || pread(cached, found.bytes, SHA256_SIZE, 0) != SHA256_SIZE ||
            !sha256_equal(&found, inputs))
                return 1;
        return io_copy_range(cached, SHA256_SIZE, out_fd, 0, (uint64_t) st.st_size - SHA256_SIZE, reterr);
}

int initrd_step(const SealContext *c, Tree *t, const char *kernel, int out_fd, Error *reterr) {
        Sha256 inputs;
        int r;

        digest_tree_inputs(t, kernel, &inputs);
        if (c->initrd_cached) {
                r = take_cached(c, &inputs, out_fd, reterr);
                if (r <= 0)
                        return r < 0 ? r : INITRD_STEP_CACHED;
        }
        r = make(c, t, kernel, out_fd, reterr);
        if (r < 0)
                return error_prefix(reterr, "initrd");
        return keep(c, &inputs, out_fd, reterr);
}
