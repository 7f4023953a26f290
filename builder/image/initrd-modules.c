/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "initrd-modules.h"
#include "io.h"
#include "module.h"
#include "recipe.h"

#define LIST_SIZE_MAX ((size_t) 64 * 1024 * 1024)
#define DEPTH_MAX 64

typedef struct Module {
        char *name; /* with '_' for '-' */
        char *path; /* below the release's folder, without compression suffix: "kernel/fs/erofs/erofs.ko" */
        Node *node; /* NULL: built in */
        bool added;
} Module;

struct InitrdModules {
        Tree *to, *kernel;
        char *folder; /* "/usr/lib/modules/RELEASE" */
        Module *modules;
        size_t n_modules, n_allocated;
        unsigned depth;
};

/* No image of ours starts without these. */
static const char *const required_modules[] = { "erofs", "dm_mod", "dm_verity", "overlay" };

/* Names, not folders: of most folders an initrd needs a tenth. What a kernel does not have is left out, because names
 * come and go (crc32c_generic left with Linux 6.14) and differ between architectures and flavours. */
static const char *const default_modules[] = {
        /* what file systems and encryption call by other names than the modules' own */
        "aes_generic",
        "aesni_intel",
        "aes_ce_blk",
        "xts",
        "cbc",
        "essiv",
        "sha256_generic",
        "sha256_ssse3",
        "sha512_generic",
        "sha512_ssse3",
        "sha2_ce",
        "crc32c_generic",
        "crc32c_intel",
        "crc32c_cryptoapi",
        "libcrc32c",
        "crc32_generic",
        "crc32_pclmul",
        "xxhash_generic",
        "blake2b_generic",
        "af_alg",
        "algif_skcipher",
        "algif_hash",
        /* device mapper, file systems */
        "dm_crypt",
        "dm_integrity",
        "loop",
        "ext4",
        "vfat",
        "nls_cp437",
        "nls_iso8859_1",
        "nls_ascii",
        "nls_utf8",
        "efivarfs",
        "autofs4",
        "qemu_fw_cfg",
        "dmi_sysfs",
        /* virtual machines */
        "virtio_pci",
        "virtio_mmio",
        "virtio_blk",
        "virtio_scsi",
        "virtio_rng",
        "virtio_console",
        "hv_vmbus",
        "hv_storvsc",
        "hyperv_keyboard",
        "hid_hyperv",
        "vmw_pvscsi",
        "xen_blkfront",
        "mptspi",
        "mptsas",
        /* disks of laptops and servers */
        "nvme",
        "vmd",
        "ahci",
        "ata_piix",
        "ata_generic",
        "sata_nv",
        "sata_sil24",
        "sata_via",
        "ahci_platform",
        "sd_mod",
        "sr_mod",
        "cdrom",
        "ufshcd_pci",
        "mmc_block",
        "sdhci_pci",
        "sdhci_acpi",
        "rtsx_pci_sdmmc",
        "megaraid_sas",
        "mpt3sas",
        "aacraid",
        "hpsa",
        "smartpqi",
        "mpi3mr",
        "isci",
        "arcmsr",
        "pm80xx",
        "3w_9xxx",
        /* booting from a stick, keys to type a passphrase with */
        "usb_storage",
        "uas",
        "xhci_pci",
        "xhci_pci_renesas",
        "ehci_pci",
        "ohci_pci",
        "uhci_hcd",
        "xhci_plat_hcd",
        "usbhid",
        "hid_generic",
        "hid_apple",
        "hid_microsoft",
        "hid_logitech_dj",
        "hid_logitech_hidpp",
        "i8042",
        "atkbd",
        "i2c_hid_acpi",
        "i2c_designware_platform",
        "i2c_designware_pci",
        "intel_lpss_pci",

        "thunderbolt",
        /* keys sealed to the machine */
        "tpm_crb",
        "tpm_tis",
        "tpm_tis_spi",
        "spi_intel_pci",
};

static void append_module(InitrdModules *m, const char *path, Node *n) {
        char *name = module_name(path_basename(path));

        if (!name)
                return;
        GROW(m->modules, m->n_modules, m->n_allocated);
        m->modules[m->n_modules++] =
                (Module){ .name = name,
                          .path = xstrndup(path, (size_t) (strstr(path_basename(path), ".ko") + 3 - path)),
                          .node = n };
}

static int list_module(Tree *t, Node *n, const char *path, void *userdata) {
        InitrdModules *m = userdata;

        if (node_is_file(n))
                append_module(m, path + strlen(m->folder) + 1, n);
        return 0;
}

static int list_built_in(InitrdModules *m, Error *reterr) {
        _cleanup_free_ char *path = xasprintf("%s/modules.builtin", m->folder), *text = NULL;
        _cleanup_strv_free_ char **lines = NULL;
        Node *n = tree_lookup(m->kernel, path);
        int r;

        if (!n)
                return 0;
        r = tree_read_file(m->kernel, n, LIST_SIZE_MAX, &text, NULL, reterr);
        if (r < 0)
                return r;
        lines = strv_split(text, "\n");
        STRV_FOREACH (line, lines)
                append_module(m, *line, NULL);
        return 0;
}

static int compare_modules(const void *a, const void *b) {
        const Module *x = a, *y = b;
        int c = strcmp(x->name, y->name);

        /* Of two files of one name the first by path wins, on every machine. */
        return c != 0 ? c : strcmp(x->path, y->path);
}

