/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "accelerator.h"
#include "io.h"
#include "log.h"
#include "machine.h"

#define MEMO_SIZE_MAX 256

static const char *const names[] = {
        [VM_ACCELERATOR_AUTO] = "auto",
        [VM_ACCELERATOR_KVM] = "kvm",
        [VM_ACCELERATOR_TCG] = "tcg",
};

const char *accelerator_name(VmAccelerator a) {
        return names[a];
}

bool accelerator_from_name(const char *name, VmAccelerator *ret) {
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(name, names[i])) {
                        *ret = (VmAccelerator) i;
                        return true;
                }
        return false;
}

/* NULL where there is no home to remember anything in. */
static char *memo_path(void) {
        const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

        if (!isempty(cache))
                return path_join(cache, "sealab/accelerator");
        return isempty(home) ? NULL : path_join(home, ".cache/sealab/accelerator");
}

/* What the answer holds for: this start of this host. */
static char *host_id(void) {
        char *id = NULL;
        size_t size;

        if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", MEMO_SIZE_MAX, &id, &size, NULL) < 0)
                return NULL;
        strstrip(id);
        return id;
}

static VmAccelerator recall(void) {
        _cleanup_free_ char *path = memo_path(), *id = host_id(), *memo = NULL;
        VmAccelerator a;
        char *space;
        size_t size;

        if (!path || !id || io_read_file(AT_FDCWD, path, MEMO_SIZE_MAX, &memo, &size, NULL) < 0)
                return VM_ACCELERATOR_AUTO;
        space = strchr(memo, ' ');
        if (!space || !streq(strstrip(space + 1), id))
                return VM_ACCELERATOR_AUTO;
        *space = 0;
        return accelerator_from_name(memo, &a) ? a : VM_ACCELERATOR_AUTO;
}

void accelerator_remember(VmAccelerator a) {
        _cleanup_free_ char *path = memo_path(), *id = host_id(), *folder = NULL, *memo = NULL;
        _cleanup_error_ Error e = {};

        if (!path || !id)
                return;
        folder = path_dirname(path);
        memo = xasprintf("%s %s\n", names[a], id);
        if (io_mkdir_parents(AT_FDCWD, folder, 0755, &e) < 0 ||
            io_write_file(AT_FDCWD, path, memo, strlen(memo), 0644, &e) < 0)
                log_debug("the accelerator is not remembered: %s", e.message);
}

static int ask_environment(VmAccelerator *ret, Error *reterr) {
        const char *value = getenv("SEALAB_ACCEL");

        *ret = VM_ACCELERATOR_AUTO;
        if (isempty(value) || accelerator_from_name(value, ret))
                return 0;
        error_set(reterr, EINVAL, REFUSAL_USAGE, "SEALAB_ACCEL=%s is not an accelerator", value);
        return error_hint(reterr, "It can be auto, kvm or tcg.");
}

int accelerator_choose(VmAccelerator wanted, const Firmware *f, VmAccelerator *ret, Error *reterr) {
        _cleanup_free_ char *why = NULL;
        int r;

        if (wanted == VM_ACCELERATOR_AUTO) {
                r = ask_environment(&wanted, reterr);
                if (r < 0)
                        return r;
        }
        if (wanted == VM_ACCELERATOR_AUTO)
                wanted = recall();
        if (wanted != VM_ACCELERATOR_AUTO) {
                *ret = wanted;
                return 0;
        }
        r = machine_probe_kvm(f, &why, reterr);
        if (r < 0)
                return r;
        if (r > 0)
                log_info("KVM does not run a machine here (%s): software emulation, which is slower", why);
        *ret = r > 0 ? VM_ACCELERATOR_TCG : VM_ACCELERATOR_KVM;
        accelerator_remember(*ret);
        return 0;
}
