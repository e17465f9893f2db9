/* The interface between the gateway and an application-level gateway (ALG), version 1. Plain C99, includes nothing else of
 * Postern: what is written against it compiles alone. docs/adding-an-alg.md tells how, with TFTP as the example.
 *
 * An ALG is a pure function of bytes, events and its own state. It never sees a socket, a thread, a clock or memory of others;
 * it must not block, allocate or keep anything outside its state. What it wants it asks of the host, which holds every wish
 * against its own rules: a pinhole's end is an address of its own session, ports below the floor and those on the deny list
 * are refused, counts, sizes and lifetimes are bounded.
 *
 * The life of a message: the host collects what one side sent and calls bytes(), again and again while messages are whole. The
 * ALG says how many octets the next message has and what is to become of it. What it edits, reserves, arms or
 * answers meanwhile belongs to that message. Whatever a message needs of the kernel is there before the message leaves (the host
 * waits, the ALG need not); what cannot be parsed passes unchanged and opens nothing. */
#ifndef ALGS_ALG_H
#define ALGS_ALG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ALG_MAGIC = 0x706f6c61, ALG_ABI_MAJOR = 1, ALG_ABI_MINOR = 2 };
#define ALG_SYMBOL "postern_alg_v1" /* of a module in a shared object: a const struct alg_module */

enum alg_side { ALG_CLIENT /* opened the control channel */, ALG_SERVER };
enum { ALG_SIDES = 2 };
static inline enum alg_side alg_other(enum alg_side side)
{
	return side == ALG_CLIENT ? ALG_SERVER : ALG_CLIENT;
}

struct alg_bytes {
	const char *ptr; /* NULL with len 0 is fine */
	size_t len;
};
struct alg_addr {
	uint8_t family;  /* 4, 6; 0: none */
	uint8_t ip[16];  /* network byte order; IPv4 uses the first 4, the rest is zero */
	uint16_t port;   /* host byte order; 0: none */
};

enum { /* what the host's functions return; 0 is success */
	ALG_ERR_LIMIT = -1,   /* too many, too long, no port free */
	ALG_ERR_DENIED = -2,  /* an address that is not the speaker's, a forbidden port */
	ALG_ERR_FAMILY = -3,  /* the other side has no such address family */
	ALG_ERR_STATE = -4,   /* no such hole, or not now */
};

/* Messages */

enum alg_verdict {
	ALG_NEED,   /* not whole yet. `need`: octets that are missing at least, 0: some. When the limit is reached or the side has
		     * ended, what is there passes as it is */
	ALG_PASS,   /* `consumed` octets are a message: it goes on, with its edits */
	ALG_DROP,   /* it goes nowhere; replies may have been made */
	ALG_HOLD,   /* it goes on when resume() is called, and nothing behind it before; the other direction flows. With 0 octets `consumed`:
		     * not judged yet, what the call edited and answered is void; asked about the same octets again after resume() */
	ALG_BYPASS, /* not ours any more: these octets and all that follow, both ways, pass unseen (TLS begins, another protocol) */
	ALG_RESET,  /* the session ends at once */
};
struct alg_result {
	enum alg_verdict verdict;
	size_t consumed;  /* above 0 but for ALG_NEED, ALG_BYPASS and ALG_RESET, and where ALG_HOLD says so */
	size_t need;
};

/* Pinholes */

