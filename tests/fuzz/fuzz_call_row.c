/* Rows of live calls: what is accepted fits where it goes, cannot begin a header line of its own, and comes back the same when it is
 * written and read again. */
#include <stdlib.h>

#include "core/id.h"
#include "sbc/call_row.h"
#include "sbc/guard.h"

enum { ARENA = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void check_line(struct span text)
{
	must(span_find(text, '\r') == text.len && span_find(text, '\n') == text.len);
}

static void check_leg(const struct call_row_leg *leg)
{
	const struct span lines[] = { leg->realm, leg->peer, leg->call_id, leg->local_tag, leg->remote_tag, leg->local, leg->remote,
				      leg->request_uri, leg->target, leg->strict_target, leg->user_agent };
	struct span routes = leg->routes;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		check_line(lines[i]);
	must(leg->local_tag.len < ID_TEXT_MAX && leg->target.len <= GUARD_URI_MAX && leg->strict_target.len <= GUARD_URI_MAX);
	must(addr_is_set(&leg->at) && leg->at.port != 0 && addr_is_set(&leg->to) && leg->to.port != 0);
	while (!span_is_empty(routes)) {
		struct span line = span_cut(&routes, '\n');

		must(span_starts(line, SPAN_LIT("Route: ")) && line.ptr[line.len - 1] == '\r');
		check_line(span_sub(line, 0, line.len - 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[2 * CALL_ROW_BYTES_MAX], second[2 * CALL_ROW_BYTES_MAX];
	struct buf one = buf_of(first, sizeof(first)), two = buf_of(second, sizeof(second));
	struct arena *arena = arena_new(ARENA), *other = arena_new(4 * ARENA);
	struct call_row row, again;
	const char *why = NULL;
	int err = call_row_read((struct span){ (const char *)data, size }, arena, &row, &why);

	must((err == 0) == (why == NULL));
	if (err == 0) {
		must(row.n_streams <= MEDIA_STREAMS_MAX && row.n_steps <= CALL_ROW_STEPS_MAX);
		check_leg(&row.leg[MEDIA_A]);
		check_leg(&row.leg[MEDIA_B]);
		call_row_write(&row, &one);
		must(!one.is_full);
		if (one.len <= CALL_ROW_BYTES_MAX) { /* escapes can be longer than what they came from */
			must(call_row_read(buf_span(&one), other, &again, &why) == 0);
			call_row_write(&again, &two);
			must(span_eq(buf_span(&one), buf_span(&two)));
		}
	}
	arena_free(arena);
	arena_free(other);
	return 0;
}
