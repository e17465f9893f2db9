/* Inside the host: what one ALG of a configuration needs while it runs. alg_setup_new() is the one place where that is made of the
 * configuration, files that it names included; so a reload makes all of it anew, and a session keeps what it began with. Immutable. */
#ifndef ALGS_SETUP_H
#define ALGS_SETUP_H

#include "algs/alg.h"
#include "algs/host.h"

struct alg_setup {
	unsigned refs;              /* control thread, once it is in force */
	const struct config *config; /* referenced */
	const struct alg_conf *conf;
	const struct alg_module *module;
	struct tls_context *tls[ALG_SIDES]; /* of channels and data towards that side; NULL: in clear */
};
struct alg_setups {
	const struct config *config; /* referenced */
	struct alg_setup *items[CONFIG_ALGS_MAX]; /* by alg_conf.index */
	unsigned n;
};

struct alg_setup *alg_setup_ref(struct alg_setup *setup);
void alg_setup_unref(struct alg_setup *setup); /* NULL is fine */

#endif
