/* The media ports of one realm address, handed out in pairs: an even port for RTP, the odd one above it for RTCP, both
 * bound. A released pair rests in quarantine, so that late packets of the old call do not reach a new one. The sockets
 * of some released pairs stay bound and are used again: they swallow late packets meanwhile, and the next call needs
 * no new sockets. Control thread. */
#ifndef MEDIA_RELAY_PORTS_H
#define MEDIA_RELAY_PORTS_H

#include <stdio.h>

#include "core/addr.h"

struct ports;

/* Sockets that several pools together may have open, idle ones included. */
struct ports_budget {
	uint32_t max, open;
};

struct ports_conf {
	struct addr address; /* port 0 */
	uint16_t port_min, port_max;
	uint32_t quarantine_ms;
	uint8_t dscp;
	unsigned idle_max; /* pairs whose sockets may stay bound while unused */
	struct ports_budget *budget; /* borrowed while the pool lives; NULL: no limit */
};

struct ports_pair {
	uint16_t rtp_port; /* RTCP is rtp_port + 1 */
	int fds[2];        /* RTP, RTCP; -1: not open */
	bool is_recycled;  /* the sockets were another call's; they are empty */
};

/* SO_RCVBUF; the kernel doubles it. RTP: some 80 audio packets. RTCP: some 8 reports, and little enough that sockets at rest
 * may keep it. */
enum { PORTS_RTP_BUFFER = 32 * 1024, PORTS_RTCP_BUFFER = 4 * 1024 };

/* 0, ERR_CONFIG when the range holds no pair, a negative errno when the address cannot be bound, or -ENOMEM. */
int ports_new(const struct ports_conf *conf, struct ports **ret);
void ports_free(struct ports *ports); /* closes idle sockets; every pair must have been given back. NULL is fine */

/* Constant time. 0, ERR_LIMIT when no pair is free, or a negative errno (-EMFILE: out of descriptors or of the budget, and no idle
 * socket of this pool could make room). Pairs that something
 * else has bound are skipped, counted and tried again after a quarantine. */
int ports_take(struct ports *ports, uint64_t now_ms, struct ports_pair *ret);
/* That very pair, for a call that was up before this process began. 0; ERR_NOT_FOUND when it is not of this pool; ERR_EXISTS when it
 * is out, in quarantine, or bound by somebody else; or as ports_take(). */
int ports_claim(struct ports *ports, uint16_t rtp_port, uint64_t now_ms, struct ports_pair *ret);
/* True when the next pair to be given back may keep its sockets open. */
bool ports_may_keep(const struct ports *ports);
/* pair->fds are owned by the pool from here, or -1 when the caller closed them. */
void ports_give(struct ports *ports, const struct ports_pair *pair, uint64_t now_ms);
/* Lets pairs leave quarantine when their time has come. */
void ports_tick(struct ports *ports, uint64_t now_ms);

struct ports_stats {
	uint32_t total, used, quarantined, idle_open;
	uint64_t bind_failures;
};
void ports_stats(const struct ports *ports, struct ports_stats *ret);
const struct ports_conf *ports_conf(const struct ports *ports);

/* Ports that the kernel gives to sockets that ask for any port. */
struct ports_ephemeral {
	uint16_t min, max;
	uint8_t reserved[65536 / 8]; /* bit set: never given out */
};
/* The texts of ip_local_port_range and ip_local_reserved_ports. 0 or ERR_PARSE. */
int ports_ephemeral_parse(struct span range, struct span reserved, struct ports_ephemeral *ret);
/* From /proc/sys/net/ipv4. 0, ERR_PARSE or a negative errno. */
int ports_ephemeral_read(struct ports_ephemeral *ret);
/* The first port of min..max that the kernel may give to others, or 0 when there is none. */
uint16_t ports_ephemeral_collision(const struct ports_ephemeral *ephemeral, uint16_t min, uint16_t max);

#endif
