/* Runs scenario scripts: reads directives, moves the clock and the network, compares. Owns the loop, the configuration
 * and the state of the program under test for one script at a time. The language is documented in README.md. */
#include "tests/scenario/scenario.h"

#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "core/conf.h"
#include "core/config.h"
#include "core/err.h"
#include "core/log.h"
#include "tests/mock/fake_loop.h"
#include "tests/mock/fake_transport.h"
#include "tests/scenario/pattern.h"

enum { WHY_MAX = 4096, INCLUDES_MAX = 8, SCRIPT_MAX = 1 << 20, EVENTS_MAX = 256 };

struct scenario {
	const struct scenario_program *program;
	bool is_verbose;
	const char *file; /* being read, and where in it */
	unsigned line;
	unsigned depth;
	struct pattern_vars vars;
	struct loop *loop;
	const struct config *config;
	bool is_started;
	void *state;
	char *events[EVENTS_MAX];
	unsigned n_events;
	char why[WHY_MAX];
	char where[256]; /* file and line that failed: of the innermost file */
};

/* What follows a directive on its line, and its here-document. */
struct command {
	struct span name;
	struct span args;
	struct span body;
};

int scenario_fail(struct scenario *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	return ERR_STATE;
}

void scenario_event(struct scenario *s, const char *format, ...)
{
	char text[1024];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (s->is_verbose)
		printf("# event %s\n", text);
	if (s->n_events < EVENTS_MAX)
		s->events[s->n_events++] = strdup(text);
}

int scenario_set(struct scenario *s, struct span name, struct span value)
{
	return pattern_set(&s->vars, name, value);
}

bool scenario_get(const struct scenario *s, struct span name, struct span *ret_value)
{
	const char *value = pattern_get(&s->vars, name);
	if (!value)
		return false;
	*ret_value = span_of(value);
	return true;
}

struct loop *scenario_loop(const struct scenario *s)
{
	return s->loop;
}

struct span scenario_word(struct span *args)
{
	struct span rest = span_trim(*args);
	size_t end = 0;
	while (end < rest.len && rest.ptr[end] != ' ' && rest.ptr[end] != '\t')
		end++;
	*args = span_trim(span_sub(rest, end, rest.len));
	return span_sub(rest, 0, end);
}

/* ---- the network ---- */

static void print_lines(const char *mark, struct span text)
{
	while (text.ptr) {
		struct span line = span_trim(span_cut(&text, '\n'));
		printf("%s%.*s\n", mark, SPAN_ARG(line));
	}
}

static void show(const struct scenario *s, const char *arrow, const struct sip_flow *flow, struct span bytes)
{
	char remote[ADDR_TEXT_MAX];
	if (!s->is_verbose)
		return;
	printf("# %llu ms %s %s\n", (unsigned long long)(loop_now_ms(s->loop) - FAKE_LOOP_START_MS), arrow,
	       addr_text(&flow->remote, remote));
	print_lines("#   ", bytes);
}

static int need_start(struct scenario *s)
{
	if (s->is_started)
		return 0;
	if (!s->config)
		return scenario_fail(s, "no config yet");
	if (s->program->start(s, s->loop, s->config, &s->state) < 0)
		return s->why[0] ? ERR_STATE : scenario_fail(s, "the program did not start");
	s->is_started = true;
	return 0;
}

static int read_addr(struct scenario *s, struct span text, struct addr *ret)
{
	return addr_parse(text, ret) == 0 ? 0 : scenario_fail(s, "not an address with port: %.*s", SPAN_ARG(text));
}

static size_t body_length(struct span message)
{
	for (size_t i = 0; i + 4 <= message.len; i++)
		if (memcmp(message.ptr + i, "\r\n\r\n", 4) == 0)
			return message.len - i - 4;
	return 0;
}

