/* pinhole/admission.h: what the configuration demands, held against what the engine knows. */
#include "pinhole/admission.h"

#include "core/config.h"
#include "pinhole/pinhole.h"

const char *admission_refusal(const struct config *config, const struct pinholes *pinholes, unsigned realm_a, unsigned realm_b)
{
	if (!config->media.needs_kernel)
		return NULL;
	return pinholes != NULL ? pinholes_refusal(pinholes, realm_a, realm_b) : "the gateway runs without pinholes";
}

const struct route_conf *admission_refused_route(const struct config *config, const struct pinholes *pinholes,
						 const char **ret_why)
{
	for (unsigned i = 0; i < config->n_routes; i++) {
		const struct route_conf *route = &config->routes[i];
		const char *why = NULL;

		if (route->from != NULL && route->to != NULL)
			why = admission_refusal(config, pinholes, route->from->index, route->to->realm->index);
		if (why == NULL)
			continue;
		*ret_why = why;
		return route;
	}
	return NULL;
}
