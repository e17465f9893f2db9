/* Whether the kernel has what it should: every 30 s the helper lists what is in there. What is missing is opened again,
 * what is nobody's is removed, and both are counted. While owners of an earlier process may still come back (before
 * pinholes_reconciled()), nothing is nobody's. Control thread. */
#include "core/log.h"
#include "pinhole/engine.h"

/* Requests are answered in order: only what was there before the list was asked for can be missing from it. */
void audit_begin(struct pinholes *engine)
{
	engine->n_unknown = engine->n_orphans = 0;
	LIST_EACH(&engine->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		pinhole->is_listed = false;
		pinhole->is_audited = (pinhole->state == PINHOLE_ARMED || pinhole->state == PINHOLE_BOUND) && !pinhole->is_unsure;
	}
}

void audit_listed(struct pinholes *engine, const struct wire_listed *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const uint64_t id = records[i].id;
		struct pinhole *pinhole = id != 0 ? engine_find_live(engine, id) : NULL;

		if (pinhole != NULL) {
			pinhole->is_listed = true;
		} else if (id == 0) {
			engine->n_unknown++;
		} else if (engine->is_reconciled && engine_find_any(engine, id) == NULL) {
			engine->n_orphans += requests_remove_stray(engine, id);
		}
	}
}

static unsigned open_missing(struct pinholes *engine)
{
	unsigned n = 0;

	LIST_EACH(&engine->all, node) {
		struct pinhole *pinhole = LIST_ENTRY(node, struct pinhole, all);

		if (!pinhole->is_audited || pinhole->is_listed || pinhole->is_unsure || !state_is_live(pinhole))
			continue;
		pinhole->is_missing = pinhole->is_unsure = true;
		requests_want(pinhole, WANT_OPEN);
		n++;
	}
	return n;
}

void audit_end(struct pinholes *engine)
{
	unsigned missing = open_missing(engine);

	engine->is_listing = false;
	/* What has no id cannot be named; a sweep takes it, and says how many they were. */
	if (engine->is_reconciled && engine->n_unknown > 0)
		engine->wants_sweep = true;
	state_count_audit(engine, missing, engine->n_orphans);
	if (missing > 0 || engine->n_orphans > 0 || engine->n_unknown > 0)
		log_warn("pinhole", "the kernel did not have what it should: put right", LF_UINT("missing", missing),
			 LF_UINT("orphans", engine->n_orphans), LF_UINT("unknown", engine->n_unknown));
}
