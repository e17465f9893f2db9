/* The edits of one message, collected before any is made: either all are, or the message stays as it came. */
#ifndef ALGS_RTSP_RTSP_EDITS_H
#define ALGS_RTSP_RTSP_EDITS_H

#include "core/buf.h"

enum { RTSP_EDITS_MAX = 60, RTSP_EDITS_TEXT_MAX = 2000 }; /* a little less than a flow allows */

struct rtsp_edit {
	struct span at;              /* in the message; empty: an insertion */
	size_t text_at, text_len;
};
struct rtsp_edits {
	struct rtsp_edit list[RTSP_EDITS_MAX];
	unsigned n;
	char text[RTSP_EDITS_TEXT_MAX];
	size_t text_len;
	bool is_full;                /* something did not fit: none of them may be made */
};

/* Nothing when it stands there already. */
static inline void rtsp_edit(struct rtsp_edits *edits, struct span at, struct span with)
{
	if (span_eq(at, with))
		return;
	if (edits->n == RTSP_EDITS_MAX || with.len > sizeof(edits->text) - edits->text_len) {
		edits->is_full = true;
		return;
	}
	edits->list[edits->n++] = (struct rtsp_edit){ at, edits->text_len, with.len };
	if (with.len > 0)
		memcpy(edits->text + edits->text_len, with.ptr, with.len);
	edits->text_len += with.len;
}

static inline void rtsp_edit_number(struct rtsp_edits *edits, struct span at, uint64_t number)
{
	char digits[24];
	struct buf b = buf_of(digits, sizeof(digits));

	buf_u64(&b, number);
	rtsp_edit(edits, at, buf_span(&b));
}

#endif
