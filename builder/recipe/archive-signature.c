/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <openssl/evp.h>

#include "archive-signature.h"
#include "io.h"
#include "process.h"

#define BEGIN_MESSAGE "-----BEGIN PGP SIGNED MESSAGE-----"
#define BEGIN_SIGNATURE "-----BEGIN PGP SIGNATURE-----"
#define END_SIGNATURE "-----END PGP SIGNATURE-----"
#define BEGIN_KEYS "-----BEGIN PGP PUBLIC KEY BLOCK-----"
#define END_KEYS "-----END PGP PUBLIC KEY BLOCK-----"

/* ---- keyrings -----------------------------------------------------------------------------------------------------
 */

/* The bytes of one armoured block; *text moves behind it. The CRC-24 line is optional and, as RFC 9580 advises, not
 * looked at: a damaged keyring has no key that verifies anything. */
static int dearmour(const char **text, Buffer *out, Error *reterr) {
        _cleanup_free_ unsigned char *decoded = NULL;
        _cleanup_buffer_ Buffer base64 = {};
        const char *end = strstr(*text, END_KEYS), *p = strchr(*text, '\n');
        int size, padding = 0;

        if (!end)
                return error_set(reterr, EBADMSG, REFUSAL_KEY, "its armour does not end");
        /* Headers such as "Version:" reach to the first empty line. */
        while (p && p < end && p[1 + strspn(p + 1, " \t\r")] != '\n')
                p = strchr(p + 1, '\n');
        if (!p || p >= end)
                return error_set(reterr, EBADMSG, REFUSAL_KEY, "its armour is malformed");
        p++;
        while (p < end) {
                size_t n = strcspn(p, "\n"), kept = n;

                while (kept > 0 && strchr(" \t\r", p[kept - 1]))
                        kept--;
                if (kept > 0 && *p != '=')
                        buffer_append(&base64, p, kept);
                p += n + 1;
        }
        decoded = xmalloc(base64.size / 4 * 3 + 3);
        size = base64.size > 0 ? EVP_DecodeBlock(decoded, (const unsigned char *) base64.data, (int) base64.size) : -1;
        if (size < 0)
                return error_set(reterr, EBADMSG, REFUSAL_KEY, "its armour is malformed");
        for (size_t i = base64.size; i > 0 && base64.data[i - 1] == '='; i--)
                padding++;
        buffer_append(out, decoded, (size_t) (size - padding));
        *text = end + strlen(END_KEYS);
        return 0;
}

int openpgp_keys_read(const char *path, Buffer *ret, Error *reterr) {
        _cleanup_free_ char *text = NULL;
        _cleanup_buffer_ Buffer out = {};
        const char *p;
        size_t size;
        int r;

        r = io_read_file(AT_FDCWD, path, ARCHIVE_KEYRING_SIZE_MAX, &text, &size, reterr);
        if (r < 0)
                return r;
        p = strstr(text, BEGIN_KEYS);
        if (!p)
                buffer_append(&out, text, size);
        for (; p && r >= 0; p = strstr(p, BEGIN_KEYS))
                r = dearmour(&p, &out, reterr);
        /* RFC 9580, 4.2: bit 7 of a packet's first byte is always set. GnuPG's own keybox format begins otherwise. */
        if (r >= 0 && (out.size == 0 || !(out.data[0] & 0x80)))
                r = error_set(reterr, EBADMSG, REFUSAL_KEY, "neither OpenPGP keys nor their ASCII armour");
        if (r < 0)
                return error_prefix(reterr, "%s", path);
        *ret = out;
        out = (Buffer){};
        return 0;
}

int archive_keyring_import(const char *path, const char *to, Error *reterr) {
        _cleanup_buffer_ Buffer keys = {};
        _cleanup_error_ Error e = {};
        int r = openpgp_keys_read(path, &keys, &e);

        if (r >= 0)
                return io_write_file(AT_FDCWD, to, keys.data, keys.size, 0644, reterr);
        if (e.id == REFUSAL_KEY)
                error_hint(&e, "Export the keys with \"gpg --export\" and name that file with Keyring=.");
        else {
                error_prefix(&e, "keys of the archive");
                error_hint(&e,
                           "Install the package debian-archive-keyring, or name a file with Keyring= in the recipe.");
        }
        return error_move(reterr, &e);
}

/* ---- clear-signed texts -------------------------------------------------------------------------------------------
 */

static int not_signed(const char *what, const char *why, Error *reterr) {
        return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s is not a clear-signed text: %s", what, why);
}

