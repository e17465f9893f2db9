/* Rows of live calls: what is written comes back the same, and rows that no call can have written are refused. */
#include "sbc/call_row.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/err.h"
#include "tests/unit/unit.h"

enum { ROWS = 2000, ARENA = 65536 };

static struct arena *arena;
static char text[CALL_ROW_BYTES_MAX];

static struct addr address(const char *literal)
{
	struct addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(addr_parse(span_of(literal), &addr), 0);
	return addr;
}

static struct call_row_leg sample_leg(bool is_caller)
{
	return (struct call_row_leg){
		.realm = span_of(is_caller ? "access" : "core"),
		.peer = span_of(is_caller ? "" : "softswitch"),
		.call_id = span_of(is_caller ? "call-1@example.com" : "00abcdefgh"),
		.local_tag = span_of(is_caller ? "00gzfejf7zpdrhb4zp" : "00kcbl7jdd32us5b5s"),
		.remote_tag = span_of(is_caller ? "a1" : "b1"),
		.local = SPAN_LIT("\"Bob \\\"B\\\"\" <sip:bob@example.net>"),
		.remote = SPAN_LIT("<sip:alice@example.com;user=phone>"),
		.request_uri = SPAN_LIT("sip:bob@192.0.2.10"),
		.target = SPAN_LIT("sip:alice@192.0.2.50"),
		.routes = span_of(is_caller ? "" : "Route: <sip:10.0.0.31;lr>\r\nRoute: <sip:10.0.0.32:5062;lr>\r\n"),
		.user_agent = SPAN_LIT("Phone/1.0 (\303\244)"),
		.at = address(is_caller ? "192.0.2.10:5060" : "[2001:db8::10]:5060"),
		.to = address(is_caller ? "192.0.2.50:5060" : "[2001:db8::20]:5060"),
		.local_cseq = 4711,
		.next_cseq = is_caller ? 8 : 0,
		.sdp_id = 1767225600000,
		.sdp_version = 1767225600001,
		.sdp_mark = 77,
	};
}

static struct call_row sample(void)
{
	struct call_row row = {
		.revision = 3, .started_ms = 1767225600000, .ringing_ms = 1767225600500, .answered_ms = 1767225601000,
		.status = 200, .uas_cseq = 1, .uac_cseq = 4710, .from_uri = SPAN_LIT("sip:alice@example.com"),
		.to_uri = SPAN_LIT("sip:bob@example.net"), .n_streams = 1, .n_steps = 1,
	};
	struct media_saved_side *a = &row.streams[0].media.sides[MEDIA_A], *b = &row.streams[0].media.sides[MEDIA_B];

	row.leg[MEDIA_A] = sample_leg(true);
	row.leg[MEDIA_B] = sample_leg(false);
	row.streams[0].kind = SPAN_LIT("audio");
	row.streams[0].format = SPAN_LIT("RTP/AVP 0 8 101");
	row.streams[0].was_open = row.streams[0].is_open = 1;
	a->local = address("192.0.2.10:20000");
	a->remote.rtp = address("192.0.2.50:4000");
	a->remote.rtcp = address("192.0.2.50:4001");
	a->remote.payloads[0] = 1u << 0 | 1u << 8 | 1ULL << 63;
	a->remote.payloads[1] = 1ULL << 37;
	a->remote.is_rtp = a->remote.may_send = true;
	*b = *a;
	b->local = address("[2001:db8::10]:21000");
	b->latched = address("[2001:db8::20]:6000");
	b->remote.rtcp_mux = true;
	b->remote.bandwidth_bps = 64000;
	b->counts.packets = 50;
	row.steps[0] = (struct call_row_step){ 1, SPAN_LIT("route-1"), SPAN_LIT("takes peer softswitch in realm core") };
	return row;
}

static struct span write_row(const struct call_row *row)
{
	struct buf out = buf_of(text, sizeof(text));

	call_row_write(row, &out);
	CU_ASSERT_FALSE_FATAL(out.is_full);
	return buf_span(&out);
}

static int read_row(struct span json, struct call_row *ret)
{
	const char *why = NULL;
	int err;

	arena_free(arena);
	arena = arena_new(ARENA);
	err = call_row_read(json, arena, ret, &why);
	CU_ASSERT_EQUAL(err != 0, why != NULL && why[0] != '\0');
	return err;
}

