/* What is stored of a data connection that the kernel carries, so that the next process can let it finish and record it. Pure. */
#ifndef ALGS_DATA_ROW_H
#define ALGS_DATA_ROW_H

#include "core/addr.h"
#include "core/buf.h"
#include "core/id.h"

enum { DATA_ROW_FORMAT = 1, DATA_ROW_NAME_MAX = 64, DATA_ROW_PATH_MAX = 1024, DATA_ROW_BYTES_MAX = 16384 };

struct data_row {
	char session[ID_TEXT_MAX], alg[DATA_ROW_NAME_MAX + 1], user[DATA_ROW_NAME_MAX + 1], verb[DATA_ROW_NAME_MAX + 1],
		rule[DATA_ROW_NAME_MAX + 1], path[DATA_ROW_PATH_MAX + 1];
	struct addr client, server;               /* far ends of the control channel */
	struct addr listen, from, source, target; /* the pinhole; from.family 0: it keeps its source */
	int64_t started_ms;
	bool is_from_server;                      /* the server dials */
	bool is_through, is_as_source;
	char direction;                           /* 'u', 'd', '-' */
};

void data_row_write(const struct data_row *row, struct buf *out);
/* 0; ERR_PARSE for what no process has written, with *ret_why a static text. Texts have no control octets, ends of pinholes have ports
 * (source: an address alone). */
int data_row_read(struct span json, struct data_row *ret, const char **ret_why);

#endif
