/* Rules: which one decides, what it says, what is counted, what only observes; at the limits, from several threads, without memory. */
#include "core/policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "tests/unit/unit.h"

/* The linker routes the allocations of what is linked statically through here. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static long budget = -1; /* allocations until all fail; negative: no limit */
static unsigned n_allocations;

static bool may_allocate(void)
{
	n_allocations++;
	if (budget > 0)
		budget--;
	return budget != 0;
}

void *__wrap_malloc(size_t size)
{
	return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
	return may_allocate() ? __real_calloc(n, size) : NULL;
}

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define LIST(member, ...) .member = (const char *const[]){ __VA_ARGS__ }, .n_##member = N(((const char *const[]){ __VA_ARGS__ }))

static struct policy *compiled(const struct policy_profile *profile)
{
	struct policy *policy = NULL;
	char text[160] = "";
	unsigned rule = 0;
	int err = policy_new(profile, &rule, text, sizeof(text), &policy);

	if (err != 0)
		printf("# rule %u: %s\n", rule, text);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	return policy;
}

static struct policy_verdict decided(const struct policy *policy, struct policy_question question)
{
	struct policy_verdict verdict;

	memset(&verdict, 0xee, sizeof(verdict));
	policy_decide(policy, &question, &verdict);
	return verdict;
}

static bool is_by(const struct policy *policy, struct policy_question question, const char *rule)
{
	struct policy_verdict verdict = decided(policy, question);

	if (strcmp(verdict.rule, rule) != 0)
		printf("# %s, not %s\n", verdict.rule, rule);
	return strcmp(verdict.rule, rule) == 0;
}

static struct addr ip(const char *text)
{
	struct addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(text), &addr), 0);
	return addr;
}

static struct prefix net(const char *text)
{
	struct prefix prefix = { 0 };

	CU_ASSERT_EQUAL_FATAL(prefix_parse(span_of(text), &prefix), 0);
	return prefix;
}

static void the_first_match_decides(void)
{
	const struct policy_rule rules[] = {
		{ .name = "no-exe", LIST(verbs, "STOR", "appe"), .target_regex = "\\.(exe|scr)$", .code = 550, .text = "no" },
		{ .name = "reading", .is_allow = true, LIST(classes, "read", "session"), .is_logged = true },
		{ .name = "writing", .is_allow = true, LIST(verbs, "STOR"), LIST(users, "dropbox-*"), .has_direction = true,
		  .direction = POLICY_UP, .max_bytes = 200 << 20, .bytes_per_s = 10 << 20 },
	};
	const struct policy_profile profile = { .name = "p", .protocol = "ftp", .rules = rules, .n_rules = N(rules) };
	struct policy *policy = compiled(&profile);
	struct policy_question store = { .verb = SPAN_LIT("stor"), .class = SPAN_LIT("write"), .target = SPAN_LIT("a.exe"),
					 .user = SPAN_LIT("dropbox-1"), .direction = POLICY_UP };
	struct policy_verdict verdict = decided(policy, store);

	CU_ASSERT_FALSE(verdict.is_allowed);
	CU_ASSERT_EQUAL(verdict.rule_index, 0);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "no-exe");
	CU_ASSERT_EQUAL(verdict.code, 550);
	CU_ASSERT_STRING_EQUAL(verdict.text, "no");
	CU_ASSERT_EQUAL(verdict.max_bytes, 0);
	CU_ASSERT_PTR_NULL(verdict.would_deny);
	store.target = SPAN_LIT("a.csv");
	verdict = decided(policy, store);
	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_EQUAL(verdict.rule_index, 2);
	CU_ASSERT_EQUAL(verdict.max_bytes, 200 << 20);
	CU_ASSERT_EQUAL(verdict.bytes_per_s, 10 << 20);
	CU_ASSERT_EQUAL(verdict.code, 0);
	CU_ASSERT_STRING_EQUAL(verdict.text, "");
	CU_ASSERT_FALSE(verdict.is_logged);
	CU_ASSERT_TRUE(decided(policy, (struct policy_question){ .class = SPAN_LIT("READ") }).is_logged);
	store.user = SPAN_LIT("dropbo");
	verdict = decided(policy, store);
	CU_ASSERT_FALSE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "default");
	CU_ASSERT_EQUAL(verdict.rule_index, -1);
	CU_ASSERT_STRING_EQUAL(verdict.text, "");
	CU_ASSERT_PTR_EQUAL(policy_profile(policy), &profile);
	policy_free(policy);
}