/* Cuts one line off; trailing white space does not belong to the signed text. */
static bool next_line(const char **p, const char *end, const char **ret_line, size_t *ret_size) {
        const char *newline;
        size_t n;

        if (*p >= end)
                return false;
        newline = memchr(*p, '\n', (size_t) (end - *p));
        n = (size_t) ((newline ?: end) - *p);
        *ret_line = *p;
        *p = newline ? newline + 1 : end;
        while (n > 0 && strchr(" \t\r", (*ret_line)[n - 1]))
                n--;
        *ret_size = n;
        return true;
}

static bool line_is(const char *line, size_t n, const char *what) {
        return n == strlen(what) && memcmp(line, what, n) == 0;
}

int archive_signature_split(const char *text, size_t size, const char *what, char **ret_message, char **ret_signature,
                            Error *reterr) {
        const char *p = text, *end = text + size, *line, *signature = NULL;
        _cleanup_buffer_ Buffer message = {};
        bool first = true;
        size_t n;

        if (memchr(text, 0, size))
                return not_signed(what, "it holds a NUL", reterr);
        if (!next_line(&p, end, &line, &n) || !line_is(line, n, BEGIN_MESSAGE))
                return not_signed(what, "it does not begin with " BEGIN_MESSAGE, reterr);
        while (next_line(&p, end, &line, &n) && n > 0)
                if (n < 6 || memcmp(line, "Hash: ", 6) != 0)
                        return not_signed(what, "it has a header other than Hash", reterr);
        while (next_line(&p, end, &line, &n)) {
                if (line_is(line, n, BEGIN_SIGNATURE)) {
                        signature = line;
                        break;
                }
                if (n > 0 && line[0] == '-') {
                        if (n < 2 || line[1] != ' ')
                                return not_signed(what, "a line begins with a dash", reterr);
                        line += 2;
                        n -= 2;
                }
                if (!first)
                        buffer_puts(&message, "\n");
                first = false;
                buffer_append(&message, line, n);
        }
        if (!signature || message.size == 0)
                return not_signed(what, "it has no text or no signature", reterr);
        do
                if (!next_line(&p, end, &line, &n))
                        return not_signed(what, "its signature does not end", reterr);
        while (!line_is(line, n, END_SIGNATURE));
        if (p != end)
                return not_signed(what, "something follows the signature", reterr);
        *ret_message = buffer_steal(&message);
        *ret_signature = xstrndup(signature, (size_t) (end - signature));
        return 0;
}

/* ---- verifiers ----------------------------------------------------------------------------------------------------
 */

static bool word_is(const char *line, const char *word, const char **ret_rest) {
        const char *rest = startswith(line, word);

        if (!rest || (*rest && *rest != ' '))
                return false;
        *ret_rest = rest + strspn(rest, " ");
        return true;
}

/* VALIDSIG FINGERPRINT DATE TIME EXPIRES VERSION RESERVED KEY-ALGORITHM HASH-ALGORITHM CLASS PRIMARY-FINGERPRINT */
static bool take_valid(const char *rest, char ***signers) {
        _cleanup_strv_free_ char **words = strv_split(rest, " ");
        uint64_t hash;

        /* 1, 2 and 3 are MD5, SHA-1 and RIPEMD-160. */
        if (strv_length(words) < 10 || !parse_u64(words[7], &hash) || hash <= 3)
                return false;
        strv_extend(signers, words[9]);
        return true;
}

int archive_signature_read_status(const char *status, const char *what, char ***ret_signed_by, Error *reterr) {
        static const char *const not_good[] = { "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG" };
        _cleanup_strv_free_ char **lines = strv_split(status, "\n"), **signers = NULL, **unknown = NULL;
        bool good = false, lapsed = false;

        STRV_FOREACH (l, lines) {
                const char *line = startswith(*l, "[GNUPG:] "), *rest;

                if (!line)
                        continue;
                if (word_is(line, "NEWSIG", &rest))
                        good = false;
                else if (word_is(line, "GOODSIG", &rest))
                        good = true;
                else if (word_is(line, "BADSIG", &rest))
                        return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                         "%s: the signature by key %s does not hold: the text was changed", what, rest);
                else if (word_is(line, "NO_PUBKEY", &rest))
                        strv_extend(&unknown, rest);
                else if (good && word_is(line, "VALIDSIG", &rest))
                        (void) take_valid(rest, &signers);
                for (size_t i = 0; i < ELEMENTSOF(not_good); i++)
                        if (word_is(line, not_good[i], &rest)) {
                                good = false;
                                lapsed = lapsed || i < 3;
                        }
        }
        if (!signers) {
                _cleanup_free_ char *keys = strv_join(unknown, " ");

                if (lapsed)
                        error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE,
                                  "%s: the keys or signatures have expired or were revoked", what);
                else
                        error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s: no good signature by a key we know%s%s",
                                  what, unknown ? "; it is signed by " : "", keys);
                return -EBADMSG;
        }
        strv_sort_unique(signers);
        *ret_signed_by = TAKE_PTR(signers);
        return 0;
}

