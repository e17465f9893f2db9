/* The modules that are built in, against what core knows of their protocols, and their commands in rules. */
#include <stdio.h>

#include "algs/alg.h"
#include "algs/host.h"
#include "tests/unit/config_cases.h"

/* Each has a row in core, or no configuration could name it. */
static void every_module_can_be_configured(void)
{
	unsigned n;
	const struct alg_module *const *modules = alg_registry(&n);

	CU_ASSERT(n > 0);
	for (unsigned i = 0; i < n; i++) {
		char text[512];
		const struct config *config;

		snprintf(text, sizeof(text), "realms: { a: { addresses: [192.0.2.10], media_ports: 20000-20099 } }\n"
			 "profiles: { p: { protocol: %s, default: deny } }\n"
			 "algs: { x: { protocol: %s, realm: a, to: a, servers: 192.0.2.1, profile: p } }\n",
			 modules[i]->name, modules[i]->name);
		config = config_good(text);
		CU_ASSERT_EQUAL(config->algs[0].ports[0], modules[i]->default_port);
		CU_ASSERT_EQUAL(config_alg_is_datagram(&config->algs[0]), modules[i]->is_datagram);
		config_unref(config);
	}
}

static void verbs_are_counted_through(void)
{
	unsigned n;
	const struct alg_module *const *modules = alg_registry(&n);

	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		for (; modules[i]->verbs[k].name != NULL; k++)
			CU_ASSERT_PTR_EQUAL(alg_registry_verb(modules[i]->name, k), modules[i]->verbs[k].name);
		CU_ASSERT_PTR_NULL(alg_registry_verb(modules[i]->name, k));
		CU_ASSERT_PTR_NULL(alg_registry_verb(modules[i]->name, k + 1));
	}
	CU_ASSERT_PTR_NULL(alg_registry_verb("smtp", 0));
}

/* As posternd reads its configuration. */
static void rules_name_commands_of_their_protocol(void)
{
#define HEAD "realms: { a: { addresses: [192.0.2.10], media_ports: 20000-20099 } }\nprofiles:\n"
	config_set_verbs(alg_registry_verb);
	config_unref(config_good(HEAD "  p: { protocol: ftp, default: deny, rules: [{ allow: { verb: [STOR, retr, XMD5] } }] }\n"
				 "  q: { protocol: rtsp, default: deny, rules: [{ allow: { verb: PLAY } }] }\n"));
	config_refused(HEAD "  p: { protocol: ftp, default: deny, rules: [{ allow: { verb: STROE } }] }\n"
		       "  q: { protocol: rtsp, default: deny, rules: [{ deny: { verb: [PLAY, STOR] } }] }\n",
		       "t:3:57: /profiles/p/rules/0/allow/verb: ftp has no command STROE (did you mean STOR?)\n"
		       "t:4:70: /profiles/q/rules/0/deny/verb/1: rtsp has no command STOR (postern alg list --output json has them all)\n");
	config_set_verbs(NULL);
}

static const struct unit_test tests[] = {
	{ "every module can be configured", every_module_can_be_configured },
	{ "verbs are counted through", verbs_are_counted_through },
	{ "rules name commands of their protocol", rules_name_commands_of_their_protocol },
};
UNIT_MAIN("registry", tests)
