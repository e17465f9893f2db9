/* Reads a transcript (the grammar is in runner.h) into steps. */
#include "algs/runner_script.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/alg_addr.h"
#include "core/err.h"

struct reading {
	struct runner_script *script;
	struct runner_report *report;
	struct span rest;      /* lines that were not read */
	unsigned line;
	unsigned channel;      /* of the last line that made something happen */
	bool has_begun;        /* the first message has been seen */
};

int runner_fail(struct runner_report *report, unsigned line, const char *format, ...)
{
	va_list args;

	report->line = line;
	va_start(args, format);
	vsnprintf(report->text, sizeof(report->text), format, args);
	va_end(args);
	return ERR_STATE;
}

static int fault(struct reading *r, const char *text)
{
	runner_fail(r->report, r->line, "%s", text);
	return ERR_PARSE;
}

static struct span unquoted(struct span word)
{
	bool is_quoted = word.len >= 2 && word.ptr[0] == '"' && word.ptr[word.len - 1] == '"';

	return is_quoted ? span_sub(word, 1, word.len - 1) : word;
}

struct span runner_word(struct span *rest)
{
	bool is_quoted = false;
	size_t from = 0, to;
	struct span word;

	while (from < rest->len && rest->ptr[from] == ' ')
		from++;
	for (to = from; to < rest->len && (is_quoted || rest->ptr[to] != ' '); to++)
		is_quoted ^= rest->ptr[to] == '"';
	word = span_sub(*rest, from, to);
	*rest = span_sub(*rest, to, rest->len);
	return unquoted(word);
}

bool runner_value(struct span word, const char *key, struct span *ret_value)
{
	size_t len = strlen(key);

	if (!span_starts(word, span_of(key)) || word.len <= len || word.ptr[len] != '=')
		return false;
	*ret_value = unquoted(span_sub(word, len + 1, word.len));
	return true;
}

static bool next_line(struct reading *r, struct span *ret)
{
	if (r->rest.ptr == NULL || r->rest.len == 0)
		return false;
	*ret = span_cut(&r->rest, '\n');
	if (ret->len > 0 && ret->ptr[ret->len - 1] == '\r')
		ret->len--;
	r->line++;
	return true;
}

/* Octets */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One escape at the beginning of text: how long it is, or 0. */
static size_t read_escape(struct span text, char *ret)
{
	static const char names[] = "rnt\\", values[] = "\r\n\t\\";
	const char *at;

	if (text.len < 2)
		return 0;
	if (text.ptr[1] == 'x') {
		int high = text.len < 4 ? -1 : hex_digit(text.ptr[2]), low = text.len < 4 ? -1 : hex_digit(text.ptr[3]);

		if (high < 0 || low < 0)
			return 0;
		*ret = (char)(high << 4 | low);
		return 4;
	}
	at = memchr(names, text.ptr[1], sizeof(names) - 1);
	if (at == NULL)
		return 0;
	*ret = values[at - names];
	return 2;
}

static int read_octets(struct reading *r, struct span text, struct span *ret)
{
	char *out = arena_alloc_raw(r->script->arena, text.len + 2);
	bool has_line_end = !r->script->module->is_datagram;
	size_t len = 0, n;

	if (out == NULL)
		return -ENOMEM;
	for (; text.len > 0; text = span_sub(text, n, text.len)) {
		n = 1;
		if (text.ptr[0] == '\\' && text.len == 1) {
			has_line_end = false;
			continue;
		}
		out[len] = text.ptr[0];
		if (text.ptr[0] == '\\') {
			n = read_escape(text, &out[len]);
			if (n == 0)
				return fault(r, "an escape is one of \\r \\n \\t \\\\ \\xHH, or \\ at the end of the line");
		}
		len++;
	}
	if (has_line_end) {
		out[len++] = '\r';
		out[len++] = '\n';
	}
	*ret = (struct span){ out, len };
	return 0;
}

/* Lines up to one that is `mark`: "EOT", or "-EOT" for lines that end with LF alone. */
static int read_block(struct reading *r, struct span mark, struct span *ret)
{
	bool has_cr = mark.len == 0 || mark.ptr[0] != '-';
	unsigned first = r->line;
	struct span line, rest = r->rest;
	char *out;
	size_t len = 0, n = 0;

	if (!has_cr)
		mark = span_sub(mark, 1, mark.len);
	if (mark.len == 0)
		return fault(r, "<< wants a word that ends the lines");
	while (rest.ptr != NULL && !span_eq(span_cut(&rest, '\n'), mark))
		n++;
	out = arena_alloc_raw(r->script->arena, r->rest.len - rest.len + n + 1);
	if (out == NULL)
		return -ENOMEM;
	while (next_line(r, &line)) {
		if (span_eq(line, mark)) {
			*ret = (struct span){ out, len };
			return 0;
		}
		memcpy(out + len, line.ptr, line.len);
		len += line.len;
		if (has_cr)
			out[len++] = '\r';
		out[len++] = '\n';
	}
	r->line = first;
	return fault(r, "the lines after << do not end");
}

