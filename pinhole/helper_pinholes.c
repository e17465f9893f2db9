/* A batch goes through three steps: every pinhole is checked; those that are new take their place in the table, which finds
 * doubles; then they are applied in order. At the first failure what the batch has newly applied is removed again. What was
 * there before it stays, renewed or not. */
#include "pinhole/helper_pinholes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/log.h"
#include "pinhole/links.h"

struct helper_mechanism *helper_pinholes_mechanism(struct helper_pinholes *h, enum pinhole_path path)
{
	for (unsigned i = 0; i < h->n_mechanisms; i++)
		if (h->mechanisms[i].backend != NULL && (h->mechanisms[i].kind->paths & 1U << path))
			return &h->mechanisms[i];
	return NULL;
}

static void log_entry(enum log_level level, const char *message, const struct table_entry *entry, int err)
{
	struct addr listen = wire_addr_get(&entry->pinhole.listen);
	char text[ADDR_TEXT_MAX];

	LOG_GATED(20, level, "pinholed", message, LF_UINT("id", entry->pinhole.id), LF_TEXT("listen", addr_text(&listen, text)),
		  LF_TEXT("path", pinhole_path_text((enum pinhole_path)entry->path)), LF_TEXT("error", err_str(err)));
}

/* Takes it out of the kernel. What is not there any more is as good as removed. */
static int take_out(struct helper_pinholes *h, struct table_entry *entry, struct slot *ret_last)
{
	struct helper_mechanism *m = &h->mechanisms[entry->mechanism];
	struct slot last = { .packets = 0 };
	int err = 0;

	if (entry->path != PINHOLE_NONE)
		err = m->kind->ops->remove(m->backend, &entry->pinhole, &last);
	if (err == -ENOENT || err == ERR_NOT_FOUND)
		err = 0;
	if (err < 0)
		log_entry(LOG_ERROR, "pinhole could not be removed", entry, err);
	*ret_last = last;
	return err;
}

static void remove_entry(struct helper_pinholes *h, struct table_entry *entry)
{
	struct slot last;

	if (take_out(h, entry, &last) == 0)
		table_remove(h->table, entry);
	else
		entry->is_closing = true; /* tried again once a second */
}

static bool has_same_addresses(const struct wire_pinhole *a, const struct wire_pinhole *b)
{
	return a->proto == b->proto && memcmp(&a->listen, &b->listen, sizeof(a->listen)) == 0 &&
	       memcmp(&a->from, &b->from, sizeof(a->from)) == 0 && memcmp(&a->source, &b->source, sizeof(a->source)) == 0 &&
	       memcmp(&a->target, &b->target, sizeof(a->target)) == 0;
}

/* Another pinhole with this flow: one that nobody claimed since the start, or that is on its way out, has to yield. */
static enum limits_verdict displace(struct helper_pinholes *h, const struct wire_pinhole *pinhole)
{
	struct table_entry *other = table_find_flow(h->table, pinhole);

	if (other == NULL)
		return LIMITS_OK;
	if (other->batch == h->batch)
		return LIMITS_TWICE;
	if (other->is_opened && !other->is_closing)
		return LIMITS_OTHER_FLOW;
	remove_entry(h, other);
	return table_find_flow(h->table, pinhole) == NULL ? LIMITS_OK : LIMITS_OTHER_FLOW;
}

static enum limits_verdict take_place(struct helper_pinholes *h, const struct wire_pinhole *pinhole,
				      struct table_entry **ret)
{
	enum limits_verdict verdict = limits_pinhole(h->limits, pinhole);
	struct table_entry *entry = table_find(h->table, pinhole->id);
	int err;

	if (verdict == LIMITS_OK && h->links != NULL)
		verdict = links_pinhole(h->links, pinhole);
	if (verdict != LIMITS_OK)
		return verdict;
	if (entry != NULL) {
		if (entry->batch == h->batch)
			return LIMITS_TWICE;
		if (!has_same_addresses(&entry->pinhole, pinhole))
			return LIMITS_OTHER_ID;
		entry->batch = h->batch;
		*ret = entry;
		return LIMITS_OK;
	}
	verdict = displace(h, pinhole);
	if (verdict != LIMITS_OK)
		return verdict;
	err = table_add(h->table, pinhole, &entry);
	if (err < 0)
		return LIMITS_TABLE_FULL;
	entry->batch = h->batch;
	*ret = entry;
	return LIMITS_OK;
}

