/* Between core/addr.h, which reads and writes addresses, and the interface of ALGs, which knows nothing of the rest. */
#include "algs/rtsp/rtsp_addr.h"

#include "core/addr.h"

static struct addr addr_of(const struct alg_addr *a)
{
	struct addr ret = { .family = a->family == 4 ? AF_INET : a->family == 6 ? AF_INET6 : 0 };

	memcpy(ret.ip, a->ip, sizeof(ret.ip));
	return ret;
}

bool rtsp_ip_parse(struct span text, struct alg_addr *ret)
{
	struct addr a;

	if (addr_parse_ip(text, &a) < 0)
		return false;
	ret->family = a.family == AF_INET ? 4 : 6;
	memcpy(ret->ip, a.ip, sizeof(ret->ip));
	return true;
}

bool rtsp_ip_eq(const struct alg_addr *a, const struct alg_addr *b)
{
	return a->family != 0 && a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool rtsp_ip_is_multicast(const struct alg_addr *a)
{
	struct addr addr = addr_of(a);

	return a->family != 0 && addr_kind(&addr) == ADDR_MULTICAST;
}

void rtsp_put_ip(struct buf *out, const struct alg_addr *a, bool has_brackets)
{
	struct addr addr = addr_of(a);
	char text[ADDR_TEXT_MAX];

	buf_puts(out, has_brackets ? addr_host_text(&addr, text) : addr_ip_text(&addr, text));
}