static int run_gpgv(const char *what, const char *keyring, const char *folder, const char *signature,
                    const char *message, char ***ret_signed_by, Error *reterr) {
        _cleanup_free_ char *status = NULL, *log = path_join(folder, "gpgv.log");
        const char *const argv[] = { "gpgv",        "--homedir", folder, "--keyring", keyring, "--log-file", log,
                                     "--status-fd", "1",         "--",   signature,   message, NULL };
        _cleanup_error_ Error failure = {};

        /* Its exit status is that of the worst signature, also of one by a key that we need not know. */
        if (process_run((char *const *) argv, &(ProcessOptions){ .merge_stderr = true }, &status, NULL, &failure) < 0 &&
            !status)
                return error_move(reterr, &failure);
        if (!strstr(status, "[GNUPG:] "))
                return failure.message ? error_move(reterr, &failure)
                                       : error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s: no signature", what);
        return archive_signature_read_status(status, what, ret_signed_by, reterr);
}

/* In the child: what counts as broken cryptography is then what apt of this machine thinks. */
static int use_policy_of_apt(void *userdata) {
        static const char *const files[] = { "/etc/crypto-policies/back-ends/apt-sequoia.config",
                                             "/var/lib/crypto-config/profiles/current/apt-sequoia.config",
                                             "/usr/share/apt/default-sequoia.config" };

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                if (access(files[i], R_OK) == 0)
                        return setenv("SEQUOIA_CRYPTO_POLICY", files[i], 0);
        return 0;
}

/* Prints the fingerprint of each key with a good signature; fails if there is none. */
static int run_sqv(const char *what, const char *keyring, const char *signature, const char *message,
                   char ***ret_signed_by, Error *reterr) {
        const char *const argv[] = { "sqv", "--keyring", keyring, "--", signature, message, NULL };
        const ProcessOptions options = { .before_exec = use_policy_of_apt };
        _cleanup_strv_free_ char **lines = NULL, **signers = NULL;
        _cleanup_free_ char *output = NULL;
        _cleanup_error_ Error failure = {};

        if (process_run((char *const *) argv, &options, &output, NULL, &failure) < 0)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s: no good signature by a key we know: %s",
                                 what, failure.message);
        lines = strv_split(output, " \n");
        STRV_FOREACH (line, lines)
                if (strlen(*line) >= 32 && (*line)[strspn(*line, "0123456789ABCDEF")] == 0)
                        strv_extend(&signers, *line);
        if (!signers)
                return error_set(reterr, EBADMSG, REFUSAL_BAD_SIGNATURE, "%s: sqv names no signer", what);
        strv_sort_unique(signers);
        *ret_signed_by = TAKE_PTR(signers);
        return 0;
}

static bool have_program(const char *name) {
        _cleanup_strv_free_ char **folders = strv_split(getenv("PATH") ?: "/usr/bin:/bin", ":");

        STRV_FOREACH (folder, folders) {
                _cleanup_free_ char *path = path_join(*folder, name);

                if (access(path, X_OK) == 0)
                        return true;
        }
        return false;
}

int archive_signature_verify(const char *text, size_t size, const char *what, const char *keyring, const char *folder,
                             char **ret_message, char ***ret_signed_by, Error *reterr) {
        _cleanup_free_ char *message = NULL, *signature = NULL, *message_path = path_join(folder, "signed-text"),
                            *signature_path = path_join(folder, "signature");
        int r;

        r = archive_signature_split(text, size, what, &message, &signature, reterr);
        if (r >= 0)
                r = io_write_file(AT_FDCWD, message_path, message, strlen(message), 0600, reterr);
        if (r >= 0)
                r = io_write_file(AT_FDCWD, signature_path, signature, strlen(signature), 0600, reterr);
        if (r < 0)
                return r;
        if (have_program("sqv"))
                r = run_sqv(what, keyring, signature_path, message_path, ret_signed_by, reterr);
        else if (have_program("gpgv"))
                r = run_gpgv(what, keyring, folder, signature_path, message_path, ret_signed_by, reterr);
        else {
                error_set(reterr, ENOENT, REFUSAL_MACHINE, "neither sqv nor gpgv is installed");
                return error_hint(reterr, "Install the package gpgv (or sqv).");
        }
        if (r < 0)
                return r;
        /* TRUST: from here on the text is the archive's own. */
        *ret_message = TAKE_PTR(message);
        return 0;
}
