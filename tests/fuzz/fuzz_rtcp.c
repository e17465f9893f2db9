/* RTCP compound packets: what is accepted is made of packets whose lengths add up. */
#include <stdlib.h>

#include "core/cursor.h"
#include "media-relay/rtcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (rtcp_check(data, size) < 0)
		return 0;
	if (size < 8 || size % 4 != 0 || !rtcp_is_rtcp(data, size))
		abort();
	for (size_t at = 0; at < size;) {
		if (size - at < 4 || data[at] >> 6 != 2)
			abort();
		at += 4 + 4 * (size_t)(data[at + 2] << 8 | data[at + 3]);
		if (at > size)
			abort();
	}
	return 0;
}