static void without_a_policy_or_rules(void)
{
	const struct policy_profile profile = { .name = "p", .protocol = "ftp", .is_default_allow = true };
	struct policy *policy = compiled(&profile);
	struct policy_verdict verdict = decided(NULL, (struct policy_question){ 0 });

	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "none");
	CU_ASSERT_EQUAL(verdict.rule_index, -1);
	CU_ASSERT_FALSE(policy_needs_data(NULL));
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("X") });
	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "default");
	CU_ASSERT_FALSE(policy_needs_data(policy));
	policy_free(policy);
	policy_free(NULL);
}

/* One selector, a question that it matches, one that it does not, and one that does not say. */
static void each_selector(void)
{
	const struct prefix nets[] = { net("10.0.0.0/8"), net("2001:db8::/32") };
	const struct {
		struct policy_rule rule;
		struct policy_question yes, no;
	} cases[] = {
		{ { LIST(verbs, "a", "StOr") }, { .verb = SPAN_LIT("STOR") }, { .verb = SPAN_LIT("STO") } },
		{ { LIST(verbs, "STOR") }, { .verb = SPAN_LIT("stor") }, { .verb = SPAN_LIT("STORE") } },
		{ { LIST(classes, "write", "admin") }, { .class = SPAN_LIT("ADMIN") }, { .class = SPAN_LIT("read") } },
		{ { LIST(transports, "udp") }, { .transport = SPAN_LIT("UDP") }, { .transport = SPAN_LIT("interleaved") } },
		{ { LIST(users, "x", "al?ce") }, { .user = SPAN_LIT("alice") }, { .user = SPAN_LIT("Alice") } },
		{ { LIST(users, "*") }, { .user = SPAN_LIT("x") }, { .verb = SPAN_LIT("x") } },
		{ { LIST(mimes, "video/*") }, { .mime = SPAN_LIT("Video/MP4") }, { .mime = SPAN_LIT("audio/mp4") } },
		{ { .target_regex = "^/pub/" }, { .target = SPAN_LIT("/pub/x") }, { .target = SPAN_LIT("/etc/pub/") } },
		{ { .target_regex = "" }, { .target = SPAN_LIT("x") }, { .user = SPAN_LIT("x") } },
		{ { .magic_hex = "4D5a" }, { .magic = SPAN_LIT("MZ\x90") }, { .magic = SPAN_LIT("M") } },
		{ { .magic_hex = "00ff" }, { .magic = SPAN_LIT("\0\xff") }, { .magic = SPAN_LIT("\0\xfe") } },
		{ { .clients = nets, .n_clients = 2 }, { .client = ip("10.9.9.9") }, { .client = ip("11.0.0.1") } },
		{ { .clients = nets, .n_clients = 2 }, { .client = ip("2001:db8::1") }, { .server = ip("10.0.0.1") } },
		{ { .servers = nets, .n_servers = 1 }, { .server = ip("10.0.0.1") }, { .server = ip("2001:db8::1") } },
		{ { .has_direction = true, .direction = POLICY_UP }, { .direction = POLICY_UP }, { .direction = POLICY_DOWN } },
		{ { .has_direction = true, .direction = POLICY_DOWN }, { .direction = POLICY_DOWN }, { .direction = POLICY_UP } },
		{ { .size_above = 10 }, { .has_size = true, .size = 11 }, { .has_size = true, .size = 10 } },
		{ { .size_above = 10 }, { .has_size = true, .size = UINT64_MAX }, { .size = 11 } },
		{ { .size_below = 10 }, { .has_size = true, .size = 9 }, { .has_size = true, .size = 10 } },
		{ { .size_below = 10 }, { .has_size = true, .size = 0 }, { .size = 0 } },
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct policy_rule rule = cases[i].rule;
		const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &rule, .n_rules = 1 };
		struct policy *policy;

		rule.name = "it";
		policy = compiled(&profile);
		if (!is_by(policy, cases[i].yes, "it") || !is_by(policy, cases[i].no, "default")) {
			printf("# case %zu\n", i);
			CU_FAIL("selector");
		}
		CU_ASSERT(is_by(policy, (struct policy_question){ 0 }, "default"));
		policy_free(policy);
	}
}

