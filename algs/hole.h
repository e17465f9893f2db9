/* Inside the host: pinholes of a session. What one becomes (a door in the kernel, a relay in this process, media) is decided here, and
 * whatever a module wants is held against hole_rule.h and the class' limits. Owned by the session, members of its group. */
#ifndef ALGS_HOLE_H
#define ALGS_HOLE_H

#include "algs/alg.h"
#include "algs/data.h"
#include "algs/engine.h"
#include "algs/hole_rule.h"
#include "media-relay/group.h"

struct session;
struct pinhole;

enum hole_state { HOLE_RESERVED, HOLE_ARMING, HOLE_ARMED, HOLE_BOUND, HOLE_DRAINING, HOLE_CLOSED };
enum { HOLE_ENDS = 2, HOLE_PINHOLES_MAX = 4 };

struct hole_port { /* an own TCP port that it has, fd bound to it */
	struct tcp_ports *ports;
	uint16_t port;
	int fd;
};

/* What the profile said to the command whose data goes through the hole. */
struct hole_verdict {
	bool is_set, wants_magic; /* the profile looks at data */
	enum alg_direction direction;
	int64_t at_ms; /* wall clock */
	const char *rule;
	uint64_t max_bytes;
	uint32_t bytes_per_s;
	char *texts;  /* copy of the question's: to ask again with the first octets, and for what is stored */
	struct span verb, target, user, transport, mime;
	bool has_size;
	uint64_t size;
};
void hole_verdict_fini(struct hole_verdict *verdict);

struct hole_record { /* a transfer that was told, and waits for its final counts */
	bool is_set, is_ok;
	enum alg_direction direction;
	unsigned code;
	char *texts;
	struct span user, verb, path;
	uint64_t since_ms;
};

struct hole {
	struct group_member member;
	struct list node;         /* session->holes, oldest first */
	struct session *session;
	uint32_t id;
	const struct alg_class *class;
	enum alg_side listener;
	bool is_raw;              /* media that is not RTP */
	bool is_protected;        /* TCP: TLS, where the control channel has it */
	bool is_dialled;          /* TCP: relayed data that connects to both ends, and can be reached by nobody */
	enum hole_state state;
	enum hole_way way;
	unsigned events;          /* bits by enum alg_event_type, to be told */
	bool is_telling;          /* the module is being told about it */
	bool is_insecure;         /* it was cut for what TLS said of it */
	bool is_unreachable;      /* likewise, because an end did not take the connection */
	bool is_opened_told, is_over; /* over: nothing but CLOSED follows */
	bool is_committing, has_tried_again;
	bool is_forgotten;        /* the module freed it; kept only until its data has ended */
	bool is_lingering;        /* its end has been told; kept for the last segments of a connection in the kernel, or for repeated datagrams */
	char limit_text[96];      /* reason of ALG_EV_LIMIT */
	struct addr listen, target; /* where the other side goes, and where that ends */
	struct hole_port own[HOLE_ENDS]; /* of the dialler's realm, of the listener's */
	struct data *data;
	struct pinhole *pinholes[HOLE_PINHOLES_MAX]; /* NULL where one is gone */
	enum alg_side senders[HOLE_PINHOLES_MAX];    /* whose octets go forth through it */
	unsigned n_pinholes, n_armed;
	struct loop_timer look;      /* hole_end.c: runs while something waits for the end */
	uint32_t look_ms;            /* until the next look; 0: nothing waits */
	uint64_t waited_ms;          /* since when */
	uint64_t counted[HOLE_PINHOLES_MAX];         /* octets of both directions, as last seen */
	uint64_t past[ALG_SIDES];                    /* octets of those that are gone */
	bool is_to_self;          /* the pinhole brings a foreign address to `data` */
	struct media *media;
	struct group media_group;
	struct addr peers[ALG_SIDES]; /* media, and the dialler's with is_dialled: as the sides said */
	uint16_t peers_rtcp[ALG_SIDES];
	const char *path, *reason;
	int64_t since_ms;         /* wall clock */
	uint64_t deadline_ms;     /* 0: none */
	uint64_t commit_ms;       /* when a commit that has not come is given up */
	uint64_t octets[ALG_SIDES], moved_ms, opened_ms, ended_ms, freed_ms;
	int64_t opened_wall_ms, ended_wall_ms;
	struct addr dialler;      /* with port, once known */
	struct alg_tls_view tls[ALG_SIDES]; /* of its ends, once known */
	struct hole_verdict verdict;
	struct hole_record record;
	char record_id[ID_TEXT_MAX]; /* of the transfer to be recorded, while a row of it is stored (resume.h); else "" */
};

