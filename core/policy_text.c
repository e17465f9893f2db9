/* core/policy_text.h. A text that does not fit ends at its last whole character. */
#include "core/policy_text.h"

#include "core/buf.h"

enum { FOREIGN_MAX = 64 /* of what a peer chose, within the text */ };

/* The configuration's own text: UTF-8 without controls. */
static void put_own(struct buf *out, struct span text)
{
	while (text.len > 0) {
		uint32_t code = 0;
		size_t len = span_utf8(text, &code);
		bool is_fit = len > 0 && code >= 0x20 && (code < 0x7f || code >= 0xa0);

		if (is_fit)
			buf_put(out, span_sub(text, 0, len));
		else
			buf_putc(out, '?');
		text = span_sub(text, len > 0 ? len : 1, text.len);
	}
}

/* What a peer chose: ASCII only, so that nothing in it steers whoever reads it. */
static void put_foreign(struct buf *out, struct span text)
{
	for (size_t i = 0; i < text.len && i < FOREIGN_MAX; i++)
		buf_putc(out, text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f ? text.ptr[i] : '?');
	if (text.len > FOREIGN_MAX)
		buf_puts(out, "...");
}

/* Puts what the placeholder that `text` begins with stands for. Returns its length, or 0 when there is none. */
static size_t put_placeholder(struct buf *out, struct span text, const char *rule, const struct policy_question *question)
{
	const struct {
		struct span name, stands_for;
	} table[] = {
		{ SPAN_LIT("{verb}"), question->verb },
		{ SPAN_LIT("{target}"), question->target },
		{ SPAN_LIT("{user}"), question->user },
	};

	if (span_starts(text, SPAN_LIT("{rule}"))) {
		put_own(out, span_of(rule));
		return sizeof("{rule}") - 1;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!span_starts(text, table[i].name))
			continue;
		put_foreign(out, table[i].stands_for);
		return table[i].name.len;
	}
	return 0;
}

void policy_text_write(const char *pattern, const char *rule, const struct policy_question *question, char ret[POLICY_TEXT_MAX])
{
	struct buf out = buf_of(ret, POLICY_TEXT_MAX - 1);
	struct span left = span_of(pattern);

	while (left.len > 0) {
		size_t plain = span_find(left, '{');
		size_t len;

		put_own(&out, span_sub(left, 0, plain));
		left = span_sub(left, plain, left.len);
		len = put_placeholder(&out, left, rule, question);
		if (len == 0 && left.len > 0) {
			buf_putc(&out, '{');
			len = 1;
		}
		left = span_sub(left, len, left.len);
	}
	ret[out.len] = '\0';
}
