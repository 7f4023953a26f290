/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Keys, certificates and the two signature containers that firmware and kernel dictate. OpenSSL 3 underneath; private
 * keys come from PEM files or from a PKCS#11 token ("pkcs11:..." URI, RFC 7512, through OpenSSL's pkcs11 engine; the
 * PIN from the URI's pin-value, pin-source or $SEALAB_PIN). */

#include "hash.h"

typedef struct PrivateKey PrivateKey;
typedef struct Certificate Certificate;

PrivateKey *private_key_free(PrivateKey *k);
DEFINE_CLEANUP(PrivateKey *, private_key_free)
Certificate *certificate_free(Certificate *c);
DEFINE_CLEANUP(Certificate *, certificate_free)

/* A file must be a regular file, not readable by group or others (REFUSAL_KEY with the chmod to run), at most 64 KiB.
 */
int private_key_load(const char *path_or_uri, PrivateKey **ret, Error *reterr);
int certificate_load(const char *path, Certificate **ret, Error *reterr); /* PEM or DER */
int certificate_load_buffer(const void *data, size_t size, Certificate **ret, Error *reterr);
void certificate_fingerprint(const Certificate *c, Sha256 *ret); /* of the DER */
int certificate_to_der(const Certificate *c, void **ret, size_t *ret_size, Error *reterr);
char *certificate_subject(const Certificate *c);
int64_t certificate_not_before(const Certificate *c); /* seconds since 1970; 0: unreadable */
int64_t certificate_not_after(const Certificate *c);
/* Development keys say so in an extension-free way: their subject holds OU=sealab development, do not ship. */
bool certificate_is_development(const Certificate *c);
bool certificate_matches_key(const Certificate *c, const PrivateKey *k);

/* RSA of the given bits with a self-signed certificate (unique random serial), written as DIR/NAME.key (0600, PKCS#8
 * PEM) and DIR/NAME.crt (0644). Refuses to overwrite. */
int crypto_generate_pair(const char *folder, const char *name, const char *common_name, bool development, unsigned bits,
                         unsigned days, Error *reterr);

/* Detached PKCS#7 over data, DER: binary, no attributes, no certificates, SHA-256: what dm-verity's root-hash signature
 * and systemd's verity-sig partition expect (feasibility: sign the 64 hex digits of the root hash). */
int pkcs7_sign_detached(const PrivateKey *k, const Certificate *c, const void *data, size_t size, void **ret,
                        size_t *ret_size, Error *reterr);
/* REFUSAL_BAD_SIGNATURE unless one of the certificates made it. */
int pkcs7_verify_detached(const void *sig, size_t sig_size, const void *data, size_t size, Certificate *const *trusted,
                          size_t n_trusted, Error *reterr);

/* The same signature as a bare SignedData (no ContentInfo around it) with the certificate inside: what UEFI expects in
 * EFI_VARIABLE_AUTHENTICATION_2. */
int pkcs7_sign_variable(const PrivateKey *k, const Certificate *c, const void *data, size_t size, void **ret,
                        size_t *ret_size, Error *reterr);

/* Authenticode (Microsoft's PE signature format): PKCS#7 SignedData over SpcIndirectDataContent with the given image
 * digest, with signed attributes and the certificate inside, as UEFI Secure Boot expects (UEFI 2.10 section 32.2). */
int authenticode_sign(const PrivateKey *k, const Certificate *c, const Sha256 *image_digest, void **ret,
                      size_t *ret_size, Error *reterr);
/* Checks the container and the signature with the trusted certificates; *ret_digest is the image digest it vouches for.
 */
int authenticode_verify(const void *sig, size_t sig_size, Certificate *const *trusted, size_t n_trusted,
                        Sha256 *ret_digest, Error *reterr);
/* Everything an external signer needs in order to make either signature without us: the exact bytes to be signed (DER
 * of the signed attributes for authenticode, the data itself for pkcs7) and the way back: assembles the container from
 * a raw RSA PKCS#1 v1.5 SHA-256 signature over those bytes (authenticode_assemble() checks it; for pkcs7 the caller
 * does, with pkcs7_verify_detached(), because only it has the data). */
int authenticode_prepare(const Certificate *c, const Sha256 *image_digest, void **ret_tbs, size_t *ret_size,
                         Error *reterr);
int authenticode_assemble(const Certificate *c, const Sha256 *image_digest, const void *raw_signature, size_t raw_size,
                          void **ret, size_t *ret_size, Error *reterr);
int pkcs7_assemble_detached(const Certificate *c, const void *raw_signature, size_t raw_size, void **ret,
                            size_t *ret_size, Error *reterr);
/* Raw RSA PKCS#1 v1.5 SHA-256 signature over data: what the offline signer computes. */
int crypto_sign_raw(const PrivateKey *k, const void *data, size_t size, void **ret, size_t *ret_size, Error *reterr);