/* Reasons of the paths that were passed over, as far as there is room. */
static void note(char *reason, enum pinhole_path path, const char *why)
{
	size_t used = strlen(reason);

	if (why[0] != '\0')
		snprintf(reason + used, WIRE_REASON_MAX - used, "%s%s: %s", used > 0 ? "; " : "", pinhole_path_text(path), why);
}

static const char *missing_feature(const struct wire_pinhole *pinhole, uint32_t features)
{
	if (!(features & (pinhole->proto == IPPROTO_TCP ? BACKEND_TCP : BACKEND_UDP)))
		return pinhole->proto == IPPROTO_TCP ? "cannot TCP" : "cannot UDP";
	if ((pinhole->source.family == 0 || pinhole->source.port == 0) && !(features & BACKEND_ANY_SOURCE))
		return "needs an exact source";
	if ((pinhole->flags & WIRE_ONE_SHOT) && !(features & BACKEND_ONE_SHOT))
		return "cannot end after the first connection";
	if (pinhole->listen.family == AF_INET6 && !(features & BACKEND_IPV6))
		return "cannot IPv6";
	if ((pinhole->flags & WIRE_FOREIGN) && !(features & BACKEND_FOREIGN))
		return "only between addresses of the gateway";
	return NULL;
}

/* Whether it could go over this path; when not, the reason is noted. */
static bool would_take(struct helper_pinholes *h, enum pinhole_path path, const struct wire_pinhole *pinhole, char *reason)
{
	struct helper_mechanism *m = helper_pinholes_mechanism(h, path);
	const char *missing = m == NULL ? "not there" : missing_feature(pinhole, m->kind->ops->features);
	char why[WIRE_REASON_MAX] = "";
	bool takes = missing == NULL && m->kind->ops->path_of(m->backend, pinhole, why) == path;

	why[sizeof(why) - 1] = '\0';
	if (!takes)
		note(reason, path, missing != NULL ? missing : why);
	return takes;
}

/* 0 when `path` holds it now; else the reason is noted. */
static int try_path(struct helper_pinholes *h, enum pinhole_path path, const struct wire_pinhole *pinhole,
		    struct table_entry *entry, char *reason, bool *ret_was_there)
{
	struct helper_mechanism *m = helper_pinholes_mechanism(h, path);
	struct backend_entry result = { .slot = 0 };
	int err;

	if (!would_take(h, path, pinhole, reason))
		return ERR_UNSUPPORTED;
	err = m->kind->ops->apply(m->backend, pinhole, &result);
	if (err < 0) {
		note(reason, path, err_str(err));
		return err;
	}
	entry->path = (uint8_t)(result.path != PINHOLE_NONE ? result.path : path);
	entry->mechanism = (uint8_t)(m - h->mechanisms);
	entry->slot = result.slot;
	*ret_was_there = result.was_there;
	return 0;
}

/* The first path of the order that takes it. An error that says more than "unsupported" is the one that is returned. */
static int apply_new(struct helper_pinholes *h, const struct wire_pinhole *pinhole, struct table_entry *entry, char *reason,
		     bool *ret_was_there)
{
	const struct wire_seal *seal = &h->limits->seal;
	int err = ERR_UNSUPPORTED;

	for (size_t i = 0; i < sizeof(seal->order) && seal->order[i] != PINHOLE_NONE; i++) {
		int here = try_path(h, (enum pinhole_path)seal->order[i], pinhole, entry, reason, ret_was_there);

		if (here == 0)
			return 0;
		if (err == ERR_UNSUPPORTED)
			err = here;
	}
	return err;
}

/* What stays on its path although others are preferred says why, whoever asks again. */
static void explain(struct helper_pinholes *h, const struct wire_pinhole *pinhole, const struct table_entry *entry, char *reason)
{
	const struct wire_seal *seal = &h->limits->seal;

	for (size_t i = 0; i < sizeof(seal->order) && seal->order[i] != PINHOLE_NONE && seal->order[i] != entry->path; i++)
		would_take(h, (enum pinhole_path)seal->order[i], pinhole, reason);
}

static int renew(struct helper_pinholes *h, const struct wire_pinhole *pinhole, struct table_entry *entry, char *reason)
{
	struct helper_mechanism *m = &h->mechanisms[entry->mechanism];
	struct backend_entry result = { .slot = entry->slot };
	int err = m->kind->ops->apply(m->backend, pinhole, &result);

	if (err < 0)
		return err;
	entry->slot = result.slot;
	if (result.path != PINHOLE_NONE)
		entry->path = (uint8_t)result.path;
	explain(h, pinhole, entry, reason);
	return 0;
}

