/* Address and prefix literals: whatever is accepted must come back unchanged from its own text. */
#include <stdlib.h>

#include "core/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	struct sockaddr_storage ss;
	struct addr a, b;
	struct prefix p;
	char out[ADDR_TEXT_MAX];

	if (addr_parse(text, &a) == 0) {
		must(addr_parse(span_of(addr_text(&a, out)), &b) == 0 && addr_eq(&a, &b));
		addr_to_sockaddr(&a, &ss);
		b = addr_from_sockaddr((struct sockaddr *)&ss);
		must(addr_eq(&a, &b));
	}
	if (addr_parse_ip(text, &a) == 0) {
		must(a.port == 0);
		must(addr_parse_ip(span_of(addr_ip_text(&a, out)), &b) == 0 && addr_eq(&a, &b));
		must(addr_parse_ip(span_of(addr_host_text(&a, out)), &b) == 0 && addr_eq(&a, &b));
		(void)addr_kind(&a);
	}
	if (prefix_parse(text, &p) == 0)
		must(prefix_has(&p, &p.addr));
	return 0;
}