/* LF to CRLF, and {len} to the length of the body. A message that has no blank line gets one. malloc'd. */
static char *to_wire(struct span text, size_t *ret_len)
{
	char *wire = malloc(2 * text.len + 64);
	char *out = malloc(2 * text.len + 64);
	struct buf b = buf_of(wire, 2 * text.len + 32);
	for (size_t i = 0; wire && i < text.len; i++) {
		if (text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r'))
			buf_putc(&b, '\r');
		buf_putc(&b, text.ptr[i]);
	}
	if (!wire || !out)
		goto fail;
	wire[b.len] = '\0';
	if (text.len > 0 && !strstr(wire, "\r\n\r\n"))
		buf_puts(&b, "\r\n");
	struct span rest = buf_span(&b);
	size_t length = body_length(rest);
	struct buf o = buf_of(out, 2 * text.len + 64);
	for (size_t i = 0; i < rest.len; i++) {
		if (span_starts(span_sub(rest, i, rest.len), SPAN_LIT("{len}"))) {
			buf_u64(&o, length);
			i += 4;
		} else {
			buf_putc(&o, rest.ptr[i]);
		}
	}
	free(wire);
	*ret_len = o.len;
	return out;
fail:
	free(wire);
	free(out);
	return NULL;
}

static int do_recv(struct scenario *s, struct command *c)
{
	struct addr from, to;
	int err = need_start(s);
	if (err == 0)
		err = read_addr(s, scenario_word(&c->args), &from);
	if (err == 0)
		err = read_addr(s, scenario_word(&c->args), &to);
	if (err < 0)
		return err;
	size_t len = 0;
	char *wire = to_wire(c->body, &len);
	if (!wire)
		return scenario_fail(s, "out of memory");
	struct span bytes = { wire, len };
	show(s, "<-", &(struct sip_flow){ .remote = from }, bytes);
	err = fake_transport_deliver(fake_transport(), &from, &to, bytes);
	if (err < 0)
		err = scenario_fail(s, "deliver: %s (is the second address a listener?)", err_str(err));
	free(wire);
	fake_loop_turn(s->loop);
	return err;
}

static int expect_none(struct scenario *s)
{
	const struct fake_packet *packet = s->is_started ? fake_transport_peek(fake_transport()) : NULL;
	char remote[ADDR_TEXT_MAX];
	if (!packet)
		return 0;
	return scenario_fail(s, "unexpected message to %s:\n%.*s", addr_text(&packet->flow.remote, remote),
			     SPAN_ARG(packet->bytes));
}

static int do_expect(struct scenario *s, struct command *c)
{
	struct addr to, from;
	struct span word = scenario_word(&c->args);
	int err = need_start(s);
	if (err < 0)
		return err;
	if (span_eq(word, SPAN_LIT("none")))
		return expect_none(s);
	err = read_addr(s, word, &to);
	if (err == 0 && c->args.len > 0)
		err = read_addr(s, c->args, &from);
	if (err < 0)
		return err;
	struct fake_packet *packet = fake_transport_take(fake_transport(), &to);
	if (!packet) {
		err = expect_none(s);
		return err < 0 ? err : scenario_fail(s, "nothing was sent");
	}
	show(s, "->", &packet->flow, packet->bytes);
	char why[WHY_MAX / 2];
	if (c->args.len > 0 && !addr_eq(&packet->flow.local, &from)) {
		err = scenario_fail(s, "sent from %s", addr_text(&packet->flow.local, why));
	} else if (!pattern_match_message(&s->vars, c->body, packet->bytes, why, sizeof(why))) {
		err = scenario_fail(s, "%s\nin:\n%.*s", why, SPAN_ARG(packet->bytes));
	}
	fake_packet_free(packet);
	return err;
}

static int do_drop(struct scenario *s, struct command *c)
{
	unsigned n = 1;
	struct span word = scenario_word(&c->args);
	int err = need_start(s);
	if (err < 0)
		return err;
	if (!span_eq(word, SPAN_LIT("next")) || (c->args.len > 0 && span_to_u32(c->args, 1000, &n) < 0))
		return scenario_fail(s, "use: %.*s next [COUNT]", SPAN_ARG(c->name));
	struct transport *net = fake_transport();
	switch (c->name.ptr[0]) {
	case 'd':
		(c->name.ptr[1] == 'r' ? fake_transport_drop : fake_transport_dup)(net, n);
		break;
	case 'r':
		fake_transport_refuse(net, n);
		break;
	default:
		fake_transport_swap(net);
	}
	return 0;
}

/* ---- time, events, variables ---- */

static int do_advance(struct scenario *s, struct command *c)
{
	static const struct {
		struct span unit;
		uint64_t ms;
	} units[] = { { SPAN_LIT("ms"), 1 }, { SPAN_LIT("s"), 1000 }, { SPAN_LIT("m"), 60000 } };
	size_t digits = 0;
	uint32_t n;
	int err = need_start(s);
	if (err < 0)
		return err;
	while (digits < c->args.len && c->args.ptr[digits] >= '0' && c->args.ptr[digits] <= '9')
		digits++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (!span_eq(span_sub(c->args, digits, c->args.len), units[i].unit))
			continue;
		if (span_to_u32(span_sub(c->args, 0, digits), 1000000, &n) < 0)
			break;
		fake_loop_advance(s->loop, n * units[i].ms);
		return 0;
	}
	return scenario_fail(s, "not a duration: %.*s", SPAN_ARG(c->args));
}

static int event_none(struct scenario *s)
{
	return s->n_events == 0 ? 0 : scenario_fail(s, "unexpected event: %s", s->events[0]);
}

