/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/mman.h>
#include <sys/stat.h>

#include "crypto.h"
#include "io.h"
#include "pe.h"
#include "secure-boot.h"

#define VARIABLES "sys/firmware/efi/efivars/"
#define VARIABLE_ON VARIABLES "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define VARIABLE_DB VARIABLES "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
/* As efivarfs shows them: attributes first. */
#define ATTRIBUTES_SIZE 4
/* EFI_SIGNATURE_LIST: type, size of the list, of its header, of each signature; each begins with its owner. */
#define GUID_SIZE 16
#define LIST_HEADER_SIZE (GUID_SIZE + 3 * 4)

/* EFI_CERT_X509_GUID in the order of bytes that the firmware has. */
static const uint8_t x509_guid[GUID_SIZE] = { 0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
                                              0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72 };

typedef struct Keyring {
        Certificate *certificates[SECURE_BOOT_CERTIFICATES_MAX];
        size_t n;
} Keyring;

static void keyring_done(Keyring *k) {
        for (size_t i = 0; i < k->n; i++)
                certificate_free(k->certificates[i]);
}

/* ---- the firmware's variables ---- */

static int read_variable(const Machine *m, const char *name, char **ret, size_t *ret_size) {
        _cleanup_free_ char *path = path_join(m->root, name);

        return io_read_file(AT_FDCWD, path, SECURE_BOOT_VARIABLE_MAX, ret, ret_size, NULL);
}

static bool is_on(const Machine *m) {
        _cleanup_free_ char *data = NULL;
        size_t size;

        return read_variable(m, VARIABLE_ON, &data, &size) >= 0 && size > ATTRIBUTES_SIZE && data[ATTRIBUTES_SIZE] == 1;
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

/* What is no certificate that OpenSSL reads is left to the firmware. */
static void add_certificates(Keyring *k, const uint8_t *at, size_t size, size_t each) {
        for (; size >= each && k->n < SECURE_BOOT_CERTIFICATES_MAX; at += each, size -= each)
                if (certificate_load_buffer(at + GUID_SIZE, each - GUID_SIZE, &k->certificates[k->n], NULL) >= 0)
                        k->n++;
}

static void read_lists(Keyring *k, const uint8_t *at, size_t left) {
        while (left >= LIST_HEADER_SIZE) {
                size_t list = get32(at + GUID_SIZE), header = get32(at + GUID_SIZE + 4),
                       each = get32(at + GUID_SIZE + 8);

                if (list > left || list < LIST_HEADER_SIZE || header > list - LIST_HEADER_SIZE || each <= GUID_SIZE)
                        return;
                if (memcmp(at, x509_guid, GUID_SIZE) == 0)
                        add_certificates(k, at + LIST_HEADER_SIZE + header, list - LIST_HEADER_SIZE - header, each);
                at += list;
                left -= list;
        }
}

static void read_keyring(const Machine *m, Keyring *ret) {
        _cleanup_free_ char *data = NULL;
        size_t size;

        if (read_variable(m, VARIABLE_DB, &data, &size) >= 0 && size > ATTRIBUTES_SIZE)
                read_lists(ret, (const uint8_t *) data + ATTRIBUTES_SIZE, size - ATTRIBUTES_SIZE);
}

/* ---- images ---- */

static bool is_signed_by(const Keyring *k, const void *image, size_t size) {
        _cleanup_(pe_done) PeImage pe = {};
        const void *signature;
        Sha256 vouched, digest;
        size_t n;

        return pe_parse(image, size, &pe, NULL) >= 0 && pe_signature(&pe, &signature, &n, NULL) >= 0 &&
               authenticode_verify(signature, n, k->certificates, k->n, &vouched, NULL) >= 0 &&
               pe_authenticode_digest(&pe, &digest, NULL) >= 0 && sha256_equal(&vouched, &digest);
}

static bool running_is_signed_by(const Keyring *k, const Machine *m) {
        const BootEntry *e = machine_entry_of_root_hash(m, &m->running);
        _cleanup_free_ char *path = e ? xasprintf("%s/EFI/Linux/%s", m->boot, e->file) : NULL;
        _cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
        struct stat st;
        void *data;
        bool yes;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0)
                return false;
        data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return false;
        yes = is_signed_by(k, data, (size_t) st.st_size);
        munmap(data, (size_t) st.st_size);
        return yes;
}

int secure_boot_check(const Machine *m, const void *uki, size_t size, Error *reterr) {
        _cleanup_(keyring_done) Keyring keyring = {};

        if (!is_on(m))
                return 0;
        read_keyring(m, &keyring);
        if (keyring.n == 0 || is_signed_by(&keyring, uki, size) || !running_is_signed_by(&keyring, m))
                return 0;
        error_set(reterr, EKEYREJECTED, REFUSAL_KEY,
                  "this machine's firmware would not start it: none of the %zu keys of its Secure Boot made its "
                  "signature",
                  keyring.n);
        return error_hint(reterr, "The new key has to be in the firmware's db first.");
}