static void selectors_of_a_rule_all_have_to_match(void)
{
	const struct policy_rule rule = { .name = "it", LIST(verbs, "A"), LIST(classes, "c"), LIST(users, "u"), .target_regex = "t" };
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &rule, .n_rules = 1 };
	struct policy *policy = compiled(&profile);
	const struct policy_question all = { .verb = SPAN_LIT("A"), .class = SPAN_LIT("c"), .user = SPAN_LIT("u"), .target = SPAN_LIT("t") };
	struct policy_question q = all;

	CU_ASSERT(is_by(policy, all, "it"));
	q.verb = SPAN_LIT("B");
	CU_ASSERT(is_by(policy, q, "default"));
	q = all;
	q.class = SPAN_NONE;
	CU_ASSERT(is_by(policy, q, "default"));
	q = all;
	q.user = SPAN_LIT("v");
	CU_ASSERT(is_by(policy, q, "default"));
	q = all;
	q.target = SPAN_LIT("s");
	CU_ASSERT(is_by(policy, q, "default"));
	policy_free(policy);
}

static void globs(void)
{
	static const struct {
		const char *glob, *text;
		bool is_match;
	} cases[] = {
		{ "a", "a", true },	   { "a", "aa", false },     { "a*", "a", true },	 { "*a", "a", true },
		{ "*", "abc", true },	   { "**", "abc", true },    { "?", "a", true },	 { "?", "ab", false },
		{ "a?c", "abc", true },	   { "a*c", "abcbc", true }, { "a*c", "abcb", false },	 { "*b*", "abc", true },
		{ "*ab*ab", "aabab", true }, { "*ab*ab", "aab", false }, { "a*b*c", "axxbxxbxc", true }, { "a*?", "a", false },
		{ "a*?", "ab", true },	   { "[a]", "a", false },    { "\\*", "\\x", true },	 { "*.csv", "x.csv", true },
		{ "*.csv", "x.csv.exe", false },
	};

	for (size_t i = 0; i < N(cases); i++) {
		const struct policy_rule rule = { .name = "it", .users = &cases[i].glob, .n_users = 1 };
		const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &rule, .n_rules = 1 };
		struct policy *policy = compiled(&profile);
		struct policy_question q = { .user = span_of(cases[i].text) };

		CU_ASSERT(is_by(policy, q, cases[i].is_match ? "it" : "default"));
		policy_free(policy);
	}
}

static void texts(void)
{
#define TEN "0123456789"
#define SIXTY TEN TEN TEN TEN TEN TEN
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ NULL, "" },
		{ "not here (rule {rule})", "not here (rule it)" },
		{ "{verb} {target}: {user}", "STOR /a/b.exe: bob" },
		{ "{rule}{rule}", "itit" },
		{ "{", "{" },
		{ "}{rule", "}{rule" },
		{ "{{verb}}", "{STOR}" },
		{ "{nothing} {Verb}", "{nothing} {Verb}" },
		{ "gr\xc3\xbcn", "gr\xc3\xbcn" },
		{ "a\r\nb\x7f\xc2\x85\xff", "a??b???" },
		{ SIXTY SIXTY TEN TEN TEN "012345678", SIXTY SIXTY TEN TEN TEN "012345678" },
		{ SIXTY SIXTY TEN TEN TEN TEN, SIXTY SIXTY TEN TEN TEN "012345678" },
		{ SIXTY SIXTY TEN TEN TEN "01234567\xc3\xbc", SIXTY SIXTY TEN TEN TEN "01234567" },
		{ SIXTY SIXTY TEN TEN TEN "01{target}", SIXTY SIXTY TEN TEN TEN "01/a/b.ex" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		const struct policy_rule rule = { .name = "it", .text = cases[i].text };
		const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &rule, .n_rules = 1 };
		struct policy *policy = compiled(&profile);
		struct policy_verdict verdict = decided(policy, (struct policy_question){
			.verb = SPAN_LIT("STOR"), .target = SPAN_LIT("/a/b.exe"), .user = SPAN_LIT("bob") });

		CU_ASSERT_STRING_EQUAL(verdict.text, cases[i].expected);
		policy_free(policy);
	}
}

