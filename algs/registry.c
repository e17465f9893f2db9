/* The modules that are built in. A new one is a row here and a folder. */
#include "algs/host.h"

#include "algs/ftp/ftp.h"
#include "algs/rtsp/rtsp_module.h"
#include "algs/tftp/tftp.h"

static const struct alg_module *const modules[] = {
	&ftp_module,
	&rtsp_module,
	&tftp_module,
	NULL,
};

const struct alg_module *const *alg_registry(unsigned *ret_n)
{
	*ret_n = sizeof(modules) / sizeof(modules[0]) - 1;
	return modules;
}

const struct alg_module *alg_registry_find(struct span protocol)
{
	for (unsigned i = 0; modules[i] != NULL; i++)
		if (span_eq(protocol, span_of(modules[i]->name)))
			return modules[i];
	return NULL;
}

const char *alg_registry_verb(const char *protocol, unsigned index)
{
	const struct alg_module *module = alg_registry_find(span_of(protocol));
	const struct alg_verb *verb = module != NULL ? module->verbs : NULL;

	while (verb != NULL && verb->name != NULL && index > 0) {
		verb++;
		index--;
	}
	return verb != NULL ? verb->name : NULL;
}

const char *alg_verb_class(const struct alg_module *module, struct span verb)
{
	for (const struct alg_verb *v = module->verbs; v != NULL && v->name != NULL; v++)
		if (span_ieq(verb, span_of(v->name)))
			return v->class;
	return NULL;
}