/* Written, read and written again it is the same text, and what was read has the same meaning. */
static void check_round_trip(const struct call_row *row)
{
	static char first[CALL_ROW_BYTES_MAX];
	struct span json = write_row(row);
	struct call_row again;

	memcpy(first, json.ptr, json.len);
	json.ptr = first;
	if (read_row(json, &again) != 0)
		printf("# not read: %.*s\n", SPAN_ARG(json));
	CU_ASSERT_EQUAL_FATAL(read_row(json, &again), 0);
	if (!span_eq(json, write_row(&again)))
		printf("# was %.*s\n# is  %.*s\n", SPAN_ARG(json), SPAN_ARG(write_row(&again)));
	CU_ASSERT(span_eq(json, write_row(&again)));
	CU_ASSERT(span_eq(again.leg[MEDIA_B].routes, row->leg[MEDIA_B].routes));
	CU_ASSERT(span_eq(again.leg[MEDIA_A].local, row->leg[MEDIA_A].local));
	CU_ASSERT_EQUAL(again.n_streams, row->n_streams);
	CU_ASSERT_EQUAL(again.streams[0].media.sides[MEDIA_A].remote.payloads[0],
			row->n_streams > 0 && row->streams[0].is_open ?
			row->streams[0].media.sides[MEDIA_A].remote.payloads[0] : 0);
}

static void test_sample(void)
{
	struct call_row row = sample(), again;
	struct span json = write_row(&row);

	printf("# a row has %zu octets\n", json.len);
	CU_ASSERT(json.len < 2048); /* each costs a write */
	check_round_trip(&row);
	CU_ASSERT_EQUAL(read_row(write_row(&row), &again), 0);
	CU_ASSERT(addr_eq(&again.leg[MEDIA_B].to, &row.leg[MEDIA_B].to));
	CU_ASSERT_EQUAL(again.leg[MEDIA_A].next_cseq, 8);
	CU_ASSERT_EQUAL(again.streams[0].media.sides[MEDIA_B].counts.packets, 50);
	CU_ASSERT(again.streams[0].media.sides[MEDIA_B].remote.rtcp_mux);
}

static uint32_t state = 1;
static uint32_t draw(uint32_t bound) /* the same numbers in every run */
{
	state = state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(state >> 4) * bound >> 28);
}

static uint64_t draw_number(uint64_t max)
{
	static const uint64_t edges[] = { 0, 1, 255, UINT32_MAX };
	uint64_t n = draw(3) == 0 ? edges[draw(4)] : (uint64_t)draw(1u << 28) << draw(36);

	return n > max ? max : n;
}

static struct addr draw_addr(bool may_be_none)
{
	struct addr addr = { .family = draw(2) ? AF_INET : AF_INET6, .port = (uint16_t)(1 + draw(65535)) };

	if (may_be_none && draw(4) == 0)
		return (struct addr){ 0 };
	for (int i = 0; i < (addr.family == AF_INET ? 4 : 16); i++)
		addr.ip[i] = (uint8_t)(1 + draw(255));
	return addr;
}

static void draw_side(struct media_saved_side *side)
{
	uint64_t *counts = (uint64_t *)(void *)&side->counts;

	side->local = draw_addr(false);
	side->latched = draw_addr(true);
	side->remote.rtp = draw_addr(true);
	side->remote.rtcp = draw_addr(true);
	side->remote.rtcp_mux = draw(2);
	side->remote.is_rtp = draw(2);
	side->remote.may_send = draw(2);
	side->remote.bandwidth_bps = (uint32_t)draw_number(UINT32_MAX);
	side->remote.payloads[0] = draw_number(UINT64_MAX);
	side->remote.payloads[1] = draw_number(UINT64_MAX) << 40;
	for (size_t i = 0; i < sizeof(side->counts) / sizeof(*counts) && draw(2) == 0; i++)
		counts[i] = draw_number(INT64_MAX);
}

static void draw_leg(struct call_row_leg *leg)
{
	static const char *const parties[] = { "<sip:a@b>", "\"\\\"\\\\ \303\251\" <sip:a@b;x=1>", "<tel:+4930>", "A B <sips:x>" };

	leg->at = draw_addr(false);
	leg->to = draw_addr(false);
	leg->source = draw_addr(true);
	leg->local = span_of(parties[draw(4)]);
	leg->remote = span_of(parties[draw(4)]);
	leg->local_cseq = draw_number(INT32_MAX / 2);
	leg->next_cseq = draw_number((uint64_t)UINT32_MAX + 1);
	leg->sdp_id = draw_number(INT64_MAX);
	leg->sdp_version = draw_number(INT64_MAX);
	leg->sdp_mark = draw_number(INT64_MAX);
	if (draw(2))
		leg->routes = SPAN_NONE;
	if (draw(3) == 0)
		leg->strict_target = SPAN_LIT("sip:10.0.0.31");
	if (draw(3) == 0)
		leg->remote_tag = SPAN_NONE;
}

