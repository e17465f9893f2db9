/* The flow, with a module that does what the input says (tests/mock/toy_alg.c has its commands). The input is the
 * octets of both sides; octets below 0x10 that are no line ends are what happens meanwhile:
 *
 *	01 02  from now on the client, the server speaks      03 04  some octets, all octets are taken from both sides
 *	05 06  a pinhole is there, could not be opened        07     an octet follows: that hole's data has ended
 *	0b     that hole expires                              0c     the speaking side ends
 *	0e     data flows through the newest hole             0f     pinholes are confirmed late from now on
 *
 * The first octet chooses the module. Held: octets that the module did not touch come out in their order; a flow
 * takes what it has room for; a module is never called from within itself; a faulty one leaves no hole; and when
 * all ends, everything is out. */
#include <stdlib.h>
#include <string.h>

#include "algs/flow.h"
#include "core/err.h"
#include "tests/mock/toy_alg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOLES_MAX = 600, LATE_MAX = 100 };

struct fuzz {
	struct flow *flow;
	bool is_late, is_datagram;
	unsigned n_holes;
	bool is_open[HOLES_MAX], is_busy[HOLES_MAX];
	uint32_t late[LATE_MAX];
	unsigned n_late;
	char *in[ALG_SIDES], *out[ALG_SIDES]; /* from, to that side */
	size_t in_len[ALG_SIDES], out_len[ALG_SIDES], out_cap;
	bool has_ended[ALG_SIDES];
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

/* The owner */

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return 1;
}

static int hole_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct fuzz *f = arg;

	(void)want;
	if (f->n_holes + 1 == HOLES_MAX)
		return ALG_ERR_LIMIT;
	*ret_hole = ++f->n_holes;
	f->is_open[f->n_holes] = true;
	return 0;
}

static int hole_public(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	(void)arg;
	(void)hole;
	(void)reader;
	(void)ret;
	(void)ret_rtcp;
	return ALG_ERR_STATE;
}

static int hole_peer(void *arg, uint32_t hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	(void)arg;
	(void)hole;
	(void)side;
	(void)rtp;
	(void)rtcp_port;
	return ALG_ERR_STATE;
}

static int hole_arm(void *arg, uint32_t hole)
{
	struct fuzz *f = arg;

	must(hole > 0 && hole <= f->n_holes && f->is_open[hole]);
	if (!f->is_late || f->n_late == LATE_MAX)
		return 0;
	f->late[f->n_late++] = hole;
	return 1;
}

static void hole_free(void *arg, uint32_t hole)
{
	struct fuzz *f = arg;

	must(hole > 0 && hole <= f->n_holes && f->is_open[hole]);
	f->is_open[hole] = f->is_busy[hole] = false;
}

static void hole_pause(void *arg, uint32_t hole, bool is_paused)
{
	(void)arg;
	(void)hole;
	(void)is_paused;
}

static bool hole_is_busy(void *arg, uint32_t hole)
{
	const struct fuzz *f = arg;

	return hole < HOLES_MAX && f->is_busy[hole];
}

static void policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	(void)arg;
	ret->is_allowed = question->verb.len % 2 == 0;
}

static void timer(void *arg, uint32_t cookie, uint32_t ms)
{
	(void)arg;
	(void)ms;
	must(cookie < 8);
}

static void transfer(void *arg, const struct alg_transfer *t)
{
	(void)arg;
	(void)t;
}

static void note(void *arg, const char *rule, struct span text)
{
	(void)arg;
	(void)rule;
	must(text.len < 256);
}

static void message(void *arg, enum alg_side from, enum alg_verdict verdict, struct span original, struct span edited)
{
	(void)arg;
	(void)from;
	must(original.len > 0 || edited.len == 0 || verdict == ALG_PASS);
}

static void ending(void *arg)
{
	(void)arg;
}

static const struct flow_owner owner = {
	.now_ms = now_ms,
	.hole_reserve = hole_reserve,
	.hole_public = hole_public,
	.hole_peer = hole_peer,
	.hole_arm = hole_arm,
	.hole_free = hole_free,
	.hole_pause = hole_pause,
	.hole_is_busy = hole_is_busy,
	.policy = policy,
	.timer = timer,
	.transfer = transfer,
	.note = note,
	.message = message,
	.ending = ending,
};

/* What happens */

static void take(struct fuzz *f, size_t most)
{
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		struct span out = flow_output(f->flow, side);
		size_t n = out.len < most || f->is_datagram ? out.len : most;

		if (out.ptr == NULL)
			continue;
		must(f->is_datagram || out.len > 0);
		if (n > 0 && f->out_len[side] + n <= f->out_cap) /* more is not compared */
			memcpy(f->out[side] + f->out_len[side], out.ptr, n);
		f->out_len[side] += n;
		flow_sent(f->flow, side, n);
	}
}

static void take_all(struct fuzz *f)
{
	while (flow_output(f->flow, ALG_CLIENT).ptr != NULL || flow_output(f->flow, ALG_SERVER).ptr != NULL)
		take(f, SIZE_MAX);
	if (flow_wants_tls(f->flow)) {
		must(flow_room(f->flow, ALG_CLIENT) == 0 && flow_room(f->flow, ALG_SERVER) == 0);
		flow_tls_begun(f->flow);
		take_all(f);
	}
}

static void commit(struct fuzz *f, int result)
{
	uint32_t hole;

	if (f->n_late == 0)
		return;
	hole = f->late[0];
	memmove(&f->late[0], &f->late[1], --f->n_late * sizeof(f->late[0]));
	if (result < 0)
		f->is_open[hole] = f->is_busy[hole] = false;
	flow_committed(f->flow, hole, result);
}

