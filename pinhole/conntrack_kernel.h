/* Entries of the kernel's connection tracking table, over ctnetlink, in the network namespace in which it was opened. Knows
 * nothing of pinholes. Blocking requests that the kernel answers at once; single thread. Only this file's .c includes
 * libnetfilter_conntrack. */
#ifndef PINHOLE_CONNTRACK_KERNEL_H
#define PINHOLE_CONNTRACK_KERNEL_H

#include "pinhole/wire.h"

/* Datagrams from `source` to `listen` leave as `from` to `target`, and back: those from `target` to `from` leave as `listen`
 * to `source`. */
struct conntrack_entry {
	struct wire_addr source, listen, from, target;
	uint8_t proto;
	uint8_t tcp_state;           /* TCP_CONNTRACK_* of the kernel; 0 with UDP */
	bool has_closed_first[2];    /* this way and back: the first FIN came from there */
	uint32_t mark, timeout_s, id;
	uint32_t status;             /* IPS_* */
	uint64_t packets[2], bytes[2]; /* this way and back, whole IP datagrams; needs net.netfilter.nf_conntrack_acct */
};
enum { CONNTRACK_TCP_FIN_WAIT = 4, CONNTRACK_TCP_CLOSE_WAIT = 5, CONNTRACK_TCP_LAST_ACK = 6, CONNTRACK_TCP_TIME_WAIT = 7, CONNTRACK_TCP_CLOSE = 8 };
enum { CONNTRACK_DST_NAT = 1 << 5 }; /* in status */

struct conntrack_kernel;
int conntrack_kernel_open(struct conntrack_kernel **ret);
void conntrack_kernel_close(struct conntrack_kernel *kernel); /* NULL is fine */

/* An entry that the kernel will not throw out when its table is full. -EEXIST: an entry for one of the two tuples is there;
 * -ENOSPC: the table is full. */
int conntrack_kernel_create(struct conntrack_kernel *kernel, const struct conntrack_entry *entry);
/* The entry to which a datagram of protocol proto from src to dst belongs, in the entry's own orientation. -ENOENT. */
int conntrack_kernel_find(struct conntrack_kernel *kernel, uint8_t proto, const struct wire_addr *src,
			  const struct wire_addr *dst, struct conntrack_entry *ret);
/* By source, listen, proto and, unless 0, id. -ENOENT. */
int conntrack_kernel_delete(struct conntrack_kernel *kernel, const struct conntrack_entry *entry);
int conntrack_kernel_set_timeout(struct conntrack_kernel *kernel, const struct conntrack_entry *entry, uint32_t timeout_s);
/* Every entry with (mark & mask) == value. fn may use the other functions, but for a second dump. */
typedef void conntrack_entry_fn(void *arg, const struct conntrack_entry *entry);
int conntrack_kernel_dump(struct conntrack_kernel *kernel, uint32_t value, uint32_t mask, conntrack_entry_fn *fn, void *arg);

/* The same in steps, since a large table takes its time: _begin once, then _step until it returns 0. Entries made meanwhile
 * may be missing. 1 when there is more, 0 at the end, or a negative error, after which it has to begin again. */
int conntrack_kernel_begin(struct conntrack_kernel *kernel, uint32_t value, uint32_t mask);
enum { CONNTRACK_STEP = 2000 /* entries, about */ };
int conntrack_kernel_step(struct conntrack_kernel *kernel, conntrack_entry_fn *fn, void *arg);

/* Beginnings of entries with (mark & mask) == value, or their ends with final counters, from now on: hints, some may be missing. _watch
 * once, for one of the two. The kernel then makes these reports for all entries of the machine, and throws most away. */
enum conntrack_news { CONNTRACK_BEGINNINGS, CONNTRACK_ENDS };
int conntrack_kernel_watch(struct conntrack_kernel *kernel, enum conntrack_news news, uint32_t value, uint32_t mask);
/* What was reported since the last call; does not wait. -ENOBUFS when reports were lost. */
int conntrack_kernel_news(struct conntrack_kernel *kernel, conntrack_entry_fn *fn, void *arg);

bool conntrack_same_way(const struct conntrack_entry *a, const struct conntrack_entry *b); /* the four addresses and proto */
/* The same entry seen from its other end. */
struct conntrack_entry conntrack_turned(const struct conntrack_entry *entry);

#endif
