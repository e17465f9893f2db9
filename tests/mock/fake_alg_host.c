/* See fake_alg_host.h. */
#include "tests/mock/fake_alg_host.h"

#include "core/err.h"

struct fake_alg_host fake_alg_host;

struct alg_host_engine *fake_alg_host_engine(void)
{
	return (struct alg_host_engine *)&fake_alg_host;
}

static struct addr address(const char *text)
{
	struct addr addr = { 0 };

	(void)addr_parse(span_of(text), &addr);
	return addr;
}

static unsigned fill_sessions(struct alg_session_summary ret[3])
{
	ret[0] = (struct alg_session_summary){
		.id = FAKE_RTSP, .alg = "cameras", .protocol = "rtsp", .mode = "explicit", .state = "open", .user = "",
		.from_realm = "access", .to_realm = "core", .client = address("192.0.2.78:50000"),
		.server = address("10.0.0.9:554"), .started_ms = 1772366310000, .n_holes = 1,
	};
	ret[1] = (struct alg_session_summary){
		.id = FAKE_ENDED, .alg = "office-ftp", .protocol = "ftp", .mode = "nat", .state = "ended",
		.user = "\x1b[31mmallory\xff", .from_realm = "access", .to_realm = "core",
		.client = address("192.0.2.79:50000"), .server = address("10.0.0.5:21"), .started_ms = 1772366305000,
		.ended_ms = 1772366306000, .n_transfers = 2, .cause = "idle",
	};
	ret[2] = (struct alg_session_summary){
		.id = FAKE_FTP, .alg = "office-ftp", .protocol = "ftp", .mode = "nat", .state = "open", .user = "alice",
		.from_realm = "access", .to_realm = "core", .client = address("192.0.2.77:40000"),
		.server = address("10.0.0.5:21"), .started_ms = 1772366300500, .bytes = { 214, 512 }, .n_holes = 1,
		.n_transfers = 3,
	};
	return 3;
}

static bool is_wanted(const struct alg_session_summary *s, const struct alg_session_filter *f)
{
	bool is_ended = span_eq(f->state, SPAN_LIT("ended"));

	if ((strcmp(s->state, "ended") == 0) != is_ended || (fake_alg_host.n_ended > 0 && strcmp(s->id, FAKE_FTP) == 0))
		return false;
	if (!span_is_empty(f->state) && !span_eq(f->state, span_of(s->state)))
		return false;
	return (span_is_empty(f->protocol) || span_eq(f->protocol, span_of(s->protocol))) &&
	       (span_is_empty(f->alg) || span_eq(f->alg, span_of(s->alg))) &&
	       (span_is_empty(f->user) || span_eq(f->user, span_of(s->user))) &&
	       (span_is_empty(f->realm) || span_eq(f->realm, span_of(s->from_realm)));
}

unsigned alg_sessions(struct alg_host_engine *host, const struct alg_session_filter *filter, struct arena *arena,
		      struct alg_session_summary **ret, bool *ret_more)
{
	struct alg_session_summary all[3], *page = arena_alloc(arena, sizeof(all));
	unsigned n_all = fill_sessions(all), n = 0;

	(void)host;
	*ret = page;
	*ret_more = false;
	for (unsigned i = 0; i < n_all && page != NULL; i++) {
		if (!is_wanted(&all[i], filter) ||
		    (!span_is_empty(filter->after) && memcmp(all[i].id, filter->after.ptr, filter->after.len) >= 0))
			continue;
		if (n == filter->limit) {
			*ret_more = true;
			break;
		}
		page[n++] = all[i];
	}
	return n;
}

static struct alg_hole_view data_hole(void)
{
	return (struct alg_hole_view){
		.id = 1, .class = "data", .kind = "tcp", .state = "bound", .path = "nft", .reason = "",
		.listen = address("10.0.0.5:50000"), .target = address("10.0.0.5:50000"), .bytes = { 0, 1048576 },
		.since_ms = 1772366304000,
	};
}

