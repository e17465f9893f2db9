/* Copies what is submitted into flat blocks. Runs on the control thread, once per record: one allocation, two walks
 * over its column table. */
#include "db/store_op.h"

#include <errno.h>
#include <stdlib.h>

#include "core/err.h"
#include "db/t_cdr.h"
#include "db/t_transfer.h"

static const size_t stream_texts[] = {
	offsetof(struct cdr_stream, kind),	offsetof(struct cdr_stream, local),
	offsetof(struct cdr_stream, signalled), offsetof(struct cdr_stream, latched),
	offsetof(struct cdr_stream, path),
};
#define N_STREAM_TEXTS (sizeof(stream_texts) / sizeof(stream_texts[0]))

static bool cdr_size(const struct cdr *cdr, size_t *size)
{
	if (cdr->n_streams > (STORE_OP_SIZE_MAX - *size) / sizeof(*cdr->streams))
		return false;
	*size += cdr->n_streams * sizeof(*cdr->streams);
	if (!columns_add_size(&cdr_columns, cdr, STORE_OP_SIZE_MAX, size))
		return false;
	for (unsigned i = 0; i < cdr->n_streams; i++)
		for (size_t k = 0; k < N_STREAM_TEXTS; k++)
			if (!columns_add_text(&cdr->streams[i], stream_texts[k], STORE_OP_SIZE_MAX, size))
				return false;
	return true;
}

/* A block of that size, empty but for its head. */
static struct store_op *make(size_t size, enum store_op_type type, enum store_lane lane)
{
	struct store_op *op = malloc(size);

	if (op == NULL)
		return NULL;
	*op = (struct store_op){ .type = type, .lane = lane, .size = size };
	list_init(&op->pending);
	return op;
}

int store_op_cdr(const struct cdr *cdr, struct store_op **ret)
{
	size_t size = sizeof(struct store_op);
	struct cdr_stream *streams;
	struct store_op *op;
	char *place;

	if (!cdr_size(cdr, &size))
		return ERR_LIMIT;
	op = make(size, STORE_OP_CDR, STORE_NO_LANE);
	if (op == NULL)
		return -ENOMEM;
	op->cdr = *cdr;
	streams = (struct cdr_stream *)(op + 1);
	place = (char *)(streams + cdr->n_streams);
	if (cdr->n_streams > 0)
		memcpy(streams, cdr->streams, cdr->n_streams * sizeof(*streams));
	op->cdr.streams = streams;
	columns_move(&cdr_columns, &op->cdr, &place);
	for (unsigned i = 0; i < cdr->n_streams; i++)
		for (size_t k = 0; k < N_STREAM_TEXTS; k++)
			columns_move_text(&streams[i], stream_texts[k], &place);
	*ret = op;
	return 0;
}

int store_op_transfer(const struct transfer *transfer, struct store_op **ret)
{
	size_t size = sizeof(struct store_op);
	struct store_op *op;
	char *place;

	if (!columns_add_size(&transfer_columns, transfer, STORE_OP_SIZE_MAX, &size))
		return ERR_LIMIT;
	op = make(size, STORE_OP_TRANSFER, STORE_LANE_TRANSFER);
	if (op == NULL)
		return -ENOMEM;
	op->transfer = *transfer;
	place = (char *)(op + 1);
	columns_move(&transfer_columns, &op->transfer, &place);
	*ret = op;
	return 0;
}

static int make_live(enum store_op_type type, enum live_kind kind, const struct span texts[2], struct store_op **ret)
{
	size_t size = sizeof(struct store_op);
	struct store_op *op;
	char *place;

	if (!columns_add_text(texts, 0, STORE_OP_SIZE_MAX, &size) ||
	    !columns_add_text(texts, sizeof(*texts), STORE_OP_SIZE_MAX, &size))
		return ERR_LIMIT;
	op = make(size, type, (enum store_lane)kind);
	if (op == NULL)
		return -ENOMEM;
	op->live.id = texts[0];
	op->live.state = texts[1];
	place = (char *)(op + 1);
	columns_move_text(op, offsetof(struct store_op, live.id), &place);
	columns_move_text(op, offsetof(struct store_op, live.state), &place);
	*ret = op;
	return 0;
}

int store_op_put(enum live_kind kind, struct span id, struct span state, struct store_op **ret)
{
	return make_live(STORE_OP_LIVE_PUT, kind, (struct span[]){ id, state }, ret);
}

int store_op_delete(enum live_kind kind, struct span id, struct store_op **ret)
{
	return make_live(STORE_OP_LIVE_DELETE, kind, (struct span[]){ id, SPAN_NONE }, ret);
}

struct store_op *store_op_answer(int result)
{
	struct store_op *op = make(sizeof(*op), STORE_OP_CDR, STORE_NO_LANE);

	if (op != NULL)
		op->result = result;
	return op;
}

void store_op_free(struct store_op *op)
{
	free(op);
}
