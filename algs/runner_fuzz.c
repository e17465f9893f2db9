/* Plays a transcript wrong: messages changed, cut, lost and repeated, events that do not belong, a kernel that is
 * slow or refuses, peers that do not read. Nothing is expected of the module but that it stays within its bounds;
 * and of the flow, that octets that nobody touched come out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "algs/runner_owner.h"
#include "core/buf.h"
#include "core/err.h"

enum { MESSAGE_MAX = 1 << 17, SCRATCH_MAX = 2 * MESSAGE_MAX };

struct fuzz {
	const struct runner_script *script;
	struct runner_owner *owners[RUNNER_CHANNELS];
	uint64_t random;
	uint8_t *message;       /* SCRATCH_MAX octets */
	size_t len;
};

/* xorshift64*: the same seed, the same numbers. */
static uint32_t below(struct fuzz *f, uint32_t bound)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return (uint32_t)((f->random * 0x2545f4914f6cdd1dULL) >> 33) % bound;
}

/* Changes of a message */

static void replace(struct fuzz *f, size_t at, size_t n, struct span with)
{
	if (at > f->len || n > f->len - at || f->len - n + with.len > MESSAGE_MAX)
		return;
	memmove(f->message + at + with.len, f->message + at + n, f->len - at - n);
	if (with.len > 0)
		memcpy(f->message + at, with.ptr, with.len);
	f->len = f->len - n + with.len;
}

static const char *const numbers[] = {
	"0", "1", "255", "256", "1023", "65535", "65536", "4294967295", "4294967296", "18446744073709551616", "-1", "00000000001",
};
static const char *const tokens[] = {
	"\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", ",", "|||", "(", ")", "::", "[", "]", "$", ";", "=", "\"", "%00", "/../", "*",
	"\xff\xf4\xff\xf2", "\xff", "\xc0\x80", "227 ", "\t\r\n ",
};

static void change_number(struct fuzz *f)
{
	size_t from = f->len > 0 ? below(f, (uint32_t)f->len) : 0, to;

	while (from < f->len && (f->message[from] < '0' || f->message[from] > '9'))
		from++;
	for (to = from; to < f->len && f->message[to] >= '0' && f->message[to] <= '9';)
		to++;
	replace(f, from, to - from, span_of(numbers[below(f, sizeof(numbers) / sizeof(numbers[0]))]));
}

static void insert_run(struct fuzz *f, size_t at)
{
	static char run[4096];
	size_t len = 1 + below(f, sizeof(run));

	memset(run, "A0 ,\xff"[below(f, 5)], len);
	replace(f, at, 0, (struct span){ run, len });
}

static void insert_other(struct fuzz *f, size_t at)
{
	const struct runner_step *other = &f->script->steps[below(f, f->script->n_steps)];

	replace(f, at, 0, span_sub(other->bytes, 0, other->bytes.len > 0 ? below(f, (uint32_t)other->bytes.len + 1) : 0));
}

static void change(struct fuzz *f)
{
	size_t at = f->len > 0 ? below(f, (uint32_t)f->len) : 0, n = f->len > at ? 1 + below(f, (uint32_t)(f->len - at)) : 0;
	char octet = (char)below(f, 256);

	switch (below(f, 9)) {
	case 0:
		if (f->len > 0)
			f->message[at] ^= (uint8_t)(1U << below(f, 8));
		break;
	case 1:
		replace(f, at, f->len > at, (struct span){ &octet, 1 });
		break;
	case 2:
		replace(f, at, n > 16 ? 1 + n % 16 : n, SPAN_NONE);
		break;
	case 3:
		replace(f, at, f->len - at, SPAN_NONE);
		break;
	case 4:
		replace(f, at, below(f, 2) && f->len > at, span_of(tokens[below(f, sizeof(tokens) / sizeof(tokens[0]))]));
		break;
	case 5:
	case 6:
		change_number(f);
		break;
	case 7:
		insert_other(f, at);
		break;
	default:
		insert_run(f, at);
		break;
	}
}

/* Octets in and out */

static void read_some(struct fuzz *f)
{
	struct span out;

	for (unsigned i = 0; i < f->script->n_channels * ALG_SIDES; i++) {
		struct joint *joint = &f->owners[i / ALG_SIDES]->joint;
		enum alg_side side = i % ALG_SIDES == 0 ? ALG_CLIENT : ALG_SERVER;

		while (below(f, 3) > 0 && (out = joint_output(joint, side)).ptr != NULL)
			joint_sent(joint, side, out.len == 0 ? 0 : 1 + below(f, (uint32_t)out.len));
	}
	for (unsigned i = 0; f->script->n_channels > 1 && i < f->script->n_channels; i++)
		if (below(f, 2) > 0)
			joint_move(&f->owners[i]->joint);
}

