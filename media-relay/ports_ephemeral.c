/* The kernel's ephemeral port range against the media pools: a pool that overlaps it loses ports to unrelated sockets,
 * now and then, under load. Found at start instead. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"
#include "media-relay/ports.h"

static int port_of(struct span text, uint16_t *ret)
{
	uint32_t value;

	if (span_to_u32(span_trim(text), 65535, &value) < 0)
		return ERR_PARSE;
	*ret = (uint16_t)value;
	return 0;
}

static int parse_range(struct span text, uint16_t *ret_min, uint16_t *ret_max)
{
	struct span rest = span_trim(text);
	struct span first;

	for (size_t i = 0; i < rest.len; i++) {
		if (rest.ptr[i] != ' ' && rest.ptr[i] != '\t')
			continue;
		first = span_sub(rest, 0, i);
		if (port_of(first, ret_min) < 0 || port_of(span_sub(rest, i, rest.len), ret_max) < 0)
			return ERR_PARSE;
		return *ret_min <= *ret_max ? 0 : ERR_PARSE;
	}
	return ERR_PARSE;
}

/* "8080,9148,20000-29999" */
static int parse_reserved(struct span text, uint8_t *bits)
{
	struct span rest = span_trim(text);

	while (rest.ptr != NULL && rest.len > 0) {
		struct span item = span_cut(&rest, ',');
		struct span low = span_cut(&item, '-');
		uint16_t min, max;

		if (port_of(low, &min) < 0)
			return ERR_PARSE;
		max = min;
		if (item.ptr != NULL && (port_of(item, &max) < 0 || max < min))
			return ERR_PARSE;
		for (uint32_t port = min; port <= max; port++)
			bits[port / 8] |= (uint8_t)(1u << port % 8);
	}
	return 0;
}

int ports_ephemeral_parse(struct span range, struct span reserved, struct ports_ephemeral *ret)
{
	uint16_t min, max;

	if (parse_range(range, &min, &max) < 0)
		return ERR_PARSE;
	memset(ret->reserved, 0, sizeof(ret->reserved));
	if (parse_reserved(reserved, ret->reserved) < 0)
		return ERR_PARSE;
	ret->min = min;
	ret->max = max;
	return 0;
}

static int read_text(const char *path, char *out, size_t size, struct span *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = read(fd, out, size);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err == 0)
		*ret = (struct span){ out, (size_t)n };
	return err;
}

int ports_ephemeral_read(struct ports_ephemeral *ret)
{
	char range_text[64], reserved_text[16384];
	struct span range, reserved = SPAN_NONE;
	int err = read_text("/proc/sys/net/ipv4/ip_local_port_range", range_text, sizeof(range_text), &range);

	if (err < 0)
		return err;
	err = read_text("/proc/sys/net/ipv4/ip_local_reserved_ports", reserved_text, sizeof(reserved_text), &reserved);
	if (err < 0)
		return err;
	return ports_ephemeral_parse(range, reserved, ret);
}

uint16_t ports_ephemeral_collision(const struct ports_ephemeral *e, uint16_t min, uint16_t max)
{
	for (uint32_t port = min; port <= max; port++)
		if (port >= e->min && port <= e->max && !(e->reserved[port / 8] >> port % 8 & 1))
			return (uint16_t)port;
	return 0;
}
