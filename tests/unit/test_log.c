/* core/log.h, through a pipe: what a reader sees, and what happens when nobody reads. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "tests/unit/unit.h"

static int reader, writer;

static void open_log(enum log_format format, enum log_level level)
{
	int ends[2];

	if (pipe(ends) < 0)
		abort();
	reader = ends[0];
	writer = ends[1];
	if (fcntl(reader, F_SETFL, O_NONBLOCK) < 0)
		abort();
	log_setup(writer, format, level);
}

static void close_log(void)
{
	log_setup(STDERR_FILENO, LOG_TEXT, LOG_INFO);
	close(writer);
	close(reader);
}

/* What is in the pipe, up to size - 1 octets, as a string. */
static const char *read_log(char *out, size_t size)
{
	ssize_t n = read(reader, out, size - 1);

	out[n > 0 ? n : 0] = '\0';
	return out;
}

/* The line without its time, which is checked for form and for being now. */
static const char *after_time(const char *line)
{
	struct tm tm = { 0 };
	const char *rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t age;

	if (rest == NULL || rest[0] != '.' || strspn(rest + 1, "0123456789") != 3 || strncmp(rest + 4, "Z ", 2) != 0)
		return "no time";
	age = time(NULL) - timegm(&tm);
	return age >= 0 && age < 3600 ? rest + 6 : "wrong time";
}

static void text_line(void)
{
	char out[PIPE_BUF + 1];

	open_log(LOG_TEXT, LOG_INFO);
	log_warn("sip", "message refused", LF_TEXT("source", "192.0.2.1:5060"), LF_INT("code", 400));
	CU_ASSERT_STRING_EQUAL(after_time(read_log(out, sizeof(out))),
			       "warn sip \"message refused\" source=192.0.2.1:5060 code=400\n");
	log_write(LOG_ERROR, "db", "gone", NULL, 0);
	CU_ASSERT_STRING_EQUAL(after_time(read_log(out, sizeof(out))), "error db \"gone\"\n");
	log_info("x", "numbers", LF_INT("low", INT64_MIN), LF_UINT("high", UINT64_MAX));
	CU_ASSERT_STRING_EQUAL(after_time(read_log(out, sizeof(out))),
			       "info x \"numbers\" low=-9223372036854775808 high=18446744073709551615\n");
	close_log();
}

static void levels(void)
{
	char out[PIPE_BUF + 1];

	open_log(LOG_TEXT, LOG_WARN);
	CU_ASSERT(log_is_on(LOG_ERROR) && log_is_on(LOG_WARN) && !log_is_on(LOG_INFO));
	log_info("x", "quiet", LF_INT("n", 1));
	log_write(LOG_DEBUG, "x", "quiet", NULL, 0);
	CU_ASSERT_STRING_EQUAL(read_log(out, sizeof(out)), "");
	close_log();
}