/* What a peer chose cannot begin a line, steer a terminal, or push the rest out. */
static void foreign_text_is_cut_and_printable(void)
{
	static const struct {
		struct span target;
		const char *expected;
	} cases[] = {
		{ SPAN_LIT("a\r\n226 b\0c"), "<a??226 b?c> it" },
		{ SPAN_LIT("\x1b[31m\x7f\xc3\xbc\xff"), "<?[31m??" "??" "> it" },
		{ SPAN_LIT("{rule}{user}"), "<{rule}{user}> it" },
		{ SPAN_LIT(SIXTY "0123"), "<" SIXTY "0123> it" },
		{ SPAN_LIT(SIXTY "01234"), "<" SIXTY "0123...> it" },
		{ SPAN_NONE, "<> it" },
	};
	const struct policy_rule rule = { .name = "it", .text = "<{target}> {rule}" };
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &rule, .n_rules = 1 };
	struct policy *policy = compiled(&profile);

	for (size_t i = 0; i < N(cases); i++)
		CU_ASSERT_STRING_EQUAL(decided(policy, (struct policy_question){ .target = cases[i].target }).text, cases[i].expected);
	policy_free(policy);
}

static bool counts(const struct policy *policy, unsigned index, uint64_t hits, uint64_t would_deny)
{
	struct policy_count count;

	policy_count(policy, index, &count);
	if (count.hits != hits || count.would_deny != would_deny)
		printf("# %u: %llu %llu\n", index, (unsigned long long)count.hits, (unsigned long long)count.would_deny);
	return count.hits == hits && count.would_deny == would_deny;
}

static void counting_and_explaining(void)
{
	const struct policy_rule rules[] = { { .name = "one", LIST(verbs, "A") }, { .name = "two", .is_allow = true, LIST(verbs, "B") } };
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 2 };
	struct policy *policy = compiled(&profile);
	const struct policy_question a = { .verb = SPAN_LIT("A") };
	struct policy_verdict verdict;

	decided(policy, a);
	decided(policy, a);
	decided(policy, (struct policy_question){ .verb = SPAN_LIT("B") });
	decided(policy, (struct policy_question){ .verb = SPAN_LIT("C") });
	policy_explain(policy, &a, &verdict);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "one");
	policy_explain(NULL, &a, &verdict);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "none");
	CU_ASSERT(counts(policy, 0, 2, 0));
	CU_ASSERT(counts(policy, 1, 1, 0));
	CU_ASSERT(counts(policy, 2, 1, 0));
	CU_ASSERT(counts(policy, 3, 0, 0)); /* no such rule */
	policy_free(policy);
}

static void an_observed_rule_lets_the_next_decide(void)
{
	const struct policy_rule rules[] = {
		{ .name = "watch", LIST(verbs, "A"), .is_observed = true, .code = 550, .text = "no" },
		{ .name = "watch-too", .is_observed = true },
		{ .name = "go", .is_allow = true, LIST(verbs, "A"), .max_bytes = 7, .is_observed = true /* means nothing here */ },
	};
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 3 };
	struct policy *policy = compiled(&profile);
	struct policy_verdict verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("A") });

	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "go");
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "watch");
	CU_ASSERT_EQUAL(verdict.code, 0);
	CU_ASSERT_STRING_EQUAL(verdict.text, "");
	CU_ASSERT_EQUAL(verdict.max_bytes, 7);
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("B") });
	CU_ASSERT_FALSE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "default");
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "watch-too");
	CU_ASSERT(counts(policy, 0, 0, 1));
	CU_ASSERT(counts(policy, 1, 0, 2));
	CU_ASSERT(counts(policy, 2, 1, 0));
	CU_ASSERT(counts(policy, 3, 1, 0));
	policy_free(policy);
}