enum alg_hole_kind {
	ALG_HOLE_TCP,   /* one connection, which the other side opens to the listener */
	ALG_HOLE_UDP,   /* datagrams from the other side's address, any port, to the listener's control port, and back from there on */
	ALG_HOLE_MEDIA, /* RTP and RTCP both ways, relayed, checked, counted, and moved into the kernel by the media engine */
};
struct alg_class { /* what an ALG may hold open, a row per purpose */
	const char *name;       /* "data" */
	enum alg_hole_kind kind;
	unsigned max;           /* at a time in one session */
	uint32_t reserved_ms;   /* until it is armed */
	uint32_t armed_ms;      /* until it is used; media: no limit of its own */
};
struct alg_want {
	unsigned class;           /* index into the module's classes */
	enum alg_side listener;   /* TCP, UDP: whose address `at` is; the other side begins. Media: whose message asks for it */
	struct alg_addr at;       /* TCP: with port; family 0: the listener's control address. Media: see hole_peer */
	bool is_same_port;        /* the other side will use this very port, whatever we write (encrypted channels) */
	bool is_even;             /* media: RTP on an even port */
	bool is_raw;              /* media: datagrams that are not RTP (MP2T/H2221/UDP, RAW/RAW/UDP): relayed unread */
	bool is_protected;        /* TCP: what is sent through it is TLS, on the sides where the control channel is; the host ends it there.
				   * Since 1.1 */
	bool is_dialled;          /* TCP: the host connects to both ends, when hole_dial() says so, and nobody can connect to it. The other
				   * side's end is said with hole_peer(), before it is armed. Since 1.2 */
};

/* Policy */

enum alg_direction { ALG_NO_DATA, ALG_UP /* client to server */, ALG_DOWN };
struct alg_question { /* empty texts and zeros: nothing is known */
	struct alg_bytes verb;    /* as in the protocol, upper case: "STOR", "SETUP" */
	struct alg_bytes target;  /* path or URL, as sent, without what the protocol escapes */
	struct alg_bytes user;
	struct alg_bytes transport; /* "udp", "interleaved", "multicast" */
	struct alg_bytes mime;
	enum alg_direction direction;
	bool has_size;
	uint64_t size;            /* octets, announced */
	bool is_trial;            /* only to know what a list of what is possible may show (FEAT, Public): not counted, not noted */
};
enum { ALG_TEXT_MAX = 160, ALG_NAME_MAX = 128 };
struct alg_answer {
	bool is_allowed;
	unsigned code;            /* denied: status of the rule; 0: the protocol's usual one */
	char text[ALG_TEXT_MAX];  /* denied: for the peer, printable; "" : the usual one. Ends with NUL */
};

/* Records */

struct alg_transfer { /* of one data connection */
	uint32_t hole;            /* octets and times are the host's, of this hole */
	struct alg_bytes user, verb, path;
	enum alg_direction direction;
	unsigned code;            /* of the last reply */
	bool is_ok;
	uint64_t octets[ALG_SIDES]; /* since 1.2. Without a hole: data inside the control channel, from that side */
};

/* Events */

enum alg_event_type {
	ALG_EV_TIMER,    /* `cookie` */
	ALG_EV_OPENED,   /* the hole's first packet or connection has come */
	ALG_EV_ENDED,    /* the hole's data has come to its end; `octets` are final */
	ALG_EV_EXPIRED,  /* nobody came in time. The hole is closed, its handle void */
	ALG_EV_LIMIT,    /* the host has cut the data; `reason`. ENDED follows */
	ALG_EV_JOINED,   /* since 1.2: two channels have met, see meet_join() */
};
struct alg_event {
	enum alg_event_type type;
	uint32_t hole, cookie;
	uint64_t octets[ALG_SIDES]; /* from that side */
	const char *reason;
	bool is_insecure; /* LIMIT: no limit of a rule, but data under TLS that was not as it has to be. Since 1.1 */
	bool is_unreachable; /* LIMIT: likewise, but an end that hole_dial() named did not take the connection. Since 1.2 */
};

/* The host, called with the session that open() got. Only from within the module's own functions. */
struct alg_session;
struct alg_host {
	size_t size;              /* of this structure: later minor versions append */
	uint64_t (*now_ms)(struct alg_session *session); /* monotonic */

