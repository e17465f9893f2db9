/* Runs call scenarios: the whole B2BUA over a scripted network, with media and store in memory. Events: "media ...", "cdr ...",
 * "live ...". */
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/bus.h"
#include "core/err.h"
#include "sbc/b2bua.h"
#include "sbc/call_live.h"
#include "sbc/call_row.h"
#include "tests/mock/fake_media.h"
#include "tests/mock/fake_pinhole.h"
#include "tests/mock/fake_store.h"
#include "tests/scenario/scenario.h"

struct state {
	struct scenario *scenario;
	struct bus *bus;
	struct media_engine *media;
	struct pinholes *pinholes;
	struct store *store;
	struct b2bua *b2bua;
	struct b2bua_deps deps;
	bool is_quiet; /* media and live events are not of interest */
};

static void on_media(void *arg, const char *text)
{
	struct state *state = arg;

	if (!state->is_quiet)
		scenario_event(state->scenario, "media %s", text);
}

static void on_store(void *arg, const char *text)
{
	struct state *state = arg;

	if (!state->is_quiet || text[0] == 'c')
		scenario_event(state->scenario, "%s", text);
}

static int start(struct scenario *s, struct loop *loop, const struct config *config, void **ret_state)
{
	struct state *state = calloc(1, sizeof(*state));
	char error[256] = "";
	struct b2bua_deps deps = { .loop = loop, .config = config };

	if (state == NULL)
		return ERR_LIMIT;
	*ret_state = state;
	state->scenario = s;
	state->bus = deps.bus = bus_new();
	state->media = deps.media = fake_media_new(on_media, state);
	state->pinholes = fake_pinholes_new();
	deps.pinholes = state->pinholes;
	state->store = deps.store = fake_store_new(on_store, state);
	if (deps.bus == NULL || deps.media == NULL || deps.pinholes == NULL || deps.store == NULL)
		return ERR_LIMIT;
	state->deps = deps;
	if (b2bua_new(&deps, error, sizeof(error), &state->b2bua) != 0)
		return scenario_fail(s, "%s", error);
	return 0;
}

/* The row in the one form that two rows of the same call have in common: the CSeq as `gap` before, without what a restart adds. */
static struct span normal_row(const char *text, struct arena *arena, unsigned gap, bool has_restarted)
{
	struct buf out = buf_of(arena_alloc(arena, CALL_ROW_BYTES_MAX), CALL_ROW_BYTES_MAX);
	struct call_row row;
	const char *why;

	if (text == NULL || out.data == NULL || call_row_read(span_of(text), arena, &row, &why) != 0)
		return SPAN_NONE;
	row.leg[MEDIA_A].local_cseq -= gap;
	row.leg[MEDIA_B].local_cseq -= gap;
	if (has_restarted && row.n_steps > 0)
		row.n_steps--;
	call_row_write(&row, &out);
	return buf_span(&out);
}

/* A resumed call has the row that it came from. */
static int check_row(struct scenario *s, struct state *state, const char *before)
{
	struct arena *arena = arena_new(1 << 20);
	struct span old = normal_row(before, arena, 0, false), new;
	int err = 0;

	b2bua_save(state->b2bua);
	new = normal_row(fake_store_row(state->store), arena, CALL_CSEQ_GAP, true);
	if (span_is_empty(old) || !span_eq(old, new))
		err = scenario_fail(s, "the row was\n%.*s\nand is\n%.*s", SPAN_ARG(old), SPAN_ARG(new));
	arena_free(arena);
	return err;
}

/* As after kill -9: nothing is said to anybody, and a new one has what is in the store. */
static int hook_restart(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	const char *row = fake_store_row(state->store);
	char *before = strdup(row != NULL ? row : "");
	bool was_quiet = state->is_quiet;
	struct b2bua_resumed resumed;
	int err = 0;
	char error[256] = "";
	uint32_t calls, given_up;

	(void)body;
	if (span_to_u32(scenario_word(&args), 1000, &calls) != 0 || span_to_u32(scenario_word(&args), 1000, &given_up) != 0)
		return scenario_fail(s, "restart RESUMED GIVEN_UP");
	state->is_quiet = true;
	b2bua_free(state->b2bua);
	state->b2bua = NULL;
	state->is_quiet = was_quiet;
	if (b2bua_new(&state->deps, error, sizeof(error), &state->b2bua) != 0) {
		free(before);
		return scenario_fail(s, "%s", error);
	}
	b2bua_resume(state->b2bua, &resumed);
	if (resumed.calls != calls || resumed.given_up != given_up)
		err = scenario_fail(s, "%u calls resumed, %u given up: %s", resumed.calls, resumed.given_up, resumed.why);
	state->is_quiet = true;
	if (err == 0 && calls == 1)
		err = check_row(s, state, before);
	state->is_quiet = was_quiet;
	free(before);
	return err;
}

