/* The certificate is only the envelope in which TLS carries the key: whoever connects looks at the key alone (docs/protocol.md), so
 * names and dates in it are for people with other tools.  It starts in 1970 and has no end (RFC 5280, 4.1.2.5: 99991231235959Z),
 * because the clock of a server is not always right when it first starts. */
#include "server/tls.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/id.h"
#include "server/files.h"

#define KEY_FILE  "key.pem"
#define CERT_FILE "cert.pem"
#define PEM_MAX	  65536u
#define NO_END	  ((time_t)253402300799) /* 9999-12-31T23:59:59Z: no well-defined end, RFC 5280 */

/* In the place of the library's own, for the library too (its calls go by the dynamic linker).  That one makes a generator for each thread
 * that asks, and frees it when the process ends (GnuTLS 3.7, lib/random.c): with a thread for each connection that is 200 bytes
 * for ever, of whoever connects, and nobody has to be known to connect. */
int gnutls_rnd(gnutls_rnd_level_t level, void *data, size_t len)
{
	uint8_t *to = data;

	(void)level;
	while (len > 0) {
		ssize_t n = getrandom(to, len, 0);

		if (n < 0 && errno != EINTR)
			return GNUTLS_E_RANDOM_FAILED;
		to += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void key_deinitp(gnutls_x509_privkey_t *k)
{
	if (*k)
		gnutls_x509_privkey_deinit(*k);
}

static void crt_deinitp(gnutls_x509_crt_t *c)
{
	if (*c)
		gnutls_x509_crt_deinit(*c);
}

static void pubkey_deinitp(gnutls_pubkey_t *p)
{
	if (*p)
		gnutls_pubkey_deinit(*p);
}

static void datum_done(gnutls_datum_t *d)
{
	gnutls_free(d->data);
}

static int tls_error(struct err *err, const char *what, int r)
{
	return err_set(err, r == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EBADMSG, "%s: %s", what,
		       gnutls_strerror(r));
}

static int fill_certificate(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
	static const char name[] = "hoist-server";
	uint8_t serial[16];
	int r;

	r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] &= 0x7f; /* positive */
	if (r >= 0)
		r = gnutls_x509_crt_set_version(crt, 3);
	if (r >= 0)
		r = gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
	if (r >= 0)
		r = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						  sizeof(name) - 1);
	if (r >= 0)
		r = gnutls_x509_crt_set_activation_time(crt, 0);
	if (r >= 0)
		r = gnutls_x509_crt_set_expiration_time(crt, NO_END);
	if (r >= 0)
		r = gnutls_x509_crt_set_key(crt, key);
	if (r >= 0)
		r = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r >= 0)
		r = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
	return r;
}

static int make_key(const char *dir, struct err *err)
{
	CLEANUP(key_deinitp) gnutls_x509_privkey_t key = NULL;
	CLEANUP(datum_done) gnutls_datum_t pem = {0};
	int r = gnutls_x509_privkey_init(&key);

	if (r >= 0)
		r = gnutls_x509_privkey_generate(
			key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (r >= 0)
		r = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
						      GNUTLS_PKCS_PLAIN, &pem);
	if (r < 0)
		return tls_error(err, "make the server's key", r);
	r = file_write_private(dir, KEY_FILE, pem.data, pem.size, err);
	gnutls_memset(pem.data, 0, pem.size);
	return r;
}

static int make_certificate(const char *dir, const char *key_pem, struct err *err)
{
	CLEANUP(key_deinitp) gnutls_x509_privkey_t key = NULL;
	CLEANUP(crt_deinitp) gnutls_x509_crt_t crt = NULL;
	CLEANUP(datum_done) gnutls_datum_t pem = {0};
	gnutls_datum_t in = {(unsigned char *)key_pem, (unsigned)strlen(key_pem)};
	int r = gnutls_x509_privkey_init(&key);

	if (r >= 0)
		r = gnutls_x509_privkey_import2(key, &in, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (r < 0)
		return tls_error(err, "read the server's key in '" KEY_FILE "'", r);
	r = gnutls_x509_crt_init(&crt);
	if (r >= 0)
		r = fill_certificate(crt, key);
	if (r >= 0)
		r = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem);
	if (r < 0)
		return tls_error(err, "make the server's certificate", r);
	return file_write_private(dir, CERT_FILE, pem.data, pem.size, err);
}

