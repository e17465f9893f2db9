/* TFTP: one datagram from the client, one from the server, and both once more as data. Nothing but a request of the client opens anything, or
 * is held back; no datagram is changed; and what is refused is answered with an error. */
#include <stdlib.h>
#include <string.h>

#include "algs/flow.h"
#include "algs/tftp/tftp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
	unsigned n_questions, n_reserved, n_armed, n_transfers;
	bool is_denying, has_ended; /* a datum was the last */
};

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static uint64_t now_ms(void *arg)
{
	(void)arg;
	return 1;
}

static int hole_reserve(void *arg, const struct alg_want *want, uint32_t *ret_hole)
{
	struct fuzz *f = arg;

	must(want->class == 0 && want->listener == ALG_CLIENT && want->at.family == 0);
	must(f->n_questions > 0);
	f->n_reserved++;
	*ret_hole = 1;
	return 0;
}

static int hole_arm(void *arg, uint32_t hole)
{
	struct fuzz *f = arg;

	must(hole == 1);
	f->n_armed++;
	return 0;
}

static void policy(void *arg, const struct alg_question *q, struct alg_answer *ret)
{
	struct fuzz *f = arg;

	must(q->verb.len == 3 && q->target.len > 0 && memchr(q->target.ptr, '\0', q->target.len) == NULL);
	must(q->direction == (q->verb.ptr[0] == 'W' ? ALG_UP : ALG_DOWN));
	f->n_questions++;
	ret->is_allowed = !f->is_denying;
}

static void transfer(void *arg, const struct alg_transfer *t)
{
	struct fuzz *f = arg;

	must(t->hole == 1 && t->path.len > 0 && (!t->is_ok || (f->has_ended && t->code == 0)));
	f->n_transfers++;
}

static void nothing(void *arg)
{
	(void)arg;
}

static const struct flow_owner owner = {
	.now_ms = now_ms, .hole_reserve = hole_reserve, .hole_arm = hole_arm, .policy = policy, .transfer = transfer, .ending = nothing,
};

/* Whatever comes: after the last one nothing is "more". */
static void pass_data(struct fuzz *f, struct flow *flow, struct span bytes)
{
	static const char last[] = "\0\3\0\1", acknowledgement[] = "\0\4\0\1";
	const struct span data[] = { bytes, { last, 4 }, bytes, { acknowledgement, 4 }, bytes };

	for (unsigned i = 0; i < 2 * sizeof(data) / sizeof(data[0]); i++) {
		enum alg_datum answer = flow_datum(flow, 1, i % 2 ? ALG_CLIENT : ALG_SERVER, data[i / 2]);

		must(answer != ALG_DATUM_STRAY || f->has_ended);
		must(answer != ALG_DATUM_MORE || !f->has_ended);
		f->has_ended |= answer == ALG_DATUM_LAST;
	}
}

static void play(struct fuzz *f, const char *data, size_t size)
{
	static const struct alg_about about = { .client = { .family = 4 }, .server = { .family = 4 } };
	struct alg_event ended = { .type = ALG_EV_ENDED, .hole = 1, .octets = { 1, 1 } };
	struct flow *flow = NULL;
	struct span out;

	must(flow_new(&tftp_module, &about, &owner, f, &flow) == 0);
	must(flow_input(flow, ALG_SERVER, (struct span){ data, size }, false) == 0);
	must(f->n_questions == 0);
	out = flow_output(flow, ALG_CLIENT);
	must(span_eq(out, (struct span){ data, size }));
	flow_sent(flow, ALG_CLIENT, out.len);
	must(flow_input(flow, ALG_CLIENT, (struct span){ data, size }, false) == 0);
	out = flow_output(flow, ALG_SERVER);
	if (f->n_questions == 1 && f->is_denying) {
		must(out.ptr == NULL && f->n_reserved == 0);
		out = flow_output(flow, ALG_CLIENT);
		must(out.len > 4 && memcmp(out.ptr, "\0\5\0\2", 4) == 0 && out.ptr[out.len - 1] == '\0');
	} else {
		must(span_eq(out, (struct span){ data, size }) && f->n_reserved <= f->n_questions && f->n_armed == f->n_reserved);
		must(flow_output(flow, ALG_CLIENT).ptr == NULL);
	}
	pass_data(f, flow, (struct span){ data, size });
	flow_event(flow, &ended);
	must(f->n_transfers == f->n_armed && flow_fault(flow) == NULL);
	flow_free(flow);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { 0 };

	if (size > 65535)
		return 0;
	play(&f, (const char *)data, size);
	f = (struct fuzz){ .is_denying = true };
	play(&f, (const char *)data, size);
	return 0;
}
