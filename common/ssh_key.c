/* Strict: what is no key, or is more than a key, is refused here, on the operator's machine, by the server and by the machine that would listen.  What
 * goes into the list that the SSH server reads is made anew from what was understood; the comment is for people and does not go there. */
#include "common/ssh_key.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/bytes.h"
#include "common/text.h"

#define BLANKS	 " \t"
#define RSA_BITS "an RSA key has 2048 to 8192 bits here"

struct kind {
	const char *type;
	int (*check)(const struct kind *kind, struct reader *r, struct ssh_key *k, struct err *err);
	const char *curve;
	size_t point_size;
	unsigned bits;
	bool is_token; /* a security key: the name of an application follows */
};

static int refuse_damaged(struct err *err)
{
	return err_set(err, -EINVAL,
		       "the key is damaged: what stands after its type is not a whole key of that "
		       "type");
}

/* A string of RFC 4251 section 5; NULL: cut off. */
static const uint8_t *read_string(struct reader *r, size_t *ret_size)
{
	uint32_t size = __builtin_bswap32(reader_u32(r)); /* big-endian there */
	const uint8_t *p = reader_bytes(r, size);

	*ret_size = p ? size : 0;
	return p;
}

static bool string_is(struct reader *r, const char *want)
{
	size_t size;
	const uint8_t *p = read_string(r, &size);

	return p && size == strlen(want) && memcmp(p, want, size) == 0;
}

static bool skip_application(struct reader *r)
{
	size_t size;

	return read_string(r, &size) && size > 0;
}

static int check_ed25519(const struct kind *kind, struct reader *r, struct ssh_key *k,
			 struct err *err)
{
	size_t size;

	if (!read_string(r, &size) || size != 32 || (kind->is_token && !skip_application(r)))
		return refuse_damaged(err);
	k->bits = kind->bits;
	return 0;
}

/* The point is not compressed: SEC 1 section 2.3.3, first byte 4. */
static int check_ecdsa(const struct kind *kind, struct reader *r, struct ssh_key *k,
		       struct err *err)
{
	const uint8_t *point;
	size_t size;

	if (!string_is(r, kind->curve))
		return refuse_damaged(err);
	point = read_string(r, &size);
	if (!point || size != kind->point_size || point[0] != 4 ||
	    (kind->is_token && !skip_application(r)))
		return refuse_damaged(err);
	k->bits = kind->bits;
	return 0;
}

/* A positive odd number of RFC 4251, in as few bytes as it needs; the number of its bits, 0: it is none. */
static size_t read_odd(struct reader *r)
{
	size_t size, bits;
	const uint8_t *p = read_string(r, &size);

	if (!p || size == 0 || p[0] >= 0x80 || (p[size - 1] & 1) == 0)
		return 0;
	if (p[0] == 0) {
		if (size < 2 || p[1] < 0x80)
			return 0;
		p++;
		size--;
	}
	bits = size * 8;
	for (unsigned bit = 0x80; !(p[0] & bit); bit >>= 1)
		bits--;
	return bits;
}

static int check_rsa(const struct kind *kind, struct reader *r, struct ssh_key *k, struct err *err)
{
	size_t exponent = read_odd(r), modulus = read_odd(r);

	(void)kind;
	if (exponent < 2 || exponent > 64 || modulus == 0)
		return refuse_damaged(err);
	if (modulus < SSH_KEY_RSA_MIN) {
		return err_set(err, -EINVAL,
			       "an RSA key of %zu bits is too weak: " RSA_BITS
			       "; ssh-keygen -t ed25519 makes a better one",
			       modulus);
	}
	if (modulus > SSH_KEY_RSA_MAX)
		return err_set(err, -EINVAL, "an RSA key of %zu bits is too long: " RSA_BITS,
			       modulus);
	k->bits = (unsigned)modulus;
	return 0;
}

static const struct kind kinds[] = {
	{"ssh-ed25519", check_ed25519, NULL, 0, 256, false},
	{"ecdsa-sha2-nistp256", check_ecdsa, "nistp256", 65, 256, false},
	{"ecdsa-sha2-nistp384", check_ecdsa, "nistp384", 97, 384, false},
	{"ecdsa-sha2-nistp521", check_ecdsa, "nistp521", 133, 521, false},
	{"ssh-rsa", check_rsa, NULL, 0, 0, false},
	{"sk-ssh-ed25519@openssh.com", check_ed25519, NULL, 0, 256, true},
	{"sk-ecdsa-sha2-nistp256@openssh.com", check_ecdsa, "nistp256", 65, 256, true},
};

static const struct kind *find_kind(const char *word, size_t size)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strlen(kinds[i].type) == size && memcmp(kinds[i].type, word, size) == 0)
			return &kinds[i];
	}
	return NULL;
}

