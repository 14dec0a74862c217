/* tls.h - the server's identity: an ECDSA P-256 key and a certificate signed with it, made at the first start.
 * Peers pin the key, so its file is the one thing of a server that cannot be replaced. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define FINGERPRINT_SIZE      32
#define FINGERPRINT_TEXT_SIZE 65

/* GnuTLS priority string: TLS 1.3 and nothing else; the client's order of ciphers counts, for it is the slower end. */
#define TLS_PRIORITIES \
	"NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM"

struct identity {
	char *key_pem;			       /* heap, secret */
	char *cert_pem;			       /* heap */
	uint8_t fingerprint[FINGERPRINT_SIZE]; /* SHA-256 of the SubjectPublicKeyInfo (DER) */
	char fingerprint_text[FINGERPRINT_TEXT_SIZE];
};

/* Read DIR/key.pem and DIR/cert.pem.  With neither there, make both (atomically, key.pem with mode 0600); with only the key, make
 * the certificate anew.  Refused: a certificate without its key (-ENOKEY), a key that others can read (-EPERM), files that do not
 * belong together or cannot be parsed (-EBADMSG). */
int identity_load(const char *dir, struct identity *ret, struct err *err) MUST_CHECK;
void identity_done(struct identity *id);
#endif