/* The live row is replaced: hook row, with the new one as here-document; `hook row cut N` takes so many octets off its end. */
static int hook_row(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	const char *row = fake_store_row(state->store);
	struct arena *arena = arena_new(1 << 18);
	struct call_filter filter = { .limit = 1 };
	struct call_summary *calls;
	uint32_t cut = 0;
	bool more;
	int err = 0;

	if (row == NULL || b2bua_calls(state->b2bua, &filter, arena, &calls, &more) != 1)
		err = scenario_fail(s, "there is no live row");
	else if (span_eq(scenario_word(&args), SPAN_LIT("cut")) && span_to_u32(args, (uint32_t)strlen(row), &cut) == 0)
		store_live_put(state->store, span_of(calls->id),
			       arena_dup(arena, span_sub(span_of(row), 0, strlen(row) - cut)));
	else
		store_live_put(state->store, span_of(calls->id), body);
	arena_free(arena);
	return err;
}

static void stop(void *arg)
{
	struct state *state = arg;

	if (state == NULL)
		return;
	state->is_quiet = true;
	if (state->store != NULL)
		fake_store_release(state->store, ERR_CLOSED);
	b2bua_free(state->b2bua);
	fake_media_free(state->media);
	pinholes_free(state->pinholes);
	fake_store_free(state->store);
	bus_free(state->bus);
	free(state);
}

static int hook_quiet(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;

	(void)s, (void)args, (void)body;
	state->is_quiet = true;
	return 0;
}

/* "a xdp" or "b relay": the direction that comes in on this leg. */
static int move_media(struct scenario *s, struct media *media, struct span args)
{
	struct span leg = scenario_word(&args), path = scenario_word(&args);
	enum media_side side = span_eq(leg, SPAN_LIT("a")) ? MEDIA_A : MEDIA_B;

	for (enum media_path i = MEDIA_PATH_RELAY; i < MEDIA_PATHS; i++)
		if (span_eq(path, span_of(media_path_text(i))))
			return fake_media_move(media, 0, side, i, "test") == 0 ? 0 :
			       scenario_fail(s, "nothing leaves the relay before the answer");
	return scenario_fail(s, "media path a|b PATH");
}

static int hook_media(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct media *media = fake_media_last(state->media);
	struct span what = scenario_word(&args);

	(void)body;
	if (span_eq(what, SPAN_LIT("refuse"))) {
		fake_media_refuse(state->media, 1);
		return 0;
	}
	if (media == NULL)
		return scenario_fail(s, "no media session is open");
	if (span_eq(what, SPAN_LIT("path")))
		return move_media(s, media, args);
	if (!span_eq(what, SPAN_LIT("timeout")))
		return scenario_fail(s, "media refuse|timeout|path");
	fake_media_raise(media, MEDIA_TIMEOUT, 0, MEDIA_A);
	return 0;
}

static int hook_pinholes(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct span what = scenario_word(&args);

	(void)body;
	if (!span_eq(what, SPAN_LIT("full")) && !span_eq(what, SPAN_LIT("unusable")) && !span_eq(what, SPAN_LIT("usable")))
		return scenario_fail(s, "pinholes full|unusable|usable");
	fake_pinholes_set_full(state->pinholes, span_eq(what, SPAN_LIT("full")));
	fake_pinholes_set_usable(state->pinholes, !span_eq(what, SPAN_LIT("unusable")));
	return 0;
}

static int hook_store(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct span what = scenario_word(&args);

	(void)body;
	if (span_eq(what, SPAN_LIT("hold")))
		fake_store_hold(state->store);
	else if (span_eq(what, SPAN_LIT("release")))
		fake_store_release(state->store, 0);
	else if (span_eq(what, SPAN_LIT("fail")))
		fake_store_release(state->store, ERR_LIMIT);
	else
		return scenario_fail(s, "store hold|release|fail");
	return 0;
}

/* What a script cannot see on the wire: our tags before a response showed them. */
static int set_tags(struct scenario *s, struct state *state, struct arena *arena, const char *id)
{
	struct call_view view;
	int err = b2bua_call(state->b2bua, span_of(id), arena, &view);

	if (err != 0)
		return scenario_fail(s, "%s", err_str(err));
	err = scenario_set(s, SPAN_LIT("id"), span_of(id));
	return err != 0 ? err : scenario_set(s, SPAN_LIT("atag"), span_of(view.leg[MEDIA_A].local_tag));
}

/* The newest call, live or else ended; its id goes into {id}, its tag on leg A into {atag}. */
static int hook_call(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct arena *arena = arena_new(1 << 22);
	struct call_summary *calls;
	struct call_filter filter = { .limit = 1 };
	struct span want = scenario_word(&args);
	bool more;
	int err = 0;

	(void)body;
	if (b2bua_calls(state->b2bua, &filter, arena, &calls, &more) == 0) {
		filter.state = SPAN_LIT("ended");
		if (b2bua_calls(state->b2bua, &filter, arena, &calls, &more) == 0)
			err = scenario_fail(s, "there is no call");
	}
	if (err == 0 && !span_eq(want, span_of(calls->state)))
		err = scenario_fail(s, "the call is %s", calls->state);
	if (err == 0)
		err = set_tags(s, state, arena, calls->id);
	arena_free(arena);
	return err;
}

