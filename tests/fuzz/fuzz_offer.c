/* What offer_parse() accepts, offer_rewrite() must turn into a description that parses again, says the same about the media, is
 * a fixed point, and holds no c= address of the input. */
#include "sbc/offer.h"

#include <stdlib.h>

#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

/* One patch of several, so that both families and rejected lines are met. */
static struct offer_patch choose_patch(const uint8_t *data, size_t size)
{
	static const char *const addresses[] = { "198.51.100.7", "2001:db8:ffff::7" };
	struct offer_patch patch = { .session_id = 1, .version = 2 };
	unsigned choice = 0;

	for (size_t i = 0; i < size; i++)
		choice = choice * 31 + data[i];
	must(addr_parse_ip(span_of(addresses[choice & 1]), &patch.address) == 0);
	for (unsigned i = 0; i < OFFER_MEDIA_MAX; i++) {
		if (choice >> 2 >> i & 1)
			continue;
		must(addr_parse_ip(span_of(addresses[(choice & 1) ^ (choice >> 1 & i & 1)]), &patch.media[i].rtp) == 0);
		patch.media[i].rtp.port = (uint16_t)(20000 + 2 * i);
		patch.media[i].rtcp = patch.media[i].rtp;
		patch.media[i].rtcp.port++;
	}
	return patch;
}

/* True when the line is one that the gateway understands; other lines stay, and may hold any address. */
static bool is_understood(struct span line)
{
	static const struct span starts[] = { SPAN_LIT("o="), SPAN_LIT("c="), SPAN_LIT("s="), SPAN_LIT("i="), SPAN_LIT("u="),
					      SPAN_LIT("e="), SPAN_LIT("p="), SPAN_LIT("a=rtcp:"), SPAN_LIT("a=candidate:") };

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		if (span_starts(line, starts[i]))
			return true;
	return false;
}

static bool is_address_char(const char *c, const char *end)
{
	return c < end && ((*c >= '0' && *c <= '9') || *c == '.');
}

static bool has_word(struct span text, struct span word)
{
	for (size_t i = 0; i + word.len <= text.len; i++)
		if (span_starts(span_sub(text, i, text.len), word) && (i == 0 || !is_address_char(text.ptr + i - 1, text.ptr + i)) &&
		    !is_address_char(text.ptr + i + word.len, text.ptr + text.len))
			return true;
	return false;
}

/* The address of one c= line must be gone, unless a line that passes untouched holds it too. */
static void check_address_gone(struct span input, struct span address, struct span output)
{
	struct addr addr;

	if (addr_parse_ip(address, &addr) < 0 || addr.family != AF_INET || addr_kind(&addr) == ADDR_UNSPECIFIED ||
	    span_eq(address, SPAN_LIT("198.51.100.7")))
		return;
	while (input.ptr != NULL) {
		struct span line = span_cut(&input, '\n');

		if (!is_understood(line) && has_word(line, address))
			return;
	}
	must(!has_word(output, address));
}

static void check_no_leak(struct span input, struct span output)
{
	struct span rest = input;

	while (rest.ptr != NULL) {
		struct span line = span_cut(&rest, '\n');

		if (span_starts(line, SPAN_LIT("c=IN IP4 ")))
			check_address_gone(input, span_trim(span_sub(line, 9, line.len)), output);
	}
}

static void check_same_media(const struct offer *before, const struct offer *after, const struct offer_patch *patch)
{
	must(before->n_media == after->n_media);
	for (unsigned i = 0; i < before->n_media; i++) {
		const struct offer_media *a = &before->media[i], *b = &after->media[i];
		bool is_open = a->port != 0 && addr_is_set(&patch->media[i].rtp);

		must(span_eq(a->kind, b->kind) && span_eq(a->proto, b->proto) && span_eq(a->formats, b->formats));
		must(a->direction == b->direction && a->has_rtcp_mux == b->has_rtcp_mux);
		must(b->port == (is_open ? patch->media[i].rtp.port : 0));
		must(!is_open || a->is_held == b->is_held);
		must(!is_open || a->is_held || addr_eq(&b->rtp, &patch->media[i].rtp));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char bytes[2][OFFER_BYTES_MAX * 4];
	struct span body = { (const char *)data, size };
	struct offer_patch patch = choose_patch(data, size);
	struct buf once = buf_of(bytes[0], sizeof(bytes[0])), twice = buf_of(bytes[1], sizeof(bytes[1]));
	struct offer offer, again;
	struct offer_error error;

	if (offer_parse(body, &offer, &error) < 0)
		return 0;
	must(offer_rewrite(&offer, &patch, &once) == 0);
	check_no_leak(body, buf_span(&once));
	if (once.len > OFFER_BYTES_MAX)
		return 0;
	must(offer_parse(buf_span(&once), &again, &error) == 0);
	check_same_media(&offer, &again, &patch);
	must(offer_rewrite(&again, &patch, &twice) == 0);
	must(span_eq(buf_span(&once), buf_span(&twice)));
	return 0;
}
