/* Minting identifiers: shard number first, then random bits. Keeps no state. Any thread. RFC 9562 section 5.7. */
#include "core/id.h"

#include "core/buf.h"
#include "core/rnd.h"

enum { RANDOM_BYTES = 10, UUID_BYTES = 16 };

const char *id_mint(uint8_t shard, char out[ID_TEXT_MAX])
{
	/* Lower case and digits only: a token and a word in SIP, and the same when compared without case. */
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	struct buf b = buf_of(out, ID_TEXT_MAX);
	uint8_t random[RANDOM_BYTES];
	uint32_t bits = 0;
	unsigned n_bits = 0;

	rnd_bytes(random, sizeof(random));
	buf_hex(&b, &shard, 1);
	for (size_t i = 0; i < sizeof(random); i++) {
		bits = bits << 8 | random[i];
		for (n_bits += 8; n_bits >= 5; n_bits -= 5)
			buf_putc(&b, alphabet[bits >> (n_bits - 5) & 31]);
	}
	buf_putc(&b, '\0');
	return out;
}

const char *id_uuid(uint8_t shard, int64_t wall_ms, char out[ID_TEXT_MAX])
{
	static const size_t group_len[] = { 4, 2, 2, 2, 6 };
	struct buf b = buf_of(out, ID_TEXT_MAX);
	uint8_t uuid[UUID_BYTES];
	size_t at = 0;

	for (size_t i = 0; i < 6; i++)
		uuid[i] = (uint8_t)((uint64_t)wall_ms >> (40 - 8 * i));
	rnd_bytes(uuid + 6, sizeof(uuid) - 6);
	/* Octets 6 and 8 share their place with version and variant: octet 7 is the first whole random one. */
	uuid[6] = (uint8_t)(0x70 | (uuid[6] & 0x0f));
	uuid[7] = shard;
	uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
	for (size_t i = 0; i < sizeof(group_len) / sizeof(group_len[0]); i++) {
		if (i > 0)
			buf_putc(&b, '-');
		buf_hex(&b, uuid + at, group_len[i]);
		at += group_len[i];
	}
	buf_putc(&b, '\0');
	return out;
}
