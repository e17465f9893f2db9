/* Pinholes as their owners see them: opening, closing, and what can be asked about them. Operations only change what is
 * wanted; requests.c brings it to the helper before the loop sleeps. Control thread, but for pinhole_stats(). */
#include "pinhole/pinhole.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/engine.h"

enum { ID_ATTEMPTS = 8 };

/* What makes a pinhole the same one: opened again after a restart it must be recognised in the kernel, so the hash of
 * this has a key that is the same in every process. That the key is no secret does no harm: an owner is a random identifier
 * of ours, so nobody outside can choose two that collide. Two that do all the same (about once in 2^64 pairs) get
 * different ids by `attempt`; after a restart the second one might then not be recognised and start afresh. */
struct identity {
	char owner[ID_TEXT_MAX];
	struct wire_addr listen, from, source, target;
	uint64_t proto, attempt;
};

static void identify(const struct pinhole_spec *spec, struct identity *ret)
{
	*ret = (struct identity){
		.listen = wire_addr_of(&spec->listen), .from = wire_addr_of(&spec->from),
		.source = wire_addr_of(&spec->source), .target = wire_addr_of(&spec->target), .proto = spec->proto,
	};
	memcpy(ret->owner, spec->owner, strnlen(spec->owner, sizeof(spec->owner)));
}

static uint64_t hash_of(const struct identity *identity)
{
	static const uint64_t key[2] = { 0x706f737465726e00, 1 };
	uint64_t id = hash_keyed((struct span){ (const char *)identity, sizeof(*identity) }, key);

	return id != 0 ? id : 1;
}

static bool is_same(const struct pinhole_spec *a, const struct pinhole_spec *b)
{
	struct identity left, right;

	identify(a, &left);
	identify(b, &right);
	return memcmp(&left, &right, sizeof(left)) == 0;
}

/* 0 and an id that no live pinhole has; ERR_EXISTS when one has this very identity. */
static int find_id(const struct pinholes *engine, const struct pinhole_spec *spec, uint64_t *ret)
{
	struct identity identity;

	identify(spec, &identity);
	for (; identity.attempt < ID_ATTEMPTS; identity.attempt++) {
		uint64_t id = hash_of(&identity);
		const struct pinhole *other = engine_find_live(engine, id);

		if (other == NULL) {
			*ret = id;
			return 0;
		}
		if (is_same(&other->spec, spec))
			return ERR_EXISTS;
	}
	return ERR_EXISTS;
}

static bool is_endpoint(const struct addr *addr)
{
	return addr_is_set(addr) && addr->port != 0;
}

/* An end that is not the gateway's is given once, or not at all. */
static bool has_own_ends(const struct pinhole_spec *spec)
{
	if (!is_endpoint(&spec->listen) || (spec->is_through && (spec->is_to_self || !addr_eq(&spec->listen, &spec->target))))
		return false;
	return spec->is_as_source || spec->is_to_self ? !addr_is_set(&spec->from) : is_endpoint(&spec->from);
}

/* Only what no helper could make sense of; what it may do is its own to decide. */
static bool is_well_formed(const struct pinhole_spec *spec)
{
	if (spec->owner[0] == '\0' || memchr(spec->owner, '\0', sizeof(spec->owner)) == NULL)
		return false;
	if (spec->proto != IPPROTO_UDP && spec->proto != IPPROTO_TCP)
		return false;
	if (!has_own_ends(spec) || !is_endpoint(&spec->target))
		return false;
	if (spec->dscp > 63 || spec->realm_in > UINT16_MAX || spec->realm_out > UINT16_MAX)
		return false;
	return spec->packets_per_s > 0 && spec->bytes_per_s > 0 && spec->lifetime_s > 0;
}

static int make(struct pinholes *engine, const struct pinhole_spec *spec, struct pinhole **ret)
{
	struct pinhole *pinhole;
	uint64_t id;
	int err;

	if (!is_well_formed(spec))
		return ERR_STATE;
	err = find_id(engine, spec, &id);
	if (err < 0)
		return err;
	pinhole = calloc(1, sizeof(*pinhole));
	if (pinhole == NULL)
		return -ENOMEM;
	pinhole->engine = engine;
	pinhole->spec = *spec;
	pinhole->id = id;
	pinhole->state = PINHOLE_RESERVED;
	pinhole->reason = "waiting for the helper";
	engine_init_pinhole(pinhole);
	if (hash_table_add(engine->by_id, &pinhole->node, id) < 0) {
		free(pinhole);
		return ERR_LIMIT;
	}
	list_append(&engine->all, &pinhole->all);
	*ret = pinhole;
	return 0;
}

