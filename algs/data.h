/* One data connection that is relayed in this process: an own listening socket that takes one connection from one host, a connection
 * to the target, and octets both ways, within limits; or connections to both, and nothing that could be reached. For data that a profile
 * has to see or to bound, where there is no kernel path, and where TLS ends here: towards either host by itself. Control thread. */
#ifndef ALGS_DATA_H
#define ALGS_DATA_H

#include "core/addr.h"
#include "core/list.h"

struct data;
struct loop;
struct pinholes;
struct tls;

enum data_side { DATA_DIALLER, DATA_TARGET };
enum { DATA_SIDES = 2 };

/* TLS over a connected socket, before its handshake; both are to be kept until the data is freed. 0 or a negative error. */
typedef int data_secure_fn(void *arg, enum data_side side, int fd, struct tls **ret);

struct data_conf {
	struct loop *loop;
	struct addr allowed;      /* who may connect; its port does not matter. With is_dialled: whom to connect to */
	struct addr target, from; /* from: own; port 0: any */
	struct addr dialler_from; /* likewise towards `allowed`, with is_dialled */
	bool is_dialled;          /* both ends are connected to, by data_dial() */
	struct pinholes *pinholes; /* with is_as_dialler */
	unsigned realm;           /* of the target: index */
	bool is_as_dialler;       /* towards the target with the dialler's own address; `from` where that cannot be had */
	bool is_held;             /* octets wait for data_allow() */
	struct list *leavers;     /* data that was freed while its sender is still to hear why it was cut, or its receiver to end its way;
				   * data_leavers_free() frees it. NULL: it is closed at once */
	bool is_early;            /* whoever connects waits for data_arm(), without anything being said or done about it */
	data_secure_fn *secure;   /* with is_secured; its arg is data_new()'s */
	struct data_security {
		bool is_secured;      /* that side speaks TLS */
		bool is_leading;      /* no handshake begins before this side has begun its own */
		bool must_resume;     /* a session of its control channel: so it is who speaks there */
		bool may_truncate;    /* an end without close_notify is one, too */
	} security[DATA_SIDES];
};

enum data_event {
	DATA_OPENED, /* the one that may has connected; with is_dialled: both ends are connected */
	DATA_FIRST,  /* asked for with wants_first: data_first() are there, and wait for data_go() or data_cut() */
	DATA_LIMIT,  /* max_bytes is reached and more came: cut as by data_refuse(). Nothing follows */
	DATA_ENDED,  /* all octets were passed on and taken, or it broke off; nothing follows, counts are final */
};
/* Must not free the data. */
typedef void data_event_fn(void *arg, enum data_event event);

/* listen_fd_take: bound, on an own port; -1 with is_dialled. 0 or -ENOMEM. */
int data_new(const struct data_conf *conf, int listen_fd_take, data_event_fn *fn, void *arg, struct data **ret);
/* Whatever is open is closed as it stands: what was passed on still arrives. After DATA_ENDED it goes on by itself for a moment until
 * both ways have ended. NULL is fine. */
void data_free(struct data *data);
/* Connections are taken from here on. 0 or a negative error. */
int data_listen(struct data *data);
/* With is_dialled, each side once: 0, or ERR_STATE. That it failed is told as DATA_ENDED, maybe from within; stats.is_unreachable. What
 * one end sends waits until the other is connected. */
int data_dial(struct data *data, enum data_side side);
/* With is_early: what has connected, or will, goes on to the target. */
void data_arm(struct data *data);
bool data_has_connection(struct data *data); /* looks at the socket, too */
/* Breaks off: both ends get a reset. No event comes from it or after it. */
void data_cut(struct data *data);
/* The same when it is the sender's doing and the control channel tells it why: the receiver gets a reset; what the sender still sends is
 * thrown away for a moment, else it would fail before it has read that. Goes on by itself when the data is freed. */
void data_refuse(struct data *data);
void data_leavers_free(struct list *leavers); /* at the end of the process */

enum { DATA_FIRST_MAX = 16 };
struct data_limits {
	uint64_t max_bytes;     /* both ways together; 0: none */
	uint32_t bytes_per_s;   /* likewise */
	bool has_sender;
	enum data_side sender;  /* whose end of data is the end of it all */
	bool wants_first;
};
/* Sets limits, as long as nothing has passed; lets go what was held. */
void data_allow(struct data *data, const struct data_limits *limits);
struct span data_first(const struct data *data); /* up to DATA_FIRST_MAX */
void data_go(struct data *data);

/* Somebody has connected (looks at the socket, too), and not all has been passed on yet. */
bool data_is_busy(struct data *data);
struct data_stats {
	uint64_t octets[DATA_SIDES]; /* from that side, passed on */
	struct data_tls {
		const char *version, *cipher; /* static; NULL: plain, or not yet */
		bool is_resumed;
	} tls[DATA_SIDES];
	unsigned foreign;      /* connections of others, refused */
	struct addr dialler;   /* with port, once connected */
	struct addr from;      /* the gateway's end towards the target */
	bool is_broken;        /* ended by an error or data_cut() */
	bool is_unreachable;   /* by an end that did not take the connection */
	const char *reason;    /* of that; as long as the data */
	int at;                /* whose end of it broke: data_side, or -1 */
	uint64_t moved_ms;     /* when octets moved last, 0: never */
};
void data_stats(const struct data *data, struct data_stats *ret);

#endif
