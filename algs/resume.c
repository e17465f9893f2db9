/* Kernel data over a restart. A row is there from when the kernel has the door (the first octets are noticed up to a second late), and
 * is written again when it is known what they are. What is opened again has the owner and the addresses of before, so it is found in the kernel as it was,
 * with its counts. Data that ended meanwhile is not there any more, and a door that would wait for another connection is closed as
 * soon as that shows. */
#include "algs/resume.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "algs/data_row.h"
#include "algs/host_metrics.h"
#include "algs/mask.h"
#include "algs/session.h"
#include "core/err.h"
#include "core/log.h"
#include "db/store.h"

enum {
	RESUMED_MAX = 8192,
	UNSEEN_MS = 5000,   /* without a packet ever: its connection had ended before */
	IDLE_MS = 600000,
};

struct resumed {
	struct list node; /* engine->resumed */
	struct alg_host_engine *engine;
	char id[ID_TEXT_MAX];
	struct data_row row;
	const struct config *config; /* of the start, referenced */
	const struct alg_conf *conf;
	struct pinhole *pinhole;
	struct hole_port own[HOLE_ENDS];
	uint64_t since_ms, moved_ms, packets;
	const char *path;
};

/* ---- rows -------------------------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, struct span text)
{
	snprintf(to, size, "%.*s", SPAN_ARG(text));
	for (char *c = to; *c != '\0'; c++) /* what a row must not have */
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

void resume_put(struct hole *hole)
{
	const struct session *s = hole->session;
	const struct pinhole_spec *spec;
	const struct hole_verdict *v = &hole->verdict;
	SCRATCH char text[DATA_ROW_BYTES_MAX];
	SCRATCH char path_text[DATA_ROW_PATH_MAX];
	struct buf out = buf_of(text, sizeof(text)), path = buf_of(path_text, sizeof(path_text));
	SCRATCH struct data_row row;

	if (s->engine->deps.store == NULL || hole->pinholes[0] == NULL || hole->is_committing)
		return;
	spec = pinhole_spec(hole->pinholes[0]);
	memset(&row, 0, sizeof(row));
	row.client = s->far[ALG_CLIENT];
	row.server = s->far[ALG_SERVER];
	row.listen = spec->listen;
	row.from = spec->from;
	row.source = spec->source;
	row.target = spec->target;
	row.started_ms = hole->opened_wall_ms != 0 ? hole->opened_wall_ms : loop_wall_ms(s->engine->loop);
	row.is_from_server = hole_dialler(hole) == ALG_SERVER;
	row.is_through = spec->is_through;
	row.is_as_source = spec->is_as_source;
	row.direction = transfer_direction(v->direction);
	copy_text(row.session, sizeof(row.session), span_of(s->group.id));
	copy_text(row.alg, sizeof(row.alg), span_of(s->conf->name));
	copy_text(row.user, sizeof(row.user), v->user);
	copy_text(row.verb, sizeof(row.verb), v->verb);
	mask_text(v->target, &path);
	copy_text(row.path, sizeof(row.path), buf_span(&path));
	copy_text(row.rule, sizeof(row.rule), span_of(v->rule));
	data_row_write(&row, &out);
	if (out.is_full)
		return;
	if (hole->record_id[0] == '\0')
		id_uuid(0, row.started_ms, hole->record_id);
	store_data_put(s->engine->deps.store, span_of(hole->record_id), buf_span(&out));
}

void resume_forget(struct hole *hole)
{
	if (hole->record_id[0] != '\0' && hole->session->engine->deps.store != NULL)
		store_data_delete(hole->session->engine->deps.store, span_of(hole->record_id));
	hole->record_id[0] = '\0';
}

/* ---- the end of one ---------------------------------------------------------------------------------------------------------- */