static int add_step(struct reading *r, const struct runner_step *step)
{
	struct runner_script *s = r->script;

	if (s->n_steps == RUNNER_STEPS_MAX)
		return fault(r, "too many lines");
	if (!runner_is_expectation(step))
		r->has_begun = true;
	s->has_bypass |= step->kind == RUNNER_BYPASS;
	s->has_reset |= step->kind == RUNNER_RESET;
	s->has_tls |= step->kind == RUNNER_TLS;
	s->steps[s->n_steps] = *step;
	s->n_steps++;
	return 0;
}

/* "C: ...", ">S ...", "C<<EOT", "S!", and of the second channel "C2: ..." and so on, and of a third. False: the line is something else. */
static bool is_octet_line(struct span line, bool *ret_is_expected, unsigned *ret_channel)
{
	size_t at = line.len > 0 && line.ptr[0] == '>';
	char next;

	if (line.len <= at || (line.ptr[at] != 'C' && line.ptr[at] != 'S'))
		return false;
	*ret_is_expected = at == 1;
	at++;
	*ret_channel = line.len > at && line.ptr[at] >= '2' && line.ptr[at] < '1' + RUNNER_CHANNELS ? (unsigned)(line.ptr[at] - '1') : 0;
	at += *ret_channel > 0;
	next = line.len > at ? line.ptr[at] : '\0';
	return *ret_is_expected ? next == '\0' || next == ' ' || next == '<' : next == ':' || next == '!' || next == '<';
}

static int read_octet_line(struct reading *r, struct span line, bool is_expected, unsigned channel)
{
	struct runner_step step = { .kind = is_expected ? RUNNER_EXPECT : RUNNER_SEND, .line = r->line, .channel = channel };
	struct span rest;
	int ret = 0;

	line = span_sub(line, is_expected, line.len);
	step.side = line.ptr[0] == 'C' ? ALG_CLIENT : ALG_SERVER;
	if (!is_expected)
		r->channel = channel;
	if (channel >= r->script->n_channels)
		r->script->n_channels = channel + 1;
	rest = span_sub(line, channel > 0 ? 2 : 1, line.len);
	if (span_starts(rest, SPAN_LIT("<<"))) {
		ret = read_block(r, span_sub(rest, 2, rest.len), &step.bytes);
	} else if (span_eq(rest, SPAN_LIT("!"))) {
		step.kind = RUNNER_END;
	} else if (span_starts(rest, SPAN_LIT("!")) || span_starts(rest, SPAN_LIT("<"))) {
		ret = fault(r, "what is this? C: C! or C<<WORD");
	} else {
		rest = span_sub(rest, !is_expected, rest.len); /* the colon */
		ret = read_octets(r, span_sub(rest, rest.len > 0 && rest.ptr[0] == ' ', rest.len), &step.bytes);
	}
	return ret < 0 ? ret : add_step(r, &step);
}

/* Settings */

static int set_addr(struct addr *ret, struct span value)
{
	return addr_parse(value, ret);
}

static int set_tls_ports(struct alg_about *about, struct span value)
{
	struct span low = span_cut(&value, '-');
	uint32_t min, max;

	if (span_to_u32(low, 65535, &min) < 0 || span_to_u32(value, 65535, &max) < 0 || min == 0 || max < min)
		return ERR_PARSE;
	about->tls_port_min = (uint16_t)min;
	about->tls_port_max = (uint16_t)max;
	return 0;
}

/* Which of the words it is; -1: none of them. */
static int choice(struct span value, const char *const words[])
{
	for (int i = 0; words[i] != NULL; i++)
		if (span_eq(value, span_of(words[i])))
			return i;
	return -1;
}

enum setting { SET_ACTIVE, SET_TLS, SET_TLS_SERVER, SET_TLS_REQUIRED, SET_SERVER_DATA, SET_COMMITS, SETTINGS };
enum { TLS_IMPLICIT = ALG_TLS_TERMINATE + 1 };

/* value: which of its words. */
static void set_choice(struct runner_script *s, enum setting setting, int value)
{
	switch (setting) {
	case SET_ACTIVE:
		s->about[0].may_be_active = value == 1;
		break;
	case SET_TLS:
		s->about[0].is_tls = value == TLS_IMPLICIT;
		s->about[0].tls = value == TLS_IMPLICIT ? ALG_TLS_TERMINATE : (enum alg_tls)value;
		break;
	case SET_TLS_SERVER:
		s->about[0].is_server_plain = value == 0;
		break;
	case SET_TLS_REQUIRED:
		s->about[0].tls_need = (enum alg_tls_need)value;
		break;
	case SET_SERVER_DATA:
		s->about->is_server_passive = value == 1;
		break;
	default:
		s->is_late = value == 1;
		break;
	}
}