	/* On the message at hand, in bytes() only. Offsets are of the original; edits do not overlap and may come in any order.
	 * ALG_ERR_STATE outside the message, ALG_ERR_LIMIT when there are too many or it becomes too long. */
	int (*edit)(struct alg_session *session, size_t offset, size_t len, struct alg_bytes with);
	/* Octets of our own to one side, in its order: behind what was passed to it so far, before the message at hand. */
	int (*reply)(struct alg_session *session, enum alg_side to, struct alg_bytes bytes);
	/* The message held from that side, and those behind it, go on. */
	void (*resume)(struct alg_session *session, enum alg_side from);
	/* The message at hand goes on only when all data of that hole has been passed on to its end. Also with ALG_HOLD: what may take a
	 * second to be noticed otherwise is then noticed at once. */
	int (*wait_for)(struct alg_session *session, uint32_t hole);

	/* Reserve: addresses are known, nothing is open. Arm: the peer has agreed. Free: as soon as it is known that nobody will use
	 * it; data that flows is cut. Handles are above 0. */
	int (*hole_reserve)(struct alg_session *session, const struct alg_want *want, uint32_t *ret_hole);
	/* Where `reader` must send to: what has to stand in messages to it. The very address of the other side when nothing is
	 * translated between the two: then there is nothing to edit. ret_rtcp: media only, may be NULL. */
	int (*hole_public)(struct alg_session *session, uint32_t hole, enum alg_side reader, struct alg_addr *ret,
			   uint16_t *ret_rtcp);
	/* Media: where a side receives, as its own messages say (family 0: its control address). rtcp_port 0: the next port; equal to
	 * rtp's: shared. ALG_ERR_DENIED when it names somebody else. May be called again. Since 1.2 also TCP with is_dialled: where the
	 * side that is not the listener listens, too; rtcp_port is 0. */
	int (*hole_peer)(struct alg_session *session, uint32_t hole, enum alg_side side, const struct alg_addr *rtp,
			 uint16_t rtcp_port);
	int (*hole_arm)(struct alg_session *session, uint32_t hole);
	void (*hole_free)(struct alg_session *session, uint32_t hole);
	/* Media: silence is expected now (PAUSE), or not any more. */
	void (*hole_pause)(struct alg_session *session, uint32_t hole, bool is_paused);

	/* What the profile says; counted, and noted in the session. Without a profile everything is allowed. */
	void (*policy)(struct alg_session *session, const struct alg_question *question, struct alg_answer *ret);
	/* One timer per cookie 0 to 7, starting it again moves it; ms 0 stops it. */
	void (*timer)(struct alg_session *session, uint32_t cookie, uint32_t ms);
	void (*transfer)(struct alg_session *session, const struct alg_transfer *transfer);
	/* Why something was done, for people: a step of the session. `rule` may be NULL. */
	void (*note)(struct alg_session *session, const char *rule, const char *format, ...)
#if defined(__GNUC__)
		__attribute__((format(printf, 3, 4)))
#endif
		;
	/* The protocol's own end was seen (QUIT and 221, last TEARDOWN): what is open may finish, nothing new begins. */
	void (*ending)(struct alg_session *session);

	/* Since 1.1. In bytes(), with ALG_TLS_TERMINATE and a message that passes or is dropped: behind it, and what was said before,
	 * TLS begins on the channels. No octet is shown before that has succeeded; octets that came in clear behind the message end the
	 * session. Once in a session, and not where it has begun with TLS. */
	int (*start_tls)(struct alg_session *session);

	/* Since 1.2. Two channels of a client that are one conversation, each for one way (RTSP in HTTP): the listener, on which the
	 * client hears, opens itself under a name; ALG_ERR_LIMIT: too many, or too long; ALG_ERR_STATE: taken, or it has one. */
	int (*meet_open)(struct alg_session *session, struct alg_bytes name);
	/* The speaker, to the listener of that name, of the same ALG, client and server. ALG_EV_JOINED follows in both; from then on what
	 * it passes to its server comes to the listener from ALG_CLIENT, what that passes to its server comes here from ALG_SERVER, and
	 * what goes to its client goes to its server. The rest is not heard. It ends with the listener, not the other way round.
	 * ALG_ERR_STATE: no such listener. ALG_ERR_LIMIT: it has a speaker, which is made to end when it has nothing left to say: try again. */
	int (*meet_join)(struct alg_session *session, struct alg_bytes name);
	/* Since 1.2. With is_dialled and armed: connects to that side's end, each side once. Octets pass when both are connected, which is
	 * ALG_EV_OPENED; that it failed is told as ALG_EV_LIMIT. */
	int (*hole_dial)(struct alg_session *session, uint32_t hole, enum alg_side side);
};

