/* What the media tests share, see media_rig.h. */
#include "tests/unit/media_rig.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/loop.h"
#include "tests/mock/fake_loop.h"
#include "tests/unit/unit.h"

enum { WAIT_MS = 2000 };

static struct addr ip(const char *text)
{
	struct addr addr = { 0 };

	CU_ASSERT_EQUAL_FATAL(addr_parse_ip(span_of(text), &addr), 0);
	return addr;
}

/* A loopback address of this process alone, so that test programs may run side by side. */
static struct addr own_ip(unsigned n)
{
	uint32_t pid = (uint32_t)getpid();

	return (struct addr){ .family = AF_INET, .ip = { 127, (uint8_t)(1 + (pid >> 14)), (uint8_t)(pid >> 6),
							 (uint8_t)((pid & 63) << 2 | n) } };
}

struct config *rig_config(bool is_ipv6)
{
	static struct config config;

	memset(&config, 0, sizeof(config));
	config.n_realms = 2;
	for (unsigned i = 0; i < 2; i++) {
		struct realm_conf *realm = &config.realms[i];

		realm->index = i;
		realm->name = i == 0 ? "access" : "core";
		realm->addresses[realm->n_addresses++] = own_ip(i);
		realm->media_port_min = (uint16_t)(RIG_PORT_MIN + i * 1000);
		realm->media_port_max = (uint16_t)(RIG_PORT_MAX + i * 1000);
		if (is_ipv6)
			realm->addresses[realm->n_addresses++] = ip("::1");
		realm->trust = i == 0 ? TRUST_UNTRUSTED : TRUST_TRUSTED;
		realm->nat = i == 0 ? NAT_LATCH : NAT_OFF;
		realm->dscp_media = 46;
		realm->latch_window_ms = RIG_WINDOW_MS;
	}
	config.limits.relay_threads = 2;
	config.limits.port_quarantine_ms = RIG_QUARANTINE_MS;
	config.media.lifetime_s = 900;
	return &config;
}

static void on_event(void *arg, struct media *media, enum media_event event, unsigned stream, enum media_side side)
{
	struct rig *rig = arg;

	CU_ASSERT_PTR_EQUAL(media, rig->media);
	if (event == MEDIA_LATCHED)
		rig->latched[side]++;
	else if (event == MEDIA_PATH)
		rig->moved[side]++;
	else
		rig->timeouts++;
	if (event == MEDIA_TIMEOUT)
		rig->timeout_at = (struct addr){ .family = (uint8_t)side, .port = (uint16_t)stream };
}

void rig_open(struct rig *rig, struct loop *loop, bool is_ipv6, uint32_t timeout_ms)
{
	rig_open_with(rig, loop, is_ipv6, timeout_ms, NULL);
}

void rig_open_with(struct rig *rig, struct loop *loop, bool is_ipv6, uint32_t timeout_ms, struct pinholes *pinholes)
{
	struct config *config = rig_config(is_ipv6);
	struct conf_errors errors = { 0 };

	memset(rig, 0, sizeof(*rig));
	rig->loop = loop;
	CU_ASSERT_EQUAL_FATAL(media_engine_new(loop, config, pinholes, &errors, &rig->engine), 0);
	group_init(&rig->group, 0, loop_wall_ms(loop));
	CU_ASSERT_EQUAL_FATAL(media_open(rig->engine, &rig->group, &config->realms[0], &config->realms[1], timeout_ms,
					 on_event, rig, &rig->media), 0);
	CU_ASSERT_EQUAL_FATAL(media_stream_open(rig->media, 0, 0, is_ipv6 ? AF_INET6 : 0), 0);
}

void rig_close(struct rig *rig)
{
	group_close(&rig->group);
	media_engine_free(rig->engine);
	rig->engine = NULL;
}

bool rig_has_ipv6(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

int rig_socket(const char *address, struct addr *ret)
{
	struct addr addr = ip(address);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, &sa);
	int fd = socket(addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&sa, len), 0);
	CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*ret = addr_from_sockaddr((struct sockaddr *)&sa);
	return fd;
}

struct media_remote rig_remote(const struct addr *rtp)
{
	struct media_remote remote = { .rtp = *rtp, .is_rtp = true, .may_send = true };

	remote.payloads[0] = 1 << 0 | 1 << 8;
	return remote;
}

void rig_remotes(struct rig *rig, const struct addr *a, const struct addr *b)
{
	struct media_remote remote;

	if (a != NULL) {
		remote = rig_remote(a);
		media_stream_remote(rig->media, 0, MEDIA_A, &remote, false);
	}
	if (b != NULL) {
		remote = rig_remote(b);
		media_stream_remote(rig->media, 0, MEDIA_B, &remote, false);
	}
}

struct span rig_rtp(uint8_t payload_type, uint16_t sequence)
{
	static char bytes[172];
	uint32_t timestamp = sequence * 160u;

	memset(bytes, 0x55, sizeof(bytes));
	bytes[0] = (char)0x80;
	bytes[1] = (char)payload_type;
	bytes[2] = (char)(sequence >> 8);
	bytes[3] = (char)sequence;
	for (int i = 0; i < 4; i++)
		bytes[4 + i] = (char)(timestamp >> (24 - 8 * i));
	return (struct span){ bytes, sizeof(bytes) };
}

struct span rig_rtcp(void)
{
	return SPAN_LIT("\x80\xc9\0\1\1\2\3\4");
}

void rig_send(int fd, const struct addr *to, struct span bytes)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	CU_ASSERT_EQUAL(sendto(fd, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len), (ssize_t)bytes.len);
}

bool rig_receive(int fd, void *out, size_t *len, struct addr *ret_source)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	struct sockaddr_storage sa;
	socklen_t sa_len = sizeof(sa);
	ssize_t n;

	if (poll(&wait, 1, WAIT_MS) != 1)
		return false;
	n = recvfrom(fd, out, *len, 0, (struct sockaddr *)&sa, &sa_len);
	if (n < 0)
		return false;
	*len = (size_t)n;
	if (ret_source != NULL)
		*ret_source = addr_from_sockaddr((struct sockaddr *)&sa);
	return true;
}

bool rig_is_rtp(int fd, uint16_t sequence, struct addr *ret_source)
{
	uint8_t bytes[2048];
	size_t len = sizeof(bytes);

	if (!rig_receive(fd, bytes, &len, ret_source))
		return false;
	return len == 172 && bytes[0] == 0x80 && (bytes[2] << 8 | bytes[3]) == sequence;
}

bool rig_is_quiet(int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	return poll(&wait, 1, 0) == 0;
}

struct addr rig_local(const struct rig *rig, enum media_side side)
{
	struct media_local local;

	media_stream_local(rig->media, 0, side, &local);
	return local.rtp;
}

struct media_stats rig_stats(const struct rig *rig, enum media_side side)
{
	struct media_stats stats = { 0 };

	CU_ASSERT_EQUAL(media_stats(rig->media, 0, side, &stats), 0);
	return stats;
}

unsigned rig_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

void rig_pause_ms(unsigned ms)
{
	const struct timespec pause = { 0, ms * 1000000l };

	clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

bool rig_wait_count(struct rig *rig, const unsigned *counter, unsigned n)
{
	for (int i = 0; i < WAIT_MS && *counter < n; i++) {
		fake_loop_turn(rig->loop);
		rig_pause_ms(1);
	}
	return *counter == n;
}
