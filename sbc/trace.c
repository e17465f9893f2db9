/* A byte ring of records {header, text}. A record never wraps: what is left at the end is skipped. */
#include "sbc/trace.h"

#include <stdlib.h>

#include "core/err.h"
#include "core/hash.h"

struct record {
	uint32_t size;      /* of the whole record, a multiple of 8; 0: skip to the start */
	uint32_t text_len;  /* bytes of text, after the Call-ID */
	uint32_t full_len;
	uint16_t call_id_len;
	bool is_out;
	int64_t at_ms;
	uint64_t call_id_hash;
	struct addr local, remote;
	char bytes[];       /* Call-ID, then the text */
};

struct trace {
	char *ring;
	size_t size;
	size_t head;        /* where the next record goes */
	size_t tail;        /* oldest record */
	bool is_wrapped;    /* head is behind tail */
	uint64_t dropped;
	int64_t dropped_at_ms; /* time of the newest record that was dropped */
};

struct trace *trace_new(size_t bytes)
{
	struct trace *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->size = bytes / 8 * 8;
	if (t->size < 65536)
		t->size = 65536;
	t->ring = malloc(t->size);
	if (t->ring == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void trace_free(struct trace *trace)
{
	if (trace != NULL)
		free(trace->ring);
	free(trace);
}

static struct record *record_at(const struct trace *t, size_t at)
{
	return (struct record *)(void *)(t->ring + at);
}

/* Nothing fits behind `at`, or a skip mark stands there. */
static bool is_end(const struct trace *t, size_t at)
{
	return t->size - at < sizeof(struct record) || record_at(t, at)->size == 0;
}

static void drop_oldest(struct trace *t)
{
	if (is_end(t, t->tail)) {
		t->tail = 0;
		t->is_wrapped = false;
		return;
	}
	t->dropped++;
	t->dropped_at_ms = record_at(t, t->tail)->at_ms;
	t->tail += record_at(t, t->tail)->size;
}

static void make_room(struct trace *t, size_t size)
{
	if (t->size - t->head < size) { /* skip the rest; whatever lives there goes */
		while (t->is_wrapped)
			drop_oldest(t);
		if (t->size - t->head >= sizeof(struct record))
			record_at(t, t->head)->size = 0;
		t->head = 0;
		t->is_wrapped = true;
	}
	while (t->is_wrapped && t->tail - t->head < size)
		drop_oldest(t);
}

void trace_add(struct trace *t, int64_t wall_ms, bool is_out, const struct sip_flow *flow, struct span call_id,
	       struct span bytes)
{
	size_t text_len = bytes.len < TRACE_TEXT_MAX ? bytes.len : TRACE_TEXT_MAX;
	size_t size;
	struct record *r;

	if (call_id.len > GUARD_CALL_ID_MAX)
		return;
	size = (sizeof(*r) + call_id.len + text_len + 7) / 8 * 8;
	make_room(t, size);
	r = record_at(t, t->head);
	*r = (struct record){ .size = (uint32_t)size, .text_len = (uint32_t)text_len, .full_len = (uint32_t)bytes.len,
			      .call_id_len = (uint16_t)call_id.len, .is_out = is_out, .at_ms = wall_ms,
			      .call_id_hash = hash_bytes(call_id), .local = flow->local, .remote = flow->remote };
	memcpy(r->bytes, call_id.ptr, call_id.len);
	memcpy(r->bytes + call_id.len, bytes.ptr, text_len);
	t->head += size;
}

static const struct trace_id *match(const struct record *r, const struct trace_id *ids, const uint64_t *hashes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (r->call_id_hash == hashes[i] && span_eq(ids[i].call_id, (struct span){ r->bytes, r->call_id_len }))
			return &ids[i];
	return NULL;
}

static int copy_out(const struct record *r, char leg, struct arena *arena, struct call_message *ret)
{
	ret->text = arena_strdup(arena, (struct span){ r->bytes + r->call_id_len, r->text_len });
	ret->at_ms = r->at_ms;
	ret->leg = leg;
	ret->is_out = r->is_out;
	ret->local = r->local;
	ret->remote = r->remote;
	ret->is_cut = r->text_len < r->full_len;
	return ret->text == NULL ? ERR_LIMIT : 0;
}

/* Steps over records from the oldest; false at the end. */
static bool next_record(const struct trace *t, size_t *at, bool *is_wrapped, const struct record **ret)
{
	if (*is_wrapped && is_end(t, *at)) {
		*at = 0;
		*is_wrapped = false;
	}
	if (!*is_wrapped && *at >= t->head)
		return false;
	*ret = record_at(t, *at);
	*at += (*ret)->size;
	return true;
}

int trace_collect(const struct trace *t, const struct trace_id *ids, unsigned n_ids, int64_t since_ms, struct arena *arena,
		  struct call_message **ret, unsigned *ret_n, unsigned *ret_lost)
{
	enum { IDS_MAX = 8 };
	uint64_t hashes[IDS_MAX];
	struct call_message *messages = NULL;
	const struct record *r;
	unsigned n = 0, found = 0;

	if (n_ids > IDS_MAX)
		return ERR_LIMIT;
	for (unsigned i = 0; i < n_ids; i++)
		hashes[i] = hash_bytes(ids[i].call_id);
	for (int pass = 0; pass < 2; pass++) { /* count, then copy */
		size_t at = t->tail;
		bool is_wrapped = t->is_wrapped;

		while (next_record(t, &at, &is_wrapped, &r)) {
			const struct trace_id *id = match(r, ids, hashes, n_ids);

			if (id == NULL)
				continue;
			if (pass == 0)
				found++;
			else if (copy_out(r, id->leg, arena, &messages[n++]) != 0)
				return ERR_LIMIT;
		}
		if (pass == 0) {
			messages = arena_alloc(arena, sizeof(*messages) * (found + 1));
			if (messages == NULL)
				return ERR_LIMIT;
		}
	}
	*ret = messages;
	*ret_n = n;
	*ret_lost = t->dropped > 0 && t->dropped_at_ms >= since_ms ? (unsigned)t->dropped : 0;
	return 0;
}
