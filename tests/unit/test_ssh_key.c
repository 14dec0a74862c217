#include "common/ssh_key.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "agent/ssh/guests.h"
#include "agent/ssh/listener.h"
#include "common/agent_config.h"
#include "common/medium_settings.h"
#include "tests/unit/tap.h"

/* Of GitHub, with the fingerprint that it publishes. */
#define ED25519	    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
#define FINGERPRINT "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"

static struct ssh_key key;

/* ---- keys by hand */

struct blob {
	uint8_t data[4096];
	size_t size;
};

static void put(struct blob *b, const void *data, size_t size)
{
	b->data[b->size++] = (uint8_t)(size >> 24);
	b->data[b->size++] = (uint8_t)(size >> 16);
	b->data[b->size++] = (uint8_t)(size >> 8);
	b->data[b->size++] = (uint8_t)size;
	memcpy(b->data + b->size, data, size);
	b->size += size;
}

static void put_text(struct blob *b, const char *text)
{
	put(b, text, strlen(text));
}

/* A number of so many bits, all of them set; where they fill whole bytes a zero one comes first. */
static void put_number(struct blob *b, unsigned bits)
{
	uint8_t number[1100];
	size_t size = bits / 8 + 1;

	memset(number, 0xff, sizeof(number));
	number[0] = (uint8_t)((1u << bits % 8) - 1);
	put(b, number, size);
}

static const char *line_of(const char *type, const struct blob *b, const char *comment)
{
	static char line[8192];
	char text[BASE64_SIZE(sizeof(b->data))];

	base64_encode(b->data, b->size, text);
	(void)snprintf(line, sizeof(line), "%s %s%s", type, text, comment);
	return line;
}

static const char *rsa(unsigned exponent_bits, unsigned bits)
{
	struct blob b = {.size = 0};

	put_text(&b, "ssh-rsa");
	put_number(&b, exponent_bits);
	put_number(&b, bits);
	return line_of("ssh-rsa", &b, " me");
}

static const char *ecdsa(const char *type, const char *inner, const char *curve, size_t size,
			 uint8_t first, const char *application)
{
	struct blob b = {.size = 0};
	uint8_t point[200] = {first};

	put_text(&b, inner);
	put_text(&b, curve);
	put(&b, point, size);
	if (application)
		put_text(&b, application);
	return line_of(type, &b, "");
}

static const char *ed25519(const char *type, size_t size, const char *application)
{
	struct blob b = {.size = 0};
	uint8_t point[64] = {1};

	put_text(&b, type);
	put(&b, point, size);
	if (application)
		put_text(&b, application);
	return line_of(type, &b, " jo");
}

/* ---- what is taken */

static bool takes(const char *line, const char *type, unsigned bits)
{
	struct err err = {0};

	memset(&key, 0, sizeof(key));
	if (ssh_key_parse(line, &key, &err) < 0)
		printf("# %s\n", err.msg);
	return key.type && strcmp(key.type, type) == 0 && key.bits == bits;
}

