/* What ends of pinholes are refused, whatever a module says; what may be shown of control channels; what is remembered of them. */
#include "algs/hole_rule.h"
#include "algs/journal.h"
#include "algs/mask.h"
#include "core/policy.h"
#include "tests/unit/unit.h"

static struct addr addr_of(const char *text)
{
	struct addr addr = { 0 };

	if (addr_parse(span_of(text), &addr) != 0)
		CU_ASSERT_EQUAL(addr_parse_ip(span_of(text), &addr), 0);
	return addr;
}

static void test_ends(void)
{
	static const struct {
		const char *speaker, *named; /* named NULL: no address, only the port */
		uint16_t port;
		int result;
	} rows[] = {
		{ "192.0.2.10:40000", "192.0.2.10:51210", 0, 0 },
		{ "192.0.2.10:40000", NULL, 51210, 0 },
		{ "[2001:db8::5]:40000", "[2001:db8::5]:2000", 0, 0 },
		{ "192.0.2.10:40000", "192.0.2.11:51210", 0, ALG_ERR_DENIED }, /* a third host */
		{ "192.0.2.10:40000", "127.0.0.1:51210", 0, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", "[2001:db8::5]:51210", 0, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", "192.0.2.10:1023", 0, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", "192.0.2.10:1024", 0, 0 },
		{ "192.0.2.10:40000", "192.0.2.10:22", 0, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 0, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 65535, 0 },
		{ "192.0.2.10:40000", NULL, 5060, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 5062, 0 },
		{ "192.0.2.10:40000", NULL, 5899, 0 },
		{ "192.0.2.10:40000", NULL, 5900, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 5910, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 5911, 0 },
		{ "192.0.2.10:40000", NULL, 6000, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 6063, ALG_ERR_DENIED },
		{ "192.0.2.10:40000", NULL, 6064, 0 },
		{ "192.0.2.10:40000", NULL, 27017, ALG_ERR_DENIED },
	};

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr speaker = addr_of(rows[i].speaker), named = rows[i].named != NULL ? addr_of(rows[i].named) : (struct addr){ 0 };
		struct alg_addr want = hole_alg_addr(&named);
		struct addr end = { 0 };

		if (rows[i].named == NULL)
			want.port = rows[i].port;
		CU_ASSERT_EQUAL(hole_end(&speaker, &want, &end), rows[i].result);
		if (rows[i].result == 0) {
			CU_ASSERT(addr_eq_ip(&end, &speaker));
			CU_ASSERT_EQUAL(end.port, want.port);
		} else {
			CU_ASSERT_EQUAL(end.family, 0); /* written on success only */
		}
	}
}

static void test_denied_ports(void)
{
	unsigned n = 0;

	for (uint32_t port = 0; port <= 65535; port++)
		n += hole_port_is_denied((uint16_t)port);
	CU_ASSERT_EQUAL(n, 1024 + 12 + 2 + 2 + 11 + 64); /* the floor, single ports, pairs, screens */
}

static void test_ends_of_media(void)
{
	static const struct {
		const char *named;
		uint16_t port, rtcp;
		int result;
	} rows[] = {
		{ "192.0.2.10:5000", 0, 0, 0 },
		{ "192.0.2.11:5000", 0, 0, ALG_ERR_DENIED },
		{ NULL, 6000, 0, 0 }, /* media, not a screen */
		{ NULL, 0, 0, 0 },    /* not known yet */
		{ NULL, 0, 22, ALG_ERR_DENIED },
		{ NULL, 22, 0, ALG_ERR_DENIED },
		{ NULL, 5059, 0, ALG_ERR_DENIED }, /* its RTCP */
		{ NULL, 5058, 5059, 0 },
		{ NULL, 65535, 0, ALG_ERR_DENIED }, /* there is no next port */
		{ NULL, 65535, 65535, 0 },
	};
	struct addr speaker = addr_of("192.0.2.10:40000");

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr named = rows[i].named != NULL ? addr_of(rows[i].named) : (struct addr){ 0 }, end = { 0 };
		struct alg_addr want = hole_alg_addr(&named);

		if (rows[i].named == NULL)
			want.port = rows[i].port;
		CU_ASSERT_EQUAL(hole_media_end(&speaker, &want, rows[i].rtcp, &end), rows[i].result);
		if (rows[i].result == 0)
			CU_ASSERT(addr_eq_ip(&end, &speaker) && end.port == want.port);
	}
}