static void test_any_row(void)
{
	for (int i = 0; i < ROWS && CU_get_number_of_failures() == 0; i++) {
		struct call_row row = sample();

		draw_leg(&row.leg[MEDIA_A]);
		draw_leg(&row.leg[MEDIA_B]);
		row.ringing_ms = draw_number(INT64_MAX);
		row.is_held = draw(2);
		row.n_streams = draw(MEDIA_STREAMS_MAX + 1);
		for (unsigned s = 0; s < row.n_streams; s++) {
			row.streams[s].kind = span_of(draw(2) ? "video" : "");
			row.streams[s].was_open = draw(2);
			row.streams[s].is_open = draw(2);
			draw_side(&row.streams[s].media.sides[MEDIA_A]);
			draw_side(&row.streams[s].media.sides[MEDIA_B]);
		}
		row.n_steps = draw(CALL_ROW_STEPS_MAX + 1);
		for (unsigned s = 0; s < row.n_steps; s++)
			row.steps[s] = (struct call_row_step){ draw_number(INT64_MAX), SPAN_NONE, SPAN_LIT("tab\tand \"quote\"") };
		check_round_trip(&row);
	}
}

/* What stands in the sample's text, and what an editor or a fault made of it. */
static const struct {
	const char *from, *to;
	int err;
} changes[] = {
	{ "\"format\":2", "\"format\":3", ERR_UNSUPPORTED },
	{ "\"format\":2", "\"format\":1", ERR_UNSUPPORTED },
	{ "\"format\":2", "\"format\":\"2\"", ERR_UNSUPPORTED },
	{ "\"format\":2,", "", ERR_UNSUPPORTED },
	{ "\"format\":2", "\"format\":2,\"format\":2", ERR_PARSE },
	{ "\"status\":200", "\"status\":200,\"new\":1", ERR_PARSE },
	{ "\"status\":200", "\"status\":700", ERR_PARSE },
	{ "\"status\":200", "\"status\":-1", ERR_PARSE },
	{ "\"status\":200", "\"status\":200.5", ERR_PARSE },
	{ "\"status\":200,", "", ERR_PARSE },
	{ "\"started_ms\":1767225600000", "\"started_ms\":0", ERR_PARSE },
	{ "\"started_ms\":1767225600000", "\"started_ms\":99999999999999999999", ERR_PARSE },
	{ "\"answered_ms\":1767225601000", "\"answered_ms\":1", ERR_PARSE },
	{ "\"realm\":\"access\"", "\"realm\":\"\"", 0 }, /* no realm has that name */
	{ "\"realm\":\"access\"", "\"realm\":7", ERR_PARSE },
	{ "\"call_id\":\"call-1@example.com\"", "\"call_id\":\"a b\"", ERR_PARSE },
	{ "\"call_id\":\"call-1@example.com\"", "\"call_id\":\"a\\r\\nX: y\"", ERR_PARSE },
	{ "\"call_id\":\"call-1@example.com\"", "\"call_id\":\"a\\u0000b\"", ERR_PARSE },
	{ "\"local_tag\":\"00gzfejf7zpdrhb4zp\"", "\"local_tag\":\"0123456789012345678901234567890123456789\"", ERR_PARSE },
	{ "\"local_tag\":\"00gzfejf7zpdrhb4zp\"", "\"local_tag\":\"a;b\"", ERR_PARSE },
	{ "\"remote\":\"<sip:alice@example.com;user=phone>\"", "\"remote\":\"<sip:a@b>\\r\\nX: y <sip:c>\"", ERR_PARSE },
	{ "\"remote\":\"<sip:alice@example.com;user=phone>\"", "\"remote\":\"<sip:a@b>;tag=x\"", ERR_PARSE },
	{ "\"remote\":\"<sip:alice@example.com;user=phone>\"", "\"remote\":\"sip:a@b\"", ERR_PARSE },
	{ "\"remote\":\"<sip:alice@example.com;user=phone>\",", "", ERR_PARSE },
	{ "\"target\":\"sip:alice@192.0.2.50\"", "\"target\":\"sip:a b\"", ERR_PARSE },
	{ "\"target\":\"sip:alice@192.0.2.50\"", "\"target\":\"\"", 0 }, /* dialog_request() refuses it */
	{ "\"<sip:10.0.0.31;lr>\"", "\"<sip:10.0.0.31;lr>\\r\\nX: y\"", ERR_PARSE },
	{ "\"<sip:10.0.0.31;lr>\"", "7", ERR_PARSE },
	{ "\"user_agent\":\"Phone/1.0", "\"user_agent\":\"\\nPhone/1.0", ERR_PARSE },
	{ "\"at\":\"192.0.2.10:5060\"", "\"at\":\"192.0.2.10\"", ERR_PARSE },
	{ "\"at\":\"192.0.2.10:5060\"", "\"at\":\"192.0.2.10:65536\"", ERR_PARSE },
	{ "\"at\":\"192.0.2.10:5060\"", "\"at\":\"example.com:5060\"", ERR_PARSE },
	{ "\"local_cseq\":4711", "\"local_cseq\":2147483648", ERR_PARSE },
	{ "\"local_cseq\":4711", "\"local_cseq\":2147482648", ERR_PARSE }, /* the gap would not fit */
	{ "\"audio\"", "\"an audio stream of many\"", ERR_PARSE },
	{ "\"audio\",\"RTP/AVP 0 8 101\",1,", "\"audio\",\"RTP/AVP 0 8 101\",2,", ERR_PARSE },
	{ "\"audio\",\"RTP/AVP 0 8 101\",1,", "\"audio\",1,", ERR_PARSE },
	{ "[\"192.0.2.10:20000\",", "[\"192.0.2.10:20000\",\"\",", ERR_PARSE },
	{ "[\"192.0.2.10:20000\",", "[20000,", ERR_PARSE },
	{ "\"steps\":[[1,", "\"steps\":[[-1,", ERR_PARSE },
	{ "\"steps\":[[1,", "\"steps\":[1,[1,", ERR_PARSE },
	{ "\"streams\":[", "\"streams\":[[],", ERR_PARSE },
	{ "\"streams\":[", "\"streams\":7,\"s\":[", ERR_PARSE },
	{ "\"b\":{", "\"b\":7,\"c\":{", ERR_PARSE },
	{ "Phone/1.0 (\303\244)", "Phone/1.0 (\344)", ERR_PARSE }, /* not UTF-8 */
};

