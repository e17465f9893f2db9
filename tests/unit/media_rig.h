/* An engine between two loopback realms, with real relay threads and sockets, and the far ends to talk to it.
 * Side A is untrusted with nat latch, side B trusted with nat off. */
#ifndef TESTS_UNIT_MEDIA_RIG_H
#define TESTS_UNIT_MEDIA_RIG_H

#include "core/conf.h"
#include "media-relay/media.h"

enum { RIG_PORT_MIN = 22000, RIG_PORT_MAX = 22399, RIG_QUARANTINE_MS = 5000, RIG_WINDOW_MS = 3000 };

struct rig {
	struct loop *loop;
	struct media_engine *engine;
	struct group group;
	struct media *media;
	unsigned latched[2], moved[2], timeouts; /* events */
	struct addr timeout_at; /* port: stream, family: side of the last time-out */
};

struct config *rig_config(bool is_ipv6); /* static, made anew by each call */
/* Engine and one session with stream 0 open. */
void rig_open(struct rig *rig, struct loop *loop, bool is_ipv6, uint32_t timeout_ms);
/* The same with a pinhole engine, which stays the caller's. */
void rig_open_with(struct rig *rig, struct loop *loop, bool is_ipv6, uint32_t timeout_ms, struct pinholes *pinholes);
void rig_close(struct rig *rig); /* the loop stays */
bool rig_has_ipv6(void);

/* A far end: a socket on this address; port 0: any. */
int rig_socket(const char *address, struct addr *ret);
struct media_remote rig_remote(const struct addr *rtp);
/* Sets the remotes of stream 0. NULL: leave that side. */
void rig_remotes(struct rig *rig, const struct addr *a, const struct addr *b);

/* A PCMU packet of 172 octets (20 ms). */
struct span rig_rtp(uint8_t payload_type, uint16_t sequence);
struct span rig_rtcp(void); /* an empty receiver report */
void rig_send(int fd, const struct addr *to, struct span bytes);
/* Waits for a datagram; false when none comes for two seconds. ret_source may be NULL. */
bool rig_receive(int fd, void *out, size_t *len, struct addr *ret_source);
bool rig_is_rtp(int fd, uint16_t sequence, struct addr *ret_source); /* receives; is it this one? */
bool rig_is_quiet(int fd);                                           /* nothing is waiting now */
struct addr rig_local(const struct rig *rig, enum media_side side); /* where the gateway receives RTP */
struct media_stats rig_stats(const struct rig *rig, enum media_side side);
unsigned rig_open_files(void);
void rig_pause_ms(unsigned ms); /* between looks at something that another thread does */

/* Runs the fake loop until *counter reaches n, or two seconds have passed. */
bool rig_wait_count(struct rig *rig, const unsigned *counter, unsigned n);

#endif