static void test_taken(void)
{
	char text[SSH_KEY_LINE_SIZE], described[SSH_KEY_DESCRIPTION_SIZE];

	ok(takes(ED25519, "ssh-ed25519", 256) && key.blob_size == 51 && key.comment[0] == '\0',
	   "a key without a comment");
	ssh_key_describe(&key, described);
	ok(strcmp(described, "ssh-ed25519 " FINGERPRINT) == 0, "its fingerprint");
	ok(takes(" \t" ED25519 " \t jo at  desk \r", "ssh-ed25519", 256) &&
		   strcmp(key.comment, "jo at  desk") == 0,
	   "blanks around it, a comment with blanks");
	ssh_key_print(&key, text);
	ok(strcmp(text, ED25519 " jo at  desk") == 0, "written down again");
	ok(takes(ED25519 " \xe2\x80\xaeodd\xc2\x9b", "ssh-ed25519", 256), "an odd comment");
	ssh_key_describe(&key, described);
	ok(strcmp(described, "ssh-ed25519 " FINGERPRINT " \xef\xbf\xbdodd\xef\xbf\xbd") == 0,
	   "is cleaned for people");
	ok(takes(rsa(17, 2048), "ssh-rsa", 2048), "RSA of 2048 bits");
	ok(takes(rsa(17, 3071), "ssh-rsa", 3071), "of 3071");
	ok(takes(rsa(64, 8192), "ssh-rsa", 8192), "of 8192");
	ok(takes(ecdsa("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "nistp256", 65, 4, NULL),
		 "ecdsa-sha2-nistp256", 256),
	   "ECDSA of 256 bits");
	ok(takes(ecdsa("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "nistp384", 97, 4, NULL),
		 "ecdsa-sha2-nistp384", 384),
	   "of 384");
	ok(takes(ecdsa("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "nistp521", 133, 4, NULL),
		 "ecdsa-sha2-nistp521", 521),
	   "of 521");
	ok(takes(ed25519("sk-ssh-ed25519@openssh.com", 32, "ssh:"), "sk-ssh-ed25519@openssh.com",
		 256),
	   "of a security key");
	ok(takes(ecdsa("sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
		       "nistp256", 65, 4, "ssh:"),
		 "sk-ecdsa-sha2-nistp256@openssh.com", 256),
	   "of another");
}

/* ---- what is not */

#define DAMAGED "the key is damaged"

static bool refuses(const char *line, const char *sentence)
{
	struct err err = {0};
	struct ssh_key untouched = {.type = "untouched"};
	int r = ssh_key_parse(line, &untouched, &err);
	bool good = r == -EINVAL && strstr(err.msg, sentence) &&
		    strcmp(untouched.type, "untouched") == 0;

	if (!good)
		printf("# %d %s\n", r, err.msg);
	return good;
}

static void test_refused_kinds(void)
{
	ok(refuses("-----BEGIN OPENSSH PRIVATE KEY-----", "this is a private key"),
	   "a private key");
	ok(refuses("-----BEGIN RSA PRIVATE KEY-----", "this is a private key"), "an older one");
	ok(refuses("PuTTY-User-Key-File-3: ssh-ed25519", "this is a private key"), "PuTTY's");
	ok(refuses("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE", "this is a private key"),
	   "one without its first line");
	ok(refuses("ssh-ed25519 b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE", "this is a private key"),
	   "one behind a type");
	ok(refuses("-----BEGIN PUBLIC KEY-----", "in the form of OpenSSH"), "a public key as PEM");
	ok(refuses("---- BEGIN SSH2 PUBLIC KEY ----", "in the form of OpenSSH"), "as RFC 4716");
	ok(refuses("ssh-ed25519-cert-v01@openssh.com AAAA", "a certificate"), "a certificate");
	ok(refuses("ssh-dss AAAAB3NzaC1kc3M=", "DSA keys are too weak"), "DSA");
	ok(refuses("command=\"reboot\" " ED25519, "options before a key"), "options");
	ok(refuses("no-pty,from=\"10.0.0.1\" " ED25519, "options before a key"), "more of them");
	ok(refuses("command=\"echo a b\" " ED25519, "options before a key"), "with blanks");
	ok(refuses("host " ED25519, "options before a key"), "a line of known_hosts");
	ok(refuses("ssh-ed25519x AAAA", "does not begin with the type"), "another type");
	ok(refuses("AAAAC3NzaC1lZDI1NTE5AAAA", "does not begin with the type"), "no type");
	ok(refuses("", "does not begin with the type"), "nothing");
}

static void test_refused_content(void)
{
	char comment[SSH_KEY_COMMENT_MAX + 8], line[1024];

	ok(refuses("ssh-ed25519", DAMAGED), "a type alone");
	ok(refuses("ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
		   DAMAGED),
	   "another type within");
	ok(refuses(ecdsa("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "nistp256", 65, 4, NULL),
		   DAMAGED),
	   "another type within, and else all right");
	ok(refuses("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9",
		   DAMAGED),
	   "cut off");
	ok(refuses(ED25519 "AAAA", DAMAGED), "more behind it");
	ok(refuses("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJ*",
		   DAMAGED),
	   "no base64");
	ok(refuses(ed25519("ssh-ed25519", 31, NULL), DAMAGED), "31 bytes");
	ok(refuses(ed25519("ssh-ed25519", 32, "ssh:"), DAMAGED), "an application it has not");
	ok(refuses(ed25519("sk-ssh-ed25519@openssh.com", 32, NULL), DAMAGED), "one it needs");
	ok(refuses(ed25519("sk-ssh-ed25519@openssh.com", 32, ""), DAMAGED), "an empty one");
	ok(refuses(ecdsa("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "nistp384", 65, 4, NULL),
		   DAMAGED),
	   "another curve");
	ok(refuses(ecdsa("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "nistp256", 33, 2, NULL),
		   DAMAGED),
	   "a compressed point");
	ok(refuses(rsa(17, 2047), "an RSA key of 2047 bits is too weak"), "RSA of 2047 bits");
	ok(refuses(rsa(17, 8193), "an RSA key of 8193 bits is too long"), "of 8193");
	ok(refuses(rsa(17, 8700), "the RSA key is too long"), "of 8700");
	ok(refuses(rsa(1, 2048), DAMAGED), "an exponent of one");
	ok(refuses(rsa(65, 2048), DAMAGED), "one of 65 bits");
	memset(comment, 'c', sizeof(comment));
	comment[SSH_KEY_COMMENT_MAX] = '\0';
	(void)snprintf(line, sizeof(line), ED25519 " %s", comment);
	ok(takes(line, "ssh-ed25519", 256), "the longest comment");
	comment[SSH_KEY_COMMENT_MAX] = 'c';
	comment[SSH_KEY_COMMENT_MAX + 1] = '\0';
	(void)snprintf(line, sizeof(line), ED25519 " %s", comment);
	ok(refuses(line, "has more than 128 bytes"), "a longer one");
	ok(refuses(ED25519 " a\x1b[2J", "a control character"), "an escape");
}

static void test_refused_numbers(void)
{
	static const uint8_t three[] = {3}, modulus[257] = {0, 0x80}, negative[256] = {0x80};
	uint8_t odd[258] = {0, 0x80};
	struct blob b = {.size = 0};

	put_text(&b, "ssh-rsa");
	put(&b, three, 1);
	put(&b, modulus, sizeof(modulus));
	ok(refuses(line_of("ssh-rsa", &b, ""), DAMAGED), "an even modulus");
	b.size = 7 + 4 + 5;
	put(&b, negative, sizeof(negative));
	ok(refuses(line_of("ssh-rsa", &b, ""), DAMAGED), "a negative one");
	b.size = 7 + 4 + 5;
	memmove(odd + 1, odd, 2);
	odd[257] = 1;
	put(&b, odd, sizeof(odd));
	ok(refuses(line_of("ssh-rsa", &b, ""), DAMAGED), "one with a needless zero");
	b.size = 7 + 4 + 5;
	put(&b, odd + 1, sizeof(odd) - 1);
	ok(takes(line_of("ssh-rsa", &b, ""), "ssh-rsa", 2048), "and without");
	b.data[7 + 4 + 5] = 0xff;
	ok(refuses(line_of("ssh-rsa", &b, ""), DAMAGED), "a length beyond the end");
}

/* ---- base64 */

static void test_base64(void)
{
	static const char *const bad[] = {"A",	  "AA",	  "AAA",  "A===",     "====", "AA=A",
					  "AB==", "AAB=", "AA A", "AA==AAAA", "AA-_"};
	uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8}, got[8];
	char text[BASE64_SIZE(8)];
	bool good = true;

	for (size_t size = 0; size <= 8; size++) {
		base64_encode(data, size, text);
		good = good && base64_decode(text, strlen(text), got, 8) == (ssize_t)size &&
		       memcmp(got, data, size) == 0;
	}
	ok(good, "base64: there and back");
	base64_encode(data, 8, text);
	ok(strcmp(text, "AQIDBAUGBwg=") == 0, "base64: as others have it");
	ok(base64_decode(text, 12, got, 7) == -E2BIG, "base64: more than there is room for");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (!ok(base64_decode(bad[i], strlen(bad[i]), got, 8) == -EINVAL,
			"base64: refused"))
			printf("# %s\n", bad[i]);
	}
}

/* ---- settings */

static char told[4096];

static void tell(void *ctx, const char *line)
{
	(void)ctx;
	(void)snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s\n", line);
}

static void test_guests(void)
{
	static const char text[] =
		"name=x\nssh-key=" ED25519 " a\nssh-key=nonsense\n#ssh-key=" ED25519
		"\n ssh-key = " ED25519 " b\nssh-keys=" ED25519 "\n";
	static struct guests g;
	static char many[4096];
	struct err err = {0};

	ok(guests_load(text, sizeof(text) - 1, &g, tell, NULL, &err) == 0 && g.len == 2 &&
		   strcmp(g.keys[0].comment, "a") == 0 && strcmp(g.keys[1].comment, "b") == 0,
	   "guests: the right ones");
	ok(strncmp(told, "ssh-key 2: it does not begin", 28) == 0 &&
		   strchr(told, '\n') == told + strlen(told) - 1,
	   "guests: the wrong one is named");
	told[0] = '\0';
	for (unsigned i = 0; i < SSH_KEYS_MAX + 2; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many),
			       "ssh-key=" ED25519 "\n");
	ok(guests_load(many, strlen(many), &g, tell, NULL, &err) == 0 && g.len == SSH_KEYS_MAX &&
		   strstr(told, "ssh-key 17: there are more than 16 keys\nssh-key 18: "),
	   "guests: no more than that");
	ok(guests_load("ssh-key=\xff\n", 10, &g, tell, NULL, &err) == -EPROTO, "guests: no text");
	ok(guests_load("", 0, &g, tell, NULL, &err) == 0 && g.len == 0, "guests: nobody");
}

/* ---- what of the server's log is for the screen */

#define STAMP "[321] Nov 22 12:06:50 "
#define CAME \
	"Pubkey auth succeeded for 'root' with ssh-ed25519 key " FINGERPRINT " from 10.0.0.9:40000"

static bool hidden(const char *line)
{
	char text[LISTENER_VISIT_SIZE];

	return !listener_read_visit(line, text);
}

static void test_visits(void)
{
	static const char *const bad[] = {
		CAME,
		" " STAMP CAME,
		"[] Nov 22 12:06:50 " CAME,
		"[321 Nov 22 12:06:50 " CAME,
		"[321] Nov 22 12:06 " CAME,
		"[321] Nov 22 12:06:50" CAME,
		STAMP "x " CAME,
		STAMP,
		"[321] Nov 22",
		"[",
		"",
	};
	char text[LISTENER_VISIT_SIZE], line[512];

	ok(listener_read_visit(STAMP CAME, text) && strcmp(text, CAME) == 0, "who came");
	ok(listener_read_visit("[9] Feb 02 00:00:00 Exit (root) from <10.0.0.9:40000>: Error",
			       text) &&
		   strcmp(text, "Exit (root) from <10.0.0.9:40000>: Error") == 0,
	   "who went");
	ok(hidden(STAMP "Exit before auth from <10.0.0.9:40000>: Incompatible remote version "
			"'SSH-1 Pubkey auth succeeded for all: the host key is SHA256:false'"),
	   "a stranger's version that reads like a line of the server's");
	ok(hidden(STAMP "Exit before auth from <10.0.0.9:40000>: Incompatible remote version "
			"'SSH-1 " STAMP "Exit (root) and the code is 123456'"),
	   "also with a stamp of its own");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(hidden(bad[i]), bad[i]);
	ok(listener_read_visit(STAMP "Exit (root) \033[2J\a\b\xff\x9b!", text) &&
		   !strpbrk(text, "\033\a\b\x9b") && text[strlen(text) - 1] == '!',
	   "nothing that moves a cursor");
	(void)snprintf(line, sizeof(line), STAMP "Exit (root) %0400d", 0);
	ok(listener_read_visit(line, text) && strlen(text) == LISTENER_VISIT_SIZE - 1,
	   "and no more than fits");
}

static void test_settings(void)
{
	CLEANUP_JSON json_t *settings = json_object();
	struct config config = {.server = NULL};
	struct err err = {0};
	bool good = true;

	ok(medium_settings_check("ssh-key", ED25519, &err) == 0, "a medium takes it");
	ok(medium_settings_check("ssh-key", "command=\"x\" " ED25519, &err) == -EINVAL &&
		   strcmp(err.msg, "ssh-key: options before a key (command=, from= and the like) "
				   "are not taken: whoever has the key gets a shell; give the key "
				   "without them") == 0,
	   "and checks it");
	for (unsigned i = 0; i < SSH_KEYS_MAX; i++)
		good = good && medium_settings_add(settings, "ssh-key", ED25519, &err) == 0;
	ok(good && medium_settings_check_together(settings, &err) == 0, "16 of them");
	ok(medium_settings_add(settings, "ssh-key", ED25519, &err) == 0 &&
		   medium_settings_check_together(settings, &err) == -EINVAL &&
		   strstr(err.msg, "there are 17 keys, and a medium takes 16"),
	   "not 17");
	ok(settings_parse_cmdline(&agent_config_table, &config, "hoist.ssh-key=x", &err) == -ENOENT,
	   "the kernel line is no place for it");
	settings_done(&agent_config_table, &config);
}

int main(void)
{
	test_taken();
	test_refused_kinds();
	test_refused_content();
	test_refused_numbers();
	test_base64();
	test_guests();
	test_visits();
	test_settings();
	return done();
}