static void an_observed_profile_denies_nothing(void)
{
	const struct policy_rule rules[] = {
		{ .name = "watch", LIST(verbs, "A"), .is_observed = true },
		{ .name = "no", LIST(verbs, "A", "B"), .code = 550, .text = "no", .is_logged = true },
		{ .name = "some", .is_allow = true, LIST(verbs, "C"), .max_per_minute = 1, .max_bytes = 5, .bytes_per_s = 6 },
	};
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 3, .is_observed = true };
	struct policy *policy = compiled(&profile);
	struct policy_verdict verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("B") });

	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "no");
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "no");
	CU_ASSERT_EQUAL(verdict.code, 0);
	CU_ASSERT_STRING_EQUAL(verdict.text, "");
	CU_ASSERT_TRUE(verdict.is_logged);
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("A") });
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "watch"); /* the first */
	CU_ASSERT_STRING_EQUAL(verdict.rule, "no");
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("C"), .minute_count = 2 });
	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "some");
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("C"), .minute_count = 1 });
	CU_ASSERT_PTR_NULL(verdict.would_deny);
	CU_ASSERT_EQUAL(verdict.max_bytes, 0);
	CU_ASSERT_EQUAL(verdict.bytes_per_s, 0);
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("D") });
	CU_ASSERT_TRUE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.would_deny, "default");
	CU_ASSERT(counts(policy, 0, 0, 1));
	CU_ASSERT(counts(policy, 1, 0, 2));
	CU_ASSERT(counts(policy, 2, 1, 1));
	CU_ASSERT(counts(policy, 3, 0, 1));
	policy_free(policy);
}

static void so_many_a_minute(void)
{
	const struct policy_rule rules[] = {
		{ .name = "some", .is_allow = true, LIST(verbs, "A"), .max_per_minute = 3, .max_bytes = 9 },
		{ .name = "all", .is_allow = true },
	};
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 2 };
	struct policy *policy = compiled(&profile);
	struct policy_verdict verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("A"), .minute_count = 3 });

	CU_ASSERT_TRUE(verdict.is_allowed);
	verdict = decided(policy, (struct policy_question){ .verb = SPAN_LIT("A"), .minute_count = 4 });
	CU_ASSERT_FALSE(verdict.is_allowed);
	CU_ASSERT_STRING_EQUAL(verdict.rule, "some"); /* not the next rule, which would allow it */
	CU_ASSERT_EQUAL(verdict.code, 0);
	CU_ASSERT_STRING_EQUAL(verdict.text, "too often within a minute (rule some)");
	CU_ASSERT_EQUAL(verdict.max_bytes, 0);
	CU_ASSERT_TRUE(decided(policy, (struct policy_question){ .verb = SPAN_LIT("B"), .minute_count = 99 }).is_allowed);
	policy_free(policy);
}

/* Who makes an expression work hard gets neither past a rule that denies nor into one that allows. */
static void an_expression_that_gives_up_is_on_the_safe_side(void)
{
	const struct policy_rule rules[] = {
		{ .name = "allow-slow", .is_allow = true, LIST(verbs, "A"), .target_regex = "^(a|aa)+$" },
		{ .name = "deny-slow", LIST(verbs, "B"), .target_regex = "^(a|aa)+$" },
	};
	struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 2 };
	struct policy *policy = compiled(&profile);
	struct policy_question q = { .verb = SPAN_LIT("A"), .target = SPAN_LIT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab") };

	CU_ASSERT(is_by(policy, q, "default"));
	q.verb = SPAN_LIT("B");
	CU_ASSERT(is_by(policy, q, "deny-slow"));
	q.target = SPAN_LIT("ab");
	CU_ASSERT(is_by(policy, q, "default"));
	policy_free(policy);
}

static void who_needs_data(void)
{
	static const struct {
		struct policy_rule rule;
		bool needs_data;
	} cases[] = {
		{ { .is_allow = true }, false },
		{ { .is_allow = true, .max_bytes = 1 }, true },
		{ { .is_allow = true, .bytes_per_s = 1 }, true },
		{ { .is_allow = true, .max_per_minute = 1, .size_above = 1 }, false },
		{ { .magic_hex = "00" }, true },
		{ { .max_bytes = 1 }, false },
	};

	for (size_t i = 0; i < N(cases); i++) {
		const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = &cases[i].rule, .n_rules = 1 };
		struct policy *policy = compiled(&profile);

		CU_ASSERT_EQUAL(policy_needs_data(policy), cases[i].needs_data);
		policy_free(policy);
	}
}

