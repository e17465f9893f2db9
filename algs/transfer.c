/* Records of data transfers. The module says what was transferred, with its reply code, often before the last octets are counted; so a
 * record waits with its pinhole for the final counts. */
#include "algs/session.h"

#include <stdio.h>
#include <stdlib.h>

#include "algs/host_metrics.h"
#include "algs/mask.h"
#include "core/id.h"
#include "db/store.h"

enum { PATH_MAX_SHOWN = 1024 };

struct record { /* what is written, from a pinhole or without one */
	struct span user, verb, path;
	enum alg_direction direction;
	unsigned code;
	bool is_ok;
	uint64_t octets[ALG_SIDES]; /* without a pinhole */
};

static struct span span_from(struct alg_bytes bytes)
{
	return (struct span){ bytes.ptr, bytes.len };
}

char transfer_direction(enum alg_direction direction)
{
	return direction == ALG_UP ? 'u' : direction == ALG_DOWN ? 'd' : '-';
}

static uint64_t octets_of(const struct hole *hole, const struct record *record)
{
	const uint64_t *octets = hole != NULL ? hole->octets : record->octets;

	if (record->direction == ALG_NO_DATA)
		return octets[0] + octets[1];
	return octets[record->direction == ALG_UP ? ALG_CLIENT : ALG_SERVER];
}

static struct span data_text(const struct hole *hole, char *out, size_t size)
{
	char dialler[ADDR_TEXT_MAX], target[ADDR_TEXT_MAX];
	struct addr from;

	if (hole == NULL)
		return SPAN_NONE;
	if (hole->class->kind == ALG_HOLE_MEDIA) {
		snprintf(out, size, "%s %s", addr_text(&hole->peers[ALG_CLIENT], dialler), addr_text(&hole->peers[ALG_SERVER], target));
		return span_of(out);
	}
	from = hole->dialler;
	if (!addr_is_set(&from)) { /* the kernel knows its port */
		from = hole->session->far[hole_dialler(hole)];
		from.port = 0;
	}
	snprintf(out, size, "%s %s", addr_text(&from, dialler), addr_text(&hole->target, target));
	return span_of(out);
}

static void store(struct session *s, struct hole *hole, const struct record *record)
{
	char id[ID_TEXT_MAX], client[ADDR_TEXT_MAX], server[ADDR_TEXT_MAX], data[2 * ADDR_TEXT_MAX];
	SCRATCH char path[PATH_MAX_SHOWN];
	struct buf masked = buf_of(path, sizeof(path));
	int64_t now_ms = loop_wall_ms(s->engine->loop);
	struct transfer out = {
		.session = span_of(s->group.id), .node = span_of(s->engine->config->node), .alg = span_of(s->conf->name),
		.protocol = span_of(s->conf->protocol), .client = span_of(addr_text(&s->far[ALG_CLIENT], client)),
		.server = span_of(addr_text(&s->far[ALG_SERVER], server)), .data = data_text(hole, data, sizeof(data)),
		.user = record->user, .verb = record->verb, .direction = transfer_direction(record->direction),
		.started_ms = hole != NULL && hole->opened_wall_ms != 0 ? hole->opened_wall_ms : now_ms,
		.ended_ms = hole != NULL && hole->ended_wall_ms != 0 ? hole->ended_wall_ms : now_ms,
		.bytes = octets_of(hole, record), .code = (int)record->code, .is_ok = record->is_ok,
		.data_path = span_of(hole != NULL ? hole->path : "control"),
		.rule = span_of(hole != NULL ? hole->verdict.rule : NULL),
		.cause = span_of(hole != NULL ? hole->limit_text : ""),
	};

	mask_text(record->path, &masked);
	out.path = buf_span(&masked);
	out.id = span_of(hole != NULL && hole->record_id[0] != '\0' ? hole->record_id : id_uuid(0, now_ms, id));
	s->n_transfers++;
	s->engine->stats.transfers_total++;
	host_metrics_transfer(out.bytes, hole != NULL ? hole->path : "control", record->is_ok);
	if (s->engine->deps.store != NULL)
		store_transfer(s->engine->deps.store, &out);
	if (hole != NULL)
		hole->record_id[0] = '\0'; /* its row has gone with it */
}

static struct span copy_into(char **at, struct span text)
{
	struct span copy = { *at, text.len };

	if (text.len > 0)
		memcpy(*at, text.ptr, text.len);
	*at += text.len;
	return copy;
}

/* False when out of memory. */
static bool keep(struct hole *hole, const struct record *record)
{
	char *at = malloc(record->user.len + record->verb.len + record->path.len + 1);
	struct hole_record *kept = &hole->record;

	if (at == NULL)
		return false;
	*kept = (struct hole_record){ .is_set = true, .is_ok = record->is_ok, .direction = record->direction, .code = record->code,
				      .texts = at, .since_ms = loop_now_ms(hole->session->engine->loop) };
	kept->user = copy_into(&at, record->user);
	kept->verb = copy_into(&at, record->verb);
	kept->path = copy_into(&at, record->path);
	return true;
}

void transfer_finish(struct session *s, struct hole *hole)
{
	struct hole_record *kept = &hole->record;
	struct record record = { kept->user, kept->verb, kept->path, kept->direction, kept->code, kept->is_ok, { 0 } };

	if (!kept->is_set)
		return;
	kept->is_set = false;
	store(s, hole, &record);
	free(kept->texts);
	kept->texts = NULL;
}

void transfer_note(struct session *s, const struct alg_transfer *transfer)
{
	struct hole *hole = transfer->hole != 0 ? hole_find(s, transfer->hole) : NULL;
	struct record record = { span_from(transfer->user), span_from(transfer->verb), span_from(transfer->path), transfer->direction,
				 transfer->code, transfer->is_ok, { transfer->octets[ALG_CLIENT], transfer->octets[ALG_SERVER] } };

	if (hole != NULL)
		transfer_finish(s, hole); /* one that still waited */
	if (hole == NULL || hole->is_over || !hole_is_live(hole) || !keep(hole, &record))
		store(s, hole, &record);
	else
		(void)hole_end_await(hole);
}
