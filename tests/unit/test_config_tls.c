/* Members of ALGs about TLS: what a snapshot has of them, and what does not go together. */
#include "core/conf.h"
#include "tests/unit/config_cases.h"

/* Lines 1 to 3; the case is in line 5. */
#define ALG(members) \
	"realms:\n" \
	"  access: { addresses: [192.0.2.10], media_ports: 20000-20099 }\n" \
	"  core: { addresses: [10.0.0.10], media_ports: 20000-20099 }\n" \
	"algs:\n  x: { realm: access, to: core, servers: [10.0.0.0/24], " members " }\n"
#define FTP "protocol: ftp, "
#define RTSP "protocol: rtsp, "
#define FILES "certificate: /c, key: /k, "

static void defaults(void)
{
	const struct config *config = config_good(ALG(FTP FILES "tls: terminate, server_ca: /ca"));
	const struct alg_conf *alg = &config->algs[0];

	CU_ASSERT_EQUAL(alg->tls, CONFIG_ALG_TLS_TERMINATE);
	CU_ASSERT_STRING_EQUAL(config_alg_tls_text(alg), "terminate");
	CU_ASSERT_FALSE(alg->is_tls_implicit || alg->is_resumption_needed);
	CU_ASSERT_TRUE(alg->is_tls_end_needed);
	CU_ASSERT_TRUE(alg->is_server_tls && alg->is_server_verified);
	CU_ASSERT_STRING_EQUAL(alg->certificate, "/c");
	CU_ASSERT_STRING_EQUAL(alg->key, "/k");
	CU_ASSERT_STRING_EQUAL(alg->server_ca, "/ca");
	CU_ASSERT_PTR_NULL(alg->server_name);
	CU_ASSERT_EQUAL(alg->tls_need, CONFIG_ALG_TLS_NEED_NOTHING);
	CU_ASSERT_EQUAL(alg->ports[0], 21);
	config_unref(config);
}

static void everything_given(void)
{
	const struct config *config = config_good(
		ALG(FTP FILES "tls: implicit, server_name: ftp.example, tls_required: data, tls_resumption_required: true")
		"  y: { realm: access, to: core, servers: [10.0.1.0/24], " RTSP FILES "tls: implicit, server_verify: false, server_name: a }\n"
		"  z: { realm: access, to: core, protocol: ftp, mode: explicit, ports: 2121, server: 10.0.0.5, tls: implicit, " FILES
		"server_tls: false, tls_required: control, tls_close_required: false }\n");
	const struct alg_conf *algs = config->algs;

	CU_ASSERT_TRUE(algs[0].is_tls_implicit && algs[0].is_resumption_needed);
	CU_ASSERT_TRUE(algs[0].is_tls_end_needed && !algs[2].is_tls_end_needed);
	CU_ASSERT_EQUAL(algs[0].tls, CONFIG_ALG_TLS_TERMINATE);
	CU_ASSERT_STRING_EQUAL(config_alg_tls_text(&algs[0]), "implicit");
	CU_ASSERT_STRING_EQUAL(algs[0].server_name, "ftp.example");
	CU_ASSERT_STRING_EQUAL(config_alg_tls_need_text(algs[0].tls_need), "data");
	CU_ASSERT_EQUAL(algs[0].ports[0], 990);
	CU_ASSERT_EQUAL(algs[1].ports[0], 322);
	CU_ASSERT_FALSE(algs[1].is_server_verified);
	CU_ASSERT_FALSE(algs[2].is_server_tls);
	CU_ASSERT_EQUAL(algs[2].server.port, 21); /* it does not encrypt */
	CU_ASSERT_STRING_EQUAL(config_alg_tls_need_text(algs[2].tls_need), "control");
	config_unref(config);
}

#define NO_NAME "/algs/x/server_name: neither a host name nor an address (write it as in certificates, such as ftp.example.org or 192.0.2.1)\n"

static void members_that_do_not_fit_together(void)
{
	static const struct config_case cases[] = {
		{ ALG(FTP "tls: terminate, server_ca: /ca"),
		  "t:5:3: /algs/x: the member certificate is missing (name a PEM file)\n"
		  "t:5:3: /algs/x: the member key is missing (name a PEM file)\n" },
		{ ALG(FTP FILES "tls: terminate"),
		  "t:5:3: /algs/x: any certificate of any authority would do for servers (write server_name, or server_ca with an authority "
		  "of your own)\n" },
		{ ALG(FTP FILES "tls: terminate, server_verify: false, server_ca: /ca"),
		  "t:5:136: /algs/x/server_ca: has no effect with server_verify: false (remove it)\n" },
		{ ALG(FTP FILES "tls: terminate, server_tls: false, server_ca: /ca, server_name: n, server_verify: true"),
		  "t:5:133: /algs/x/server_ca: has no effect with server_tls: false (remove it)\n"
		  "t:5:149: /algs/x/server_name: has no effect with server_tls: false (remove it)\n"
		  "t:5:165: /algs/x/server_verify: has no effect with server_tls: false (remove it)\n" },
		{ ALG(FTP "certificate: /c, server_tls: false, tls_required: data"),
		  "t:5:72: /algs/x/certificate: has no effect without tls: terminate or implicit (remove it)\n"
		  "t:5:89: /algs/x/server_tls: has no effect without tls: terminate or implicit (remove it)\n"
		  "t:5:108: /algs/x/tls_required: has no effect without tls: terminate or implicit (remove it)\n" },
		{ ALG(FTP FILES "tls: terminate, server_ca: /ca, tls_ports: 50000-50001"),
		  "t:5:130: /algs/x/tls_ports: has no effect without tls: pass (remove it)\n" },
		{ ALG(RTSP FILES "tls: terminate, server_ca: /ca"), "t:5:99: /algs/x/tls: has no effect on rtsp (remove it)\n" },
		{ ALG(RTSP FILES "tls: implicit, server_ca: /ca, tls_required: data, tls_resumption_required: true"),
		  "t:5:130: /algs/x/tls_required: has no effect but on ftp (remove it)\n"
		  "t:5:150: /algs/x/tls_resumption_required: has no effect but on ftp (remove it)\n" },
		{ ALG(RTSP FILES "tls: implicit, server_ca: /ca, tls_close_required: true"),
		  "t:5:130: /algs/x/tls_close_required: has no effect but on ftp (remove it)\n" },
		{ ALG("protocol: tftp, " FILES "tls: implicit, server_ca: /ca"), "t:5:99: /algs/x/tls: has no effect on tftp (remove it)\n" },
		{ ALG(FTP "certificate: c/x, key: /k, tls: terminate, server_ca: /ca, tls_required: all"),
		  "t:5:72: /algs/x/certificate: the path is relative (begin it with /)\n"
		  "t:5:131: /algs/x/tls_required: all is not a choice (one of: nothing, control, data)\n" },
		/* OpenSSL would take the first for every host below. */
		{ ALG(FTP FILES "tls: terminate, server_name: .example"), "t:5:114: " NO_NAME },
		{ ALG(FTP FILES "tls: terminate, server_name: \"*.example\""), "t:5:114: " NO_NAME },
		{ ALG(FTP FILES "tls: terminate, server_name: \"ftp.example:21\""), "t:5:114: " NO_NAME },
	};

	CONFIG_REFUSED(cases);
}

static const struct unit_test tests[] = {
	{ "TLS that ends at the gateway, as it is unless said otherwise", defaults },
	{ "TLS with everything given", everything_given },
	{ "members that do not fit together", members_that_do_not_fit_together },
};
UNIT_MAIN("config-tls", tests)