/* As in alg.h. */
int hole_reserve(struct session *session, const struct alg_want *want, uint32_t *ret_hole);
int hole_public(const struct hole *hole, enum alg_side reader, struct alg_addr *ret, uint16_t *ret_rtcp);
int hole_peer(struct hole *hole, enum alg_side side, const struct alg_addr *rtp, uint16_t rtcp_port);
int hole_arm(struct hole *hole); /* 0, 1 (flow_committed() follows), or ALG_ERR_* */
int hole_dial(struct hole *hole, enum alg_side side);
void hole_free(struct hole *hole);
void hole_pause(struct hole *hole, bool is_paused);
bool hole_is_busy(struct hole *hole);

struct hole *hole_find(struct session *session, uint32_t id);
static inline bool hole_is_live(const struct hole *hole)
{
	return hole->state != HOLE_CLOSED;
}
/* The newest one whose data has not begun, for a verdict; or NULL. */
struct hole *hole_for_verdict(struct session *session);
/* Takes over what the verdict holds. */
void hole_allow(struct hole *hole, struct hole_verdict *verdict_take);
/* Whether octets may flow through it now. */
static inline bool hole_has_data(const struct hole *hole)
{
	return hole->state == HOLE_BOUND || hole->state == HOLE_DRAINING;
}

/* Once a second: counts, lifetimes. */
void hole_sweep(struct hole *hole, uint64_t now_ms);
void hole_close(struct hole *hole);
void hole_stop(struct hole *hole); /* its data ends as it stands; told as any end */

/* What a way of doing it tells: the event waits until the session tells the module. */
void hole_tell(struct hole *hole, enum alg_event_type event);
void hole_opened(struct hole *hole, const struct addr *dialler);
void hole_ended(struct hole *hole);
void hole_cut(struct hole *hole, const char *reason);
void hole_committed(struct hole *hole, int result);
void hole_refused(struct hole *hole, const char *reason); /* by the kernel, or taken from it; reason is static */
static inline enum alg_side hole_dialler(const struct hole *hole)
{
	return alg_other(hole->listener);
}

/* hole_reserve.c */
bool hole_is_own(const struct hole *hole); /* the other side has to be told an address of the gateway */

/* hole_data.c */
const struct realm_conf *hole_realm(const struct hole *hole, enum alg_side side);
int hole_data_make(struct hole *hole);   /* the relay, listening unless is_dialled: 0 or ALG_ERR_* */
void hole_data_count(struct hole *hole); /* harmless without one */
void hole_data_drop(struct hole *hole);
int hole_port_take(struct hole *hole, struct hole_port *own, enum alg_side side, uint16_t wanted); /* wanted 0: any. 0 or ALG_ERR_* */
void hole_port_give(struct hole_port *own, uint64_t now_ms); /* harmless without one */
struct addr hole_port_addr(const struct hole_port *own);

/* hole_kernel.c */
bool hole_kernel_is_possible(const struct hole *hole);
int hole_kernel_open(struct hole *hole);
int hole_kernel_to_self(struct hole *hole);
int hole_kernel_media(struct hole *hole); /* transparent: both ends' datagrams as they are */
void hole_kernel_count(struct hole *hole);
void hole_kernel_payload(struct slot_stats *stats); /* of TCP: takes off what is counted with its payload */
void hole_kernel_close(struct hole *hole);

/* hole_end.c */
void hole_end_init(struct hole *hole);
/* Something waits for the end of its data: from now on the kernel is asked until it has come. False when there is none to wait for. */
bool hole_end_await(struct hole *hole);
/* Its end has been told: closes it, but for a connection that the kernel has and that is not closed yet, and for sockets of datagrams. */
void hole_end_told(struct hole *hole);
/* Lingering, and there is still a reason to. */
bool hole_end_lingers(const struct hole *hole, uint64_t now_ms);
/* The oldest of the session that lingers, there or (NULL) anywhere, goes now: another one needs the place. */
void hole_end_yield(struct session *session, const struct addr *listen);
/* The same of other sessions of the client; also what nobody has used of one that is over. False: there was nothing. */
bool hole_end_yield_others(const struct hole *hole);

/* hole_media.c */
int hole_media_open(struct hole *hole);
int hole_media_arm(struct hole *hole);
void hole_media_peer(struct hole *hole, enum alg_side side);
void hole_media_pause(struct hole *hole, bool is_paused);
void hole_media_count(struct hole *hole);
void hole_media_close(struct hole *hole);
int hole_media_public(const struct hole *hole, enum alg_side reader, struct addr *ret, uint16_t *ret_rtcp);

#endif
