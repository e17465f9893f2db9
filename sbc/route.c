/* Route rules. A regular expression runs under a match limit and without JIT, so a bad pattern costs a call, not the gateway. */
#include "sbc/route.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/err.h"

enum { MATCH_LIMIT = 10000, DEPTH_LIMIT = 1000 };

struct router {
	const struct config *config;
	pcre2_code **patterns; /* one per route, NULL without a regular expression */
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

static int compile(struct router *router, unsigned i, struct conf_errors *errors)
{
	const struct route_conf *route = &router->config->routes[i];
	PCRE2_SIZE offset;
	PCRE2_UCHAR text[120];
	char pointer[40];
	int error;

	router->patterns[i] = pcre2_compile((PCRE2_SPTR)route->regex, PCRE2_ZERO_TERMINATED, PCRE2_DOTALL, &error, &offset,
					    NULL);
	if (router->patterns[i] != NULL)
		return 0;
	pcre2_get_error_message(error, text, sizeof(text));
	snprintf(pointer, sizeof(pointer), "/routes/%u/regex", i);
	conf_errors_add(errors, pointer, 0, 0, "write a PCRE2 regular expression", "%s at offset %zu of \"%s\"", (char *)text,
			(size_t)offset, route->regex);
	return ERR_CONFIG;
}

int router_new(const struct config *config, struct conf_errors *errors, struct router **ret)
{
	struct router *router = calloc(1, sizeof(*router));
	int err = -ENOMEM;

	if (router == NULL)
		return err;
	router->config = config;
	router->patterns = calloc(config->n_routes + 1, sizeof(*router->patterns));
	router->match = pcre2_match_data_create(1, NULL);
	router->limits = pcre2_match_context_create(NULL);
	if (router->patterns == NULL || router->match == NULL || router->limits == NULL)
		goto out;
	pcre2_set_match_limit(router->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(router->limits, DEPTH_LIMIT);
	err = 0;
	for (unsigned i = 0; i < config->n_routes; i++)
		if (config->routes[i].regex != NULL && compile(router, i, errors) != 0)
			err = ERR_CONFIG;
out:
	if (err == 0)
		*ret = router;
	else
		router_free(router);
	return err;
}

void router_free(struct router *router)
{
	if (router == NULL)
		return;
	for (unsigned i = 0; router->patterns != NULL && i < router->config->n_routes; i++)
		pcre2_code_free(router->patterns[i]);
	free(router->patterns);
	pcre2_match_data_free(router->match);
	pcre2_match_context_free(router->limits);
	free(router);
}

static bool matches(const struct router *router, unsigned i, struct span user, const char **ret_why)
{
	const struct route_conf *route = &router->config->routes[i];

	if (route->prefix != NULL) {
		bool is_match = span_starts(user, span_of(route->prefix));

		*ret_why = is_match ? "the user starts with its prefix" : "the user does not start with its prefix";
		return is_match;
	}
	if (router->patterns[i] != NULL) {
		int n = pcre2_match(router->patterns[i], (PCRE2_SPTR)(user.ptr ? user.ptr : ""), user.len, 0, 0, router->match,
				    router->limits);

		*ret_why = n >= 0 ? "the user matches its expression" :
			   n == PCRE2_ERROR_NOMATCH ? "the user does not match its expression" :
						      "its expression took too long and counts as no match";
		return n >= 0;
	}
	*ret_why = "matches every user";
	return true;
}

const struct route_conf *router_select(const struct router *router, const struct realm_conf *from, struct span user,
				       route_step_fn *step, void *arg)
{
	for (unsigned i = 0; i < router->config->n_routes; i++) {
		const struct route_conf *route = &router->config->routes[i];
		const char *why;
		bool is_match;

		if (route->from != from)
			continue;
		is_match = matches(router, i, user, &why);
		step(arg, route, why);
		if (is_match)
			return route;
	}
	return NULL;
}

void route_user(const struct route_conf *route, struct span user, struct buf *out)
{
	if (route->add != NULL)
		buf_puts(out, route->add);
	buf_put(out, span_sub(user, route->strip, user.len));
}
