/* /v1/cdrs: the records of calls that ended, from the database. Read on the HTTP thread through a read-only connection,
 * so neither the control thread nor the writer waits for it. */
#include "api/res.h"

#include "api/problem.h"
#include "api/res_rows.h"
#include "core/err.h"
#include "db/store.h"

/* Steps are stored with their time as a number; the API shows times as text. */
static void show_step(json_t *step)
{
	const json_t *at_ms = json_object_get(step, "at_ms");

	if (!json_is_integer(at_ms))
		return;
	res_set(step, "at", res_time(json_integer_value(at_ms)));
	json_object_del(step, "at_ms");
}

static void show(json_t *record)
{
	json_t *step;
	size_t i;

	json_array_foreach(json_object_get(record, "decision"), i, step)
		show_step(step);
}

void res_cdrs_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct cdr_filter filter = {
		.since_ms = route_number(request, "since", 0),
		.until_ms = route_number(request, "until", 0),
		.realm = route_text(request, "realm"),
		.peer = route_text(request, "peer"),
		.q = route_text(request, "q"),
		.status_min = (int)route_number(request, "status_min", 0),
		.status_max = (int)route_number(request, "status_max", 0),
		.cursor = route_text(request, "cursor"),
		.limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT),
	};
	struct res_rows rows = { .show = show };
	char cursor[CDR_CURSOR_SIZE] = "";
	int err;

	if (!res_rows_begin(api, &rows, request, reply))
		return;
	err = cdr_list(api->reader, &filter, res_rows_add, &rows, cursor, sizeof(cursor));
	res_rows_reply(&rows, err, cursor, request, reply);
}

void res_cdrs_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct res_rows rows = { .show = show };
	int err;

	if (!res_rows_begin(api, &rows, request, reply))
		return;
	err = cdr_get(api->reader, request->name, res_rows_add, &rows);
	if (err == 0 && (rows.is_bad || json_array_size(rows.items) != 1))
		err = ERR_CORRUPT;
	if (err != 0)
		problem_from_err(reply, request, err);
	else
		route_reply_json(reply, 200, json_incref(json_array_get(rows.items, 0)));
	json_decref(rows.items);
}
