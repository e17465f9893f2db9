/* Rows that the database hands out as JSON, gathered for a reply. For the resources that are read from it. */
#ifndef API_RES_ROWS_H
#define API_RES_ROWS_H

#include "api/res.h"

struct res_rows {
	json_t *items;
	void (*show)(json_t *row); /* makes of a row what the API shows; may be NULL */
	bool is_bad;               /* a row could not be read */
};

/* False: there is no database, *reply says so. */
bool res_rows_begin(struct api *api, struct res_rows *rows, const struct route_request *request,
		    struct route_reply *reply);
void res_rows_add(void *arg, struct span json); /* a cdr_row_fn with struct res_rows */
/* The page, or the problem when err or the rows say so. Drops the rows. */
void res_rows_reply(struct res_rows *rows, int err, const char *cursor, const struct route_request *request,
		    struct route_reply *reply);

#endif
