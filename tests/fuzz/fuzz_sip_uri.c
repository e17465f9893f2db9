/* A URI that parses is exactly the sum of its parts; what a name-addr and a parameter list hold lies inside the
 * text; a list gives no more elements than it has commas. */
#include "sbc/sip_uri.h"

#include <stdlib.h>

#include "core/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char room[65536];

static void must(bool is_so)
{
	if (!is_so)
		abort();
}

static void check_inside(struct span text, struct span s)
{
	must(s.ptr == NULL || (s.ptr >= text.ptr && s.ptr + s.len <= text.ptr + text.len));
}

static void put_part(struct buf *out, const char *before, struct span part)
{
	if (part.ptr == NULL)
		return;
	buf_puts(out, before);
	buf_put(out, part);
}

static void check_uri(struct span text)
{
	struct buf out = buf_of(room, sizeof(room));
	struct sip_uri uri, again;

	if (sip_uri_parse(text, &uri) < 0)
		return;
	buf_put(&out, span_sub(text, 0, span_find(text, ':') + 1));
	if (uri.user.ptr != NULL) {
		buf_put(&out, uri.user);
		put_part(&out, ":", uri.password);
		buf_puts(&out, uri.scheme == SIP_SCHEME_TEL ? "" : "@");
	}
	buf_put(&out, uri.host);
	if (uri.port != 0) { /* as it stands: it may have leading zeros */
		must(text.ptr < uri.host.ptr && uri.host.ptr[uri.host.len] == ':');
		put_part(&out, ":", span_sub(text, (size_t)(uri.host.ptr + uri.host.len + 1 - text.ptr),
					     (size_t)(uri.params.ptr ? uri.params.ptr - 1 - text.ptr :
						      uri.headers.ptr ? uri.headers.ptr - 1 - text.ptr : (long)text.len)));
	}
	put_part(&out, ";", uri.params);
	put_part(&out, "?", uri.headers);
	must(!out.is_full && span_eq(buf_span(&out), text));
	must(sip_uri_parse(buf_span(&out), &again) == 0 && again.port == uri.port && addr_eq(&again.addr, &uri.addr));
	must(span_find(text, '\r') == text.len && span_find(text, '\n') == text.len && span_find(text, '\0') == text.len);
	sip_uri_user_is_safe(&uri);
}

static void check_name_addr(struct span text)
{
	struct sip_name_addr addr, again;
	struct span value;

	if (sip_name_addr_parse(text, &addr) < 0)
		return;
	check_inside(text, addr.display);
	check_inside(text, addr.uri);
	check_inside(text, addr.params);
	check_inside(addr.params, addr.tag);
	must(addr.uri.len > 0);
	must(sip_param(addr.params, "tag", &value) == (addr.tag.ptr != NULL));
	must(sip_name_addr_parse(addr.text, &again) == 0 && span_eq(again.uri, addr.uri) && span_eq(again.tag, addr.tag));
	check_uri(addr.uri);
}

static void check_list(struct span text)
{
	struct span list = text, element;
	size_t commas = 0, elements = 0;

	for (size_t i = 0; i < text.len; i++)
		commas += text.ptr[i] == ',';
	while (sip_list_next(&list, &element)) {
		check_inside(text, element);
		check_name_addr(element);
		elements++;
	}
	must(elements <= commas + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };

	if (size > sizeof(room) - 16)
		return 0;
	check_uri(text);
	check_name_addr(text);
	check_list(text);
	return 0;
}
