/* POST /v1/explain: what a profile would say to a command, which rule says it and why the rules before it do not,
 * and what way its data would take; or what a module does with whole messages (explain_transcript.c). Nothing is
 * counted, opened or sent. Runs on the HTTP thread, on a snapshot of the configuration. */
#include "api/res_explain.h"

#include <stdio.h>

#include "algs/alg.h"
#include "algs/hole_rule.h"
#include "algs/host.h"
#include "api/problem.h"
#include "api/res_profiles.h"
#include "api/text.h"
#include "core/config.h"
#include "core/err.h"
#include "pinhole/pinhole.h"

enum { NAME_SIZE = 63, TEXT_SIZE = 4096, MAGIC_DIGITS = 32,
       ABILITIES_MAX = CONFIG_REALMS_MAX * CONFIG_REALM_ADDRESSES_MAX };

#define MEMBER(name, type, max, choices) { #name, type, max, offsetof(struct explain_ask, name), choices }
static const struct body_member members[] = {
	MEMBER(alg, BODY_TEXT, NAME_SIZE, NULL),
	MEMBER(profile, BODY_TEXT, NAME_SIZE, NULL),
	MEMBER(verb, BODY_TEXT, NAME_SIZE, NULL),
	MEMBER(target, BODY_TEXT, TEXT_SIZE, NULL),
	MEMBER(user, BODY_TEXT, TEXT_SIZE, NULL),
	MEMBER(client, BODY_ADDR, 0, NULL),
	MEMBER(server, BODY_ADDR, 0, NULL),
	MEMBER(direction, BODY_CHOICE, 0, "up down"),
	MEMBER(size, BODY_UINT, 0, NULL),
	MEMBER(transport, BODY_TEXT, NAME_SIZE, NULL),
	MEMBER(mime, BODY_TEXT, TEXT_SIZE, NULL),
	MEMBER(magic, BODY_HEX, MAGIC_DIGITS, NULL),
	MEMBER(transcript, BODY_TEXT, ROUTER_BODY_MAX, NULL),
	{ 0 },
};

/* What is asked about */

static void refuse(const struct explain *explain, struct route_reply *reply, const char *pointer, const char *detail)
{
	if (reply->status == 0)
		problem_set(reply, explain->request, PROBLEM_BAD_BODY, "See errors for each member at fault.");
	problem_add_body_error(reply, pointer, detail, NULL);
}

static bool is_consistent(const struct explain *explain, struct route_reply *reply)
{
	const struct explain_ask *ask = &explain->ask;
	bool has_alg = !span_is_empty(ask->alg), has_profile = !span_is_empty(ask->profile);
	bool has_verb = !span_is_empty(ask->verb), has_transcript = !span_is_empty(ask->transcript);

	if (has_alg == has_profile)
		refuse(explain, reply, "/alg", "either this or profile must be given");
	if (has_verb == has_transcript)
		refuse(explain, reply, "/verb", "either this or transcript must be given");
	if (has_transcript && has_profile)
		refuse(explain, reply, "/transcript", "needs an ALG: a profile alone says nothing about messages");
	return reply->status == 0;
}

static bool find_alg(struct explain *explain, struct route_reply *reply)
{
	const struct config *config = explain->config;

	for (unsigned i = 0; i < config->n_algs; i++)
		if (span_eq(explain->ask.alg, span_of(config->algs[i].name)))
			explain->alg = &config->algs[i];
	if (explain->alg == NULL) {
		refuse(explain, reply, "/alg", "no ALG of this name is configured; see /v1/algs");
		return false;
	}
	explain->policy = explain->alg->policy;
	explain->module = alg_registry_find(span_of(explain->alg->protocol));
	return true;
}

static bool find_profile(struct explain *explain, struct route_reply *reply)
{
	const struct config *config = explain->config;

	for (unsigned i = 0; i < config->n_profiles; i++)
		if (span_eq(explain->ask.profile, span_of(config->profiles[i].name)))
			explain->policy = config->profiles[i].policy;
	if (explain->policy == NULL) {
		refuse(explain, reply, "/profile", "no profile of this name is configured; see /v1/profiles");
		return false;
	}
	explain->module = alg_registry_find(span_of(policy_profile(explain->policy)->protocol));
	return true;
}

struct loop_ask {
	struct explain *explain;
	struct pinhole_ability *abilities;
	unsigned n_abilities;
	bool has_pinholes, has_helper;
};

static int read_on_loop(struct api *api, void *arg)
{
	const struct api_deps *deps = &api->deps;
	struct loop_ask *ask = arg;
	struct pinholes_summary summary;

	ask->explain->config = deps->config(deps->config_arg);
	if (deps->pinholes == NULL)
		return 0;
	pinholes_summary(deps->pinholes, &summary);
	ask->has_helper = summary.has_helper;
	ask->n_abilities = pinholes_abilities(deps->pinholes, ask->abilities, ABILITIES_MAX);
	return 0;
}

static const char *find_no_nft(const struct explain *explain, const struct loop_ask *ask, unsigned realm)
{
	const char *reason = "nft is not wanted or not usable in its realms";

	for (unsigned i = 0; i < ask->n_abilities; i++) {
		const struct pinhole_ability *ability = &ask->abilities[i];

		if (ability->path != PINHOLE_NFT || ability->realm != realm || !ability->is_wanted)
			continue;
		if (ability->is_usable)
			return NULL;
		reason = arena_printf(explain->request->arena, "nft: %s", ability->reason) ?: reason;
	}
	return reason;
}

