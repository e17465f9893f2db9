/* Addresses as the interface of ALGs has them, as text. Pure. */
#ifndef ALGS_RTSP_RTSP_ADDR_H
#define ALGS_RTSP_RTSP_ADDR_H

#include "algs/alg.h"
#include "core/buf.h"

/* An IPv4 or IPv6 literal, the latter in brackets or not. Fills in family and ip of *ret; false: it is none. */
bool rtsp_ip_parse(struct span text, struct alg_addr *ret);
bool rtsp_ip_eq(const struct alg_addr *a, const struct alg_addr *b); /* no address equals nothing */
bool rtsp_ip_is_multicast(const struct alg_addr *a);
/* IPv6 in brackets where has_brackets says so. */
void rtsp_put_ip(struct buf *out, const struct alg_addr *a, bool has_brackets);

static inline struct alg_bytes rtsp_bytes_of(struct span s)
{
	return (struct alg_bytes){ s.ptr, s.len };
}

#endif