/* SHA-256 of the SubjectPublicKeyInfo of a certificate. */
static int compute_fingerprint(gnutls_x509_crt_t crt, uint8_t *ret)
{
	CLEANUP(pubkey_deinitp) gnutls_pubkey_t pub = NULL;
	CLEANUP(datum_done) gnutls_datum_t spki = {0};
	int r = gnutls_pubkey_init(&pub);

	if (r >= 0)
		r = gnutls_pubkey_import_x509(pub, crt, 0);
	if (r >= 0)
		r = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_DER, &spki);
	if (r >= 0)
		r = gnutls_hash_fast(GNUTLS_DIG_SHA256, spki.data, spki.size, ret);
	return r;
}

static int check_pair(struct identity *id, struct err *err)
{
	CLEANUP(crt_deinitp) gnutls_x509_crt_t crt = NULL;
	gnutls_datum_t cert = {(unsigned char *)id->cert_pem, (unsigned)strlen(id->cert_pem)};
	gnutls_datum_t key = {(unsigned char *)id->key_pem, (unsigned)strlen(id->key_pem)};
	gnutls_certificate_credentials_t cred = NULL;
	int r;

	/* refuses what does not belong together */
	r = gnutls_certificate_allocate_credentials(&cred);
	if (r >= 0)
		r = gnutls_certificate_set_x509_key_mem(cred, &cert, &key, GNUTLS_X509_FMT_PEM);
	gnutls_certificate_free_credentials(cred);
	if (r < 0)
		return tls_error(err, "use '" KEY_FILE "' with '" CERT_FILE "'", r);
	r = gnutls_x509_crt_init(&crt);
	if (r >= 0)
		r = gnutls_x509_crt_import(crt, &cert, GNUTLS_X509_FMT_PEM);
	if (r >= 0)
		r = compute_fingerprint(crt, id->fingerprint);
	if (r < 0)
		return tls_error(err, "read the server's certificate in '" CERT_FILE "'", r);
	hex_encode(id->fingerprint, FINGERPRINT_SIZE, id->fingerprint_text);
	return 0;
}

/* Read both, making what is missing.  `ret` may be half filled on failure. */
static int load_files(const char *dir, struct identity *ret, struct err *err)
{
	size_t size;
	int r_cert, r;

	r_cert = file_read_private(dir, CERT_FILE, PEM_MAX, &ret->cert_pem, &size, err);
	if (r_cert < 0 && r_cert != -ENOENT)
		return r_cert;
	r = file_read_private(dir, KEY_FILE, PEM_MAX, &ret->key_pem, &size, err);
	if (r == -ENOENT && r_cert == 0) {
		return err_set(err, -ENOKEY,
			       "'%s/" CERT_FILE "' is there, but its key '%s/" KEY_FILE
			       "' is not: put the key back from a backup; or remove " CERT_FILE
			       " too, and every agent and client must be told the new fingerprint",
			       dir, dir);
	}
	if (r == -ENOENT) {
		r = make_key(dir, err);
		if (r == 0)
			r = file_read_private(dir, KEY_FILE, PEM_MAX, &ret->key_pem, &size, err);
	}
	if (r < 0 || r_cert == 0)
		return r;
	r = make_certificate(dir, ret->key_pem, err);
	if (r < 0)
		return r;
	return file_read_private(dir, CERT_FILE, PEM_MAX, &ret->cert_pem, &size, err);
}

/* What is in the files is no key, no certificate, or not of each other. */
static int unusable(const char *dir, struct err *err)
{
	const struct err why = *err;

	return err_set(err, why.code,
		       "%.200s; put both back in '%.80s' from a backup; or remove " CERT_FILE
		       ", which is made anew from the key; or both, and every agent and client "
		       "must be told the new fingerprint",
		       why.msg, dir);
}

int identity_load(const char *dir, struct identity *ret, struct err *err)
{
	struct identity id = {0};
	int r = load_files(dir, &id, err);

	if (r == 0)
		r = check_pair(&id, err);
	if (r < 0) {
		identity_done(&id);
		return r == -EBADMSG ? unusable(dir, err) : r;
	}
	*ret = id;
	return 0;
}

void identity_done(struct identity *id)
{
	if (id->key_pem)
		gnutls_memset(id->key_pem, 0, strlen(id->key_pem));
	free(id->key_pem);
	free(id->cert_pem);
	*id = (struct identity){0};
}
