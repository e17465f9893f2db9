/* See res_rows.h. */
#include "api/res_rows.h"

#include "api/problem.h"
#include "core/err.h"

bool res_rows_begin(struct api *api, struct res_rows *rows, const struct route_request *request,
		    struct route_reply *reply)
{
	if (api->reader == NULL) {
		problem_set(reply, request, PROBLEM_NO_DATABASE, "The gateway runs without a database.");
		return false;
	}
	rows->items = json_array();
	return true;
}

void res_rows_add(void *arg, struct span json)
{
	struct res_rows *rows = arg;
	json_t *row = json_loadb(json.ptr, json.len, 0, NULL);

	if (rows->show != NULL)
		rows->show(row);
	if (row == NULL || json_array_append_new(rows->items, row) != 0)
		rows->is_bad = true;
}

void res_rows_reply(struct res_rows *rows, int err, const char *cursor, const struct route_request *request,
		    struct route_reply *reply)
{
	if (err == 0 && rows->is_bad)
		err = ERR_CORRUPT;
	if (err == 0) {
		res_reply_list(request, reply, rows->items, cursor);
		return;
	}
	json_decref(rows->items);
	if (err == ERR_PARSE)
		res_refuse_cursor(request, reply);
	else
		problem_from_err(reply, request, err);
}