static void foreign_text_cannot_forge(void)
{
	static const struct { struct span in; const char *text, *json; } rows[] = {
		{ { "plain", 5 }, "plain", "\"plain\"" },
		{ { "", 0 }, "\"\"", "\"\"" },
		{ { NULL, 0 }, "\"\"", "\"\"" },
		{ { "two words", 9 }, "\"two words\"", "\"two words\"" },
		{ { "a=b", 3 }, "\"a=b\"", "\"a=b\"" },
		{ { "a\r\n2026 warn", 12 }, "\"a\\x0d\\x0a2026 warn\"", "\"a\\u000d\\u000a2026 warn\"" },
		{ { "q\" code=200", 11 }, "\"q\\\" code=200\"", "\"q\\\" code=200\"" },
		{ { "back\\slash", 10 }, "\"back\\\\slash\"", "\"back\\\\slash\"" },
		{ { "nul\0x", 5 }, "\"nul\\x00x\"", "\"nul\\u0000x\"" },
		{ { "\x1b[2J\x7f", 5 }, "\"\\x1b[2J\\x7f\"", "\"\\u001b[2J\\u007f\"" },
		{ { "gr\xc3\xbc\xc3\x9f", 6 }, "\"gr\xc3\xbc\xc3\x9f\"", "\"gr\xc3\xbc\xc3\x9f\"" },
		{ { "\xf0\x9f\x98\x80", 4 }, "\"\xf0\x9f\x98\x80\"", "\"\xf0\x9f\x98\x80\"" },
		{ { "\xff\xc3", 2 }, "\"\\xff\\xc3\"", "\"\\ufffd\\ufffd\"" },
		{ { "\xc0\xaf", 2 }, "\"\\xc0\\xaf\"", "\"\\ufffd\\ufffd\"" },               /* overlong slash */
		{ { "\xed\xa0\x80", 3 }, "\"\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\"" }, /* surrogate */
		{ { "\xc2\x9b" "2J", 4 }, "\"\\xc2\\x9b2J\"", "\"\\u009b2J\"" },             /* C1 control */
		{ { "\xe2\x80\xae" "x", 4 }, "\"\\xe2\\x80\\xaex\"", "\"\\u202ex\"" },       /* right-to-left override */
	};
	char out[PIPE_BUF + 1], want[256];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		open_log(LOG_TEXT, LOG_INFO);
		log_info("x", "m", LF_SPAN("k", rows[i].in));
		snprintf(want, sizeof(want), "info x \"m\" k=%s\n", rows[i].text);
		CU_ASSERT_STRING_EQUAL(after_time(read_log(out, sizeof(out))), want);
		close_log();
		open_log(LOG_JSON, LOG_INFO);
		log_info("x", "m", LF_SPAN("k", rows[i].in));
		snprintf(want, sizeof(want), "\"level\":\"info\",\"subsystem\":\"x\",\"message\":\"m\",\"k\":%s}\n",
			 rows[i].json);
		CU_ASSERT_PTR_NOT_NULL(strstr(read_log(out, sizeof(out)), want));
		close_log();
	}
}

static void json_line(void)
{
	char out[PIPE_BUF + 1];

	open_log(LOG_JSON, LOG_INFO);
	log_warn("sip", "message \"refused\"", LF_UINT("code", 400), LF_INT("n", -1));
	read_log(out, sizeof(out));
	CU_ASSERT_EQUAL(strncmp(out, "{\"ts\":\"20", 9), 0);
	CU_ASSERT_STRING_EQUAL(out + strcspn(out, ","),
			       ",\"level\":\"warn\",\"subsystem\":\"sip\",\"message\":\"message \\\"refused\\\"\","
			       "\"code\":400,\"n\":-1}\n");
	close_log();
}

static void long_values_are_cut(void)
{
	static char big[20000];
	char out[2 * PIPE_BUF];
	size_t len;

	memset(big, 1, sizeof(big)); /* every octet takes six in JSON */
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		open_log((enum log_format)format, LOG_INFO);
		log_info("x", "m", LF_SPAN("a", ((struct span){ big, sizeof(big) })), LF_INT("b", 1));
		read_log(out, sizeof(out));
		CU_ASSERT(strstr(out, "...\"") != NULL && strlen(out) < 1200);
		CU_ASSERT_PTR_NOT_NULL(strstr(out, format == LOG_JSON ? "\"b\":1}\n" : " b=1\n"));
#define BIG(key) LF_SPAN(key, ((struct span){ big, sizeof(big) }))
		log_info("x", "m", BIG("a"), BIG("b"), BIG("c"), BIG("d"), BIG("e"), LF_INT("f", 1));
		len = strlen(read_log(out, sizeof(out)));
		CU_ASSERT(len <= PIPE_BUF && out[len - 1] == '\n');
		CU_ASSERT_PTR_NOT_NULL(strstr(out, format == LOG_JSON ? "\"truncated\":true}\n" : " truncated=true\n"));
		CU_ASSERT_PTR_NULL(strstr(out, format == LOG_JSON ? "\"f\":" : " f="));
		close_log();
	}
}

static void full_pipe_drops_and_counts(void)
{
	static char out[1 << 21];
	uint64_t before = log_dropped();
	uint64_t lost;
	char want[64];
	int flags;

	open_log(LOG_TEXT, LOG_INFO);
	flags = fcntl(writer, F_GETFL);
	for (int i = 0; i < 20000; i++)
		log_info("x", "filling", LF_INT("n", i)); /* would hang here if it blocked */
	lost = log_dropped() - before;
	CU_ASSERT(lost > 0);
	CU_ASSERT_EQUAL(fcntl(writer, F_GETFL), flags);
	read_log(out, sizeof(out));
	CU_ASSERT_EQUAL(out[strlen(out) - 1], '\n');
	log_info("x", "again", LF_INT("n", 1));
	snprintf(want, sizeof(want), "warn log \"lines lost\" count=%llu\n", (unsigned long long)lost);
	read_log(out, sizeof(out));
	CU_ASSERT_EQUAL(strncmp(after_time(out), want, strlen(want)), 0);
	CU_ASSERT_STRING_EQUAL(after_time(out + strcspn(out, "\n") + 1), "info x \"again\" n=1\n");
	CU_ASSERT_EQUAL(log_dropped() - before, lost);
	close_log();
}

