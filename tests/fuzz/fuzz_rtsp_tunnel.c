/* RTSP in HTTP: base64 in pieces, and two flows that speak for each other. The first octet of an input says how the rest is meant:
 *
 *   bit 1   rules deny methods that begin with R or A
 *   bit 2   the rest is the base64 itself; else it is what the client says, and is encoded here
 *   bit 4   line ends are put into the base64
 *
 * Properties: however base64 is cut, the same comes of it, and encoding comes back; no module does what it must not; however the POST
 * is cut, the server gets the same; what it gets is base64, and inside is what it would have got on a plain connection, unless the two
 * may differ (datagrams, what passes unseen on a plain one, ends). */
#include <stdlib.h>

#include "algs/joint.h"
#include "algs/rtsp/rtsp_base64.h"
#include "algs/rtsp/rtsp_module.h"
#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 6000, TEXT_MAX = 4 * INPUT_MAX, OUTPUT_MAX = 1 << 18 };

struct channel {
	struct flow *flow;
	struct joint joint;
	char *out[ALG_SIDES];
	size_t len[ALG_SIDES];
	uint8_t flags;
};
static char memory[3][ALG_SIDES][OUTPUT_MAX];
static struct joint *opened;

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return 1000;
}

static int reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	const struct channel *c = arg;

	(void)want;
	(void)ret_hole;
	must(c->joint.listener == NULL && !c->joint.is_deaf); /* nothing in a tunnel wants a pinhole */
	return ALG_ERR_LIMIT;
}

static void policy(void *arg, const struct alg_question *question, struct alg_answer *ret)
{
	const struct channel *c = arg;
	bool is_denied = question->verb.len > 0 && (question->verb.ptr[0] == 'R' || question->verb.ptr[0] == 'A');

	*ret = (struct alg_answer){ .is_allowed = (c->flags & 1) == 0 || !is_denied, .text = "no" };
}

static void timer(void *arg, uint32_t cookie, uint32_t ms)
{
	(void)arg;
	(void)cookie;
	(void)ms;
}

static void transfer(void *arg, const struct alg_transfer *done)
{
	(void)arg;
	must(done->hole == 0);
}

static void note(void *arg, const char *rule, struct span text)
{
	(void)arg;
	(void)rule;
	must(text.len > 0);
}

static void ending(void *arg)
{
	(void)arg;
}

static int meet_open(void *arg, struct span name)
{
	struct channel *c = arg;

	must(name.len > 0);
	opened = &c->joint;
	return 0;
}

static int meet_join(void *arg, struct span name)
{
	struct channel *c = arg;

	must(name.len > 0);
	return opened != NULL ? joint_join(&c->joint, opened) : ALG_ERR_STATE;
}

static const struct flow_owner owner = {
	.now_ms = now_ms,
	.hole_reserve = reserve,
	.policy = policy,
	.timer = timer,
	.transfer = transfer,
	.note = note,
	.ending = ending,
	.meet_open = meet_open,
	.meet_join = meet_join,
};

/* ---- base64 ------------------------------------------------------------------------------------------------------ */

