/* A gateway between two hosts, in three network namespaces made for the occasion: what a back end sends a packet through to
 * prove itself, and what tests use. Everything vanishes with the process and the descriptors that hold it. Not for threads:
 * entering a namespace is a matter of the calling thread. */
#ifndef PINHOLE_RIG_H
#define PINHOLE_RIG_H

#include "core/addr.h"

/*   host 198.18.1.2 -- "left" 198.18.1.1  gateway  198.18.2.1 "right" -- 198.18.2.2 host     (/24)
 *   host fd18:1::2  -- "left" fd18:1::1   gateway  fd18:2::1  "right" -- fd18:2::2  host     (/64)
 * Interfaces of the hosts are called "host". Each host's default route is the gateway. */
enum rig_place { RIG_LEFT, RIG_GATEWAY, RIG_RIGHT, RIG_PLACES };

struct rig {
	int ns[RIG_PLACES];  /* descriptors of the namespaces */
	int ifindex[2];      /* of the gateway's "left" and "right" */
	bool has_ipv6;
};

/* Makes it and leaves the calling thread in the gateway's namespace, for good: call it in a child process. Forwarding is
 * on. 0 or a negative errno; *ret_what then names the step. */
int rig_open(struct rig *ret, const char **ret_what);
void rig_close(struct rig *rig); /* the descriptors; the thread stays where it is */
int rig_enter(const struct rig *rig, enum rig_place place);
/* Address of a host (RIG_LEFT, RIG_RIGHT), or the gateway's address on that side. */
struct addr rig_host(enum rig_place side, uint8_t family, uint16_t port);
struct addr rig_gateway(enum rig_place side, uint8_t family, uint16_t port);
/* A datagram or stream socket (SOCK_DGRAM, SOCK_STREAM) in that place, bound; a negative errno when not. The thread is in
 * the gateway's namespace afterwards. */
int rig_socket(const struct rig *rig, enum rig_place place, int type, const struct addr *addr);

/* One datagram from the host's socket `fd` to `to` (both by a place), which has to arrive at the other socket `far` from
 * `as` with its contents whole, within wait_ms (0: 3 s). 0, or -ENODATA when it did not, and a reason. */
struct rig_pass {
	int fd, far;
	struct addr to, as;
	int wait_ms;
};
int rig_pass(const struct rig_pass *pass, char *reason, size_t size);

/* Writes text into a file below /proc/sys, as seen in the thread's namespace: "net/ipv4/ip_forward". 0 or negative errno. */
int rig_sysctl(const char *name, const char *text);

/* Runs fn in a child process with a rig of its own, at most 10 s. 0 when fn returned 0; else what fn returned (a negative
 * errno) or why it could not run, and `reason` (of `size` bytes) says more: fn writes it. */
typedef int rig_fn(struct rig *rig, void *arg, char *reason, size_t size);
int rig_run(rig_fn *fn, void *arg, char *reason, size_t size);
int rig_run_within(int max_ms, rig_fn *fn, void *arg, char *reason, size_t size);

#endif