static void end_hole(struct fuzz *f, enum alg_event_type type, uint32_t hole)
{
	if (hole == 0 || hole > f->n_holes || !f->is_open[hole])
		return;
	f->is_open[hole] = f->is_busy[hole] = false;
	flow_event(f->flow, &(struct alg_event){ .type = type, .hole = hole });
}

static void end_side(struct fuzz *f, enum alg_side side)
{
	int ret;

	if (f->has_ended[side])
		return;
	ret = flow_input(f->flow, side, SPAN_NONE, true);
	must(ret == 0 || ret == ERR_CLOSED);
	f->has_ended[side] = true;
}

static void send_octets(struct fuzz *f, enum alg_side side, struct span octets)
{
	size_t room = flow_room(f->flow, side);
	int ret;

	if (f->has_ended[side] || room == 0 || octets.len == 0)
		return;
	if (octets.len > room)
		octets.len = room;
	ret = flow_input(f->flow, side, octets, false);
	must(ret == 0 || (ret == ERR_CLOSED && flow_is_reset(f->flow)));
	memcpy(f->in[side] + f->in_len[side], octets.ptr, octets.len);
	f->in_len[side] += octets.len;
}

static void happen(struct fuzz *f, const uint8_t *data, size_t size, size_t *at, enum alg_side *side)
{
	uint8_t what = data[(*at)++], n = 0;

	if ((what == 7 || what == 0x0b) && *at < size)
		n = data[(*at)++];
	switch (what) {
	case 1:
	case 2:
		*side = what == 1 ? ALG_CLIENT : ALG_SERVER;
		break;
	case 3:
	case 4:
		take(f, what == 3 ? 3 : SIZE_MAX);
		break;
	case 5:
	case 6:
		commit(f, what == 5 ? 0 : ERR_LIMIT);
		break;
	case 7:
	case 0x0b:
		end_hole(f, what == 7 ? ALG_EV_ENDED : ALG_EV_EXPIRED, n);
		break;
	case 0x0c:
		end_side(f, *side);
		break;
	case 0x0e:
		f->is_busy[f->n_holes] = f->n_holes > 0 && f->is_open[f->n_holes];
		break;
	case 0x0f:
		f->is_late = true;
		break;
	default:
		flow_event(f->flow, &(struct alg_event){ .type = ALG_EV_TIMER });
		break;
	}
}

static bool is_octet(uint8_t c)
{
	return c >= 0x10 || c == '\n' || c == '\r' || c == '\t';
}

static void play(struct fuzz *f, const uint8_t *data, size_t size)
{
	enum alg_side side = ALG_CLIENT;
	size_t at = 0;

	while (at < size) {
		size_t from = at;

		while (at < size && is_octet(data[at]))
			at++;
		send_octets(f, side, (struct span){ (const char *)data + from, at - from });
		if (at < size)
			happen(f, data, size, &at, &side);
	}
}

/* What must hold then */

static bool was_sent(const struct fuzz *f, const char *text)
{
	return memmem(f->in[ALG_CLIENT], f->in_len[ALG_CLIENT], text, strlen(text)) != NULL ||
	       memmem(f->in[ALG_SERVER], f->in_len[ALG_SERVER], text, strlen(text)) != NULL;
}

static void finish(struct fuzz *f)
{
	struct flow_stats stats;
	bool may_be_held = was_sent(f, "hold") || was_sent(f, "again") || was_sent(f, "verdict");

	take_all(f);
	end_side(f, ALG_CLIENT);
	end_side(f, ALG_SERVER);
	for (unsigned i = 0; i < 1000 && f->n_late > 0; i++)
		commit(f, 0);
	f->is_late = false;
	for (uint32_t hole = 1; hole <= f->n_holes; hole++)
		end_hole(f, ALG_EV_ENDED, hole);
	take_all(f);
	while (f->n_late > 0)
		commit(f, 0);
	take_all(f);
	flow_stats(f->flow, &stats);
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		unsigned to = alg_other(side);

		must(stats.octets_in[side] == f->in_len[side] && stats.octets_out[side] == f->out_len[side]);
		if (flow_is_reset(f->flow))
			continue;
		must(may_be_held || flow_is_finished(f->flow, to));
		if (flow_is_finished(f->flow, to) && stats.edited[side] + stats.dropped[side] + stats.replies[to] == 0) {
			must(f->in_len[side] == f->out_len[to]);
			must(memcmp(f->in[side], f->out[to], f->in_len[side]) == 0);
		}
	}
	if (flow_fault(f->flow) != NULL)
		for (unsigned hole = 0; hole < HOLES_MAX; hole++)
			must(!f->is_open[hole]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct alg_module *const modules[] = { &postern_alg_v1, &toy_datagram_module, &toy_probed_module };
	static const struct alg_about about = { .client = { .family = 4 }, .server = { .family = 4 }, .tls = ALG_TLS_TERMINATE };
	struct fuzz f = { .out_cap = size };
	const struct alg_module *module;
	unsigned n_open = toy_n_open;

	if (size == 0)
		return 0;
	module = modules[data[0] % 3];
	f.is_datagram = module->is_datagram;
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		f.in[side] = malloc(size);
		f.out[side] = malloc(size);
		must(f.in[side] != NULL && f.out[side] != NULL);
	}
	must(flow_new(module, &about, &owner, &f, &f.flow) == 0);
	play(&f, data + 1, size - 1);
	finish(&f);
	flow_free(f.flow);
	must(toy_n_open == n_open);
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		free(f.in[side]);
		free(f.out[side]);
	}
	return 0;
}