static void what_does_not_compile(void)
{
	static const struct {
		struct policy_rule rule;
		const char *text;
	} cases[] = {
		{ { .target_regex = "a(" }, "missing closing parenthesis at offset 2" },
		{ { .magic_hex = "" }, "magic is not 1 to 16 octets as hex digits" },
		{ { .magic_hex = "4" }, "magic is not 1 to 16 octets as hex digits" },
		{ { .magic_hex = "4x" }, "magic is not 1 to 16 octets as hex digits" },
		{ { .magic_hex = "000102030405060708090a0b0c0d0e0f10" }, "magic is not 1 to 16 octets as hex digits" },
	};

	for (size_t i = 0; i < N(cases); i++) {
		struct policy_rule rules[3] = { { .name = "fine", .target_regex = "x" }, cases[i].rule, { .target_regex = "(" } };
		const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 3 };
		struct policy *policy = NULL;
		char text[160] = "";
		unsigned rule = 99;

		CU_ASSERT_EQUAL(policy_new(&profile, &rule, text, sizeof(text), &policy), ERR_PARSE);
		CU_ASSERT_PTR_NULL(policy);
		CU_ASSERT_EQUAL(rule, 1);
		CU_ASSERT_STRING_EQUAL(text, cases[i].text);
	}
}

/* Every rule with every value: each verb finds its own rule, shared ones the first. */
static void at_the_limits(void)
{
	static char names[POLICY_RULES_MAX + 1][POLICY_VALUES_MAX][8], rule_names[POLICY_RULES_MAX + 1][8];
	static const char *verbs[POLICY_RULES_MAX + 1][POLICY_VALUES_MAX + 1];
	static struct policy_rule rules[POLICY_RULES_MAX + 1];
	struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = POLICY_RULES_MAX };
	struct policy *policy = NULL;
	char text[160];
	unsigned rule, wrong = 0;

	for (unsigned i = 0; i <= POLICY_RULES_MAX; i++) {
		snprintf(rule_names[i], sizeof(rule_names[i]), "r%u", i);
		for (unsigned j = 0; j < POLICY_VALUES_MAX; j++) {
			snprintf(names[i][j], sizeof(names[i][j]), "v%u", j == 0 ? 0 : i * 100 + j);
			verbs[i][j] = names[i][j];
		}
		verbs[i][POLICY_VALUES_MAX] = "x";
		rules[i] = (struct policy_rule){ .name = rule_names[i], .verbs = verbs[i], .n_verbs = POLICY_VALUES_MAX };
	}
	policy = compiled(&profile);
	for (unsigned i = 0; i < POLICY_RULES_MAX; i++) {
		for (unsigned j = 0; j < POLICY_VALUES_MAX; j++) {
			struct policy_verdict v = decided(policy, (struct policy_question){ .verb = span_of(names[i][j]) });

			wrong += v.rule_index != (j == 0 ? 0 : (int)i);
		}
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT(is_by(policy, (struct policy_question){ .verb = SPAN_LIT("v") }, "default"));
	policy_free(policy);
	policy = NULL;
	profile.n_rules = POLICY_RULES_MAX + 1;
	CU_ASSERT_EQUAL(policy_new(&profile, &rule, text, sizeof(text), &policy), ERR_LIMIT);
	CU_ASSERT_EQUAL(rule, POLICY_RULES_MAX);
	CU_ASSERT_STRING_EQUAL(text, "more than 256 rules");
	profile.n_rules = POLICY_RULES_MAX;
	rules[7].n_verbs = POLICY_VALUES_MAX + 1;
	CU_ASSERT_EQUAL(policy_new(&profile, &rule, text, sizeof(text), &policy), ERR_LIMIT);
	CU_ASSERT_EQUAL(rule, 7);
	CU_ASSERT_STRING_EQUAL(text, "more than 64 values");
	CU_ASSERT_PTR_NULL(policy);
}

enum { THREADS = 3, ROUNDS = 2000 };

static void *ask_often(void *arg)
{
	const struct policy *policy = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct policy_question q = { .verb = SPAN_LIT("A"), .target = SPAN_LIT("xyz") };
		struct policy_verdict v;

		policy_decide(policy, &q, &v);
		if (v.rule_index != 1)
			return (void *)policy;
	}
	return NULL;
}

