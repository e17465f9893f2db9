/* TLS as an ALG's configuration wants it: towards clients with the gateway's own certificate, towards servers under the eyes of a
 * certificate authority. Made when a configuration comes into force; sessions keep what they began with. */
#include "algs/engine.h"

#include <sys/stat.h>

#include "core/log.h"

enum { DAY_MS = 86400000, WARN_MS = 14 * DAY_MS };

/* RFC 7301 names of the control channel, and of its data for those clients that have one. */
static const char *const ftp_protocols[] = { "ftp", "ftp-data", NULL };

enum alg_tls engine_tls_of(const struct alg_conf *conf)
{
	static const enum alg_tls values[] = { [CONFIG_ALG_TLS_REFUSE] = ALG_TLS_REFUSE, [CONFIG_ALG_TLS_PASS] = ALG_TLS_PASS,
					       [CONFIG_ALG_TLS_TERMINATE] = ALG_TLS_TERMINATE };

	return values[conf->tls];
}

/* An expired one still serves: clients that look at it fail, and who restarts the gateway must not be the one to find out. */
static void warn_of_expiry(const struct alg_conf *conf, const struct tls_context *context, int64_t now_ms)
{
	int64_t expires_ms = tls_context_expires_ms(context);

	if (expires_ms == 0 || expires_ms - now_ms > WARN_MS)
		return;
	log_warn("alg", expires_ms < now_ms ? "the certificate has expired" : "the certificate expires soon", LF_TEXT("alg", conf->name),
		 LF_TEXT("file", conf->certificate), LF_INT("days_left", (expires_ms - now_ms) / DAY_MS));
}

static void warn_of_key(const struct alg_conf *conf)
{
	struct stat st;

	if (stat(conf->key, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		log_warn("alg", "everybody on this machine can read the key", LF_TEXT("alg", conf->name), LF_TEXT("file", conf->key));
}

int engine_tls_make(const struct alg_conf *conf, struct loop *loop, struct tls_context *ret[ALG_SIDES], char *error_text,
		    size_t error_size)
{
	bool is_ftp = span_eq(span_of(conf->protocol), SPAN_LIT("ftp"));
	const struct tls_server_conf near = { .certificate = conf->certificate, .key = conf->key,
					      .protocols = is_ftp ? ftp_protocols : NULL };
	const struct tls_client_conf far = { .ca = conf->server_ca, .is_verified = conf->is_server_verified, .name = conf->server_name,
					     .protocol = is_ftp ? ftp_protocols[0] : NULL };
	int err;

	if (conf->tls != CONFIG_ALG_TLS_TERMINATE)
		return 0;
	err = tls_context_server(&near, error_text, error_size, &ret[ALG_CLIENT]);
	if (err == 0 && conf->is_server_tls)
		err = tls_context_client(&far, error_text, error_size, &ret[ALG_SERVER]);
	if (err < 0) {
		engine_tls_drop(ret);
		return err;
	}
	if (loop == NULL)
		return 0;
	warn_of_key(conf);
	warn_of_expiry(conf, ret[ALG_CLIENT], loop_wall_ms(loop));
	return 0;
}

int64_t engine_tls_expires_ms(const struct engine_alg *alg)
{
	const struct alg_setup *setup = alg->setup;

	return setup != NULL && setup->tls[ALG_CLIENT] != NULL ? tls_context_expires_ms(setup->tls[ALG_CLIENT]) : 0;
}

void engine_tls_drop(struct tls_context *contexts[ALG_SIDES])
{
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		tls_context_unref(contexts[side]);
		contexts[side] = NULL;
	}
}
