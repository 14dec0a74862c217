/* ssh_key.h - a public key of SSH as one line of a file .pub or authorized_keys has it: docs/formats-settings.md "Keys for SSH".
 * Sources: RFC 4253 section 6.6 (ssh-rsa), RFC 5656 section 3.1 (ecdsa-sha2-*), RFC 8709 section 4 (ssh-ed25519), PROTOCOL.u2f of OpenSSH (sk-*). */
#ifndef COMMON_SSH_KEY_H
#define COMMON_SSH_KEY_H
#include <stddef.h>
#include <stdint.h>

#include "common/base64.h"
#include "common/err.h"

#define SSH_KEYS_MAX	    16u	  /* on a medium */
#define SSH_KEY_BLOB_MAX    1100u /* an RSA key of 8192 bits with an exponent of 64 has 1,059 bytes */
#define SSH_KEY_COMMENT_MAX 128u /* bytes */
#define SSH_KEY_RSA_MIN	    2048u
#define SSH_KEY_RSA_MAX	    8192u

struct ssh_key {
	const char *type; /* static */
	unsigned bits;
	uint8_t blob[SSH_KEY_BLOB_MAX]; /* what the base64 stands for */
	size_t blob_size;
	char base64[BASE64_SIZE(SSH_KEY_BLOB_MAX)];
	char comment[SSH_KEY_COMMENT_MAX + 1];
};

/* TYPE BASE64 [COMMENT], with blanks or tabs between.  -EINVAL with the sentence, which quotes nothing of the line: it may be a private key. */
int ssh_key_parse(const char *line, struct ssh_key *ret, struct err *err) MUST_CHECK;
/* The same again with one blank between, to be stored. */
#define SSH_KEY_LINE_SIZE (64 + BASE64_SIZE(SSH_KEY_BLOB_MAX) + SSH_KEY_COMMENT_MAX + 2)
void ssh_key_print(const struct ssh_key *k, char ret[static SSH_KEY_LINE_SIZE]);

/* "SHA256:" and 43 characters, as ssh-keygen -l has it. */
#define SSH_FINGERPRINT_SIZE 51
void ssh_key_fingerprint(const struct ssh_key *k, char ret[static SSH_FINGERPRINT_SIZE]);
/* For people: "TYPE FINGERPRINT COMMENT", the comment cleaned. */
#define SSH_KEY_DESCRIPTION_SIZE (64 + SSH_FINGERPRINT_SIZE + SSH_KEY_COMMENT_MAX + 2)
void ssh_key_describe(const struct ssh_key *k, char ret[static SSH_KEY_DESCRIPTION_SIZE]);
#endif