static void read_all(struct fuzz *f)
{
	bool has_moved = true;

	while (has_moved) {
		has_moved = false;
		for (unsigned i = 0; i < f->script->n_channels; i++)
			has_moved |= joint_move(&f->owners[i]->joint);
		for (unsigned i = 0; i < f->script->n_channels * ALG_SIDES; i++) {
			struct joint *joint = &f->owners[i / ALG_SIDES]->joint;
			enum alg_side side = i % ALG_SIDES == 0 ? ALG_CLIENT : ALG_SERVER;
			struct span out = joint_output(joint, side);

			if (out.ptr != NULL)
				joint_sent(joint, side, out.len);
			has_moved |= out.ptr != NULL;
		}
	}
	for (unsigned i = 0; i < f->script->n_channels; i++)
		if (flow_wants_tls(f->owners[i]->flow))
			flow_tls_begun(f->owners[i]->flow);
}

static void read_mostly(struct fuzz *f, uint32_t of)
{
	if (below(f, of) > 0)
		read_all(f);
	else
		read_some(f);
}

static void send_message(struct fuzz *f, struct joint *joint, enum alg_side side)
{
	bool is_datagram = f->script->module->is_datagram;

	for (size_t at = 0; at < f->len || is_datagram;) {
		size_t room = joint_room(joint, side), n = f->len - at;

		if (n > room && is_datagram)
			break;
		if (n > room)
			n = room;
		if (n > 1 && !is_datagram && below(f, 2) == 0)
			n = 1 + below(f, (uint32_t)n);
		if (n == 0 && !is_datagram)
			break; /* it does not read: the rest is lost */
		if (joint_input(joint, side, (struct span){ (const char *)f->message + at, n }, false) < 0)
			break;
		at += n;
		read_mostly(f, 4);
		if (is_datagram)
			break;
	}
}

static void send_step(struct fuzz *f, const struct runner_step *step)
{
	unsigned n_changes = below(f, 2) == 0 ? 0 : 1 + below(f, 6);

	f->len = step->bytes.len < MESSAGE_MAX ? step->bytes.len : MESSAGE_MAX;
	if (f->len > 0)
		memcpy(f->message, step->bytes.ptr, f->len);
	while (n_changes-- > 0)
		change(f);
	send_message(f, &f->owners[step->channel]->joint, below(f, 32) == 0 ? alg_other(step->side) : step->side);
}

/* Events; what cannot be now is refused by the owner. */
static void happen(struct fuzz *f, struct runner_owner *owner, enum runner_kind kind, uint32_t n)
{
	switch (kind) {
	case RUNNER_OPENED:
		runner_owner_opened(owner, n);
		break;
	case RUNNER_ENDED:
		runner_owner_ended(owner, n, (uint64_t[]){ below(f, 3), below(f, 100000) });
		break;
	case RUNNER_EXPIRED:
		runner_owner_expired(owner, n);
		break;
	case RUNNER_LIMIT:
		runner_owner_limit(owner, n, "max-bytes");
		break;
	case RUNNER_COMMITTED:
		runner_owner_committed(owner, n, below(f, 8) == 0 ? ERR_LIMIT : 0);
		break;
	case RUNNER_TIMER:
		runner_owner_timer(owner, n);
		break;
	case RUNNER_SLEEP:
		runner_owner_sleep(owner, n);
		break;
	default:
		break;
	}
}

static void happen_at_random(struct fuzz *f)
{
	enum runner_kind kind = RUNNER_OPENED + below(f, RUNNER_SLEEP - RUNNER_OPENED + 1);
	struct runner_owner *owner = f->owners[f->script->n_channels > 1 ? below(f, f->script->n_channels) : 0];
	uint32_t n = 1 + below(f, owner->n_holes + 1);

	if (kind == RUNNER_COMMITTED && owner->n_late > 0)
		n = owner->late[below(f, owner->n_late)];
	if (kind == RUNNER_TIMER)
		n = below(f, RUNNER_TIMERS);
	if (kind == RUNNER_SLEEP)
		n = below(f, 20000);
	happen(f, owner, kind, n);
}

/* Rounds */

static void play(struct fuzz *f, const struct runner_step *step)
{
	if (step->kind == RUNNER_SEND)
		send_step(f, step);
	else if (step->kind == RUNNER_END)
		joint_input(&f->owners[step->channel]->joint, step->side, SPAN_NONE, true);
	else if (step->kind == RUNNER_DATUM)
		(void)flow_datum(f->owners[step->channel]->joint.flow, step->n, step->side, step->bytes);
	else
		happen(f, f->owners[step->channel], step->kind, step->n);
	if (below(f, 4) == 0)
		happen_at_random(f);
	read_mostly(f, 8);
}