static struct alg_hole_view media_hole(void)
{
	struct alg_hole_view hole = { .id = 1, .class = "track", .kind = "media", .state = "bound", .path = "relay",
				      .reason = "no kernel path", .since_ms = 1772366311000, .has_media = true };

	hole.media[0] = (struct media_stats){ .last_packet_age_ms = UINT64_MAX, .latch = LATCH_OPEN,
					      .local = address("192.0.2.10:20000") };
	hole.media[1] = (struct media_stats){
		.packets = 4850, .bytes = 834200, .sent = 4850, .lost = 3, .jitter_us = 1250, .last_packet_age_ms = 12,
		.local = address("10.0.0.10:20000"), .latched = address("10.0.0.9:6970"), .latch = LATCH_LOCKED,
		.path = MEDIA_PATH_RELAY, .path_reason = "no kernel path",
	};
	return hole;
}

int alg_session(struct alg_host_engine *host, struct span id, struct arena *arena, struct alg_session_view *ret)
{
	struct alg_session_summary all[3];
	struct alg_change *change = arena_alloc(arena, sizeof(*change));
	struct alg_step *step = arena_alloc(arena, sizeof(*step));
	struct alg_hole_view *hole = arena_alloc(arena, sizeof(*hole));
	unsigned n = fill_sessions(all), i = 0;

	(void)host;
	while (i < n && !span_eq(id, span_of(all[i].id)))
		i++;
	if (i == n || (strcmp(all[i].id, FAKE_FTP) == 0 && fake_alg_host.n_ended > 0))
		return ERR_NOT_FOUND;
	if (change == NULL || step == NULL || hole == NULL)
		return ERR_LIMIT;
	*ret = (struct alg_session_view){ .summary = all[i], .client_leg = address("10.0.0.5:21"),
					  .server_leg = address("10.0.0.10:47114"), .tls = { { "TLSv1.3", "TLS_AES_128_GCM_SHA256", true } },
					  .messages = { 9, 10 }, .edited = { 1, 0 },
					  .dropped = { 1, 0 }, .holes = hole, .n_holes = 1, .steps = step, .n_steps = 1,
					  .changes = change, .n_changes = 1 };
	*hole = i == 0 ? media_hole() : data_hole();
	*step = (struct alg_step){ 1772366302500, "no-exe", "STOR /in/x.exe denied with 550" };
	*change = (struct alg_change){ 1772366302500, 'c', "edited", "PORT 192,0,2,77,200,10", "PORT 10,0,0,10,78,32\x1b" };
	return 0;
}

int alg_session_end(struct alg_host_engine *host, struct span id)
{
	(void)host;
	if (!span_eq(id, SPAN_LIT(FAKE_FTP)) || fake_alg_host.n_ended > 0)
		return ERR_NOT_FOUND;
	fake_alg_host.n_ended++;
	return 0;
}

unsigned alg_listeners(struct alg_host_engine *host, struct arena *arena, struct alg_listener_view **ret)
{
	unsigned n = fake_alg_host.config->n_algs;
	struct alg_listener_view *views = arena_alloc(arena, (n + 1) * sizeof(*views));

	(void)host;
	*ret = views;
	for (unsigned i = 0; i < n && views != NULL; i++)
		views[i] = (struct alg_listener_view){
			.certificate_expires_ms = i == 0 ? 1893456000000 : 0, /* the year 2030 */
			.conf = &fake_alg_host.config->algs[i], .listen = address("192.0.2.10:20100"),
			.is_open = i > 0 || fake_alg_host.closed == NULL,
			.is_opening = i == 0 && fake_alg_host.is_opening, .reason = i > 0 ? "" : fake_alg_host.closed,
			.n_sessions = 1, .sessions_total = 17, .refused_total = 2,
		};
	return views != NULL ? n : 0;
}

void alg_host_stats(const struct alg_host_engine *host, struct alg_host_stats *ret)
{
	(void)host;
	*ret = (struct alg_host_stats){ .sessions = 2, .holes = 2, .sessions_total = 34 };
}
