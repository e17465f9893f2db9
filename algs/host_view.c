/* What the API sees of sessions and listeners: copies in the caller's arena. Control thread. */
#include "algs/host.h"

#include <stdlib.h>

#include "algs/engine.h"
#include "algs/listener.h"
#include "algs/session.h"
#include "core/err.h"

enum { PAGE_MAX = 1000 };

/* ---- sessions ---------------------------------------------------------------------------------------------------------------- */

static const char *mode_text(enum config_alg_mode mode)
{
	static const char *const texts[] = { [CONFIG_ALG_NAT] = "nat", [CONFIG_ALG_TRANSPARENT] = "transparent",
					     [CONFIG_ALG_EXPLICIT] = "explicit" };

	return texts[mode];
}

static bool is_id(const struct hash_node *node, const void *key)
{
	return span_eq(span_of(HASH_ENTRY(node, struct session, by_id)->group.id), *(const struct span *)key);
}

static struct session *find(struct alg_host_engine *h, struct span id)
{
	struct hash_node *node = hash_table_find(h->by_id, hash_bytes(id), is_id, &id);

	return node != NULL ? HASH_ENTRY(node, struct session, by_id) : NULL;
}

static void stats_of(const struct session *s, struct flow_stats *ret)
{
	*ret = s->counts;
	if (s->flow != NULL)
		flow_stats(s->flow, ret);
}

static char *copy(struct arena *arena, const char *text)
{
	return arena_strdup(arena, span_of(text));
}

/* Realms are those of the start, whatever is in force. */
static const char *realm_name(const struct session *s, unsigned index)
{
	return s->engine->config->realms[index].name;
}

static void summarise(const struct session *s, struct arena *arena, struct alg_session_summary *ret)
{
	struct flow_stats stats;

	stats_of(s, &stats);
	*ret = (struct alg_session_summary){
		.id = copy(arena, s->group.id), .alg = copy(arena, s->alg), .protocol = copy(arena, s->module->name),
		.mode = mode_text(s->mode), .state = session_state_text(s->state), .user = copy(arena, s->user),
		.from_realm = copy(arena, realm_name(s, s->realm)), .to_realm = copy(arena, realm_name(s, s->to)),
		.client = s->far[ALG_CLIENT], .server = s->far[ALG_SERVER], .started_ms = s->started_ms, .ended_ms = s->ended_ms,
		.bytes = { stats.octets_in[ALG_CLIENT], stats.octets_in[ALG_SERVER] }, .n_holes = s->n_holes,
		.n_transfers = s->n_transfers, .cause = s->state == SESSION_ENDED ? s->cause : NULL,
		.partner = s->partner[0] != '\0' ? copy(arena, s->partner) : NULL,
	};
}

static bool is_wanted(const struct session *s, const struct alg_session_filter *f)
{
	const struct {
		struct span wanted, is;
	} tests[] = {
		{ f->protocol, span_of(s->module->name) }, { f->alg, span_of(s->alg) }, { f->user, span_of(s->user) },
		{ f->state, span_of(session_state_text(s->state)) },
	};

	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!span_is_empty(tests[i].wanted) && !span_eq(tests[i].wanted, tests[i].is))
			return false;
	return span_is_empty(f->realm) || span_eq(f->realm, span_of(realm_name(s, s->realm))) ||
	       span_eq(f->realm, span_of(realm_name(s, s->to)));
}

static bool is_before(const char *id, struct span after)
{
	size_t len = strlen(id) < after.len ? strlen(id) : after.len;

	return memcmp(id, after.ptr, len) < 0;
}

unsigned alg_sessions(struct alg_host_engine *h, const struct alg_session_filter *filter, struct arena *arena,
		      struct alg_session_summary **ret, bool *ret_more)
{
	bool is_history = span_eq(filter->state, SPAN_LIT("ended"));
	struct list *list = is_history ? &h->history : &h->live;
	unsigned limit = filter->limit > 0 && filter->limit <= PAGE_MAX ? filter->limit : PAGE_MAX;
	struct session *after = span_is_empty(filter->after) ? NULL : find(h, filter->after);
	unsigned n = 0;