/* What an ALG is told of its session, valid while it lives. */
enum alg_tls { ALG_TLS_REFUSE, ALG_TLS_PASS, ALG_TLS_TERMINATE /* the gateway ends it and sees what is inside; since 1.1 */ };
enum alg_tls_need { ALG_TLS_NEED_NOTHING, ALG_TLS_NEED_CONTROL, ALG_TLS_NEED_DATA /* on both */ };
struct alg_about {
	struct alg_addr client, server;   /* far ends of the two control connections */
	struct alg_addr client_sees;      /* whom the client talks to, in its belief: the server, or the gateway */
	struct alg_addr server_sees;      /* whom the server talks to, in its belief: the client, or the gateway */
	bool is_translated;               /* either of these is the gateway */
	enum alg_tls tls;                 /* what to do when the client asks for encryption */
	uint16_t tls_port_min, tls_port_max; /* ALG_TLS_PASS: data ports of the server, 0: none */
	bool may_be_active;               /* the server may be told to connect to the client (FTP PORT) */
	uint32_t idle_ms;                 /* the host's limit for a control channel without traffic, data included */
	/* Since 1.1, ALG_TLS_TERMINATE only. */
	bool is_tls;                      /* TLS has begun before the first octet */
	bool is_server_plain;             /* towards the server nothing is encrypted: the module answers in its place */
	enum alg_tls_need tls_need;       /* of clients */
	/* Since 1.2. */
	bool is_server_passive;           /* the server is never told to connect to anybody: the gateway connects both ways (FTP PORT) */
};

struct alg_verb {
	const char *name;
	const char *class; /* "read", "write", "admin", "session": for rules */
};

enum alg_probe { ALG_NO, ALG_MAYBE, ALG_YES };

enum alg_datum {
	ALG_DATUM_MORE,  /* it goes on, and more will follow */
	ALG_DATUM_LAST,  /* it goes on, and with it the hole's data has come to its end; or it is a repetition of the last ones */
	ALG_DATUM_STRAY, /* it does not: nothing is to follow the end */
};

struct alg_module {
	uint32_t magic;
	uint16_t abi_major, abi_minor;
	size_t size;                       /* of this structure */
	const char *name;                  /* the protocol in the configuration: "ftp" */
	const char *version;
	bool is_datagram;                  /* UDP: each call of bytes() has one whole datagram, which it consumes whole */
	uint16_t default_port;
	const struct alg_class *classes;
	unsigned n_classes;
	const struct alg_verb *verbs;      /* that rules may name; ends with a NULL name */
	size_t message_max;                /* longest message; above it ALG_NEED is not waited for any more */
	size_t state_size;                 /* the host brings zeroed memory of this size for each session */

	/* Is this the protocol at all? Asked with what `side` sent first, until it says no or yes; no: the session is bypassed.
	 * NULL: always yes. */
	enum alg_probe (*probe)(enum alg_side side, struct alg_bytes bytes);
	/* Always paired. `about` and `host` live as long as the session. */
	void (*open)(void *state, const struct alg_about *about, const struct alg_host *host, struct alg_session *session);
	void (*close)(void *state);        /* may be NULL; all holes are the host's to close */
	/* is_end: that side will send no more; then `bytes` may be empty. */
	struct alg_result (*bytes)(void *state, enum alg_side from, struct alg_bytes bytes, bool is_end);
	void (*event)(void *state, const struct alg_event *event); /* may be NULL */
	/* ALG_HOLE_UDP: what passes through the hole, before it does. Looks, and asks the host nothing. NULL: silence is the only end. */
	enum alg_datum (*datum)(void *state, uint32_t hole, enum alg_side from, struct alg_bytes bytes);
};

#endif
