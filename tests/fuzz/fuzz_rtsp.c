/* The ALG for RTSP in its flow, with a made-up host. An input is what both sides send, and what happens meanwhile:
 *
 *   first octet   bits: 1 translated, 2 rules deny some, 4 no pinhole after the second, 8 TLS may pass
 *   then          octets of one side, the client's at first; 0xff and another octet: see happen()
 *
 * Properties: the module never does what no module may (flow_fault); it names nobody but the two ends; it arms nothing but for
 * what the server says; without translation and rules nothing is edited; and however the octets are cut, what comes out is the same
 * (unless a request had to wait, for then the two sides race, or the session was reset). */
#include <stdlib.h>

#include "algs/flow.h"
#include "algs/rtsp/rtsp_module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HOLES_MAX = 64, TIMERS = 8, INPUT_MAX = 8192, OUTPUT_MAX = 1 << 20 };

struct fake {
	struct flow *flow;
	uint8_t flags;
	enum alg_side from;            /* whose octets are being taken */
	uint64_t now_ms;
	uint64_t timers[TIMERS];
	unsigned n_holes, n_open;
	bool is_open[HOLES_MAX], is_armed[HOLES_MAX];
	bool has_ended[ALG_SIDES];
	bool may_race;
	uint64_t hash[ALG_SIDES];      /* of what came out */
	size_t n_out[ALG_SIDES];
};

static const struct alg_addr client = { 4, { 192, 0, 2, 10 }, 40000 }, server = { 4, { 10, 0, 0, 5 }, 554 };
static const struct alg_addr gateway[ALG_SIDES] = { { 4, { 192, 0, 2, 1 }, 554 }, { 4, { 10, 0, 0, 10 }, 50000 } };

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static bool has(const struct fake *f, unsigned bit)
{
	return (f->flags & bit) != 0;
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

static uint64_t fake_now_ms(void *arg)
{
	return ((struct fake *)arg)->now_ms;
}

static int fake_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct fake *f = arg;

	must(want->class == 0 && want->listener == ALG_CLIENT && want->at.family == 0 && !want->is_same_port);
	if (f->n_holes == HOLES_MAX || (has(f, 4) && f->n_holes == 2))
		return ALG_ERR_LIMIT;
	f->is_open[f->n_holes++] = true;
	must(++f->n_open <= rtsp_module.classes[0].max);
	*ret_hole = f->n_holes;
	return 0;
}

static int fake_public(void *arg, uint32_t hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp)
{
	struct fake *f = arg;

	must(hole > 0 && hole <= f->n_holes && f->is_open[hole - 1]);
	*ret = has(f, 1) ? gateway[reader] : reader == ALG_CLIENT ? server : client;
	ret->port = (uint16_t)(20000 + 2 * hole);
	*ret_rtcp = ret->port + 1;
	return 0;
}

static int fake_peer(void *arg, uint32_t hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port)
{
	struct fake *f = arg;
	const struct alg_addr *own = side == ALG_CLIENT ? &client : &server;

	must(hole > 0 && hole <= f->n_holes && f->is_open[hole - 1]);
	must(rtp->port == 0 || rtp->port >= 1024);
	must(rtcp_port == 0 || rtcp_port >= 1024);
	if (rtp->family != 0 && (rtp->family != own->family || memcmp(rtp->ip, own->ip, sizeof(own->ip)) != 0)) {
		must(side == ALG_SERVER); /* a client that names somebody is refused before the host is asked */
		return ALG_ERR_DENIED;
	}
	return 0;
}

static int fake_arm(void *arg, uint32_t hole)
{
	struct fake *f = arg;

	must(hole > 0 && hole <= f->n_holes && f->is_open[hole - 1] && !f->is_armed[hole - 1]);
	must(f->from == ALG_SERVER);
	f->is_armed[hole - 1] = true;
	return 0;
}

static void close_hole(struct fake *f, uint32_t hole)
{
	if (hole == 0 || hole > f->n_holes || !f->is_open[hole - 1])
		return;
	f->is_open[hole - 1] = f->is_armed[hole - 1] = false;
	f->n_open--;
}

static void fake_free(void *arg, uint32_t hole)
{
	close_hole(arg, hole);
}

static void fake_pause(void *arg, uint32_t hole, bool is_paused)
{
	const struct fake *f = arg;

	(void)is_paused;
	must(hole > 0 && hole <= f->n_holes && f->is_armed[hole - 1]);
}

static bool fake_is_busy(void *arg, uint32_t hole)
{
	(void)arg;
	(void)hole;
	return false;
}

static void fake_policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	const struct fake *f = arg;
	bool is_denied = question->verb.len > 0 && (question->verb.ptr[0] == 'R' || question->verb.ptr[0] == 'A');

	is_denied |= question->transport.len == 9; /* "multicast" */
	*ret = (struct alg_answer){ .is_allowed = !has(f, 2) || !is_denied, .text = "no" };
}

static void fake_timer(void *arg, uint32_t cookie, uint32_t ms)
{
	struct fake *f = arg;

	f->may_race |= cookie > 0; /* that is what they are for */
	f->timers[cookie] = ms > 0 ? f->now_ms + ms : 0;
}

static void fake_transfer(void *arg, const struct alg_transfer *transfer)
{
	(void)arg;
	must(transfer->path.len < 256 && transfer->user.len < 64 && transfer->direction != ALG_NO_DATA);
}

