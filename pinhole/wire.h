/* What posternd and postern-pinholed say to each other: records of fixed size over a SOCK_SEQPACKET pair. A message is one
 * wire_head and `count` records of the one type that its op has; any other length is refused. Both ends are built
 * together; byte order and padding are the machine's.
 *
 * Order: the helper sends WIRE_HELLO (again after each of its restarts, then everything that is to stay is opened again).
 * posternd sends WIRE_LIMITS, WIRE_CAPTURE and WIRE_SEAL once, before it reads anything from a network; after the seal the
 * helper's limits never change. A request's serial comes back in its answer; the helper answers in order. */
#ifndef PINHOLE_WIRE_H
#define PINHOLE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/addr.h"
#include "pinhole/slot.h"

enum { WIRE_VERSION = 1, WIRE_BATCH_MAX = 64, WIRE_REASON_MAX = 120, WIRE_INTERFACE_MAX = 16,
       WIRE_OWN_MAX = 1024 /* addresses in the limits */, WIRE_LOW_PORTS_MAX = 16, WIRE_CAPTURES_MAX = 2048,
       WIRE_CAPTURE_PORTS_MAX = 8 };

enum wire_op {
	/* posternd to helper: op, its record, and what the answer carries. */
	WIRE_LIMITS = 1, /* wire_limit; no answer */
	WIRE_SEAL,       /* wire_seal; WIRE_ABILITY */
	WIRE_OPEN,       /* wire_pinhole, all or nothing; idempotent, also renews; WIRE_OPENED */
	WIRE_CLOSE,      /* wire_key; WIRE_CLOSED */
	WIRE_SWEEP,      /* wire_count, one: `starts` of the WIRE_HELLO since which everything that is to stay was opened again;
			  * the rest is removed. Nothing is when the helper has started again meanwhile. WIRE_SWEPT */
	WIRE_LIST,       /* nothing: ids of what is in the kernel now; WIRE_LISTED messages, the last one with count 0 */
	WIRE_SOCKET,     /* wire_socket_request, one; WIRE_SOCKET_READY with the descriptor */
	WIRE_CAPTURE,    /* wire_capture, between the limits and the seal; no answer */
	WIRE_LOOK,       /* wire_key: how far their connections have come; counters are brought up to date. WIRE_LOOKED */
	/* helper to posternd. */
	WIRE_HELLO = 64, /* wire_hello; descriptors: the memory of slots, see wire_hello */
	WIRE_ABILITY,    /* wire_ability; answer to the seal, and unasked when something changed */
	WIRE_OPENED,     /* wire_opened */
	WIRE_CLOSED,     /* wire_closed */
	WIRE_SWEPT,      /* wire_count, one */
	WIRE_LISTED,     /* wire_listed */
	WIRE_SOCKET_READY, /* wire_result, one; with err 0 the descriptor comes along */
	WIRE_GONE,       /* wire_gone, unasked: expired, used up, or lost */
	WIRE_CAPTURING,  /* wire_capturing, unasked: after the hello when there are captures, and when something changed */
	WIRE_LOOKED,     /* wire_looked */
};

struct wire_head {
	uint16_t version, op;
	uint32_t count;
	uint64_t serial; /* 0 when nobody asked */
};

struct wire_addr {
	uint8_t ip[16]; /* as struct addr */
	uint16_t port;  /* host byte order */
	uint8_t family; /* AF_INET, AF_INET6 (never IPv4-mapped), 0: none */
	uint8_t zero;
};

struct wire_limit { /* one address of the gateway */
	struct wire_addr addr;            /* port 0 */
	char interface[WIRE_INTERFACE_MAX]; /* "" : find it by the address */
	uint16_t port_min, port_max;      /* media: listen and from must lie inside */
	uint16_t realm;
	uint16_t zero;
};

struct wire_capture { /* control channels from a realm to servers behind it are taken over */
	struct wire_addr servers; /* of a prefix, port 0, host bits zero */
	struct wire_addr to;      /* on loopback, with port: where posternd takes them */
	uint16_t ports[WIRE_CAPTURE_PORTS_MAX]; /* of the servers; 0 ends it */
	uint16_t realm, realm_to; /* of the clients, of the servers */
	uint8_t bits, proto;
	uint8_t is_as_client;     /* WIRE_SOCKET may give clients' addresses to connections to the servers */
	uint8_t zero;
};

struct wire_seal {
	uint32_t pinholes_max;
	uint32_t lifetime_max_s;
	uint16_t port_floor;       /* no target or source port below; 1024 */
	uint16_t low_ports[WIRE_LOW_PORTS_MAX]; /* WIRE_SOCKET may bind these on own addresses, 0 ends it; 1 to 1023 */
	uint8_t may_reach_loopback; /* only when a realm's own address is on loopback: demonstrations */
	uint8_t may_be_transparent; /* WIRE_SOCKET may make IP_TRANSPARENT sockets */
	uint8_t order[5];          /* enum pinhole_path, preferred first, 0 ends it */
	uint8_t firewall;          /* 1: the forward hook lets only pinholes through between realms */
	uint8_t zero[6];
};

