/* What the profile says to the commands of a session, and what follows from it for the data of that command: limits go to the newest
 * pinhole whose data has not begun, or to the next one that is made. */
#include "algs/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "algs/mask.h"
#include "core/log.h"
#include "core/policy.h"

enum { MINUTE_MS = 60000, LOGGED_TARGET_MAX = 512 };

static struct span span_from(struct alg_bytes bytes)
{
	return (struct span){ bytes.ptr, bytes.len };
}

/* Index in the module's table; the number of its rows for a verb that is not there. */
static unsigned verb_index(const struct session *s, struct span verb)
{
	unsigned i = 0;

	while (i < s->n_verbs && !span_ieq(verb, span_of(s->module->verbs[i].name)))
		i++;
	return i;
}

static uint32_t count_verb(struct session *s, unsigned index)
{
	struct session_verb *verb = &s->verbs[index];
	uint64_t now_ms = loop_now_ms(s->engine->loop);

	if (verb->n == 0 || now_ms - verb->since_ms >= MINUTE_MS)
		*verb = (struct session_verb){ .since_ms = now_ms };
	return ++verb->n;
}

static enum policy_direction direction_of(enum alg_direction direction)
{
	return direction == ALG_UP ? POLICY_UP : direction == ALG_DOWN ? POLICY_DOWN : POLICY_NO_DATA;
}

static struct policy_question question_of(struct session *s, const struct alg_question *q)
{
	unsigned index = verb_index(s, span_from(q->verb));

	return (struct policy_question){
		.verb = span_from(q->verb), .class = index < s->n_verbs ? span_of(s->module->verbs[index].class) : SPAN_NONE,
		.target = span_from(q->target), .user = span_from(q->user), .transport = span_from(q->transport),
		.mime = span_from(q->mime), .client = s->far[ALG_CLIENT], .server = s->far[ALG_SERVER],
		.direction = direction_of(q->direction), .has_size = q->has_size, .size = q->size,
		.minute_count = q->is_trial ? s->verbs[index].n : count_verb(s, index),
	};
}

static struct span copy_into(char **at, struct span text)
{
	struct span copy = { *at, text.len };

	if (text.len > 0)
		memcpy(*at, text.ptr, text.len);
	*at += text.len;
	return copy;
}

/* Keeps the question, to ask it again when the first octets of its data are known, and for what is stored meanwhile. */
static bool keep_texts(struct hole_verdict *verdict, const struct policy_question *q)
{
	size_t size = q->verb.len + q->target.len + q->user.len + q->transport.len + q->mime.len;
	char *at = malloc(size + 1);

	verdict->texts = at;
	if (at == NULL)
		return false;
	verdict->verb = copy_into(&at, q->verb);
	verdict->target = copy_into(&at, q->target);
	verdict->user = copy_into(&at, q->user);
	verdict->transport = copy_into(&at, q->transport);
	verdict->mime = copy_into(&at, q->mime);
	verdict->has_size = q->has_size;
	verdict->size = q->size;
	return true;
}

static bool apply(struct session *s, const struct policy_question *q, enum alg_direction direction, const struct policy_verdict *said)
{
	struct hole_verdict verdict = { .is_set = true, .direction = direction, .at_ms = loop_wall_ms(s->engine->loop), .rule = said->rule, .max_bytes = said->max_bytes,
					.bytes_per_s = said->bytes_per_s };
	struct hole *hole = hole_for_verdict(s);

	if (!keep_texts(&verdict, q))
		return false;
	verdict.wants_magic = policy_needs_data(s->conf->policy);
	if (hole != NULL) {
		hole_allow(hole, &verdict);
		return true;
	}
	hole_verdict_fini(&s->pending);
	s->pending = verdict;
	return true;
}

static void note_user(struct session *s, struct span user)
{
	if (!span_is_empty(user))
		snprintf(s->user, sizeof(s->user), "%.*s", SPAN_ARG(user));
}

static void log_verdict(const struct session *s, const struct policy_question *q, const struct policy_verdict *said)
{
	char text[LOGGED_TARGET_MAX];
	struct buf target = buf_of(text, sizeof(text));

	mask_text(q->target, &target);
	LOG_GATED(20, LOG_INFO, "alg", said->is_allowed ? "command allowed" : "command denied", LF_TEXT("session", s->group.id),
		  LF_TEXT("rule", said->rule), LF_SPAN("verb", q->verb), LF_SPAN("target", buf_span(&target)), LF_SPAN("user", q->user));
}

static void show(struct session *s, const struct policy_question *q, const struct policy_verdict *said)
{
	if (said->would_deny != NULL)
		session_step(s, said->would_deny, "%.*s %.*s would be denied (observed)", SPAN_ARG(q->verb), SPAN_ARG(q->target));
	if (!said->is_allowed)
		session_step(s, said->rule, "%.*s %.*s denied", SPAN_ARG(q->verb), SPAN_ARG(q->target));
	else if (q->direction != POLICY_NO_DATA)
		session_step(s, said->rule, "%.*s %.*s allowed", SPAN_ARG(q->verb), SPAN_ARG(q->target));
	if (said->is_logged)
		log_verdict(s, q, said);
}

void session_policy(struct session *s, const struct alg_question *question, struct alg_answer *ret)
{
	struct policy_question q = question_of(s, question);
	struct policy_verdict said;

	if (question->is_trial)
		policy_explain(s->conf->policy, &q, &said);
	else
		policy_decide(s->conf->policy, &q, &said);
	*ret = (struct alg_answer){ .is_allowed = said.is_allowed, .code = said.code };
	_Static_assert(sizeof(ret->text) >= sizeof(said.text), "the rule's text fits");
	memcpy(ret->text, said.text, sizeof(said.text));
	if (question->is_trial)
		return;
	note_user(s, q.user);
	show(s, &q, &said);
	if (!said.is_allowed || question->direction == ALG_NO_DATA)
		return;
	if (!apply(s, &q, question->direction, &said)) /* out of memory: what cannot be checked is not allowed */
		*ret = (struct alg_answer){ .is_allowed = false };
}

bool session_judge_data(struct session *s, struct hole *hole, struct span magic)
{
	const struct hole_verdict *v = &hole->verdict;
	struct policy_question q = {
		.verb = v->verb, .target = v->target, .user = v->user, .transport = v->transport, .mime = v->mime, .magic = magic,
		.client = s->far[ALG_CLIENT], .server = s->far[ALG_SERVER], .direction = direction_of(v->direction),
		.has_size = v->has_size, .size = v->size,
	};
	struct policy_verdict said;
	unsigned index = verb_index(s, v->verb);

	q.class = index < s->n_verbs ? span_of(s->module->verbs[index].class) : SPAN_NONE;
	policy_explain(s->conf->policy, &q, &said);
	if (said.is_allowed)
		return true;
	policy_decide(s->conf->policy, &q, &said); /* once more, to be counted */
	hole->verdict.rule = said.rule;
	show(s, &q, &said);
	snprintf(hole->limit_text, sizeof(hole->limit_text), "its content is not allowed (rule %s)", said.rule);
	return false;
}
