/* See tls_rig.h. A root, what it vouches for, and what is wrong in one way each. */
#include "tests/unit/tls_rig.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/openssl.h"
#include "tests/unit/unit.h"

enum { DAY_S = 86400 };

struct identity {
	X509 *certificate;
	EVP_PKEY *key;
};
struct tls_rig_root {
	struct identity ca;
	EVP_PKEY *key; /* the rig's `key` */
};

static const struct tls_rig_claims usual = { "server.example", "DNS:server.example,IP:127.0.0.1", NULL };

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context = { 0 };
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert(extension != NULL);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

/* Signed by `issuer`, or by itself. Takes the key over. */
static struct identity issue(EVP_PKEY *key_take, const struct tls_rig_claims *claims, const struct identity *issuer, long until_s)
{
	static long serial;
	struct identity id = { X509_new(), key_take };
	X509_NAME *subject;

	assert(id.certificate != NULL && id.key != NULL);
	subject = X509_get_subject_name(id.certificate);
	X509_set_version(id.certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), ++serial);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)claims->subject, -1, -1, 0);
	X509_set_issuer_name(id.certificate, issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
	X509_gmtime_adj(X509_getm_notBefore(id.certificate), -10L * DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(id.certificate), until_s);
	X509_set_pubkey(id.certificate, id.key);
	if (issuer == NULL)
		add_extension(id.certificate, NID_basic_constraints, "critical,CA:TRUE");
	if (claims->alternatives != NULL)
		add_extension(id.certificate, NID_subject_alt_name, claims->alternatives);
	if (claims->purposes != NULL)
		add_extension(id.certificate, NID_ext_key_usage, claims->purposes);
	assert(X509_sign(id.certificate, issuer != NULL ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static EVP_PKEY *new_key(void)
{
	return EVP_EC_gen("P-256");
}

static FILE *create(const struct tls_rig *rig, const char *name, char path[TLS_RIG_PATH_MAX])
{
	FILE *file;

	snprintf(path, TLS_RIG_PATH_MAX, "%s/%s.pem", rig->folder, name);
	file = fopen(path, "we");
	assert(file != NULL && fchmod(fileno(file), 0600) == 0);
	return file;
}

static void save(const struct tls_rig *rig, const char *name, X509 *certificate, EVP_PKEY *key, char path[TLS_RIG_PATH_MAX])
{
	FILE *file = create(rig, name, path);

	if (certificate != NULL)
		assert(PEM_write_X509(file, certificate) == 1);
	if (key != NULL)
		assert(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
	fclose(file);
}

static void drop(struct identity id)
{
	X509_free(id.certificate);
	EVP_PKEY_free(id.key);
}

void tls_rig_open(struct tls_rig *rig)
{
	static const struct tls_rig_claims root = { "test root", NULL, NULL }, other_root = { "other root", NULL, NULL };
	struct identity ca = issue(new_key(), &root, NULL, DAY_S), other = issue(new_key(), &other_root, NULL, DAY_S);
	struct identity server, expired, rsa;

	snprintf(rig->folder, sizeof(rig->folder), "/tmp/postern-tls-XXXXXX");
	if (mkdtemp(rig->folder) == NULL)
		abort();
	server = issue(new_key(), &usual, &ca, DAY_S);
	EVP_PKEY_up_ref(server.key);
	expired = issue(server.key, &usual, &ca, -DAY_S);
	rsa = issue(EVP_RSA_gen(2048), &usual, &ca, DAY_S);
	save(rig, "ca", ca.certificate, NULL, rig->ca);
	save(rig, "other-ca", other.certificate, NULL, rig->other_ca);
	save(rig, "certificate", server.certificate, NULL, rig->certificate);
	save(rig, "key", NULL, server.key, rig->key);
	save(rig, "expired", expired.certificate, NULL, rig->expired);
	save(rig, "other-key", NULL, other.key, rig->other_key);
	save(rig, "rsa", rsa.certificate, NULL, rig->rsa);
	save(rig, "rsa-key", NULL, rsa.key, rig->rsa_key);
	rig->root = malloc(sizeof(*rig->root));
	if (rig->root == NULL)
		abort();
	*rig->root = (struct tls_rig_root){ ca, server.key };
	EVP_PKEY_up_ref(server.key);
	drop(other);
	drop(server);
	drop(expired);
	drop(rsa);
}

void tls_rig_issue(const struct tls_rig *rig, const struct tls_rig_claims *claims, char path[TLS_RIG_PATH_MAX])
{
	struct identity id;

	EVP_PKEY_up_ref(rig->root->key);
	id = issue(rig->root->key, claims, &rig->root->ca, DAY_S);
	save(rig, "issued", id.certificate, NULL, path);
	drop(id);
}

void tls_rig_close(struct tls_rig *rig)
{
	const char *const files[] = { rig->ca, rig->other_ca, rig->certificate, rig->key, rig->expired, rig->other_key, rig->rsa,
				      rig->rsa_key };

	char issued[TLS_RIG_PATH_MAX];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		unlink(files[i]);
	snprintf(issued, sizeof(issued), "%s/issued.pem", rig->folder);
	unlink(issued);
	drop(rig->root->ca);
	EVP_PKEY_free(rig->root->key);
	free(rig->root);
	rmdir(rig->folder);
}

struct tls_context *tls_rig_server(const struct tls_rig *rig)
{
	static const char *const protocols[] = { "ftp", NULL };
	const struct tls_server_conf conf = { rig->certificate, rig->key, protocols };
	struct tls_context *context = NULL;
	char text[256] = "";

	CU_ASSERT_EQUAL_FATAL(tls_context_server(&conf, text, sizeof(text), &context), 0);
	return context;
}

struct tls_context *tls_rig_client(const struct tls_rig *rig, const char *name)
{
	const struct tls_client_conf conf = { .ca = rig->ca, .is_verified = true, .name = name, .protocol = "ftp" };
	struct tls_context *context = NULL;
	char text[256] = "";

	CU_ASSERT_EQUAL_FATAL(tls_context_client(&conf, text, sizeof(text), &context), 0);
	return context;
}
