/* Base64 (RFC 4648 section 4) as it comes in pieces: of any size, with blanks and line ends anywhere, and with padding in the middle,
 * behind which the next text begins. Strict in everything else: what two decoders could read in two ways is refused. Pure. */
#ifndef ALGS_RTSP_RTSP_BASE64_H
#define ALGS_RTSP_RTSP_BASE64_H

#include "core/span.h"

struct rtsp_base64 { /* zeroed before the first piece */
	uint32_t bits;
	unsigned n;          /* digits of the group at hand, padding counts */
	bool is_padded;
};

/* How much may come of so much text. */
#define RTSP_BASE64_DECODED_MAX(len) ((len) / 4 * 3 + 3)
#define RTSP_BASE64_ENCODED(len) (((len) + 2) / 3 * 4)

/* 0 and the octets in out, which has room for them; ERR_PARSE: this is no base64. */
int rtsp_base64_decode(struct rtsp_base64 *decoder, struct span in, char *out, size_t *ret_len);
/* Padded, RTSP_BASE64_ENCODED(in.len) octets. */
void rtsp_base64_encode(struct span in, char *out);

#endif