	*ret_more = false;
	*ret = arena_alloc(arena, sizeof(**ret) * limit);
	if (*ret == NULL)
		return 0;
	/* Ids sort by time, so a page continues below the last id even when that session has gone. */
	for (struct list *node = after != NULL && (after->state == SESSION_ENDED) == is_history ? after->node.prev : list->prev;
	     node != list; node = node->prev) {
		const struct session *s = LIST_ENTRY(node, struct session, node);

		if (!is_wanted(s, filter) ||
		    (!span_is_empty(filter->after) && after == NULL && !is_before(s->group.id, filter->after)))
			continue;
		if (n == limit) {
			*ret_more = true;
			break;
		}
		summarise(s, arena, &(*ret)[n++]);
	}
	return arena_is_exhausted(arena) ? 0 : n;
}

/* ---- one session ------------------------------------------------------------------------------------------------------------- */

static const char *hole_state_text(const struct hole *hole)
{
	static const char *const texts[] = { [HOLE_RESERVED] = "reserved", [HOLE_ARMING] = "reserved", [HOLE_ARMED] = "armed",
					     [HOLE_BOUND] = "bound", [HOLE_DRAINING] = "draining", [HOLE_CLOSED] = "closed" };

	return texts[hole->state];
}

static void fill_hole(const struct hole *hole, struct alg_hole_view *ret)
{
	static const char *const kinds[] = { [ALG_HOLE_TCP] = "tcp", [ALG_HOLE_UDP] = "udp", [ALG_HOLE_MEDIA] = "media" };

	*ret = (struct alg_hole_view){
		.id = hole->id, .class = hole->class->name, .kind = kinds[hole->class->kind], .state = hole_state_text(hole),
		.path = hole->path, .reason = hole->reason, .listen = hole->listen, .target = hole->target,
		.bytes = { hole->octets[ALG_CLIENT], hole->octets[ALG_SERVER] }, .since_ms = hole->since_ms,
		.is_protected = hole->is_protected, .tls = { hole->tls[ALG_CLIENT], hole->tls[ALG_SERVER] },
	};
	if (hole->media == NULL)
		return;
	ret->has_media = media_stats(hole->media, 0, MEDIA_A, &ret->media[0]) == 0 && media_stats(hole->media, 0, MEDIA_B, &ret->media[1]) == 0;
	ret->listen = ret->media[0].local;
	ret->target = hole->peers[ALG_SERVER];
}

void session_remember_hole(struct session *s, struct hole *hole)
{
	struct alg_hole_view *view;

	if (s->past == NULL)
		s->past = calloc(SESSION_HOLES_PAST, sizeof(*s->past));
	if (s->past == NULL)
		return;
	view = &s->past[s->next_past];
	fill_hole(hole, view);
	view->state = "closed";
	s->next_past = (s->next_past + 1) % SESSION_HOLES_PAST;
	if (s->n_past < SESSION_HOLES_PAST)
		s->n_past++;
}

/* Those that are open, then those that were, newest first. */
static void fill_holes(const struct session *s, struct arena *arena, struct alg_session_view *ret)
{
	ret->holes = arena_alloc(arena, sizeof(*ret->holes) * (s->n_holes + s->n_past + 1));
	if (ret->holes == NULL)
		return;
	LIST_EACH(&s->holes, node) {
		const struct hole *hole = LIST_ENTRY(node, struct hole, node);

		if (hole_is_live(hole) && ret->n_holes < s->n_holes)
			fill_hole(hole, &ret->holes[ret->n_holes++]);
	}
	for (unsigned i = 1; i <= s->n_past; i++)
		ret->holes[ret->n_holes++] = s->past[(s->next_past + SESSION_HOLES_PAST - i) % SESSION_HOLES_PAST];
}

