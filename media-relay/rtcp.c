/* RTCP demultiplexing and compound packet checks (RFC 3550 6.1, 6.4 to 6.7 and A.2, RFC 3611, RFC 4585, RFC 5506,
 * RFC 5761). Pure; relay threads. */
#include "media-relay/rtcp.h"

#include "core/cursor.h"
#include "core/err.h"

enum { RTCP_SR = 200, RTCP_RR = 201, RTCP_SDES = 202, RTCP_BYE = 203, RTCP_APP = 204, RTCP_RTPFB = 205, RTCP_PSFB = 206,
       RTCP_XR = 207 };

bool rtcp_is_rtcp(const void *data, size_t len)
{
	const uint8_t *bytes = data;

	return len >= 2 && bytes[0] >> 6 == 2 && bytes[1] >= 192 && bytes[1] <= 223;
}

/* Items of one SDES chunk up to the null octet, then padding to 32 bits from the chunk's start. */
static bool sdes_chunk_is_sound(struct cursor *c)
{
	const uint8_t *start = c->at;
	uint8_t item;

	cursor_u32(c);
	do {
		item = cursor_u8(c);
		if (item != 0)
			cursor_take(c, cursor_u8(c));
	} while (item != 0 && !c->is_bad);
	if (!c->is_bad && (c->at - start) % 4 != 0)
		cursor_take(c, 4 - (size_t)(c->at - start) % 4);
	return !c->is_bad;
}

static bool sdes_is_sound(struct cursor *c, unsigned chunks)
{
	for (; chunks > 0; chunks--)
		if (!sdes_chunk_is_sound(c))
			return false;
	return true;
}

static bool bye_is_sound(struct cursor *c, unsigned sources)
{
	cursor_take(c, (size_t)sources * 4);
	if (!c->is_bad && cursor_left(c) > 0)
		cursor_take(c, cursor_u8(c));
	return !c->is_bad;
}

static bool xr_is_sound(struct cursor *c)
{
	cursor_u32(c);
	while (!c->is_bad && cursor_left(c) > 0) {
		cursor_u16(c); /* block type, type-specific */
		cursor_take(c, (size_t)cursor_u16(c) * 4);
	}
	return !c->is_bad;
}

/* body: what follows the common header, without padding. */
static bool body_is_sound(uint8_t type, unsigned count, struct cursor body)
{
	switch (type) {
	case RTCP_SR:
		cursor_take(&body, 24 + (size_t)count * 24);
		break;
	case RTCP_RR:
		cursor_take(&body, 4 + (size_t)count * 24);
		break;
	case RTCP_SDES:
		return sdes_is_sound(&body, count);
	case RTCP_BYE:
		return bye_is_sound(&body, count);
	case RTCP_APP:
	case RTCP_RTPFB:
	case RTCP_PSFB:
		cursor_take(&body, 8);
		break;
	case RTCP_XR:
		return xr_is_sound(&body);
	default:
		break;
	}
	return !body.is_bad;
}

int rtcp_check(const void *data, size_t len)
{
	struct cursor c = cursor_of(data, len);

	if (len < 8)
		return ERR_PARSE;
	while (cursor_left(&c) > 0) {
		uint8_t first = cursor_u8(&c), type = cursor_u8(&c);
		size_t body_len = (size_t)cursor_u16(&c) * 4;
		const uint8_t *body = cursor_take(&c, body_len);
		size_t padding = 0;

		if (c.is_bad || first >> 6 != 2 || type < 192 || type > 223)
			return ERR_PARSE;
		if (first & 0x20) {
			padding = body_len > 0 ? body[body_len - 1] : 0;
			if (cursor_left(&c) > 0 || padding == 0 || padding % 4 != 0 || padding > body_len)
				return ERR_PARSE;
		}
		if (!body_is_sound(type, first & 0x1f, cursor_of(body, body_len - padding)))
			return ERR_PARSE;
	}
	return 0;
}