int pinhole_open(struct pinholes *engine, const struct pinhole_spec *specs, unsigned n, pinhole_event_fn *fn, void *arg,
		 struct pinhole **ret)
{
	struct pinhole *made[PINHOLE_BATCH_MAX];
	unsigned n_made = 0;
	int err = 0;

	if (n == 0 || n > PINHOLE_BATCH_MAX)
		return ERR_STATE;
	if (!engine_has_helper(engine) || engine->conf.order[0] == PINHOLE_NONE)
		return ERR_UNSUPPORTED;
	while (err == 0 && n_made < n) {
		err = make(engine, &specs[n_made], &made[n_made]);
		if (err == 0)
			n_made++;
	}
	if (err < 0) {
		while (n_made > 0)
			state_free(made[--n_made]);
		return err;
	}
	engine->last_batch += engine->last_batch == UINT32_MAX ? 2 : 1; /* never 0 */
	for (unsigned i = 0; i < n; i++) {
		made[i]->fn = fn;
		made[i]->arg = arg;
		made[i]->batch = engine->last_batch;
		made[i]->asked_us = loop_clock_us(engine->loop);
		requests_want(made[i], WANT_OPEN);
		ret[i] = made[i];
	}
	return 0;
}

void pinhole_close(struct pinhole *pinhole)
{
	struct pinholes *engine = pinhole->engine;

	if (!state_is_live(pinhole))
		return;
	counters_freeze(&pinhole->counters); /* the slot may be another's before the answer is here */
	loop_timer_stop(&pinhole->renewal);
	state_step(pinhole, INPUT_CLOSE);
	if (engine_has_helper(engine) && pinhole->was_sent) {
		requests_want(pinhole, WANT_CLOSE);
		return;
	}
	list_remove(&pinhole->queue);
	pinhole->want = WANT_NOTHING;
	list_append(&engine->done, &pinhole->queue);
	engine_kick(engine);
}

void pinhole_look(struct pinhole *pinhole, pinhole_look_fn *fn)
{
	if (!state_is_in_kernel(pinhole))
		return;
	pinhole->look_fn = fn;
	if (pinhole->is_looked_at || !list_is_empty(&pinhole->look))
		return;
	list_append(&pinhole->engine->looks, &pinhole->look);
	engine_kick(pinhole->engine);
}

void pinhole_disown(struct pinhole *pinhole)
{
	pinhole->fn = NULL;
}

/* Questions about one */

const struct pinhole_spec *pinhole_spec(const struct pinhole *pinhole)
{
	return &pinhole->spec;
}

enum pinhole_state pinhole_state(const struct pinhole *pinhole)
{
	return pinhole->state;
}

enum pinhole_path pinhole_path(const struct pinhole *pinhole)
{
	return pinhole->path;
}

const char *pinhole_reason(const struct pinhole *pinhole)
{
	return pinhole->reason;
}

void pinhole_stats(const struct pinhole *pinhole, struct slot_stats *ret)
{
	counters_read(&pinhole->counters, ret);
}

/* The engine */

static bool is_wanted(const struct pinholes *engine, unsigned path)
{
	for (unsigned i = 0; i < PINHOLE_PATHS && engine->conf.order[i] != PINHOLE_NONE; i++)
		if (engine->conf.order[i] == path)
			return true;
	return false;
}

static bool can(const struct pinholes *engine, unsigned realm, unsigned path)
{
	for (unsigned i = 0; i < engine->n_abilities; i++) {
		const struct wire_ability *ability = &engine->abilities[i];

		if (ability->realm == realm && ability->path == path && ability->is_usable)
			return is_wanted(engine, path);
	}
	return false;
}

static bool can_bpf(const struct pinholes *engine, unsigned realm)
{
	return can(engine, realm, PINHOLE_XDP) || can(engine, realm, PINHOLE_TC);
}

bool pinholes_is_usable(const struct pinholes *engine, unsigned realm_in, unsigned realm_out)
{
	if (!engine_has_helper(engine) || !engine->has_hello || engine->is_stalled)
		return false;
	if (can_bpf(engine, realm_in) && can_bpf(engine, realm_out)) /* a flow may enter by one and leave by the other */
		return true;
	return can(engine, realm_in, PINHOLE_CONNTRACK) && can(engine, realm_out, PINHOLE_CONNTRACK);
}