enum {
	WIRE_RTP = 1, WIRE_ONE_SHOT = 2, WIRE_HANDED_OVER = 4,
	/* Of pinholes between hosts that address each other: see pinhole.h. The last two have no `from`. */
	WIRE_THROUGH = 8, WIRE_AS_SOURCE = 16, WIRE_TO_SELF = 32, WIRE_FOREIGN = WIRE_THROUGH | WIRE_AS_SOURCE | WIRE_TO_SELF,
};

struct wire_pinhole {
	uint64_t id;    /* chosen by posternd, never 0; the same after a restart when the addresses are the same */
	uint8_t owner[16];
	struct wire_addr listen, from, source, target;
	uint64_t payloads[2];
	uint32_t packets_per_s, bytes_per_s, lifetime_s, clock_hz;
	uint16_t realm_in, realm_out;
	uint8_t proto, flags, dscp, zero;
};

struct wire_key {
	uint64_t id;
};

struct wire_hello {
	uint32_t slot_version, slot_size;
	uint32_t starts;        /* 1: the first start */
	uint32_t slots[2];      /* per region: how many; 0: no such region. One descriptor for each region that is there, in this
				 * order, to be mapped read-only. Region 0 is written by BPF programs, region 1 by the helper */
	uint32_t zero;
};

struct wire_ability {
	uint16_t realm;
	uint8_t path, is_usable, is_wanted, zero[3];
	char interface[WIRE_INTERFACE_MAX];
	char reason[WIRE_REASON_MAX]; /* ends with NUL */
};

struct wire_opened { /* per pinhole of the batch, in its order */
	uint64_t id;
	int32_t err;       /* 0, or why the batch failed (at this pinhole, or ERR_STATE at the others) */
	uint32_t slot;
	uint8_t region, path, was_there, zero[5];
	char reason[WIRE_REASON_MAX]; /* ends with NUL; with err 0: why no path that was preferred to this one */
};

struct wire_closed {
	uint64_t id;
	int32_t err;       /* 0, ERR_NOT_FOUND, or another error: the helper goes on trying to remove it */
	uint32_t zero;
	struct slot last;  /* final counters */
};

struct wire_looked { /* per key, in their order */
	uint64_t id;
	uint8_t end, zero[7]; /* enum pinhole_end */
};

enum wire_gone_why { WIRE_EXPIRED = 1, WIRE_USED_UP, WIRE_LOST };
struct wire_gone {
	uint64_t id;
	uint32_t why, zero;
	struct slot last;
};

struct wire_count {
	uint64_t n;
};

struct wire_listed {
	uint64_t id;       /* 0: in the kernel but not known to the helper */
	uint8_t path, zero[7];
};

struct wire_socket_request { /* a bound socket that needs privilege; TCP ones listen, unless is_connecting */
	/* An own address of the limits, with one of their low ports. With is_transparent instead: where a capture of the realm is
	 * brought to; and with is_connecting too a foreign address: a client's, towards servers (the realm is theirs), with port 0
	 * or one from the floor; UDP also a server's, towards clients, with a captured port or one from the floor. */
	struct wire_addr addr;
	uint16_t realm;
	uint8_t proto, is_transparent, is_connecting, zero[3];
};

struct wire_result {
	int32_t err;
	uint32_t zero;
};

struct wire_capturing {
	uint8_t is_working, zero[7];
	char reason[WIRE_REASON_MAX]; /* why not; ends with NUL */
};

/* Bytes of one record of that op; 0 for ops without records and unknown ones. */
size_t wire_record_size(enum wire_op op);
enum { WIRE_MESSAGE_MAX = 16384 }; /* no message is longer: see wire.c */

/* Whether an address, whatever its port, is in the capture's prefix of servers. */
bool wire_capture_has(const struct wire_capture *capture, const struct wire_addr *addr);

/* Takes a datagram apart. *ret_records points into data (aligned as data is: data must be aligned to 8). 0, or ERR_PARSE
 * with *ret_why a static text (the one output that is written on failure): wrong version, unknown op, count out of range,
 * length that does not fit the count, bytes that must be zero and are not, texts without end, enumerations out of range.
 * Meaning is not checked: see limits.h. */
int wire_parse(const void *data, size_t len, struct wire_head *ret_head, const void **ret_records, const char **ret_why);
struct wire_addr wire_addr_of(const struct addr *addr);
bool wire_addr_eq(const struct wire_addr *a, const struct wire_addr *b); /* address and port */
struct addr wire_addr_get(const struct wire_addr *wire);

/* One message each way; blocking depends on the descriptor. fds may be NULL. 0, -EAGAIN, ERR_CLOSED, or another errno.
 * wire_receive: len is the space, at least WIRE_MESSAGE_MAX; returns the length, or -EMSGSIZE for a message that is longer;
 * at most WIRE_FDS_MAX descriptors, others are closed; without fds all are. */
enum { WIRE_FDS_MAX = 2 };
int wire_send(int fd, enum wire_op op, uint64_t serial, const void *records, uint32_t count, const int *fds, unsigned n_fds);
int wire_receive(int fd, void *data, size_t len, int *fds, unsigned *n_fds);

#endif