static int apply(struct helper_pinholes *h, const struct wire_pinhole *pinhole, struct table_entry *entry, uint64_t now_ms,
		 struct wire_opened *ret)
{
	bool was_there = entry->path != PINHOLE_NONE;
	int err = was_there ? renew(h, pinhole, entry, ret->reason) : ERR_NOT_FOUND;

	if (err < 0) {
		struct slot last;

		if (was_there) { /* its back end cannot hold it any longer: another one may */
			log_entry(LOG_WARN, "pinhole could not be renewed", entry, err);
			take_out(h, entry, &last);
			entry->path = PINHOLE_NONE;
			was_there = false;
		}
		err = apply_new(h, pinhole, entry, ret->reason, &was_there);
	}
	if (err < 0)
		return err;
	entry->pinhole = *pinhole;
	entry->expires_ms = now_ms + (uint64_t)pinhole->lifetime_s * 1000;
	entry->is_closing = false;
	entry->gone = 0;
	ret->slot = entry->slot;
	ret->region = h->mechanisms[entry->mechanism].kind->ops->region;
	ret->path = entry->path;
	ret->was_there = was_there;
	return 0;
}

struct batch {
	struct table_entry *entries[WIRE_BATCH_MAX];
	bool is_new[WIRE_BATCH_MAX];
	unsigned n; /* have a place */
};

static void undo(struct helper_pinholes *h, struct batch *batch)
{
	for (unsigned i = 0; i < batch->n; i++)
		if (batch->is_new[i] || batch->entries[i]->path == PINHOLE_NONE)
			remove_entry(h, batch->entries[i]);
}

static void refuse(struct helper_pinholes *h, enum limits_verdict verdict, const struct wire_pinhole *pinhole,
		   struct wire_opened *ret)
{
	struct addr listen = wire_addr_get(&pinhole->listen), target = wire_addr_get(&pinhole->target);
	char listen_text[ADDR_TEXT_MAX], target_text[ADDR_TEXT_MAX];

	h->refusals[verdict]++;
	ret->err = verdict == LIMITS_TABLE_FULL ? ERR_LIMIT : ERR_DENIED;
	snprintf(ret->reason, sizeof(ret->reason), "%s", limits_text(verdict));
	LOG_GATED(10, LOG_WARN, "pinholed", "pinhole refused", LF_TEXT("reason", limits_text(verdict)),
		  LF_TEXT("listen", addr_text(&listen, listen_text)), LF_TEXT("target", addr_text(&target, target_text)),
		  LF_UINT("refused_so_far", h->refusals[verdict]));
}

/* The index of the pinhole that failed, with its error in ret; n when all are applied. */
static unsigned open_all(struct helper_pinholes *h, const struct wire_pinhole *pinholes, unsigned n, uint64_t now_ms,
			 struct batch *batch, struct wire_opened *ret)
{
	for (unsigned i = 0; i < n; i++) {
		enum limits_verdict verdict = take_place(h, &pinholes[i], &batch->entries[i]);

		if (verdict != LIMITS_OK) {
			refuse(h, verdict, &pinholes[i], &ret[i]);
			return i;
		}
		batch->is_new[i] = batch->entries[i]->path == PINHOLE_NONE;
		batch->n++;
	}
	for (unsigned i = 0; i < n; i++) {
		ret[i].err = apply(h, &pinholes[i], batch->entries[i], now_ms, &ret[i]);
		if (ret[i].err < 0) {
			LOG_GATED(10, LOG_WARN, "pinholed", "pinhole not applied", LF_TEXT("reason", ret[i].reason),
				  LF_TEXT("error", err_str(ret[i].err)));
			return i;
		}
	}
	return n;
}

void helper_pinholes_open(struct helper_pinholes *h, const struct wire_pinhole *pinholes, unsigned n, uint64_t now_ms,
			  struct wire_opened *ret)
{
	struct batch batch = { .n = 0 };
	unsigned failed;

	h->batch++;
	memset(ret, 0, n * sizeof(*ret));
	for (unsigned i = 0; i < n; i++)
		ret[i].id = pinholes[i].id;
	failed = open_all(h, pinholes, n, now_ms, &batch, ret);
	if (failed == n) {
		for (unsigned i = 0; i < n; i++)
			batch.entries[i]->is_opened = true;
		return;
	}
	undo(h, &batch);
	for (unsigned i = 0; i < n; i++)
		if (i != failed)
			ret[i] = (struct wire_opened){ .id = pinholes[i].id, .err = ERR_STATE,
						       .reason = "another pinhole of the batch was refused" };
}