static void record(struct alg_host_engine *h, const struct resumed *r, uint64_t bytes, const char *cause)
{
	const struct data_row *row = &r->row;
	char client[ADDR_TEXT_MAX], server[ADDR_TEXT_MAX], from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX], data[2 * ADDR_TEXT_MAX];
	struct transfer out = {
		.id = span_of(r->id), .session = span_of(row->session), .node = span_of(h->config->node), .alg = span_of(row->alg),
		.protocol = span_of(r->conf != NULL ? r->conf->protocol : ""), .client = span_of(addr_text(&row->client, client)),
		.server = span_of(addr_text(&row->server, server)), .user = span_of(row->user), .verb = span_of(row->verb),
		.path = span_of(row->path), .direction = row->direction, .started_ms = row->started_ms,
		.ended_ms = loop_wall_ms(h->loop), .bytes = bytes, .is_ok = cause[0] == '\0',
		.data_path = span_of(r->path != NULL ? r->path : "none"), .rule = span_of(row->rule),
		.cause = span_of(cause[0] != '\0' ? cause : "restart: its last reply was not seen"),
	};

	snprintf(data, sizeof(data), "%s %s", addr_ip_text(&row->source, from), addr_text(&row->target, to));
	out.data = span_of(data);
	h->stats.transfers_total++;
	host_metrics_transfer(bytes, out.data_path.ptr, out.is_ok);
	store_transfer(h->deps.store, &out); /* takes the row with it */
}

static void give_ports(struct resumed *r)
{
	for (unsigned i = 0; i < HOLE_ENDS; i++) {
		if (r->own[i].ports == NULL)
			continue;
		close(r->own[i].fd);
		tcp_ports_give(r->own[i].ports, r->own[i].port, loop_now_ms(r->engine->loop));
	}
}

static void resumed_free(struct resumed *r)
{
	config_unref(r->config);
	free(r);
}

static uint64_t octets(const struct resumed *r)
{
	bool is_back = (r->row.direction == 'u') == r->row.is_from_server; /* the dialler is not the one who sends */
	struct slot_stats stats;

	pinhole_stats(r->pinhole, &stats);
	hole_kernel_payload(&stats);
	return r->row.direction == '-' ? stats.bytes + stats.bytes_back : is_back ? stats.bytes_back : stats.bytes;
}

static void finish(struct resumed *r, const char *cause)
{
	struct alg_host_engine *h = r->engine;

	record(h, r, octets(r), cause);
	give_ports(r);
	list_remove(&r->node);
	h->n_resumed--;
	resumed_free(r);
	engine_say_drained(h);
}

static void cut(struct resumed *r, const char *cause)
{
	struct pinhole *pinhole = r->pinhole;

	pinhole_disown(pinhole);
	finish(r, cause);
	pinhole_close(pinhole);
}

static void on_pinhole(void *arg, struct pinhole *pinhole, enum pinhole_event event)
{
	struct resumed *r = arg;

	switch (event) {
	case PINHOLE_EV_ARMED:
		r->path = pinhole_path_text(pinhole_path(pinhole));
		break;
	case PINHOLE_EV_BOUND:
		break;
	case PINHOLE_EV_EXPIRED:
		finish(r, "");
		break;
	case PINHOLE_EV_REFUSED:
	case PINHOLE_EV_LOST:
	case PINHOLE_EV_CLOSED:
		finish(r, "restart: the kernel does not have it any more");
		break;
	}
}

void resume_sweep(struct alg_host_engine *h, uint64_t now_ms)
{
	LIST_EACH(&h->resumed, node) {
		struct resumed *r = LIST_ENTRY(node, struct resumed, node);
		struct slot_stats stats;

		pinhole_stats(r->pinhole, &stats);
		if (stats.packets + stats.packets_back != r->packets)
			r->moved_ms = now_ms;
		r->packets = stats.packets + stats.packets_back;
		if (r->packets == 0 && now_ms - r->since_ms >= UNSEEN_MS)
			cut(r, "restart: it had ended before");
		else if (r->packets > 0 && now_ms - r->moved_ms >= IDLE_MS)
			cut(r, "idle");
	}
}

