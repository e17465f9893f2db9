/* Entries stand one behind the other from `head` on; the oldest ones leave from the front when room is needed, and what is left moves
 * to the beginning. Entries are few and short, so moving them costs less than wrapping around would cost in trouble. */
#include "algs/journal.h"

#include <stdlib.h>

struct header {
	int64_t at_ms;
	uint32_t kind;
	uint16_t first, second; /* lengths; the texts follow */
};

static size_t size_of(const struct header *header)
{
	size_t size = sizeof(*header) + header->first + header->second;

	return (size + 7) & ~(size_t)7;
}

static struct header header_at(const struct journal *j, size_t at)
{
	struct header header;

	memcpy(&header, j->bytes + at, sizeof(header));
	return header;
}

static bool make_room(struct journal *j, size_t need)
{
	if (need > j->size)
		return false;
	while (j->used + need > j->size) {
		struct header oldest = header_at(j, j->head);

		j->head += size_of(&oldest);
		j->used -= size_of(&oldest);
		j->n--;
		j->n_lost++;
	}
	if (j->head + j->used + need > j->size) {
		memmove(j->bytes, j->bytes + j->head, j->used);
		j->head = 0;
	}
	return true;
}

void journal_add(struct journal *j, size_t size, const struct journal_entry *entry)
{
	struct span first = span_sub(entry->first, 0, JOURNAL_TEXT_MAX), second = span_sub(entry->second, 0, JOURNAL_TEXT_MAX);
	struct header header = { entry->at_ms, entry->kind, (uint16_t)first.len, (uint16_t)second.len };
	char *to;

	if (j->bytes == NULL) {
		j->bytes = malloc(size);
		j->size = j->bytes != NULL ? size : 0;
	}
	if (!make_room(j, size_of(&header))) {
		j->n_lost++;
		return;
	}
	to = j->bytes + j->head + j->used;
	memcpy(to, &header, sizeof(header));
	if (first.len > 0)
		memcpy(to + sizeof(header), first.ptr, first.len);
	if (second.len > 0)
		memcpy(to + sizeof(header) + first.len, second.ptr, second.len);
	j->used += size_of(&header);
	j->n++;
}

void journal_each(const struct journal *j, journal_fn *fn, void *arg)
{
	size_t at = j->head;

	for (unsigned i = 0; i < j->n; i++) {
		struct header header = header_at(j, at);
		const char *text = j->bytes + at + sizeof(header);
		struct journal_entry entry = { header.at_ms, header.kind, { text, header.first },
					       { text + header.first, header.second } };

		fn(arg, &entry);
		at += size_of(&header);
	}
}

void journal_fini(struct journal *j)
{
	free(j->bytes);
	*j = (struct journal){ 0 };
}