void helper_pinholes_close(struct helper_pinholes *h, const struct wire_key *key, struct wire_closed *ret)
{
	struct table_entry *entry = table_find(h->table, key->id);
	struct wire_closed result = { .id = key->id, .err = ERR_NOT_FOUND };

	if (entry != NULL) {
		result.err = take_out(h, entry, &result.last);
		if (result.err == 0)
			table_remove(h->table, entry);
		else
			entry->is_closing = true;
	}
	*ret = result;
}

void helper_pinholes_look(struct helper_pinholes *h, const struct wire_key *key, struct wire_looked *ret)
{
	const struct table_entry *entry = table_find(h->table, key->id);

	*ret = (struct wire_looked){ .id = key->id, .end = PINHOLE_END_UNKNOWN };
	if (entry != NULL && entry->path != PINHOLE_NONE && h->mechanisms[entry->mechanism].kind->ops->look != NULL)
		ret->end = (uint8_t)h->mechanisms[entry->mechanism].kind->ops->look(h->mechanisms[entry->mechanism].backend, &entry->pinhole);
}

/* One back end's list, entry by entry. */
struct listing {
	struct helper_pinholes *h;
	unsigned mechanism;
	uint64_t now_ms;
	struct wire_pinhole *orphans; /* in the kernel, and not in the table */
	size_t n_orphans, cap_orphans;
	struct wire_listed *listed;
	size_t n_listed, cap_listed;
	int err;
};

static struct wire_pinhole pinhole_of(const struct backend_entry *entry)
{
	return (struct wire_pinhole){ .id = entry->id, .listen = entry->listen, .source = entry->source, .from = entry->from,
				      .target = entry->target, .proto = entry->proto != 0 ? entry->proto : IPPROTO_UDP };
}

static struct table_entry *known(const struct helper_pinholes *h, const struct wire_pinhole *pinhole)
{
	struct table_entry *entry = pinhole->id != 0 ? table_find(h->table, pinhole->id) : table_find_flow(h->table, pinhole);

	return entry != NULL && has_same_addresses(&entry->pinhole, pinhole) ? entry : NULL;
}

/* A back end of one path need not say which. */
static uint8_t path_in(const struct listing *l, const struct backend_entry *entry)
{
	uint32_t paths = l->h->mechanisms[l->mechanism].kind->paths;

	return (uint8_t)(entry->path != PINHOLE_NONE ? (int)entry->path : __builtin_ctz(paths));
}

/* Known from now on, but not opened by anybody: it can be closed by its id, and is what a sweep removes. Its lifetime is not
 * known; it cannot be longer than any. */
static struct table_entry *adopt(struct listing *l, const struct backend_entry *entry)
{
	struct wire_pinhole pinhole = pinhole_of(entry);
	struct table_entry *have = known(l->h, &pinhole);

	if (have != NULL || pinhole.id == 0 || table_add(l->h->table, &pinhole, &have) < 0)
		return have;
	have->path = path_in(l, entry);
	have->mechanism = (uint8_t)l->mechanism;
	have->slot = entry->slot;
	have->expires_ms = l->now_ms + (uint64_t)l->h->limits->seal.lifetime_max_s * 1000;
	return have;
}

static void on_adopt(void *arg, const struct backend_entry *entry)
{
	adopt(arg, entry);
}

/* Makes room for one more; NULL when there is none, with l->err set. */
static void *grow(struct listing *l, void **items, size_t *n, size_t *cap, size_t size)
{
	if (*n == *cap) {
		size_t more = *cap > 0 ? *cap * 2 : 256;
		void *larger = *n < 2 * LIMITS_PINHOLES_MAX ? reallocarray(*items, more, size) : NULL;

		if (larger == NULL) {
			l->err = -ENOMEM;
			return NULL;
		}
		*items = larger;
		*cap = more;
	}
	return (char *)*items + (*n)++ * size;
}

static void on_list(void *arg, const struct backend_entry *entry)
{
	struct listing *l = arg;
	struct table_entry *have = adopt(l, entry);
	void *items = l->listed;
	struct wire_listed *record = grow(l, &items, &l->n_listed, &l->cap_listed, sizeof(*record));

	l->listed = items;
	if (record != NULL)
		*record = (struct wire_listed){ .id = have != NULL ? have->pinhole.id : entry->id, .path = path_in(l, entry) };
}

