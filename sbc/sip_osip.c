/* libosip2 as a second opinion on a message, see sip_osip.h. The only file that includes it. While a parse runs its allocations
 * come from the message's arena, so a refusal leaks nothing. Control thread. */
#include "sbc/sip_osip.h"

#include <osipparser2/osip_message.h>
#include <osipparser2/osip_parser.h>
#include <stdlib.h>

#include "core/err.h"

/* The arena that libosip2 allocates from while this thread runs its parser. Outside of that it uses the heap: what it
 * allocates once in parser_init() must stay. */
static _Thread_local struct arena *serving;

/* In front of each allocation from an arena, for realloc. */
struct block_head {
	size_t size;
	_Alignas(max_align_t) char data[];
};

static void *serve_malloc(size_t size)
{
	struct block_head *head;

	if (serving == NULL)
		return malloc(size);
	if (size > SIZE_MAX - sizeof(*head))
		return NULL;
	head = arena_alloc_raw(serving, sizeof(*head) + size);
	if (head == NULL)
		return NULL;
	head->size = size;
	return head->data;
}

static void *serve_realloc(void *old, size_t size)
{
	struct block_head *head;
	void *copy;

	if (serving == NULL)
		return realloc(old, size);
	copy = serve_malloc(size);
	if (copy == NULL || old == NULL)
		return copy;
	head = (struct block_head *)((char *)old - offsetof(struct block_head, data));
	return memcpy(copy, old, head->size < size ? head->size : size);
}

static void serve_free(void *block)
{
	if (serving == NULL)
		free(block);
}

/* Its default prints raw message text to standard output. */
static void discard_trace(const char *file, int line, osip_trace_level_t level, const char *format, va_list args)
{
	(void)file, (void)line, (void)level, (void)format, (void)args;
}

int sip_osip_init(void)
{
	osip_trace_initialize_func(TRACE_LEVEL0, discard_trace);
	for (int level = TRACE_LEVEL0; level < END_TRACE_LEVEL; level++)
		osip_trace_disable_level((osip_trace_level_t)level);
	osip_set_allocators(serve_malloc, serve_realloc, serve_free);
	return parser_init() == 0 ? 0 : ERR_STATE;
}

/* A header kept as it came whose loss would change who is trusted; libosip2 has no list of its own for these. */
static bool is_identity(struct span name)
{
	switch (sip_header_of(name)) {
	case SIP_H_DIVERSION:
	case SIP_H_HISTORY_INFO:
	case SIP_H_IDENTITY:
	case SIP_H_PRIVACY:
	case SIP_H_REMOTE_PARTY_ID:
		return true;
	default:
		return span_istarts(name, SPAN_LIT("P-"));
	}
}

static unsigned count_identity(const osip_list_t *headers)
{
	osip_list_iterator_t at;
	unsigned n = 0;

	for (osip_header_t *h = osip_list_get_first(headers, &at); h != NULL; h = osip_list_get_next(&at))
		n += is_identity(span_of(h->hname));
	return n;
}

/* What libosip2 ignores when it cannot read it (the message still parses). */
static bool has_lost_headers(const osip_message_t *parsed, const struct sip_msg *msg)
{
	const struct {
		enum sip_header_id id;
		const osip_list_t *list;
	} credentials[] = {
		{ SIP_H_AUTHORIZATION, &parsed->authorizations },
		{ SIP_H_PROXY_AUTHORIZATION, &parsed->proxy_authorizations },
		{ SIP_H_WWW_AUTHENTICATE, &parsed->www_authenticates },
		{ SIP_H_PROXY_AUTHENTICATE, &parsed->proxy_authenticates },
	};
	unsigned n_lines[SIP_HEADERS] = { 0 };
	unsigned n_identity = 0;

	for (unsigned i = 0; i < msg->n_headers; i++) {
		n_lines[msg->headers[i].id]++;
		n_identity += is_identity(msg->headers[i].name);
	}
	for (size_t i = 0; i < sizeof(credentials) / sizeof(credentials[0]); i++)
		if (n_lines[credentials[i].id] != (unsigned)osip_list_size(credentials[i].list))
			return true;
	return msg->n_routes != (unsigned)osip_list_size(&parsed->routes) ||
	       msg->n_record_routes != (unsigned)osip_list_size(&parsed->record_routes) ||
	       msg->n_vias != (unsigned)osip_list_size(&parsed->vias) ||
	       (n_identity > 0 && count_identity(&parsed->headers) < n_identity);
}

int sip_osip_check(struct arena *arena, struct span headers, const struct sip_msg *msg)
{
	osip_message_t *parsed = NULL;
	int err = 0;

	serving = arena;
	if (osip_message_init(&parsed) != 0 || osip_message_parse(parsed, headers.ptr, headers.len) != 0)
		err = ERR_PARSE;
	/* Out of memory it may lose a header and still report success. */
	if (arena_is_exhausted(arena))
		err = ERR_LIMIT;
	else if (err == 0 && has_lost_headers(parsed, msg))
		err = ERR_PARSE;
	serving = NULL; /* `parsed` goes with the arena */
	return err;
}