static void test_addresses(void)
{
	struct addr four = addr_of("192.0.2.1:21"), six = addr_of("[2001:db8::1]:554"), none = { 0 }, back;
	struct alg_addr alg = hole_alg_addr(&four);

	CU_ASSERT_EQUAL(alg.family, 4);
	CU_ASSERT_EQUAL(alg.port, 21);
	back = hole_addr(&alg);
	CU_ASSERT(addr_eq(&back, &four));
	alg = hole_alg_addr(&six);
	CU_ASSERT_EQUAL(alg.family, 6);
	back = hole_addr(&alg);
	CU_ASSERT(addr_eq(&back, &six));
	alg = hole_alg_addr(&none);
	CU_ASSERT_EQUAL(alg.family, 0);
	alg.family = 5;
	back = hole_addr(&alg);
	CU_ASSERT_EQUAL(back.family, 0);
}

static void check_mask(const char *in, const char *expected)
{
	char text[200];
	struct buf out = buf_of(text, sizeof(text));

	mask_text(span_of(in), &out);
	if (!span_eq(buf_span(&out), span_of(expected)))
		printf("# %s\n# became   %.*s\n# expected %s\n", in, SPAN_ARG(buf_span(&out)), expected);
	CU_ASSERT(span_eq(buf_span(&out), span_of(expected)));
}

static void test_mask(void)
{
	check_mask("USER ann\r\nPASS s3cret word\r\nCWD /\r\n", "USER ann\\r\\nPASS ***\\r\\nCWD /\\r\\n");
	check_mask("pass\ts3cret\n", "pass\\t***\\n");
	check_mask("PASS\r\n", "PASS\\r\\n");
	check_mask("PASSIVE x", "PASSIVE x");
	check_mask("\xff\xf2 PASS s3cret", "\\xff\\xf2 PASS ***");
	check_mask("ACCT x y", "ACCT ***");
	check_mask("A: b\r\nAuthorization: Digest username=\"a\",\r\n response=\"0\"\r\nCSeq: 2\r\n",
		   "A: b\\r\\nAuthorization: ***\\r\\n***\\r\\nCSeq: 2\\r\\n");
	check_mask("Proxy-Authorization:Basic YQ==", "Proxy-Authorization:***");
	check_mask("DESCRIBE rtsp://ann:pw@192.0.2.1/x RTSP/1.0", "DESCRIBE rtsp://***@192.0.2.1/x RTSP/1.0");
	check_mask("rtsp://192.0.2.1/a@b rtsp://h", "rtsp://192.0.2.1/a@b rtsp://h");
	check_mask("a\\b\x01\xc3", "a\\\\b\\x01\\xc3");
	check_mask("", "");
}

static void test_mask_is_cut(void)
{
	char text[16], bytes[40];
	struct buf out = buf_of(text, sizeof(text));

	memset(bytes, 'a', sizeof(bytes));
	mask_text((struct span){ bytes, 13 }, &out);
	CU_ASSERT(span_eq(buf_span(&out), SPAN_LIT("aaaaaaaaaaaaa")));
	out.len = 0;
	mask_text((struct span){ bytes, 14 }, &out);
	CU_ASSERT(span_eq(buf_span(&out), SPAN_LIT("aaaaaaaaaaaaa...")));
	CU_ASSERT(!out.is_full);
}

struct seen {
	unsigned n;
	int64_t last_ms;
	char all[400];
};

static void note(void *arg, const struct journal_entry *entry)
{
	struct seen *seen = arg;
	size_t len = strlen(seen->all);

	CU_ASSERT(entry->at_ms > seen->last_ms);
	seen->last_ms = entry->at_ms;
	seen->n++;
	snprintf(seen->all + len, sizeof(seen->all) - len, "%u:%.*s=%.*s ", entry->kind, SPAN_ARG(entry->first), SPAN_ARG(entry->second));
}

