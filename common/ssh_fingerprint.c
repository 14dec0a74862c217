/* ssh_fingerprint.c - apart from ssh_key.c: the server checks keys, too, and links no OpenSSL. */
#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/ssh_key.h"
#include "common/text.h"

#define HASH_SIZE 32 /* SHA-256 */

void ssh_key_fingerprint(const struct ssh_key *k, char ret[static SSH_FINGERPRINT_SIZE])
{
	uint8_t hash[HASH_SIZE];
	char text[BASE64_SIZE(HASH_SIZE)];
	unsigned size = 0;

	if (EVP_Digest(k->blob, k->blob_size, hash, &size, EVP_sha256(), NULL) != 1)
		size = 0; /* out of memory */
	assert(size == 0 || size == HASH_SIZE);
	base64_encode(hash, size, text);
	text[strcspn(text, "=")] = '\0';
	(void)snprintf(ret, SSH_FINGERPRINT_SIZE, "SHA256:%.43s", size > 0 ? text : "?");
}

void ssh_key_describe(const struct ssh_key *k, char ret[static SSH_KEY_DESCRIPTION_SIZE])
{
	char fingerprint[SSH_FINGERPRINT_SIZE], comment[SSH_KEY_COMMENT_MAX + 1];

	ssh_key_fingerprint(k, fingerprint);
	(void)text_clean(comment, sizeof(comment), k->comment, strlen(k->comment));
	(void)snprintf(ret, SSH_KEY_DESCRIPTION_SIZE, "%s %s%s%s", k->type, fingerprint,
		       comment[0] ? " " : "", comment);
}