static void check_base64(struct span text)
{
	static char whole[TEXT_MAX], cut[TEXT_MAX], again[TEXT_MAX];
	struct rtsp_base64 one = { 0 }, many = { 0 };
	size_t len, n = 0, part = 0;
	int err = rtsp_base64_decode(&one, text, whole, &len), cut_err = 0;

	must(len <= RTSP_BASE64_DECODED_MAX(text.len));
	for (size_t i = 0; i < text.len && cut_err == 0; i++, n += part)
		cut_err = rtsp_base64_decode(&many, span_sub(text, i, i + 1), cut + n, &part);
	must(err == cut_err && n == len && memcmp(whole, cut, n) == 0);
	rtsp_base64_encode((struct span){ whole, len }, again);
	one = (struct rtsp_base64){ 0 };
	must(rtsp_base64_decode(&one, (struct span){ again, RTSP_BASE64_ENCODED(len) }, cut, &n) == 0);
	must(n == len && memcmp(whole, cut, n) == 0);
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static void drain(struct channel *list, unsigned n)
{
	bool has_moved = true;

	while (has_moved) {
		has_moved = false;
		for (unsigned i = 0; i < n * ALG_SIDES; i++) {
			struct channel *c = &list[i / ALG_SIDES];
			enum alg_side side = i % ALG_SIDES == 0 ? ALG_CLIENT : ALG_SERVER;
			struct span out = joint_output(&c->joint, side);

			must(out.len <= OUTPUT_MAX - c->len[side]);
			if (out.len > 0)
				memcpy(c->out[side] + c->len[side], out.ptr, out.len);
			c->len[side] += out.len;
			if (out.ptr != NULL)
				joint_sent(&c->joint, side, out.len);
			has_moved |= out.ptr != NULL || joint_move(&c->joint);
		}
	}
	for (unsigned i = 0; i < n; i++)
		must(flow_fault(list[i].flow) == NULL);
}

static void begin(struct channel *c, unsigned index, uint8_t flags)
{
	static const struct alg_about about = {
		.client = { 4, { 192, 0, 2, 10 }, 40000 }, .server = { 4, { 10, 0, 0, 5 }, 554 },
		.client_sees = { 4, { 10, 0, 0, 5 }, 554 }, .server_sees = { 4, { 192, 0, 2, 10 }, 40000 },
	};

	*c = (struct channel){ .flags = flags, .out = { memory[index][0], memory[index][1] } };
	must(flow_new(&rtsp_module, &about, &owner, c, &c->flow) == 0);
	c->joint.flow = c->flow;
}

static void say(struct channel *list, unsigned n, unsigned channel, enum alg_side from, struct span octets, bool is_cut)
{
	while (octets.len > 0) {
		size_t room = joint_room(&list[channel].joint, from), len = octets.len < room ? octets.len : room;

		if (len == 0)
			return; /* it waits for answers, or has ended */
		if (is_cut)
			len = 1;
		joint_input(&list[channel].joint, from, span_sub(octets, 0, len), false);
		drain(list, n);
		octets = span_sub(octets, len, octets.len);
	}
}

/* True when all of it went through: nobody waits, nobody was reset. */
static bool tunnel(struct channel *list, uint8_t flags, struct span text, bool is_cut)
{
	bool is_whole;

	opened = NULL;
	begin(&list[0], 0, 0);
	begin(&list[1], 1, 0);
	say(list, 2, 0, ALG_CLIENT, SPAN_LIT("GET /x HTTP/1.0\r\nx-sessioncookie: a\r\nAccept: application/x-rtsp-tunnelled\r\n\r\n"), false);
	say(list, 2, 0, ALG_SERVER, SPAN_LIT("HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"), false);
	say(list, 2, 1, ALG_CLIENT, SPAN_LIT("POST /x HTTP/1.0\r\nx-sessioncookie: a\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"), false);
	must(list[1].joint.is_speaking && list[0].joint.is_deaf);
	list[0].len[0] = list[0].len[1] = list[1].len[0] = list[1].len[1] = 0;
	list[0].flags = list[1].flags = flags;
	say(list, 2, 1, ALG_CLIENT, text, is_cut);
	must(list[0].len[ALG_SERVER] == 0 && list[1].len[ALG_CLIENT] == 0);
	is_whole = !flow_is_reset(list[0].flow) && !flow_is_reset(list[1].flow) && flow_is_drained(list[0].flow, ALG_CLIENT);
	flow_free(list[1].flow);
	flow_free(list[0].flow);
	return is_whole;
}

/* What a server gets on a plain connection; false: the two need not be the same. */
static bool plain(struct channel *c, uint8_t flags, struct span octets)
{
	bool is_whole;

	begin(c, 2, flags);
	say(c, 1, 0, ALG_CLIENT, octets, false);
	is_whole = !flow_is_reset(c->flow) && !flow_is_bypassed(c->flow);
	flow_free(c->flow);
	return is_whole;
}

static bool has_setup(struct span octets)
{
	for (size_t i = 0; i < octets.len; i++)
		if (span_istarts(span_sub(octets, i, octets.len), SPAN_LIT("SETUP")))
			return true;
	return false;
}

static void check_tunnel(uint8_t flags, struct span text, struct span octets)
{
	static char first[OUTPUT_MAX], decoded[OUTPUT_MAX];
	struct channel list[2], alone;
	bool is_whole = tunnel(list, flags, text, true);
	size_t len = list[1].len[ALG_SERVER], n;
	struct rtsp_base64 decoder = { 0 };

	memcpy(first, list[1].out[ALG_SERVER], len);
	if (tunnel(list, flags, text, false) != is_whole || !is_whole)
		return;
	must(len == list[1].len[ALG_SERVER] && memcmp(first, list[1].out[ALG_SERVER], len) == 0);
	must(rtsp_base64_decode(&decoder, (struct span){ first, len }, decoded, &n) == 0 && decoder.n == 0);
	if (octets.ptr == NULL || has_setup(octets) || !plain(&alone, flags, octets))
		return;
	must(n == alone.len[ALG_SERVER] && memcmp(decoded, alone.out[ALG_SERVER], n) == 0);
	must(list[0].len[ALG_CLIENT] == alone.len[ALG_CLIENT] &&
	     memcmp(list[0].out[ALG_CLIENT], alone.out[ALG_CLIENT], alone.len[ALG_CLIENT]) == 0);
}

static struct span folded(struct span text, char *out, size_t size)
{
	struct buf b = buf_of(out, size);

	for (size_t i = 0; i < text.len; i += 60) {
		buf_put(&b, span_sub(text, i, i + 60));
		buf_puts(&b, "\r\n");
	}
	return buf_span(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char encoded[TEXT_MAX], lines[TEXT_MAX];
	struct span input, text;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	input = text = (struct span){ (const char *)data + 1, size - 1 };
	check_base64(input);
	if (!(data[0] & 2)) {
		rtsp_base64_encode(input, encoded);
		text = (struct span){ encoded, RTSP_BASE64_ENCODED(input.len) };
	}
	if (data[0] & 4)
		text = folded(text, lines, sizeof(lines));
	check_tunnel(data[0], text, data[0] & 2 ? SPAN_NONE : input);
	return 0;
}
