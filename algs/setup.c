/* From the configuration of an ALG to what runs, see setup.h. Any thread; may read files, opens no sockets. */
#include "algs/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"

struct alg_setup *alg_setup_ref(struct alg_setup *setup)
{
	setup->refs++;
	return setup;
}

void alg_setup_unref(struct alg_setup *setup)
{
	if (setup == NULL || --setup->refs > 0)
		return;
	engine_tls_drop(setup->tls);
	config_unref(setup->config);
	free(setup);
}

static int alg_setup_new(const struct config *config, const struct alg_conf *conf, struct loop *loop, struct conf_errors *errors,
			 struct alg_setup **ret)
{
	const struct alg_module *module = alg_registry_find(span_of(conf->protocol));
	struct alg_setup *setup;
	char pointer[96], text[400] = "";
	int err;

	if (module == NULL) {
		snprintf(pointer, sizeof(pointer), "/algs/%s/protocol", conf->name);
		conf_errors_add(errors, pointer, 0, 0, NULL, "\"%s\" is not built in", conf->protocol);
		return ERR_UNSUPPORTED;
	}
	setup = calloc(1, sizeof(*setup));
	if (setup == NULL)
		return -ENOMEM;
	*setup = (struct alg_setup){ .refs = 1, .config = config_ref(config), .conf = conf, .module = module };
	err = engine_tls_make(conf, loop, setup->tls, text, sizeof(text));
	if (err < 0) {
		snprintf(pointer, sizeof(pointer), "/algs/%s", conf->name);
		conf_errors_add(errors, pointer, 0, 0, NULL, "%s", text);
		alg_setup_unref(setup);
		return err;
	}
	*ret = setup;
	return 0;
}

int alg_setups_new(const struct config *config, struct loop *loop, struct conf_errors *errors, struct alg_setups **ret)
{
	struct alg_setups *setups = calloc(1, sizeof(*setups));
	int err = setups != NULL ? 0 : -ENOMEM;

	if (setups != NULL)
		setups->config = config_ref(config);
	for (unsigned i = 0; i < config->n_algs && err != -ENOMEM; i++) { /* all that is wrong is reported */
		int this_err = alg_setup_new(config, &config->algs[i], loop, errors, &setups->items[i]);

		setups->n = i + 1;
		if (this_err < 0)
			err = this_err;
	}
	if (err == -ENOMEM)
		conf_errors_add(errors, "/algs", 0, 0, NULL, "%s", err_str(err));
	if (err == 0)
		*ret = setups;
	else
		alg_setups_free(setups);
	return err;
}

void alg_setups_free(struct alg_setups *setups)
{
	if (setups == NULL)
		return;
	for (unsigned i = 0; i < setups->n; i++)
		alg_setup_unref(setups->items[i]);
	config_unref(setups->config);
	free(setups);
}
