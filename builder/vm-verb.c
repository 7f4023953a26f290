/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "vm-verb.h"
#include "io.h"
#include "log.h"
#include "release.h"
#include "vm.h"

static int parse_options(const VmVerbOptions *o, VmOptions *vm, Error *reterr) {
        if (o->bus && !machine_bus_from_name(o->bus, &vm->bus)) {
                error_set(reterr, EINVAL, REFUSAL_USAGE, "--bus=%s is not a bus", o->bus);
                return error_hint(reterr, "There are virtio, usb, nvme and ahci.");
        }
        if (o->disk_size && !parse_size(o->disk_size, &vm->disk_size))
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--disk-size=%s is not a size (8G)", o->disk_size);
        if (o->memory && !parse_size(o->memory, &vm->memory))
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--memory=%s is not a size (2G)", o->memory);
        if (o->timeout > 86400)
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--timeout is at most a day (86400)");
        if (o->console && (o->ssh || o->json))
                return error_set(reterr, EINVAL, REFUSAL_USAGE, "--console goes with neither --ssh nor --json");
        return 0;
}

static int find_disk(const char *path, char **ret, Error *reterr) {
        _cleanup_(release_freep) Release *release = NULL;
        int r;

        /* A bare disk image boots as well: one that was written to a larger disk, or changed by a test. */
        if (endswith(path, ".raw")) {
                *ret = xstrdup(path);
                return 0;
        }
        r = release_open(path, &release, reterr);
        if (r < 0)
                return r;
        if (!release->files[RELEASE_DISK].present) {
                error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "%s has no disk image", path);
                return error_hint(reterr, "It was built with --no-disk, or is not signed yet.");
        }
        *ret = release_file_path(release, RELEASE_DISK);
        return 0;
}

static void say_started(void *userdata, VmAccelerator a) {
        const VmVerbOptions *o = userdata;

        if (o->console)
                log_info("The machine starts (%s). Ctrl-A X ends it.", accelerator_name(a));
        else
                log_info("Booting (%s)...", accelerator_name(a));
}

static int print_result(const VmResult *result, bool json) {
        if (json) {
                _cleanup_json_ json_t *o = vm_result_to_json(result);
                _cleanup_free_ char *text = json_format(o, false);

                fputs(text, stdout);
        } else {
                _cleanup_free_ char *text = vm_result_describe(result);

                puts(text);
        }
        return 0;
}

int vm_verb(const char *release, char *const *command, const VmVerbOptions *o, Error *reterr) {
        const char *keys = o->keys ?: "keys/dev";
        _cleanup_free_ char *disk = NULL, *pk = path_join(keys, "PK.crt"), *kek = path_join(keys, "KEK.crt"),
                            *db = path_join(keys, "secureboot.crt");
        const FirmwareKeys firmware_keys = { .platform = pk, .exchange = kek, .database = db };
        _cleanup_vm_result_ VmResult result = {};
        VmOptions vm = { .keys = o->secure_boot ? &firmware_keys : NULL,
                         .tpm = o->tpm,
                         .network = o->network,
                         .console = o->console,
                         .ssh = o->ssh,
                         .ssh_command = command,
                         .timeout_seconds = (unsigned) o->timeout,
                         .state_folder = o->state,
                         .log = o->log,
                         .started = say_started,
                         .userdata = (void *) o };
        int r;

        r = parse_options(o, &vm, reterr);
        if (r >= 0)
                r = find_disk(release, &disk, reterr);
        if (r < 0)
                return r;
        vm.disk = disk;
        r = vm_boot(&vm, &result, reterr);
        if (r < 0) {
                if (o->json)
                        print_result(&result, true);
                return r;
        }
        if (o->console)
                return 0;
        if (o->ssh)
                return result.ssh_status;
        return print_result(&result, o->json);
}
