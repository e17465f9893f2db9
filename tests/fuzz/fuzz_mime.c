/* mime_find_sdp(): the first line of the input is the Content-Type, the rest the body. What is found lies inside the body, and the
 * three spans put together are the body. */
#include "sbc/mime.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = { (const char *)data, size };
	struct span content_type = span_cut(&body, '\n');
	struct mime_part part;

	if (body.ptr == NULL || mime_find_sdp(content_type, body, &part) < 0 || part.sdp.ptr == NULL)
		return 0;
	if (part.before.ptr != body.ptr || part.sdp.ptr != part.before.ptr + part.before.len ||
	    part.after.ptr != part.sdp.ptr + part.sdp.len || part.after.ptr + part.after.len != body.ptr + body.len)
		abort();
	return 0;
}