/* PEM of any kind, PuTTY's, and the base64 of OpenSSH's (its magic "openssh-key-v1") without the line above it. */
static bool is_private(const char *line)
{
	return (text_begins(line, "-----BEGIN") && strstr(line, "PRIVATE")) ||
	       text_begins(line, "PuTTY-User-Key-File") || strstr(line, "b3BlbnNzaC1rZXktdjE");
}

/* Does a key begin further on?  Words within quotes count too: it is refused in any case. */
static bool has_later_type(const char *line)
{
	while (*(line += strcspn(line, BLANKS)) != '\0') {
		line += strspn(line, BLANKS);
		if (find_kind(line, strcspn(line, BLANKS)))
			return true;
	}
	return false;
}

static int refuse_type(const char *line, struct err *err)
{
	size_t size = strcspn(line, BLANKS);

	if (memmem(line, size, "-cert-v0", 8)) {
		return err_set(err, -EINVAL,
			       "it is a certificate, which is not taken: give the public key "
			       "itself");
	}
	if (size == 7 && memcmp(line, "ssh-dss", size) == 0)
		return err_set(err, -EINVAL,
			       "DSA keys are too weak; ssh-keygen -t ed25519 makes a better one");
	if (text_begins(line, "----")) {
		return err_set(err, -EINVAL,
			       "it is not a public key in the form of OpenSSH, which is one line; "
			       "'ssh-keygen -i -f FILE' may turn it into that");
	}
	if (has_later_type(line)) {
		return err_set(err, -EINVAL,
			       "options before a key (command=, from= and the like) are not taken: "
			       "whoever has the key gets a shell; give the key without them");
	}
	return err_set(err, -EINVAL,
		       "it does not begin with the type of a public key: ssh-ed25519, "
		       "ecdsa-sha2-nistp256, -nistp384 or -nistp521, ssh-rsa, or one of the two "
		       "for security keys, sk-ssh-ed25519@openssh.com and "
		       "sk-ecdsa-sha2-nistp256@openssh.com");
}

static int decode(const struct kind *kind, const char *text, size_t len, struct ssh_key *k,
		  struct err *err)
{
	struct reader r;
	ssize_t size = base64_decode(text, len, k->blob, sizeof(k->blob));
	int result;

	if (size == -E2BIG && kind->check == check_rsa)
		return err_set(err, -EINVAL, "the RSA key is too long: " RSA_BITS);
	if (size <= 0)
		return refuse_damaged(err);
	reader_init(&r, k->blob, (size_t)size);
	if (!string_is(&r, kind->type))
		return refuse_damaged(err);
	result = kind->check(kind, &r, k, err);
	if (result < 0)
		return result;
	if (r.bad || r.left > 0)
		return refuse_damaged(err);
	k->blob_size = (size_t)size;
	memcpy(k->base64, text, len);
	k->base64[len] = '\0';
	return 0;
}

static int take_comment(const char *text, struct ssh_key *k, struct err *err)
{
	size_t size = strlen(text);

	while (size > 0 && strchr(BLANKS "\r", text[size - 1]))
		size--;
	if (size > SSH_KEY_COMMENT_MAX) {
		return err_set(err, -EINVAL,
			       "what stands after the key, its comment, has more than %u bytes: "
			       "shorten it",
			       SSH_KEY_COMMENT_MAX);
	}
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return err_set(err, -EINVAL,
				       "the comment after the key holds a control character");
	}
	memcpy(k->comment, text, size);
	k->comment[size] = '\0';
	return 0;
}

int ssh_key_parse(const char *line, struct ssh_key *ret, struct err *err)
{
	struct ssh_key k = {.type = NULL};
	const struct kind *kind;
	size_t len;
	int r;

	line += strspn(line, BLANKS);
	if (is_private(line)) {
		return err_set(err, -EINVAL,
			       "this is a private key, which nobody else is to have: give the "
			       "public one, in the file beside it whose name ends in .pub");
	}
	kind = find_kind(line, strcspn(line, BLANKS));
	if (!kind)
		return refuse_type(line, err);
	k.type = kind->type;
	line += strlen(kind->type);
	line += strspn(line, BLANKS);
	len = strcspn(line, BLANKS "\r");
	r = decode(kind, line, len, &k, err);
	line += len;
	if (r == 0)
		r = take_comment(line + strspn(line, BLANKS), &k, err);
	if (r == 0)
		*ret = k;
	return r;
}

void ssh_key_print(const struct ssh_key *k, char ret[static SSH_KEY_LINE_SIZE])
{
	(void)snprintf(ret, SSH_KEY_LINE_SIZE, "%s %s%s%s", k->type, k->base64,
		       k->comment[0] ? " " : "", k->comment);
}