static int set_flag(struct runner_script *s, struct span name, struct span value)
{
	static const struct {
		const char *name, *words[5];
	} settings[SETTINGS] = {
		[SET_ACTIVE] = { "active", { "no", "yes" } },
		[SET_TLS] = { "tls", { "refuse", "pass", "terminate", "implicit" } },
		[SET_TLS_SERVER] = { "tls-server", { "no", "yes" } },
		[SET_TLS_REQUIRED] = { "tls-required", { "nothing", "control", "data" } },
		[SET_SERVER_DATA] = { "server-data", { "as-client", "passive" } },
		[SET_COMMITS] = { "commits", { "at-once", "later" } },
	};

	for (enum setting i = SET_ACTIVE; i < SETTINGS; i++) {
		int n = choice(value, settings[i].words);

		if (!span_eq(name, span_of(settings[i].name)) || n < 0)
			continue;
		set_choice(s, i, n);
		return 0;
	}
	return ERR_PARSE;
}

static int read_set(struct reading *r, struct span args)
{
	struct runner_script *s = r->script;
	const struct {
		const char *name;
		struct addr *addr;
	} addrs[] = {
		{ "client", &s->client[0] }, { "client-2", &s->client[1] }, { "client-3", &s->client[2] },
		{ "server", &s->server }, { "gateway-client", &s->gateway[ALG_CLIENT] },
		{ "gateway-server", &s->gateway[ALG_SERVER] }, { "media-client", &s->media[ALG_CLIENT] },
		{ "media-server", &s->media[ALG_SERVER] },
	};
	struct span name = runner_word(&args), value = runner_word(&args);
	uint32_t n;

	if (r->has_begun)
		return fault(r, "`set` comes before the first message");
	for (unsigned i = 0; i < sizeof(addrs) / sizeof(addrs[0]); i++)
		if (span_eq(name, span_of(addrs[i].name)))
			return set_addr(addrs[i].addr, value) < 0 ? fault(r, "an address with port is wanted") : 0;
	if (span_eq(name, SPAN_LIT("tls-ports")))
		return set_tls_ports(&s->about[0], value) < 0 ? fault(r, "ports are A-B") : 0;
	if (span_eq(name, SPAN_LIT("port")) && span_to_u32(value, 65000, &n) == 0 && n >= 1024) {
		s->port = (uint16_t)n;
		return 0;
	}
	if (span_eq(name, SPAN_LIT("idle")) && span_to_u32(value, UINT32_MAX, &s->about[0].idle_ms) == 0)
		return 0;
	return set_flag(s, name, value) < 0 ? fault(r, "no such setting, or not this value") : 0;
}

/* Other lines */

static const struct line_word {
	const char *word;
	enum runner_kind kind;
	bool has_number;
} line_words[] = {
	{ "opened", RUNNER_OPENED, true },
	{ "ended", RUNNER_ENDED, true },
	{ "expired", RUNNER_EXPIRED, true },
	{ "limit", RUNNER_LIMIT, true },
	{ "committed", RUNNER_COMMITTED, true },
	{ "timer", RUNNER_TIMER, true },
	{ "sleep", RUNNER_SLEEP, true },
	{ "datum", RUNNER_DATUM, true },
	{ "drop", RUNNER_DROP, false },
	{ "waits", RUNNER_WAITS, false },
	{ "hole", RUNNER_HOLE, true },
	{ "holes", RUNNER_HOLES, true },
	{ "verdict", RUNNER_VERDICT, false },
	{ "transfer", RUNNER_TRANSFER, false },
	{ "transfers", RUNNER_TRANSFERS, true },
	{ "note", RUNNER_NOTE, false },
	{ "tls", RUNNER_TLS, false },
	{ "ending", RUNNER_ENDING, false },
	{ "bypass", RUNNER_BYPASS, false },
	{ "reset", RUNNER_RESET, false },
};

static int read_rule(struct reading *r, struct span args)
{
	const char *what = NULL;
	int ret;

	if (r->has_begun)
		return fault(r, "rules come before the first message");
	ret = runner_rule(r->script, args, &what);
	return ret == ERR_PARSE ? fault(r, what) : ret;
}

/* "C last \x00\x04..." */
static int read_datum(struct reading *r, struct span rest, struct runner_step *step)
{
	struct span side = runner_word(&rest);
	int ret;

	step->side = span_eq(side, SPAN_LIT("S")) ? ALG_SERVER : ALG_CLIENT;
	step->args = runner_word(&rest);
	if (step->side == ALG_CLIENT && !span_eq(side, SPAN_LIT("C")))
		return fault(r, "a datum is from C or S");
	ret = read_octets(r, span_trim(rest), &step->bytes);
	return ret == 0 ? add_step(r, step) : ret;
}