static int do_event(struct scenario *s, struct command *c)
{
	if (span_eq(c->args, SPAN_LIT("none")))
		return event_none(s);
	if (s->n_events == 0)
		return scenario_fail(s, "there was no event");
	char *event = s->events[0];
	s->n_events--;
	memmove(s->events, s->events + 1, s->n_events * sizeof(s->events[0]));
	char why[WHY_MAX / 2];
	bool ok = pattern_match(&s->vars, c->args, span_of(event), why, sizeof(why));
	free(event);
	return ok ? 0 : scenario_fail(s, "%s", why);
}

static int do_set(struct scenario *s, struct command *c)
{
	struct span name = scenario_word(&c->args);
	return scenario_set(s, name, c->args) == 0 ? 0 : scenario_fail(s, "too many variables");
}

static int do_config(struct scenario *s, struct command *c)
{
	struct conf_errors errors = { .file = s->file };
	if (s->is_started)
		return scenario_fail(s, "config must come first");
	config_unref(s->config);
	s->config = NULL;
	int err = config_parse(c->body, "config", &errors, &s->config);
	if (err < 0)
		scenario_fail(s, "config: %s: %s", errors.n ? errors.items[0].pointer : "?",
			      errors.n ? errors.items[0].text : err_str(err));
	conf_errors_free(&errors);
	return err;
}

static int do_start(struct scenario *s, struct command *c)
{
	(void)c;
	return need_start(s);
}

static int do_hook(struct scenario *s, struct command *c)
{
	struct span name = scenario_word(&c->args);
	int err = need_start(s);
	if (err < 0)
		return err;
	for (unsigned i = 0; i < s->program->n_hooks; i++) {
		const struct scenario_hook *hook = &s->program->hooks[i];
		if (!span_eq(name, span_of(hook->name)))
			continue;
		err = hook->run(s, s->state, c->args, c->body);
		fake_loop_turn(s->loop);
		if (err < 0 && !s->why[0])
			scenario_fail(s, "hook: %s", err_str(err));
		return err;
	}
	return scenario_fail(s, "no hook %.*s", SPAN_ARG(name));
}

static int run_file(struct scenario *s, const char *path);

static int do_include(struct scenario *s, struct command *c)
{
	char path[1024];
	const char *slash = strrchr(s->file, '/');
	const char *file = s->file;
	unsigned line = s->line;
	if (s->depth == INCLUDES_MAX)
		return scenario_fail(s, "includes are nested too deep");
	snprintf(path, sizeof(path), "%.*s%.*s", slash ? (int)(slash - s->file) + 1 : 0, s->file, SPAN_ARG(c->args));
	s->depth++;
	int err = run_file(s, path);
	s->depth--;
	if (err == 0) { /* else they say where it failed */
		s->file = file;
		s->line = line;
	}
	return err;
}

/* ---- the script ---- */

static const struct {
	const char *name;
	int (*run)(struct scenario *s, struct command *c);
	bool has_raw_args, has_raw_body; /* variables are not replaced beforehand: patterns, YAML */
} directives[] = {
	{ "advance", do_advance, false, false }, { "config", do_config, false, true },
	{ "drop", do_drop, false, false },	 { "dup", do_drop, false, false },
	{ "event", do_event, true, false },	 { "expect", do_expect, false, true },
	{ "hook", do_hook, false, false },	 { "include", do_include, false, false },
	{ "recv", do_recv, false, false },	 { "refuse", do_drop, false, false },
	{ "set", do_set, false, false },	 { "start", do_start, false, false },
	{ "swap", do_drop, false, false },
};

static int run_filled(struct scenario *s, size_t directive, const struct command *c)
{
	int err = ERR_STATE;
	char *args = pattern_fill(&s->vars, c->args, s->why, sizeof(s->why));
	char *body = pattern_fill(&s->vars, c->body, s->why, sizeof(s->why));
	bool has_raw_args = directives[directive].has_raw_args;
	bool has_raw_body = directives[directive].has_raw_body;

	if ((args || has_raw_args) && (body || has_raw_body)) {
		struct command filled = { c->name, has_raw_args ? c->args : span_of(args),
					  has_raw_body ? c->body : span_of(body) };
		s->why[0] = '\0';
		err = directives[directive].run(s, &filled);
	}
	free(args);
	free(body);
	return err;
}

static int run_command(struct scenario *s, struct command *c)
{
	for (size_t i = 0; i < sizeof(directives) / sizeof(directives[0]); i++)
		if (span_eq(c->name, span_of(directives[i].name)))
			return run_filled(s, i, c);
	return scenario_fail(s, "unknown directive %.*s", SPAN_ARG(c->name));
}