static void test_changed_rows(void)
{
	static char changed[2 * CALL_ROW_BYTES_MAX];
	const struct call_row row = sample();

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct span json = write_row(&row);
		const char *at = memmem(json.ptr, json.len, changes[i].from, strlen(changes[i].from));
		struct buf out = buf_of(changed, sizeof(changed));
		struct call_row ret = { .status = 1 };
		int err;

		CU_ASSERT_PTR_NOT_NULL_FATAL(at);
		buf_put(&out, span_sub(json, 0, (size_t)(at - json.ptr)));
		buf_puts(&out, changes[i].to);
		buf_put(&out, span_sub(json, (size_t)(at - json.ptr) + strlen(changes[i].from), json.len));
		err = read_row(buf_span(&out), &ret);
		if (err != changes[i].err)
			printf("# %s: %d\n", changes[i].to, err);
		CU_ASSERT_EQUAL(err, changes[i].err);
		CU_ASSERT_EQUAL(ret.status, err != 0 ? 1 : 200);
	}
}

static void test_cut_rows(void)
{
	const struct call_row row = sample();
	struct span json = write_row(&row);
	struct call_row ret;

	for (size_t len = 0; len < json.len; len++)
		CU_ASSERT_EQUAL(read_row(span_sub(json, 0, len), &ret), ERR_PARSE);
	CU_ASSERT_EQUAL(read_row(SPAN_NONE, &ret), ERR_PARSE);
	CU_ASSERT_EQUAL(read_row(SPAN_LIT("[]"), &ret), ERR_UNSUPPORTED);
	CU_ASSERT_EQUAL(read_row((struct span){ text, sizeof(text) + 1 }, &ret), ERR_PARSE);
}

/* Out of memory is an ordinary error. */
static void test_small_arena(void)
{
	const struct call_row row = sample();
	struct span json = write_row(&row);
	struct call_row ret;
	const char *why;

	for (size_t n = 0; n < 40; n++) {
		struct arena *small = arena_new(ARENA);
		int err;

		arena_fail_at(small, n);
		err = call_row_read(json, small, &ret, &why);
		CU_ASSERT(err == 0 || err == ERR_LIMIT);
		CU_ASSERT(n > 0 || err == ERR_LIMIT);
		arena_free(small);
	}
	arena_free(arena);
	arena = NULL;
}

static const struct unit_test tests[] = {
	{ "a row comes back the same", test_sample },
	{ "any row comes back the same", test_any_row },
	{ "changed rows are refused", test_changed_rows },
	{ "rows that are cut off are refused", test_cut_rows },
	{ "memory runs out", test_small_arena },
};

UNIT_MAIN("call_row", tests)
