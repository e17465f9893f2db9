/* /v1/cdrs: the records of calls that ended, from the database. Read on the HTTP thread through a read-only connection,
 * so neither the control thread nor the writer waits for it. */
#include "api/res.h"

#include "api/problem.h"
#include "core/err.h"
#include "db/store.h"

struct rows {
	json_t *items;
	bool is_bad;
};

/* Steps are stored with their time as a number; the API shows times as text. */
static void show_step(json_t *step)
{
	const json_t *at_ms = json_object_get(step, "at_ms");

	if (!json_is_integer(at_ms))
		return;
	res_set(step, "at", res_time(json_integer_value(at_ms)));
	json_object_del(step, "at_ms");
}

static void add_row(void *arg, struct span json)
{
	struct rows *rows = arg;
	json_t *record = json_loadb(json.ptr, json.len, 0, NULL), *step;
	size_t i;

	json_array_foreach(json_object_get(record, "decision"), i, step)
		show_step(step);
	if (record == NULL || json_array_append_new(rows->items, record) != 0)
		rows->is_bad = true;
}

static bool has_reader(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	if (api->reader != NULL)
		return true;
	problem_set(reply, request, PROBLEM_NO_DATABASE, "The gateway runs without a database.");
	return false;
}

static void refuse(const struct route_request *request, struct route_reply *reply, int err)
{
	if (err == ERR_PARSE) {
		problem_set(reply, request, PROBLEM_BAD_PARAMETER,
			    "The cursor does not come from a page of this list.");
		problem_add_error(reply, SPAN_LIT("cursor"), "is not valid", "take next_cursor of the page before");
		return;
	}
	problem_from_err(reply, request, err);
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
	struct rows rows = { 0 };
	char cursor[CDR_CURSOR_SIZE] = "";
	int err;

	if (!has_reader(api, request, reply))
		return;
	rows.items = json_array();
	err = cdr_list(api->reader, &filter, add_row, &rows, cursor, sizeof(cursor));
	if (err == 0 && rows.is_bad)
		err = ERR_CORRUPT;
	if (err != 0) {
		json_decref(rows.items);
		refuse(request, reply, err);
		return;
	}
	res_reply_list(request, reply, rows.items, cursor);
}

void res_cdrs_get(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct rows rows = { 0 };
	int err;

	if (!has_reader(api, request, reply))
		return;
	rows.items = json_array();
	err = cdr_get(api->reader, request->name, add_row, &rows);
	if (err == 0 && (rows.is_bad || json_array_size(rows.items) != 1))
		err = ERR_CORRUPT;
	if (err != 0)
		problem_from_err(reply, request, err);
	else
		route_reply_json(reply, 200, json_incref(json_array_get(rows.items, 0)));
	json_decref(rows.items);
}
