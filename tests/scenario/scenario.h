/* Scenario tests: a text script plays everyone around the code under test, with a clock set by hand and a scripted
 * network. README.md in this folder documents the language. This library runs scripts; a program on top adds what it
 * tests and its hooks:
 *
 *	static const struct scenario_program program = { .name = "stack", .directory = "tests/scenario/stack",
 *		.start = start, .stop = stop, .hooks = hooks, .n_hooks = ... };
 *	int main(int argc, char **argv) { return scenario_main(argc, argv, &program); }
 *
 * Link order: tests/mock/fake_loop.c and fake_transport.c as sources of the program, then libscenario.a, then the
 * project's archives; the mocks then stand in for core/loop.c and sbc/transport.c. */
#ifndef TESTS_SCENARIO_SCENARIO_H
#define TESTS_SCENARIO_SCENARIO_H

#include "core/span.h"

struct config;
struct loop;
struct scenario;

/* One `hook NAME args` line. args is the rest of the line after substitution, body the here-document (substituted,
 * LF line ends) or empty. 0, or an error that fails the script; say why with scenario_fail(). */
typedef int scenario_hook_fn(struct scenario *s, void *state, struct span args, struct span body);

struct scenario_hook {
	const char *name;
	const char *usage; /* for the listing printed with --hooks */
	scenario_hook_fn *run;
};

struct scenario_program {
	const char *name;
	const char *directory; /* of the *.scn files, from the top of the source tree */
	/* Makes the code under test, before the first directive that needs it. The configuration is borrowed until stop(). */
	int (*start)(struct scenario *s, struct loop *loop, const struct config *config, void **ret_state);
	void (*stop)(void *state); /* state may be NULL when start() failed */
	const struct scenario_hook *hooks;
	unsigned n_hooks;
};

/* Without arguments every script of the program's directory, else the files named; TAP on standard output. -v shows
 * every message sent. Returns the exit code. */
int scenario_main(int argc, char **argv, const struct scenario_program *program);

/* Queues one line for the script's `event` directive: what the code under test told its user. */
void scenario_event(struct scenario *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Says why the current line fails; returns ERR_STATE for `return scenario_fail(...)`. */
int scenario_fail(struct scenario *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Variables of the script, for `{name}`. */
int scenario_set(struct scenario *s, struct span name, struct span value);
bool scenario_get(const struct scenario *s, struct span name, struct span *ret_value);
struct loop *scenario_loop(const struct scenario *s);
/* Cuts the next word off *args (blanks separate); empty at the end. */
struct span scenario_word(struct span *args);

#endif