static int read_line(struct reading *r, struct span line)
{
	struct runner_step step = { .line = r->line, .channel = r->channel };
	struct span rest = line, word;
	unsigned channel;
	bool is_expected;

	if (is_octet_line(line, &is_expected, &channel))
		return read_octet_line(r, line, is_expected, channel);
	word = runner_word(&rest);
	if (word.len == 0 || word.ptr[0] == '#')
		return 0;
	if (span_eq(word, SPAN_LIT("set")))
		return read_set(r, rest);
	if (span_eq(word, SPAN_LIT("rule")))
		return read_rule(r, rest);
	for (unsigned i = 0; i < sizeof(line_words) / sizeof(line_words[0]); i++) {
		if (!span_eq(word, span_of(line_words[i].word)))
			continue;
		step.kind = line_words[i].kind;
		if (line_words[i].has_number && span_to_u32(runner_word(&rest), UINT32_MAX, &step.n) < 0)
			return fault(r, "a number is wanted");
		if (step.kind == RUNNER_DATUM)
			return read_datum(r, rest, &step);
		step.args = span_trim(rest);
		return add_step(r, &step);
	}
	return fault(r, "what is this?");
}

static void set_about(struct runner_script *s, unsigned channel)
{
	struct alg_about *about = &s->about[channel];
	const struct addr *client = &s->client[channel];
	const struct addr *client_sees = addr_is_set(&s->gateway[ALG_CLIENT]) ? &s->gateway[ALG_CLIENT] : &s->server;
	const struct addr *server_sees = addr_is_set(&s->gateway[ALG_SERVER]) ? &s->gateway[ALG_SERVER] : client;

	*about = s->about[0];
	about->client = alg_addr_out(client);
	about->server = alg_addr_out(&s->server);
	about->client_sees = alg_addr_out(client_sees);
	about->server_sees = alg_addr_out(server_sees);
	about->is_translated = client_sees != &s->server || server_sees != client;
}

/* The other channels are of the same client unless it was said otherwise. */
static void set_abouts(struct runner_script *s)
{
	for (unsigned channel = 0; channel < RUNNER_CHANNELS; channel++) {
		if (!addr_is_set(&s->client[channel])) {
			s->client[channel] = s->client[0];
			s->client[channel].port += (uint16_t)channel;
		}
		set_about(s, channel);
	}
	for (unsigned side = 0; side < ALG_SIDES; side++)
		if (!addr_is_set(&s->media[side]))
			s->media[side] = s->gateway[side];
}

static int read_lines(struct reading *r)
{
	char text[200];
	struct span line;
	int ret = 0;

	while (ret == 0 && next_line(r, &line))
		ret = read_line(r, line);
	if (ret < 0)
		return ret;
	set_abouts(r->script);
	ret = runner_rules_done(r->script, text, sizeof(text));
	if (ret == ERR_PARSE)
		return fault(r, text);
	if (ret == 0 && !r->has_begun)
		return fault(r, "nothing happens in this transcript");
	return ret;
}

int runner_script_new(const struct alg_module *module, struct span transcript, struct runner_report *report,
		      struct runner_script **ret)
{
	struct arena *arena = arena_new(16 << 20);
	struct runner_script *s = arena != NULL ? arena_alloc(arena, sizeof(*s)) : NULL;
	struct reading r = { .script = s, .report = report, .rest = transcript };
	int result = -ENOMEM;

	if (s == NULL)
		goto out;
	s->arena = arena;
	s->module = module;
	s->port = 40000;
	s->n_channels = 1;
	s->about[0].idle_ms = 7800000;
	s->client[0] = (struct addr){ .family = AF_INET, .ip = { 192, 0, 2, 10 }, .port = 40000 };
	s->server = (struct addr){ .family = AF_INET, .ip = { 10, 0, 0, 5 },
				   .port = module->default_port != 0 ? module->default_port : 4000 };
	s->steps = arena_alloc_raw(arena, RUNNER_STEPS_MAX * sizeof(s->steps[0]));
	if (s->steps == NULL)
		goto out;
	if (transcript.len > RUNNER_TEXT_MAX)
		result = fault(&r, "the transcript is too long");
	else
		result = read_lines(&r);
out:
	if (result < 0) {
		if (s != NULL)
			runner_rules_free(s);
		arena_free(arena);
		return result;
	}
	*ret = s;
	return 0;
}

void runner_script_free(struct runner_script *s)
{
	if (s == NULL)
		return;
	runner_rules_free(s);
	arena_free(s->arena);
}
