/* Identifiers that Postern mints: tags, branches, Call-IDs, session ids. Each carries the shard number of the
 * control thread that owns the object, so more shards can be added without changing what is on the wire. */
#ifndef CORE_ID_H
#define CORE_ID_H

#include "core/span.h"

#define ID_TEXT_MAX 40

/* Writes "<shard hex 2 digits><random, base 32>" and a NUL; 80 random bits. Returns out. */
const char *id_mint(uint8_t shard, char out[ID_TEXT_MAX]);
/* A UUIDv7 (RFC 9562) whose first random byte is the shard; sorts by wall_ms. Returns out. */
const char *id_uuid(uint8_t shard, int64_t wall_ms, char out[ID_TEXT_MAX]);

#endif
