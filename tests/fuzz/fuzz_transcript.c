/* Reader of transcripts, and the runner with a module that does what they say: whatever is in the file, there is
 * an answer, and a line with it when that is no. */
#include <stdlib.h>
#include <string.h>

#include "algs/runner.h"
#include "core/err.h"
#include "tests/mock/toy_alg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct runner_report report;
	int ret;

	if (size > 2000) /* passes are as many as the longest message has octets */
		return 0;
	ret = runner_run(size % 2 == 0 ? &postern_alg_v1 : &toy_datagram_module, text, &report);
	must(ret == 0 || ret == ERR_PARSE || ret == ERR_STATE);
	must(strlen(report.text) < sizeof(report.text));
	must(ret == 0 ? report.line == 0 && report.n_passes > 0 : report.text[0] != '\0');
	ret = runner_fuzz(&postern_alg_v1, text, size, 2, &report);
	must(ret == 0 || ret == ERR_PARSE || strncmp(report.text, "round ", 6) == 0);
	return 0;
}