static void test_journal(void)
{
	struct journal journal = { 0 };
	struct seen seen = { 0 };

	journal_each(&journal, note, &seen);
	CU_ASSERT_EQUAL(seen.n, 0);
	journal_add(&journal, 96, &(struct journal_entry){ 1, 7, SPAN_LIT("a"), SPAN_LIT("one") });  /* 24 octets each */
	journal_add(&journal, 96, &(struct journal_entry){ 2, 8, SPAN_NONE, SPAN_LIT("two") });
	journal_each(&journal, note, &seen);
	CU_ASSERT_STRING_EQUAL(seen.all, "7:a=one 8:=two ");
	for (int i = 3; i < 40; i++)
		journal_add(&journal, 96, &(struct journal_entry){ i, (unsigned)i, SPAN_LIT("x"), SPAN_LIT("more") });
	seen = (struct seen){ 0 };
	journal_each(&journal, note, &seen);
	CU_ASSERT_STRING_EQUAL(seen.all, "36:x=more 37:x=more 38:x=more 39:x=more ");
	CU_ASSERT_EQUAL(journal.n, 4);
	CU_ASSERT_EQUAL(journal.n_lost, 35);
	journal_fini(&journal);
}

static void test_journal_long_texts(void)
{
	static char bytes[2000];
	struct journal journal = { 0 };
	struct span text = { bytes, sizeof(bytes) };

	memset(bytes, 'x', sizeof(bytes));
	journal_add(&journal, 600, &(struct journal_entry){ 1, 0, text, SPAN_NONE });
	CU_ASSERT_EQUAL(journal.n, 1);
	journal_add(&journal, 600, &(struct journal_entry){ 2, 0, text, text }); /* never fits */
	CU_ASSERT_EQUAL(journal.n, 1);
	CU_ASSERT_EQUAL(journal.n_lost, 1);
	journal_fini(&journal);
}

static void test_ways(void)
{
	static const struct policy_rule limit = { .name = "small", .is_allow = true, .max_bytes = 1000 };
	static const struct policy_profile profile = { .name = "p", .protocol = "ftp", .rules = &limit, .n_rules = 1 };
	struct policy *policy = NULL;
	char error[64];
	const struct {
		enum alg_hole_kind kind;
		struct alg_conf conf;
		const char *no_kernel;
		enum hole_way way;
		const char *reason;
	} rows[] = {
		{ ALG_HOLE_TCP, { .mode = CONFIG_ALG_NAT }, NULL, HOLE_KERNEL, "" },
		{ ALG_HOLE_TCP, { .mode = CONFIG_ALG_NAT }, "no helper", HOLE_RELAY, "no helper" },
		{ ALG_HOLE_TCP, { .data = CONFIG_ALG_DATA_RELAY }, NULL, HOLE_RELAY, "the ALG has data: relay" },
		{ ALG_HOLE_TCP, { .name = "limited" }, NULL, HOLE_RELAY, "a rule of the profile limits octets or rate, or looks at data" },
		{ ALG_HOLE_UDP, { .mode = CONFIG_ALG_NAT }, NULL, HOLE_DATAGRAMS, "the process passes datagrams on" },
		/* Neither the profile nor data: relay has a say in media. */
		{ ALG_HOLE_MEDIA, { .name = "limited", .data = CONFIG_ALG_DATA_RELAY }, NULL, HOLE_MEDIA,
		  "the media engine: the relay first, then the kernel where it can" },
		{ ALG_HOLE_MEDIA, { .mode = CONFIG_ALG_TRANSPARENT }, NULL, HOLE_MEDIA, "media is let through as it is" },
	};

	CU_ASSERT_EQUAL_FATAL(policy_new(&profile, &(unsigned){ 0 }, error, sizeof(error), &policy), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct alg_conf conf = rows[i].conf;
		const char *reason = NULL;

		conf.policy = conf.name != NULL ? policy : NULL;
		CU_ASSERT_EQUAL(hole_way_of(&conf, rows[i].kind, rows[i].no_kernel, &reason), rows[i].way);
		CU_ASSERT_STRING_EQUAL(reason, rows[i].reason);
	}
	policy_free(policy);
}

static const struct unit_test tests[] = {
	{ "ends: the speaker's own address, no forbidden port", test_ends },
	{ "which ports are denied", test_denied_ports },
	{ "ends of media", test_ends_of_media },
	{ "ways of data", test_ways },
	{ "addresses there and back", test_addresses },
	{ "credentials are masked", test_mask },
	{ "long texts are cut", test_mask_is_cut },
	{ "the journal keeps the newest", test_journal },
	{ "the journal cuts long texts", test_journal_long_texts },
};
UNIT_MAIN("alg_hole", tests)