/* Data of ALGs is NAT or a gap in the firewall: only nft can hold it. Both realms have to be able to. */
static const char *find_no_kernel(const struct explain *explain, const struct loop_ask *ask)
{
	const unsigned realms[] = { explain->alg->realm->index, explain->alg->to->index };

	if (!ask->has_helper)
		return "there is no helper";
	for (unsigned r = 0; r < 2; r++) {
		const char *reason = find_no_nft(explain, ask, realms[r]);

		if (reason != NULL)
			return reason;
	}
	return NULL;
}

static bool look_up(struct explain *explain, struct route_reply *reply)
{
	struct loop_ask ask = { .explain = explain };
	int err = ERR_LIMIT;

	ask.abilities = arena_alloc(explain->request->arena, ABILITIES_MAX * sizeof(*ask.abilities));
	if (ask.abilities != NULL)
		err = res_on_loop(explain->api, read_on_loop, &ask);
	if (err != 0) {
		problem_from_err(reply, explain->request, err);
		return false;
	}
	if (span_is_empty(explain->ask.alg))
		return find_profile(explain, reply);
	if (!find_alg(explain, reply))
		return false;
	explain->no_kernel = find_no_kernel(explain, &ask);
	return true;
}

/* A command */

static struct policy_question question_of(const struct explain *explain)
{
	static const enum policy_direction directions[] = { POLICY_NO_DATA, POLICY_UP, POLICY_DOWN };
	const struct explain_ask *ask = &explain->ask;

	return (struct policy_question){
		.verb = ask->verb,
		.class = span_of(explain->module != NULL ? alg_verb_class(explain->module, ask->verb) : NULL),
		.target = ask->target,
		.user = ask->user,
		.transport = ask->transport,
		.mime = ask->mime,
		.magic = ask->magic,
		.client = ask->client,
		.server = ask->server,
		.direction = directions[ask->direction],
		.has_size = ask->size.is_set,
		.size = ask->size.value,
	};
}

struct way {
	const char *path, *reason;
};

/* Of the pinholes that the module opens first; what others it has are of the same kind. */
static struct way pinhole_way(const struct explain *explain)
{
	static const char *const paths[] = { [HOLE_KERNEL] = "nft", [HOLE_RELAY] = "relay", [HOLE_MEDIA] = "media",
					     [HOLE_DATAGRAMS] = "relay" };
	const char *reason;
	enum hole_way way = hole_way_of(explain->alg, explain->module->classes[0].kind, explain->no_kernel, &reason);

	if (way == HOLE_KERNEL)
		reason = "the kernel forwards it";
	if (way != HOLE_MEDIA || explain->alg->mode != CONFIG_ALG_TRANSPARENT)
		return (struct way){ paths[way], reason };
	return explain->no_kernel != NULL ? (struct way){ "none", explain->no_kernel } : (struct way){ "nft", reason };
}

/* What data that the command opens would go through. */
static struct way find_way(const struct explain *explain, const struct policy_verdict *verdict)
{
	if (!verdict->is_allowed)
		return (struct way){ "none", "the command is denied, so nothing is opened" };
	if (explain->alg == NULL)
		return (struct way){ NULL, "depends on the ALG: ask with alg instead of profile" };
	if (span_ieq(explain->ask.transport, SPAN_LIT("interleaved")))
		return (struct way){ "control", "data stays inside the control channel" };
	if (explain->module == NULL || explain->module->n_classes == 0)
		return (struct way){ "none", "the module of this protocol opens nothing" };
	return pinhole_way(explain);
}

static json_t *way_json(struct way way)
{
	json_t *json = json_object();

	res_set(json, "path", text_json_of(way.path));
	res_set(json, "reason", text_json_of(way.reason));
	return json;
}

static json_t *limits_json(const struct explain *explain, const struct policy_verdict *verdict)
{
	static const struct policy_rule none;
	const struct policy_rule *rule = &none;

	if (verdict->is_allowed && verdict->rule_index >= 0)
		rule = &policy_profile(explain->policy)->rules[verdict->rule_index];
	return res_profile_limits(rule);
}

json_t *explain_question(const struct explain *explain)
{
	struct policy_question question = question_of(explain);
	const struct policy_profile *profile = explain->policy != NULL ? policy_profile(explain->policy) : NULL;
	struct policy_verdict verdict;
	json_t *json = json_object();

	policy_explain(explain->policy, &question, &verdict);
	res_set(json, "alg", explain->alg != NULL ? text_json_of(explain->alg->name) : json_null());
	res_set(json, "profile", profile != NULL ? text_json_of(profile->name) : json_null());
	res_set(json, "protocol", text_json_of(explain->alg != NULL ? explain->alg->protocol : profile->protocol));
	res_set(json, "class", text_json(question.class));
	res_set(json, "verdict", json_string(verdict.is_allowed ? "allow" : "deny"));
	res_set(json, "rule", text_json_of(verdict.rule));
	res_set(json, "would_deny", text_json_of(verdict.would_deny));
	res_set(json, "code", verdict.code ? json_integer(verdict.code) : json_null());
	res_set(json, "text", res_text(verdict.text));
	res_set(json, "is_logged", json_boolean(verdict.is_logged));
	res_set(json, "limits", limits_json(explain, &verdict));
	res_set(json, "considered", explain_considered(explain->policy, &question));
	res_set(json, "data", way_json(find_way(explain, &verdict)));
	return json;
}

void res_explain(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct explain explain = { .api = api, .request = request };

	if (!body_parse(members, request, reply, &explain.ask) || !is_consistent(&explain, reply))
		return;
	if (look_up(&explain, reply)) {
		if (span_is_empty(explain.ask.transcript))
			route_reply_json(reply, 200, explain_question(&explain));
		else
			explain_transcript(&explain, reply);
	}
	config_unref(explain.config);
}
