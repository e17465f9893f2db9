/* Route rules. */
#include "sbc/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/regex.h"

struct router {
	const struct config *config;
	struct regex **patterns; /* one per route, NULL without a regular expression */
	struct regex_room *room;
};

/* It compiled when the configuration was checked. */
static int compile(struct router *router, unsigned i)
{
	char text[160];
	int err = regex_new(router->config->routes[i].regex, text, sizeof(text), &router->patterns[i]);

	return err == ERR_PARSE ? ERR_CONFIG : err;
}

int router_new(const struct config *config, struct router **ret)
{
	struct router *router = calloc(1, sizeof(*router));
	int err = -ENOMEM;

	if (router == NULL)
		return err;
	router->config = config;
	router->patterns = calloc(config->n_routes + 1, sizeof(*router->patterns));
	router->room = malloc(sizeof(*router->room));
	if (router->patterns == NULL || router->room == NULL)
		goto out;
	regex_room_init(router->room);
	err = 0;
	for (unsigned i = 0; i < config->n_routes && err == 0; i++)
		if (config->routes[i].regex != NULL)
			err = compile(router, i);
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
		regex_free(router->patterns[i]);
	free(router->patterns);
	free(router->room);
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
		static const char *const why[] = {
			[REGEX_NO] = "the user does not match its expression",
			[REGEX_YES] = "the user matches its expression",
			[REGEX_GAVE_UP] = "its expression took too long and counts as no match",
		};
		enum regex_result result = regex_match(router->patterns[i], user, router->room);

		*ret_why = why[result];
		return result == REGEX_YES;
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