struct filling {
	struct arena *arena;
	struct alg_session_view *view;
};

static void add_step(void *arg, const struct journal_entry *entry)
{
	struct filling *f = arg;

	f->view->steps[f->view->n_steps++] = (struct alg_step){ .at_ms = entry->at_ms, .rule = arena_strdup(f->arena, entry->first),
								.text = arena_strdup(f->arena, entry->second) };
}

static void add_change(void *arg, const struct journal_entry *entry)
{
	struct filling *f = arg;

	f->view->changes[f->view->n_changes++] = (struct alg_change){
		.at_ms = entry->at_ms, .from = entry->kind & 1 ? 's' : 'c',
		.verdict = entry->kind & 2 ? "dropped" : entry->kind & 4 ? "replied" : "edited",
		.before = arena_strdup(f->arena, entry->first), .after = arena_strdup(f->arena, entry->second),
	};
}

static void fill_journals(const struct session *s, struct arena *arena, struct alg_session_view *ret)
{
	struct filling filling = { arena, ret };

	ret->steps = arena_alloc(arena, sizeof(*ret->steps) * (s->steps.n + 1));
	ret->changes = arena_alloc(arena, sizeof(*ret->changes) * (s->changes.n + 1));
	if (ret->steps == NULL || ret->changes == NULL)
		return;
	journal_each(&s->steps, add_step, &filling);
	journal_each(&s->changes, add_change, &filling);
}

int alg_session(struct alg_host_engine *h, struct span id, struct arena *arena, struct alg_session_view *ret)
{
	const struct session *s = find(h, id);
	struct flow_stats stats;

	if (s == NULL)
		return ERR_NOT_FOUND;
	*ret = (struct alg_session_view){ .client_leg = s->near[ALG_CLIENT], .server_leg = s->near[ALG_SERVER] };
	summarise(s, arena, &ret->summary);
	stats_of(s, &stats);
	for (unsigned i = 0; i < ALG_SIDES; i++) {
		ret->messages[i] = stats.messages[i];
		ret->edited[i] = stats.edited[i];
		ret->dropped[i] = stats.dropped[i];
		ret->tls[i] = s->secured[i];
	}
	fill_holes(s, arena, ret);
	fill_journals(s, arena, ret);
	return arena_is_exhausted(arena) ? ERR_LIMIT : 0;
}

int alg_session_end(struct alg_host_engine *h, struct span id)
{
	struct session *s = find(h, id);

	if (s == NULL || s->state == SESSION_ENDED)
		return ERR_NOT_FOUND;
	s->is_abnormal = true;
	session_step_event(s, SESSION_STOP, "ended by an operator");
	return 0;
}

/* ---- listeners and counts ---------------------------------------------------------------------------------------------------- */

unsigned alg_listeners(struct alg_host_engine *h, struct arena *arena, struct alg_listener_view **ret)
{
	unsigned n = 0;

	LIST_EACH(&h->listeners, node)
		n++;
	*ret = arena_alloc(arena, sizeof(**ret) * (n + 1));
	if (*ret == NULL)
		return 0;
	n = 0;
	LIST_EACH(&h->listeners, node) {
		const struct listener *l = LIST_ENTRY(node, struct listener, node);

		if (l->is_retired)
			continue;
		(*ret)[n++] = (struct alg_listener_view){
			.conf = l->alg->setup->conf, .listen = l->at, .is_open = listener_is_open(l),
			.is_opening = listener_is_opening(l), .reason = copy(arena, l->reason),
			.n_sessions = l->n_sessions, .sessions_total = l->sessions_total, .refused_total = l->refused_total,
			.certificate_expires_ms = engine_tls_expires_ms(l->alg),
		};
	}
	return arena_is_exhausted(arena) ? 0 : n;
}

void alg_host_stats(const struct alg_host_engine *h, struct alg_host_stats *ret)
{
	*ret = h->stats;
	ret->sessions = h->n_live;
	ret->holes = h->n_holes;
}