/* Takes the lines up to one that is exactly `end`. */
static bool read_here(struct span *text, struct span end, struct span *ret_body, unsigned *ret_lines)
{
	const char *from = text->ptr;
	for (unsigned n = 1; text->ptr; n++) {
		struct span line = span_cut(text, '\n');
		if (span_eq(line, end)) {
			*ret_body = (struct span){ from, (size_t)(line.ptr - from) };
			*ret_lines = n;
			return true;
		}
	}
	return false;
}

static int run_text(struct scenario *s, struct span text)
{
	while (text.ptr) {
		struct span line = span_trim(span_cut(&text, '\n'));
		unsigned extra = 0;
		s->line++;
		if (span_is_empty(line) || line.ptr[0] == '#')
			continue;
		struct command c = { .args = line };
		c.name = scenario_word(&c.args);
		size_t mark = c.args.len;
		while (mark > 0 && c.args.ptr[mark - 1] != ' ')
			mark--;
		struct span last = span_sub(c.args, mark, c.args.len);
		if (span_starts(last, SPAN_LIT("<<"))) {
			if (!read_here(&text, span_sub(last, 2, last.len), &c.body, &extra))
				return scenario_fail(s, "here-document has no end");
			c.args = span_trim(span_sub(c.args, 0, mark));
		}
		int err = run_command(s, &c);
		if (err < 0)
			return err;
		s->line += extra;
	}
	return 0;
}

static int run_file(struct scenario *s, const char *path)
{
	int err = ERR_STATE;
	char *name = strdup(path);
	char *text = malloc(SCRIPT_MAX);
	FILE *in = fopen(path, "re");

	if (!in || !text || !name) {
		scenario_fail(s, "%s: cannot read", path);
		goto out;
	}
	s->file = name;
	s->line = 0;
	size_t len = fread(text, 1, SCRIPT_MAX, in);
	err = len == SCRIPT_MAX ? scenario_fail(s, "script too long") : run_text(s, (struct span){ text, len });
	if (err < 0 && !s->where[0])
		snprintf(s->where, sizeof(s->where), "%.200s:%u", name, s->line);
out:
	if (in)
		fclose(in);
	free(text);
	free(name);
	return err;
}

static void print_why(const struct scenario *s)
{
	printf("# %s\n", s->where[0] ? s->where : "at the end");
	print_lines("# ", span_of(s->why));
}

/* Everything must have been expected; then everything must come down without a leak. */
static int finish(struct scenario *s, int err)
{
	if (err == 0)
		err = expect_none(s);
	if (err == 0)
		err = event_none(s);
	if (s->is_started)
		s->program->stop(s->state);
	config_unref(s->config);
	if (s->loop)
		loop_free(s->loop);
	for (unsigned i = 0; i < s->n_events; i++)
		free(s->events[i]);
	pattern_vars_fini(&s->vars);
	return err;
}

static bool run_script(const struct scenario_program *program, const char *path, unsigned number, bool is_verbose)
{
	struct scenario *s = calloc(1, sizeof(*s));
	const char *slash = strrchr(path, '/');
	if (!s)
		return false;
	s->program = program;
	s->is_verbose = is_verbose;
	int err = loop_new(&s->loop);
	if (err == 0)
		err = run_file(s, path);
	err = finish(s, err);
	printf("%sok %u - %s\n", err < 0 ? "not " : "", number, slash ? slash + 1 : path);
	if (err < 0)
		print_why(s);
	fflush(stdout);
	free(s);
	return err == 0;
}

static int list_hooks(const struct scenario_program *program)
{
	for (unsigned i = 0; i < program->n_hooks; i++)
		printf("hook %s %s\n", program->hooks[i].name, program->hooks[i].usage);
	return 0;
}

int scenario_main(int argc, char **argv, const struct scenario_program *program)
{
	bool is_verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	int first = is_verbose ? 2 : 1;
	const char *top = getenv("POSTERN_SRCDIR");
	char pattern[1024];
	glob_t found = { .gl_pathc = 0 };
	unsigned failed = 0;

	if (argc > 1 && strcmp(argv[1], "--hooks") == 0)
		return list_hooks(program);
	if (!is_verbose)
		log_setup(2, LOG_TEXT, LOG_ERROR);
	if (first < argc) {
		printf("1..%d\n", argc - first);
		for (int i = first; i < argc; i++)
			failed += !run_script(program, argv[i], (unsigned)(i - first + 1), is_verbose);
		return failed > 0;
	}
	snprintf(pattern, sizeof(pattern), "%s/%s/*.scn", top ? top : ".", program->directory);
	if (glob(pattern, 0, NULL, &found) != 0) {
		printf("Bail out! no scripts in %s\n", pattern);
		return 99;
	}
	printf("1..%zu\n", found.gl_pathc);
	for (size_t i = 0; i < found.gl_pathc; i++)
		failed += !run_script(program, found.gl_pathv[i], (unsigned)i + 1, is_verbose);
	globfree(&found);
	return failed > 0;
}