static void on_orphan(void *arg, const struct backend_entry *entry)
{
	struct listing *l = arg;
	struct wire_pinhole pinhole = pinhole_of(entry), *orphan;
	void *items = l->orphans;

	if (known(l->h, &pinhole) != NULL) /* opened, or removed with the table's entries */
		return;
	orphan = grow(l, &items, &l->n_orphans, &l->cap_orphans, sizeof(*orphan));
	l->orphans = items;
	if (orphan != NULL)
		*orphan = pinhole;
}

static void list(struct helper_pinholes *h, struct listing *l, unsigned mechanism, backend_list_fn *fn)
{
	struct helper_mechanism *m = &h->mechanisms[mechanism];
	int err;

	if (m->backend == NULL)
		return;
	l->mechanism = mechanism;
	err = m->kind->ops->list(m->backend, fn, l);
	if (err < 0)
		LOG_GATED(5, LOG_ERROR, "pinholed", "back end could not be listed", LF_TEXT("backend", m->kind->ops->name),
			  LF_TEXT("error", err_str(err)));
}

void helper_pinholes_adopt(struct helper_pinholes *h, uint64_t now_ms)
{
	struct listing l = { .h = h, .now_ms = now_ms };

	for (unsigned i = 0; i < h->n_mechanisms; i++)
		list(h, &l, i, on_adopt);
}

int helper_pinholes_list(struct helper_pinholes *h, uint64_t now_ms, struct wire_listed **ret, size_t *ret_n)
{
	struct listing l = { .h = h, .now_ms = now_ms };

	for (unsigned i = 0; i < h->n_mechanisms; i++)
		list(h, &l, i, on_list);
	if (l.err < 0) {
		free(l.listed);
		return l.err;
	}
	*ret = l.listed;
	*ret_n = l.n_listed;
	return 0;
}

struct sweep {
	struct helper_pinholes *h;
	uint64_t n;
};

static void sweep_entry(void *arg, struct table_entry *entry)
{
	struct sweep *sweep = arg;

	if (!entry->is_opened) {
		remove_entry(sweep->h, entry);
		sweep->n++;
	}
}

uint64_t helper_pinholes_sweep(struct helper_pinholes *h, uint64_t now_ms)
{
	struct sweep sweep = { .h = h };

	table_each(h->table, sweep_entry, &sweep);
	for (unsigned i = 0; i < h->n_mechanisms; i++) {
		struct helper_mechanism *m = &h->mechanisms[i];
		struct listing l = { .h = h, .now_ms = now_ms };

		list(h, &l, i, on_orphan);
		for (size_t k = 0; k < l.n_orphans; k++) {
			struct slot last;

			sweep.n += m->kind->ops->remove(m->backend, &l.orphans[k], &last) == 0;
		}
		free(l.orphans);
	}
	return sweep.n;
}

static void on_gone(void *arg, uint64_t id, enum wire_gone_why why)
{
	struct helper_pinholes *h = arg;
	struct table_entry *entry = table_find(h->table, id);

	if (entry != NULL)
		entry->gone = (uint8_t)why;
}

struct tick {
	struct helper_pinholes *h;
	uint64_t now_ms;
	helper_gone_fn *fn;
	void *arg;
};

static void end_if_due(void *arg, struct table_entry *entry)
{
	struct tick *tick = arg;
	struct wire_gone gone = { .id = entry->pinhole.id, .why = entry->gone };
	bool was_closing = entry->is_closing;

	if (entry->gone == 0 && entry->expires_ms > tick->now_ms && !entry->is_closing)
		return;
	if (gone.why == 0)
		gone.why = WIRE_EXPIRED;
	if (take_out(tick->h, entry, &gone.last) == 0)
		table_remove(tick->h->table, entry);
	else
		entry->is_closing = true;
	if (!was_closing) /* else its end is known */
		tick->fn(tick->arg, &gone);
}

void helper_pinholes_tick(struct helper_pinholes *h, uint64_t now_ms, helper_gone_fn *fn, void *arg)
{
	struct tick tick = { h, now_ms, fn, arg };

	for (unsigned i = 0; i < h->n_mechanisms; i++)
		if (h->mechanisms[i].backend != NULL)
			h->mechanisms[i].kind->ops->tick(h->mechanisms[i].backend, now_ms, on_gone, h);
	table_each(h->table, end_if_due, &tick);
}
