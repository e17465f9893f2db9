/* /v1/transfers: the records of data that crossed ALG sessions, from the database. Read on the HTTP thread through
 * a read-only connection, so neither the control thread nor the writer waits for it. */
#include "api/res.h"

#include "api/res_rows.h"
#include "db/store.h"

void res_transfers_list(struct api *api, const struct route_request *request, struct route_reply *reply)
{
	struct transfer_filter filter = {
		.since_ms = route_number(request, "since", 0),
		.until_ms = route_number(request, "until", 0),
		.session = route_text(request, "session"),
		.alg = route_text(request, "alg"),
		.protocol = route_text(request, "protocol"),
		.user = route_text(request, "user"),
		.verb = route_text(request, "verb"),
		.q = route_text(request, "q"),
		.cursor = route_text(request, "cursor"),
		.limit = (unsigned)route_number(request, "limit", RES_PAGE_DEFAULT),
	};
	struct res_rows rows = { 0 };
	char cursor[CDR_CURSOR_SIZE] = "";
	int err;

	if (!res_rows_begin(api, &rows, request, reply))
		return;
	err = transfer_list(api->reader, &filter, res_rows_add, &rows, cursor, sizeof(cursor));
	res_rows_reply(&rows, err, cursor, request, reply);
}
