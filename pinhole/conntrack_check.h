/* Whether this machine forwards packets as the conntrack and nftables back ends need it: a proof with real packets in
 * namespaces of its own, made once, and settings of the real namespace, looked at every second. The reasons are sentences
 * that say what to do. */
#ifndef PINHOLE_CONNTRACK_CHECK_H
#define PINHOLE_CONNTRACK_CHECK_H

#include "pinhole/backend.h"
#include "pinhole/conntrack_kernel.h"

struct conntrack_check {
	struct {
		int fd;          /* of the setting that forwards this family */
		bool is_proved, forwards;
		char reason[WIRE_REASON_MAX]; /* of the proof, or why there was none */
		char setting[48];
	} of[2];                 /* IPv4, IPv6 */
	char refusal[WIRE_REASON_MAX]; /* why neither is possible; empty when nothing stands in the way */
};

/* Opens a door for `way` in the namespace of the moment, the proof's gateway, described by conf. 0 or a negative error with
 * a reason. */
typedef int conntrack_arrange_fn(const struct backend_conf *conf, const struct conntrack_entry *way,
				 char reason[WIRE_REASON_MAX]);

/* Proves arrange() for each family that the gateway's own addresses have, with a packet each way. */
void conntrack_check_open(struct conntrack_check *check, const struct backend_conf *conf, conntrack_arrange_fn *arrange);
void conntrack_check_close(struct conntrack_check *check);
/* Something that has nothing to do with the proof is in the way. Stays. */
void conntrack_check_refuse(struct conntrack_check *check, const char *reason);
/* Reads the settings again. */
void conntrack_check_tick(struct conntrack_check *check);
/* Whether packets of this family can pass now; a reason of WIRE_REASON_MAX when not. */
bool conntrack_check_family(const struct conntrack_check *check, uint8_t family, char *reason);
void conntrack_check_report(const struct conntrack_check *check, const struct backend_conf *conf, unsigned realm,
			    struct backend_report *ret);

/* Sees to it that the kernel counts packets per connection. 0, or a negative error with a reason. */
int conntrack_count_packets(char reason[WIRE_REASON_MAX]);

#endif