/* The newest live call explains itself with this step. */
static int hook_step(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct arena *arena = arena_new(1 << 22);
	struct call_filter filter = { .limit = 1 };
	struct call_summary *calls;
	struct call_view view = { 0 };
	bool more, has_step = false;

	(void)body;
	if (b2bua_calls(state->b2bua, &filter, arena, &calls, &more) == 1)
		b2bua_call(state->b2bua, span_of(calls->id), arena, &view);
	for (unsigned i = 0; i < view.n_steps; i++)
		has_step |= span_eq(span_of(view.steps[i].text), args);
	arena_free(arena);
	return has_step ? 0 : scenario_fail(s, "the call has no such step");
}

static int hook_hangup(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;

	(void)body;
	return b2bua_hangup(state->b2bua, scenario_word(&args)) == 0 ? 0 : scenario_fail(s, "no such live call");
}

static void on_drained(void *arg)
{
	struct state *state = arg;

	scenario_event(state->scenario, "drained");
}

static int hook_drain(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;

	(void)s, (void)args, (void)body;
	b2bua_drain(state->b2bua, on_drained, state);
	return 0;
}

/* Every list that could leak is empty: `hook idle` at the end of a script. */
static int hook_idle(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct state *state = arg;
	struct arena *arena = arena_new(1 << 20);
	struct call_filter filter = { .limit = 100 };
	struct call_summary *calls;
	struct b2bua_stats stats;
	bool more;
	unsigned live = b2bua_calls(state->b2bua, &filter, arena, &calls, &more);

	(void)args, (void)body;
	arena_free(arena);
	b2bua_stats(state->b2bua, &stats);
	if (live != 0 || stats.calls_active != 0 || media_sessions(state->media) != 0 || stats.transactions != 0)
		return scenario_fail(s, "%u calls (%u counted), %u media sessions, %u transactions are left", live,
				     stats.calls_active, media_sessions(state->media), stats.transactions);
	return 0;
}

static int hook_follows(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct span before = scenario_word(&args);
	uint32_t a, b;

	(void)arg, (void)body;
	/* Versions begin as milliseconds since 1970: the last nine digits tell. */
	if (span_to_u32(span_sub(before, before.len > 9 ? before.len - 9 : 0, before.len), UINT32_MAX, &a) != 0 ||
	    span_to_u32(span_sub(args, args.len > 9 ? args.len - 9 : 0, args.len), UINT32_MAX, &b) != 0 || b != a + 1)
		return scenario_fail(s, "%.*s does not follow %.*s", SPAN_ARG(args), SPAN_ARG(before));
	return 0;
}

static int hook_above(struct scenario *s, void *arg, struct span args, struct span body)
{
	struct span before = scenario_word(&args);
	uint32_t a, b;

	(void)arg, (void)body;
	if (span_to_u32(before, UINT32_MAX, &a) != 0 || span_to_u32(args, UINT32_MAX, &b) != 0 || b <= a)
		return scenario_fail(s, "%.*s is not above %.*s", SPAN_ARG(args), SPAN_ARG(before));
	return 0;
}

static const struct scenario_hook hooks[] = {
	{ "quiet", "quiet: media and live rows make no events", hook_quiet },
	{ "media", "media refuse|timeout|path a|b PATH", hook_media },
	{ "pinholes", "pinholes full|unusable|usable: no room in the kernel, no way, or both are there (as at first)", hook_pinholes },
	{ "store", "store hold|release|fail: answers to call records", hook_store },
	{ "call", "call STATE: the newest call is in this state; sets {id} and {atag}", hook_call },
	{ "step", "step TEXT: the newest live call has this step", hook_step },
	{ "hangup", "hangup ID", hook_hangup },
	{ "follows", "follows N M: M is N + 1", hook_follows },
	{ "above", "above N M: M is larger than N", hook_above },
	{ "drain", "drain: end all calls, then event \"drained\"", hook_drain },
	{ "restart", "restart RESUMED GIVEN_UP: as after kill -9; so many calls are resumed and given up", hook_restart },
	{ "row", "row [cut N]: replaces the live row by the text that follows, or cuts it short", hook_row },
	{ "idle", "idle: no call, media session or transaction is left", hook_idle },
};

static const struct scenario_program program = {
	.name = "call",
	.directory = "tests/scenario/call",
	.start = start,
	.stop = stop,
	.hooks = hooks,
	.n_hooks = sizeof(hooks) / sizeof(hooks[0]),
};

int main(int argc, char **argv)
{
	return scenario_main(argc, argv, &program);
}
