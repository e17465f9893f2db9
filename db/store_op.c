/* Copies what is submitted into flat blocks. Runs on the control thread, once per record: one allocation, two walks
 * over the column table. */
#include "db/store_op.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "db/t_cdr.h"

static const size_t stream_texts[] = {
	offsetof(struct cdr_stream, kind),	offsetof(struct cdr_stream, local),
	offsetof(struct cdr_stream, signalled), offsetof(struct cdr_stream, latched),
	offsetof(struct cdr_stream, path),
};
#define N_STREAM_TEXTS (sizeof(stream_texts) / sizeof(stream_texts[0]))

static bool is_text(const struct cdr_column *column)
{
	return column->type == CDR_TEXT || column->type == CDR_JSON;
}

static const struct span *text_at(const void *object, size_t offset)
{
	return (const struct span *)((const char *)object + offset);
}

/* Sums that stop at the limit cannot overflow. */
static bool add(size_t *size, size_t more)
{
	if (more > STORE_OP_SIZE_MAX || *size > STORE_OP_SIZE_MAX - more)
		return false;
	*size += more;
	return true;
}

static bool cdr_size(const struct cdr *cdr, size_t *size)
{
	if (cdr->n_streams > STORE_OP_SIZE_MAX / sizeof(*cdr->streams) ||
	    !add(size, cdr->n_streams * sizeof(*cdr->streams)))
		return false;
	for (unsigned i = 0; i < cdr_n_columns; i++)
		if (is_text(&cdr_columns[i]) && !add(size, text_at(cdr, cdr_columns[i].offset)->len))
			return false;
	for (unsigned i = 0; i < cdr->n_streams; i++)
		for (size_t k = 0; k < N_STREAM_TEXTS; k++)
			if (!add(size, text_at(&cdr->streams[i], stream_texts[k])->len))
				return false;
	return true;
}

/* Points the span at a copy of its octets and moves the place for the next one. */
static void move_text(void *object, size_t offset, char **place)
{
	struct span *text = (struct span *)((char *)object + offset);

	if (text->len > 0)
		memcpy(*place, text->ptr, text->len);
	text->ptr = *place;
	*place += text->len;
}

int store_op_cdr(const struct cdr *cdr, struct store_op **ret)
{
	size_t size = sizeof(struct store_op);
	struct cdr_stream *streams;
	struct store_op *op;
	char *place;

	if (!cdr_size(cdr, &size))
		return ERR_LIMIT;
	op = malloc(size);
	if (op == NULL)
		return -ENOMEM;
	*op = (struct store_op){ .type = STORE_OP_CDR, .size = size, .cdr = *cdr };
	list_init(&op->pending);
	streams = (struct cdr_stream *)(op + 1);
	place = (char *)(streams + cdr->n_streams);
	if (cdr->n_streams > 0)
		memcpy(streams, cdr->streams, cdr->n_streams * sizeof(*streams));
	op->cdr.streams = streams;
	for (unsigned i = 0; i < cdr_n_columns; i++)
		if (is_text(&cdr_columns[i]))
			move_text(&op->cdr, cdr_columns[i].offset, &place);
	for (unsigned i = 0; i < cdr->n_streams; i++)
		for (size_t k = 0; k < N_STREAM_TEXTS; k++)
			move_text(&streams[i], stream_texts[k], &place);
	*ret = op;
	return 0;
}

int store_op_live(enum store_op_type type, struct span id, struct span state, struct store_op **ret)
{
	size_t size = sizeof(struct store_op);
	struct store_op *op;
	char *place;

	if (!add(&size, id.len) || !add(&size, state.len))
		return ERR_LIMIT;
	op = malloc(size);
	if (op == NULL)
		return -ENOMEM;
	*op = (struct store_op){ .type = type, .size = size, .live = { id, state } };
	place = (char *)(op + 1);
	move_text(op, offsetof(struct store_op, live.id), &place);
	move_text(op, offsetof(struct store_op, live.state), &place);
	*ret = op;
	return 0;
}

struct store_op *store_op_answer(int result)
{
	struct store_op *op = malloc(sizeof(*op));

	if (op != NULL) {
		*op = (struct store_op){ .type = STORE_OP_CDR, .size = sizeof(*op), .result = result };
		list_init(&op->pending);
	}
	return op;
}

void store_op_free(struct store_op *op)
{
	free(op);
}