static void from_several_threads(void)
{
	const struct policy_rule rules[] = { { .name = "no", .target_regex = "^a" }, { .name = "yes", .is_allow = true, .target_regex = "z$" } };
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 2 };
	struct policy *policy = compiled(&profile);
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, ask_often, policy), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		void *result = policy;

		pthread_join(threads[i], &result);
		CU_ASSERT_PTR_NULL(result);
	}
	CU_ASSERT(counts(policy, 1, THREADS * ROUNDS, 0));
	policy_free(policy);
}

static void deciding_allocates_nothing(void)
{
	const struct policy_rule rules[] = { { .name = "no", LIST(verbs, "A"), .target_regex = "^(?:a|b)*c$", .text = "{target}" } };
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = 1 };
	struct policy *policy = compiled(&profile);
	unsigned before = n_allocations;

	CU_ASSERT(is_by(policy, (struct policy_question){ .verb = SPAN_LIT("A"), .target = SPAN_LIT("ababc") }, "no"));
	CU_ASSERT_EQUAL(n_allocations, before);
	policy_free(policy);
}

static void out_of_memory(void)
{
	static const char *verbs[POLICY_VALUES_MAX];
	static struct policy_rule rules[40];
	const struct policy_profile profile = { .name = "p", .protocol = "x", .rules = rules, .n_rules = N(rules) };
	struct policy *policy = NULL;
	char text[160];
	unsigned rule, n = 0;
	int err;

	for (unsigned i = 0; i < POLICY_VALUES_MAX; i++)
		verbs[i] = "SOMETHING-LONG";
	for (size_t i = 0; i < N(rules); i++)
		rules[i] = (struct policy_rule){ .name = "r", .verbs = verbs, .n_verbs = POLICY_VALUES_MAX, .target_regex = "x" };
	do {
		budget = (long)++n;
		err = policy_new(&profile, &rule, text, sizeof(text), &policy);
		budget = -1;
		CU_ASSERT((err == 0 && policy != NULL) || (err == -ENOMEM && policy == NULL));
	} while (err != 0 && n < 1000);
	CU_ASSERT_EQUAL(err, 0);
	CU_ASSERT(n > 3);
	policy_free(policy);
}

/* The same for a whole configuration with rules: a snapshot, or a fault that says why not. */
static void a_configuration_out_of_memory(void)
{
	static const char yaml[] =
		"realms: { a: { addresses: [10.0.0.1], media_ports: 2000-2999 } }\n"
		"algs: { f: { protocol: ftp, realm: a, to: a, servers: 10.0.0.0/8, profile: p } }\n"
		"profiles: { p: { protocol: ftp, default: deny, rules: [{ allow: { verb: [A, B], target: x, client: 10.0.0.0/8 } }] } }\n";
	unsigned n = 0;
	int err;

	do {
		struct conf_errors errors = { 0 };
		const struct config *config = NULL;

		budget = (long)++n;
		err = config_parse(span_of(yaml), "t", &errors, &config);
		budget = -1;
		CU_ASSERT_TRUE((err == 0) == (config != NULL));
		conf_errors_free(&errors);
		config_unref(config);
	} while (err != 0 && n < 5000);
	CU_ASSERT_EQUAL(err, 0);
	CU_ASSERT(n > 5);
}

static const struct unit_test tests[] = {
	{ "the first match decides", the_first_match_decides },
	{ "without a policy or rules", without_a_policy_or_rules },
	{ "each selector", each_selector },
	{ "selectors of a rule all have to match", selectors_of_a_rule_all_have_to_match },
	{ "globs", globs },
	{ "texts", texts },
	{ "foreign text is cut and printable", foreign_text_is_cut_and_printable },
	{ "counting and explaining", counting_and_explaining },
	{ "an observed rule lets the next decide", an_observed_rule_lets_the_next_decide },
	{ "an observed profile denies nothing", an_observed_profile_denies_nothing },
	{ "so many a minute", so_many_a_minute },
	{ "an expression that gives up is on the safe side", an_expression_that_gives_up_is_on_the_safe_side },
	{ "who needs data", who_needs_data },
	{ "what does not compile", what_does_not_compile },
	{ "at the limits", at_the_limits },
	{ "from several threads", from_several_threads },
	{ "deciding allocates nothing", deciding_allocates_nothing },
	{ "out of memory", out_of_memory },
	{ "a configuration out of memory", a_configuration_out_of_memory },
};

UNIT_MAIN("policy", tests)