static void fake_note(void *arg, const char *rule, struct span text)
{
	(void)arg;
	(void)rule;
	must(text.len > 0);
}

static void fake_ending(void *arg)
{
	(void)arg;
}

static const struct flow_owner owner = {
	.now_ms = fake_now_ms,
	.hole_reserve = fake_reserve,
	.hole_public = fake_public,
	.hole_peer = fake_peer,
	.hole_arm = fake_arm,
	.hole_free = fake_free,
	.hole_pause = fake_pause,
	.hole_is_busy = fake_is_busy,
	.policy = fake_policy,
	.timer = fake_timer,
	.transfer = fake_transfer,
	.note = fake_note,
	.ending = fake_ending,
};

/* ---- what happens ------------------------------------------------------------------------------------------------ */

static void drain(struct fake *f)
{
	for (unsigned side = 0; side < ALG_SIDES; side++) {
		struct span out;

		while ((out = flow_output(f->flow, side)).len > 0) {
			for (size_t i = 0; i < out.len; i++)
				f->hash[side] = (f->hash[side] ^ (uint8_t)out.ptr[i]) * UINT64_C(0x100000001b3);
			f->n_out[side] += out.len;
			must(f->n_out[side] < OUTPUT_MAX);
			flow_sent(f->flow, side, out.len);
		}
	}
	must(flow_fault(f->flow) == NULL);
}

static void event(struct fake *f, enum alg_event_type type, uint32_t hole)
{
	bool is_over = type == ALG_EV_ENDED || type == ALG_EV_EXPIRED;

	hole = hole % 16 + 1;
	if (hole > f->n_holes || !f->is_open[hole - 1] || (type != ALG_EV_EXPIRED && !f->is_armed[hole - 1]))
		return;
	if (is_over)
		close_hole(f, hole);
	flow_event(f->flow, &(struct alg_event){ .type = type, .hole = hole });
}

static void sleep_ms(struct fake *f, uint64_t ms)
{
	f->now_ms += ms;
	for (uint32_t i = 0; i < TIMERS; i++) {
		if (f->timers[i] == 0 || f->timers[i] > f->now_ms)
			continue;
		f->timers[i] = 0;
		flow_event(f->flow, &(struct alg_event){ .type = ALG_EV_TIMER, .cookie = i });
	}
}

static void take(struct fake *f, struct span octets, bool is_cut)
{
	while (octets.len > 0 && !f->has_ended[f->from]) {
		size_t n = flow_room(f->flow, f->from);

		if (n > octets.len)
			n = octets.len;
		if (n > 1 && is_cut)
			n = 1;
		if (n == 0)
			return; /* reset, or it waits for the other side */
		flow_input(f->flow, f->from, span_sub(octets, 0, n), false);
		drain(f);
		octets = span_sub(octets, n, octets.len);
	}
}

static void happen(struct fake *f, uint8_t what)
{
	switch (what >> 4) {
	case 0:
		f->from = what & 1 ? ALG_SERVER : ALG_CLIENT;
		break;
	case 1:
		event(f, ALG_EV_OPENED, what);
		break;
	case 2:
		event(f, ALG_EV_ENDED, what);
		break;
	case 3:
		event(f, ALG_EV_EXPIRED, what);
		break;
	case 4:
		sleep_ms(f, UINT64_C(1000) << (what & 15));
		break;
	case 5:
		if (!f->has_ended[f->from])
			flow_input(f->flow, f->from, SPAN_NONE, true);
		f->has_ended[f->from] = true;
		break;
	default:
		break;
	}
	drain(f);
}

static void run(struct fake *f, struct span input, bool is_cut)
{
	struct alg_about about = {
		.client = client, .server = server, .client_sees = server, .server_sees = client, .is_translated = has(f, 1),
		.tls = has(f, 8) ? ALG_TLS_PASS : ALG_TLS_REFUSE,
	};
	struct flow_stats stats;

	if (has(f, 1)) {
		about.client_sees = gateway[ALG_CLIENT];
		about.server_sees = gateway[ALG_SERVER];
	}
	f->now_ms = 1000;
	must(flow_new(&rtsp_module, &about, &owner, f, &f->flow) == 0);
	while (input.len > 0 && !flow_is_reset(f->flow)) {
		size_t len = span_find(input, (char)0xff);

		take(f, span_sub(input, 0, len), is_cut);
		if (len + 1 < input.len)
			happen(f, (uint8_t)input.ptr[len + 1]);
		input = span_sub(input, len + 2, input.len);
	}
	f->may_race |= flow_is_reset(f->flow);
	flow_stats(f->flow, &stats);
	if (!has(f, 1) && !has(f, 2))
		must(stats.edited[ALG_CLIENT] == 0 && stats.edited[ALG_SERVER] == 0);
	flow_free(f->flow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake whole = { 0 }, cut = { 0 };
	struct span input;

	if (size < 2 || size > INPUT_MAX)
		return 0;
	input = (struct span){ (const char *)data + 1, size - 1 };
	whole.flags = cut.flags = data[0];
	run(&whole, input, false);
	run(&cut, input, true);
	if (whole.may_race || cut.may_race)
		return 0;
	must(memcmp(whole.hash, cut.hash, sizeof(cut.hash)) == 0 && memcmp(whole.n_out, cut.n_out, sizeof(cut.n_out)) == 0);
	must(whole.n_open == cut.n_open && whole.n_holes == cut.n_holes);
	return 0;
}
