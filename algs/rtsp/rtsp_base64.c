/* See rtsp_base64.h. An octet comes out as soon as its digits are there. */
#include "algs/rtsp/rtsp_base64.h"

#include "core/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool is_blank(char c)
{
	return c == '\r' || c == '\n' || c == ' ' || c == '\t';
}

/* "=" stands only behind two or three digits, and makes up four. */
static int take_padding(struct rtsp_base64 *d)
{
	if (d->n < 2)
		return ERR_PARSE;
	d->is_padded = ++d->n < 4;
	d->n %= 4;
	return 0;
}

static int take_digit(struct rtsp_base64 *d, char c, char *out, size_t *len)
{
	const char *at = memchr(digits, c, sizeof(digits) - 1);

	if (at == NULL || d->is_padded)
		return ERR_PARSE;
	d->bits = d->bits << 6 | (uint32_t)(at - digits);
	if (d->n > 0)
		out[(*len)++] = (char)(d->bits >> (6 - 2 * d->n) & 0xff);
	d->n = (d->n + 1) % 4;
	return 0;
}

int rtsp_base64_decode(struct rtsp_base64 *d, struct span in, char *out, size_t *ret_len)
{
	size_t len = 0;
	int err = 0;

	for (size_t i = 0; err == 0 && i < in.len; i++)
		if (!is_blank(in.ptr[i]))
			err = in.ptr[i] == '=' ? take_padding(d) : take_digit(d, in.ptr[i], out, &len);
	*ret_len = len;
	return err;
}

void rtsp_base64_encode(struct span in, char *out)
{
	for (size_t at = 0; at < in.len; at += 3) {
		size_t n = in.len - at < 3 ? in.len - at : 3;
		uint32_t bits = (uint32_t)(uint8_t)in.ptr[at] << 16;

		if (n > 1)
			bits |= (uint32_t)(uint8_t)in.ptr[at + 1] << 8;
		if (n > 2)
			bits |= (uint8_t)in.ptr[at + 2];
		for (unsigned i = 0; i < 4; i++)
			*out++ = i <= n ? digits[bits >> (18 - 6 * i) & 0x3f] : '=';
	}
}