/* The helper is still finding out what it can. */
static bool is_unknown(const struct pinholes *engine)
{
	return engine->n_abilities == 0 && engine->no_helper == NULL && loop_now_ms(engine->loop) < engine->late_ms;
}

const char *pinholes_refusal(const struct pinholes *engine, unsigned realm_in, unsigned realm_out)
{
	if (engine->no_helper != NULL)
		return engine->no_helper;
	if (engine_is_full(engine))
		return "no room for more pinholes";
	if (is_unknown(engine) || pinholes_is_usable(engine, realm_in, realm_out))
		return NULL;
	return "no kernel path is usable between these realms";
}

void pinholes_reconciled(struct pinholes *engine)
{
	engine->is_reconciled = true;
	engine->wants_sweep = true;
	engine_kick(engine);
}

void pinholes_unwatched(struct pinholes *engine)
{
	engine->is_unwatched = true;
}

void pinholes_on_change(struct pinholes *engine, void (*fn)(void *arg), void *arg)
{
	if (engine->n_listeners == ENGINE_LISTENERS_MAX) {
		log_error("pinhole", "too many listeners", LF_INT("max", ENGINE_LISTENERS_MAX));
		return;
	}
	engine->listeners[engine->n_listeners].fn = fn;
	engine->listeners[engine->n_listeners++].arg = arg;
}

/* Each wanted mechanism on each realm, all for the same reason. */
static unsigned say_no_helper(const struct pinholes *engine, struct pinhole_ability *out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PINHOLE_PATHS && engine->conf.order[i] != PINHOLE_NONE; i++)
		for (unsigned realm = 0; realm < engine->conf.n_realms && n < max; realm++) {
			struct pinhole_ability *ability = &out[n++];
			const char *why = engine->no_helper != NULL ? engine->no_helper : "the helper does not become ready";

			*ability = (struct pinhole_ability){ .path = engine->conf.order[i], .realm = realm, .is_wanted = true };
			memcpy(ability->reason, why, strnlen(why, sizeof(ability->reason) - 1));
		}
	return n;
}

unsigned pinholes_abilities(const struct pinholes *engine, struct pinhole_ability *out, unsigned max)
{
	unsigned n = 0;

	_Static_assert(sizeof(out->reason) == WIRE_REASON_MAX && sizeof(out->interface) == WIRE_INTERFACE_MAX, "texts fit");
	if (is_unknown(engine))
		return 0;
	if (engine->n_abilities == 0)
		return say_no_helper(engine, out, max);
	for (; n < engine->n_abilities && n < max; n++) {
		const struct wire_ability *ability = &engine->abilities[n];

		out[n] = (struct pinhole_ability){ .path = (enum pinhole_path)ability->path, .realm = ability->realm,
						   .is_usable = ability->is_usable, .is_wanted = is_wanted(engine, ability->path) };
		memcpy(out[n].interface, ability->interface, sizeof(out[n].interface));
		memcpy(out[n].reason, ability->reason, sizeof(out[n].reason));
	}
	return n;
}

const char *pinholes_capture_trouble(const struct pinholes *engine)
{
	return engine->no_helper != NULL ? engine->no_helper : engine->capture_trouble;
}

void pinholes_each(const struct pinholes *engine, pinhole_view_fn *fn, void *arg)
{
	const uint64_t now_ns = loop_clock_us(engine->loop) * 1000; /* the clock of slot.last_ns */

	LIST_EACH(&engine->all, node) {
		const struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);
		struct pinhole_view view = { .spec = pinhole->spec, .state = pinhole->state, .path = pinhole->path,
					     .reason = pinhole->reason, .id = pinhole->id, .idle_ms = UINT64_MAX };

		counters_read(&pinhole->counters, &view.stats);
		if (view.stats.last_ns != 0)
			view.idle_ms = now_ns > view.stats.last_ns ? (now_ns - view.stats.last_ns) / 1000000 : 0;
		view.in_kernel = (pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND) && !pinhole->is_missing;
		fn(arg, &view);
	}
}

void pinholes_summary(const struct pinholes *engine, struct pinholes_summary *ret)
{
	*ret = engine->counts;
	LIST_EACH(&engine->all, node) {
		const struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		if (state_is_live(pinhole))
			ret->open[pinhole->path]++;
	}
	ret->has_helper = engine_has_helper(engine) && engine->has_hello && !engine->is_stalled;
	ret->is_starting = is_unknown(engine);
	ret->is_full = engine_is_full(engine);
	ret->is_unwatched = engine->is_unwatched && engine_has_helper(engine);
}