int initrd_modules_new(Tree *to, Tree *kernel, const char *release, InitrdModules **ret, Error *reterr) {
        _cleanup_(initrd_modules_freep) InitrdModules *m = xnew(InitrdModules, 1);
        Node *folder;
        int r;

        m->to = to;
        m->kernel = kernel;
        m->folder = xasprintf("/usr/lib/modules/%s", release);
        folder = tree_lookup(kernel, m->folder);
        if (!folder)
                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND, "there are no kernel modules in %s", m->folder);
        (void) tree_walk(kernel, folder, list_module, m);
        r = list_built_in(m, reterr);
        if (r < 0)
                return r;
        if (m->n_modules > 0)
                qsort(m->modules, m->n_modules, sizeof(Module), compare_modules);
        *ret = TAKE_PTR(m);
        return 0;
}

InitrdModules *initrd_modules_free(InitrdModules *m) {
        if (!m)
                return NULL;
        for (size_t k = 0; k < m->n_modules; k++) {
                free(m->modules[k].name);
                free(m->modules[k].path);
        }
        free(m->modules);
        free(m->folder);
        free(m);
        return NULL;
}

static int compare_name(const void *key, const void *element) {
        return strcmp(key, ((const Module *) element)->name);
}

static Module *find_module(InitrdModules *m, const char *name) {
        _cleanup_free_ char *key = xstrdup(name);
        Module *found;

        for (char *p = key; *p; p++)
                if (*p == '-')
                        *p = '_';
        found = m->n_modules > 0 ? bsearch(key, m->modules, m->n_modules, sizeof(Module), compare_name) : NULL;
        while (found && found > m->modules && streq(found[-1].name, key))
                found--;
        return found;
}

static int add_module(InitrdModules *m, Module *module, Error *reterr);

static int add_dependencies(InitrdModules *m, const Module *module, char *const *modinfo, Error *reterr) {
        STRV_FOREACH (line, modinfo) {
                const char *hard = startswith(*line, "depends="), *soft = startswith(*line, "softdep=");
                _cleanup_strv_free_ char **names = strv_split(hard ?: soft ?: "", hard ? "," : " ,");

                STRV_FOREACH (name, names) {
                        Module *d = find_module(m, *name);
                        int r;

                        if (!d && hard)
                                return error_set(reterr, ENOENT, REFUSAL_NOT_FOUND,
                                                 "%s needs the module %s, which the kernel package does not have",
                                                 module->path, *name);
                        /* Soft ones are wishes, and some name an alias; "pre:" and "post:" are no names either. */
                        if (!d)
                                continue;
                        r = add_module(m, d, reterr);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int add_module(InitrdModules *m, Module *module, Error *reterr) {
        _cleanup_free_ char *raw = NULL, *path = xasprintf("%s/%s", m->folder, module->path);
        const NodeAttributes a = { .mode = 0644, .package = module->node ? module->node->inode->package : NULL };
        _cleanup_strv_free_ char **modinfo = NULL;
        _cleanup_buffer_ Buffer plain = {};
        size_t size;
        int r;

        if (!module->node || module->added)
                return 0;
        module->added = true;
        r = tree_read_file(m->kernel, module->node, MODULE_SIZE_MAX, &raw, &size, reterr);
        if (r >= 0)
                r = module_unpack(raw, size, &plain, reterr);
        if (r >= 0)
                r = module_info(plain.data, plain.size, &modinfo, reterr);
        if (r >= 0)
                r = tree_add_file(m->to, path, &a, plain.data, plain.size, NULL, reterr);
        if (r < 0)
                return error_prefix(reterr, "%s", module->path);
        if (++m->depth > DEPTH_MAX)
                return error_set(reterr, ELOOP, REFUSAL_BAD_FORMAT, "kernel modules depend on one another too deeply");
        r = add_dependencies(m, module, modinfo, reterr);
        m->depth--;
        return r;
}

int initrd_modules_add(InitrdModules *m, const char *name_or_glob, Error *reterr) {
        bool found = false;

        if (!strchr(name_or_glob, '/')) {
                Module *module = find_module(m, name_or_glob);

                return module ? add_module(m, module, reterr) : 1;
        }
        for (size_t k = 0; k < m->n_modules; k++) {
                const char *below = startswith(m->modules[k].path, "kernel/");
                int r;

                if (!below || !recipe_glob_matches(name_or_glob, below))
                        continue;
                found = true;
                r = add_module(m, m->modules + k, reterr);
                if (r < 0)
                        return r;
        }
        return found ? 0 : 1;
}

int initrd_modules_add_defaults(InitrdModules *m, Error *reterr) {
        for (size_t k = 0; k < ELEMENTSOF(required_modules); k++) {
                int r = initrd_modules_add(m, required_modules[k], reterr);

                if (r > 0) {
                        (void) error_set(reterr, ENOENT, REFUSAL_NOT_FOUND,
                                         "%s has no module %s, which every image needs", m->folder,
                                         required_modules[k]);
                        return error_hint(reterr, "Choose another kernel with [Kernel] Package= in the recipe.");
                }
                if (r < 0)
                        return r;
        }
        for (size_t k = 0; k < ELEMENTSOF(default_modules); k++) {
                int r = initrd_modules_add(m, default_modules[k], reterr);

                if (r < 0)
                        return r;
        }
        return 0;
}

int initrd_modules_add_lists(InitrdModules *m, Error *reterr) {
        static const char *const lists[] = { "modules.order", "modules.builtin", "modules.builtin.modinfo" };

        for (size_t k = 0; k < ELEMENTSOF(lists); k++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", m->folder, lists[k]);
                Node *n = tree_lookup(m->kernel, path);
                int r = n ? tree_copy(m->to, path, m->kernel, n, reterr) : 0;

                if (r < 0)
                        return r;
        }
        return 0;
}