/* Everything ends, and nobody may still wait for anything but resume(). */
static void finish(struct fuzz *f, struct runner_owner *owner)
{
	for (unsigned side = 0; side < ALG_SIDES; side++)
		joint_input(&owner->joint, side, SPAN_NONE, true);
	while (owner->n_late > 0)
		runner_owner_committed(owner, owner->late[0], 0);
	for (uint32_t hole = 1; hole <= owner->n_holes; hole++) {
		runner_owner_ended(owner, hole, (uint64_t[]){ 1, 1 });
		runner_owner_expired(owner, hole);
	}
	read_all(f);
}

static const char *find_fault(const struct runner_owner *owner)
{
	const struct joint *joint = &owner->joint;
	struct flow_stats stats;

	flow_stats(owner->flow, &stats);
	if (flow_fault(owner->flow) != NULL)
		return flow_fault(owner->flow);
	if (joint->is_deaf || joint->is_speaking) /* what nobody hears is not counted */
		return NULL;
	if (flow_is_finished(owner->flow, ALG_CLIENT) && flow_is_finished(owner->flow, ALG_SERVER) &&
	    stats.edited[0] + stats.edited[1] + stats.dropped[0] + stats.dropped[1] + stats.replies[0] + stats.replies[1] == 0 &&
	    (stats.octets_in[ALG_CLIENT] != stats.octets_out[ALG_SERVER] ||
	     stats.octets_in[ALG_SERVER] != stats.octets_out[ALG_CLIENT]))
		return "octets were lost that nobody dropped";
	return NULL;
}

static int begin(struct fuzz *f)
{
	bool is_late = below(f, 2) == 0;
	int ret = 0;

	for (unsigned i = 0; i < f->script->n_channels; i++)
		memset(f->owners[i], 0, sizeof(*f->owners[i]));
	for (unsigned i = 0; ret == 0 && i < f->script->n_channels; i++)
		ret = runner_owner_begin(f->owners[i], f->script, i, is_late);
	for (unsigned i = 0; i < f->script->n_channels; i++)
		f->owners[i]->all = f->owners;
	return ret;
}

static bool may_go_on(const struct fuzz *f)
{
	for (unsigned i = 0; i < f->script->n_channels; i++)
		if (flow_is_reset(f->owners[i]->flow) || flow_fault(f->owners[i]->flow) != NULL)
			return false;
	return true;
}

static const char *end(struct fuzz *f)
{
	const char *fault = NULL;

	for (unsigned i = 0; i < f->script->n_channels; i++)
		finish(f, f->owners[i]);
	for (unsigned i = 0; fault == NULL && i < f->script->n_channels; i++)
		fault = find_fault(f->owners[i]);
	return fault;
}

static int run_round(struct fuzz *f, struct runner_report *report, unsigned round)
{
	const struct runner_script *s = f->script;
	const char *fault = NULL;
	int ret = begin(f);

	if (ret < 0)
		runner_fail(report, 0, "the module cannot be run: %s", err_str(ret));
	for (unsigned i = 0; ret == 0 && i < s->n_steps && may_go_on(f); i++) {
		unsigned luck = below(f, 24);

		if (runner_is_expectation(&s->steps[i]) || luck == 0)
			continue;
		play(f, &s->steps[luck == 1 ? below(f, s->n_steps) : i]);
		if (luck == 2)
			i = below(f, i + 1);
	}
	if (ret == 0)
		fault = end(f);
	for (unsigned i = 0; i < s->n_channels; i++)
		flow_free(f->owners[i]->flow);
	report->n_passes++;
	return fault != NULL ? runner_fail(report, 0, "round %u: %s", round, fault) : ret;
}

int runner_fuzz(const struct alg_module *module, struct span transcript, uint64_t seed, unsigned rounds, struct runner_report *ret)
{
	struct runner_script *script = NULL;
	struct fuzz f = { .random = seed * 0x9e3779b97f4a7c15ULL + 1 };
	int result;

	*ret = (struct runner_report){ .pass = "fuzz" };
	if (f.random == 0)
		f.random = 1; /* xorshift stays there */
	result = runner_script_new(module, transcript, ret, &script);
	if (result < 0)
		return result;
	f.script = script;
	f.message = malloc(SCRATCH_MAX);
	if (f.message == NULL)
		result = -ENOMEM;
	for (unsigned i = 0; i < script->n_channels; i++) {
		f.owners[i] = calloc(1, sizeof(*f.owners[i]));
		if (f.owners[i] == NULL)
			result = -ENOMEM;
	}
	for (unsigned round = 0; result == 0 && round < rounds; round++)
		result = run_round(&f, ret, round);
	for (unsigned i = 0; i < script->n_channels; i++)
		free(f.owners[i]);
	free(f.message);
	runner_script_free(script);
	return result;
}