void resume_end(struct alg_host_engine *h)
{
	LIST_EACH(&h->resumed, node)
		cut(LIST_ENTRY(node, struct resumed, node), "the gateway ends");
}

/* ---- the beginning ----------------------------------------------------------------------------------------------------------- */

static const struct alg_conf *find_alg(const struct alg_host_engine *h, const char *name)
{
	for (unsigned i = 0; i < h->config->n_algs; i++)
		if (strcmp(h->config->algs[i].name, name) == 0)
			return &h->config->algs[i];
	return NULL;
}

/* So that nobody else gets the port. */
static void claim(struct resumed *r, struct hole_port *own, const struct realm_conf *realm, const struct addr *addr)
{
	struct tcp_ports *ports = addr_is_set(addr) ? engine_pool(r->engine, realm, addr) : NULL;

	if (ports != NULL && tcp_ports_claim(ports, addr->port, &own->fd) == 0) {
		own->ports = ports;
		own->port = addr->port;
	}
}

static int open_again(struct resumed *r)
{
	const struct data_row *row = &r->row;
	const struct realm_conf *in = row->is_from_server ? r->conf->to : r->conf->realm;
	const struct realm_conf *out = row->is_from_server ? r->conf->realm : r->conf->to;
	struct pinhole_spec spec = {
		.proto = IPPROTO_TCP, .realm_in = in->index, .realm_out = out->index, .listen = row->listen, .from = row->from,
		.source = row->source, .target = row->target, .is_through = row->is_through, .is_as_source = row->is_as_source,
		.is_one_shot = true, .packets_per_s = UINT32_MAX, .bytes_per_s = UINT32_MAX,
		.lifetime_s = r->engine->config->media.lifetime_s,
	};

	memcpy(spec.owner, row->session, sizeof(row->session));
	claim(r, &r->own[0], in, &row->listen);
	claim(r, &r->own[1], out, &row->from);
	return pinhole_open(r->engine->deps.pinholes, &spec, 1, on_pinhole, r, &r->pinhole);
}

static void give_up(struct alg_host_engine *h, struct resumed *r, const char *why)
{
	record(h, r, 0, why);
	give_ports(r);
	resumed_free(r);
}

static void resume_row(void *arg, struct span id, struct span state)
{
	struct alg_host_engine *h = arg;
	struct resumed *r = calloc(1, sizeof(*r));
	const char *why = "out of memory";

	if (r == NULL || id.len >= sizeof(r->id) || data_row_read(state, &r->row, &why) != 0) {
		LOG_GATED(5, LOG_WARN, "alg", "stored data connection cannot be read", LF_SPAN("id", id), LF_TEXT("reason", why));
		store_data_delete(h->deps.store, id);
		free(r);
		return;
	}
	memcpy(r->id, id.ptr, id.len);
	r->engine = h;
	r->since_ms = r->moved_ms = loop_now_ms(h->loop);
	r->config = config_ref(h->config);
	r->conf = find_alg(h, r->row.alg);
	if (r->conf == NULL || h->deps.pinholes == NULL || h->n_resumed >= RESUMED_MAX) {
		give_up(h, r, "restart: its ALG is gone");
		return;
	}
	if (open_again(r) != 0) {
		give_up(h, r, "restart: the kernel does not have it any more");
		return;
	}
	list_append(&h->resumed, &r->node);
	h->n_resumed++;
}

void alg_host_resume(struct alg_host_engine *h)
{
	int err = h->deps.store != NULL ? store_data_each(h->deps.store, resume_row, h) : 0;

	if (err != 0)
		log_error("alg", "data connections of before cannot be read", LF_TEXT("error", err_str(err)));
	if (h->n_resumed > 0)
		log_info("alg", "data goes on after a restart", LF_UINT("connections", h->n_resumed));
}