static void closed_reader_is_harmless(void)
{
	uint64_t before = log_dropped();

	open_log(LOG_TEXT, LOG_INFO);
	close(reader);
	log_info("x", "nobody", LF_INT("n", 1)); /* SIGPIPE would end the test */
	CU_ASSERT_EQUAL(log_dropped(), before + 1);
	reader = dup(writer);
	close_log();
	open_log(LOG_TEXT, LOG_INFO); /* takes the report of the loss */
	log_info("x", "m", LF_INT("n", 1));
	close_log();
}

static void gate_limits_and_reports(void)
{
	struct log_gate gate = { 0 };
	char out[PIPE_BUF + 1];
	uint64_t before = log_dropped();
	unsigned passed = 0;

	open_log(LOG_TEXT, LOG_INFO);
	for (int i = 0; i < 50; i++)
		passed += log_gate_pass(&gate, 3);
	/* A window may end while the loop runs. */
	CU_ASSERT(passed >= 3 && passed <= 6);
	CU_ASSERT_EQUAL(log_dropped() - before, 50 - passed);
	CU_ASSERT_EQUAL(gate.suppressed, 50 - passed);
	log_gate_report(&gate, LOG_WARN, "sip", "message refused");
	CU_ASSERT_EQUAL(strncmp(after_time(read_log(out, sizeof(out))),
				"warn sip \"similar lines suppressed\" repeated=\"message refused\" count=4", 69), 0);
	log_gate_report(&gate, LOG_WARN, "sip", "message refused");
	CU_ASSERT_STRING_EQUAL(read_log(out, sizeof(out)), "");
	gate.window_start_ms -= 10001;
	CU_ASSERT(log_gate_pass(&gate, 3));
	for (int i = 0; i < 5; i++)
		LOG_GATED(1, LOG_INFO, "x", "once", LF_INT("n", i));
	CU_ASSERT_STRING_EQUAL(after_time(read_log(out, sizeof(out))), "info x \"once\" n=0\n");
	close_log();
}

enum { THREADS = 4, LINES = 200 };

static void *write_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		log_info("x", "line", LF_TEXT("text", arg));
	return NULL;
}

static void threads_do_not_mix_lines(void)
{
	static char texts[THREADS][101];
	static char out[1 << 20];
	pthread_t threads[THREADS];
	unsigned n_lines = 0;

	/* A file, not a pipe: it takes everything. */
	FILE *file = tmpfile();

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	log_setup(fileno(file), LOG_TEXT, LOG_INFO);
	for (int i = 0; i < THREADS; i++) {
		memset(texts[i], 'a' + i, 100);
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, write_lines, texts[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_setup(STDERR_FILENO, LOG_TEXT, LOG_INFO);
	rewind(file);
	while (fgets(out, sizeof(out), file) != NULL) {
		char want[512];
		const char *text = strstr(out, "text=");

		snprintf(want, sizeof(want), "info x \"line\" text=%s\n", texts[text ? (text[5] - 'a') & 3 : 0]);
		CU_ASSERT_STRING_EQUAL(after_time(out), want);
		n_lines++;
	}
	CU_ASSERT_EQUAL(n_lines, THREADS * LINES);
	fclose(file);
}

static const struct unit_test tests[] = {
	{ "text line", text_line },
	{ "levels", levels },
	{ "foreign text cannot forge", foreign_text_cannot_forge },
	{ "json line", json_line },
	{ "long values are cut", long_values_are_cut },
	{ "full pipe drops and counts", full_pipe_drops_and_counts },
	{ "closed reader is harmless", closed_reader_is_harmless },
	{ "gate limits and reports", gate_limits_and_reports },
	{ "threads do not mix lines", threads_do_not_mix_lines },
};

UNIT_MAIN("log", tests)
