/* Rows of data connections: what is accepted fits where it goes, holds no control octets, names ends that are some, and comes back the
 * same when it is written and read again. */
#include <stdlib.h>

#include "algs/data_row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static void check_text(const char *text, size_t size)
{
	must(memchr(text, '\0', size) != NULL);
	for (; *text != '\0'; text++)
		must((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void check(const struct data_row *row)
{
	check_text(row->session, sizeof(row->session));
	check_text(row->alg, sizeof(row->alg));
	check_text(row->user, sizeof(row->user));
	check_text(row->verb, sizeof(row->verb));
	check_text(row->rule, sizeof(row->rule));
	check_text(row->path, sizeof(row->path));
	must(row->session[0] != '\0' && row->alg[0] != '\0' && row->started_ms > 0);
	must(addr_is_set(&row->listen) && row->listen.port != 0 && addr_is_set(&row->target) && row->target.port != 0);
	must(addr_is_set(&row->source) && row->source.port == 0 && row->source.family == row->listen.family);
	must(row->is_as_source != addr_is_set(&row->from));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[2 * DATA_ROW_BYTES_MAX], second[2 * DATA_ROW_BYTES_MAX];
	struct buf one = buf_of(first, sizeof(first)), two = buf_of(second, sizeof(second));
	const char *why = NULL;
	struct data_row row, again;
	int err = data_row_read((struct span){ (const char *)data, size }, &row, &why);

	must((err == 0) == (why == NULL));
	if (err != 0)
		return 0;
	check(&row);
	data_row_write(&row, &one);
	must(!one.is_full && one.len <= DATA_ROW_BYTES_MAX);
	must(data_row_read(buf_span(&one), &again, &why) == 0);
	data_row_write(&again, &two);
	must(span_eq(buf_span(&one), buf_span(&two)));
	return 0;
}
