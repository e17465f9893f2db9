/* Inside data.c, data_dial.c, data_tls.c and data_move.c. */
#ifndef ALGS_DATA_INSIDE_H
#define ALGS_DATA_INSIDE_H

#include "algs/data.h"
#include "algs/data_end.h"
#include "algs/data_way.h"
#include "core/loop.h"

struct pinhole_socket_request;

enum { DATA_TURN_MAX = 1 << 20, DATA_REASON_MAX = 160, DATA_BURST_PER_S = 4 /* what may be saved up: a quarter of a second's */ };
enum data_state { DATA_BOUND, DATA_LISTENING, DATA_WAITING /* for data_arm() */, DATA_CONNECTING, DATA_DIALLING /* both, by data_dial() */,
		  DATA_SECURING, DATA_HELD, DATA_FLOWING, DATA_REFUSED, DATA_OVER };

struct data {
	struct data_conf conf;
	data_event_fn *fn;
	void *arg;
	enum data_state state;
	int listen_fd;
	struct loop_fd *listen_watch;
	struct pinhole_socket_request *request;
	struct data_end ends[DATA_SIDES];
	struct data_way ways[DATA_SIDES]; /* by who sends */
	bool is_connecting[DATA_SIDES], is_connected[DATA_SIDES];
	struct loop_timer timer, pause;
	struct data_limits limits;
	struct list node; /* among the leavers */
	int sender;       /* whose data is refused */
	uint64_t refused;
	bool is_freed;
	bool has_begun; /* its handshakes */
	bool is_held, is_early, is_first_due, is_settling, is_told;
	unsigned first_steps;
	uint32_t settle_ms;
	uint64_t taken, tokens, tokens_ms;
	char first[DATA_FIRST_MAX];
	size_t n_first;
	struct data_stats stats;
	char reason[DATA_REASON_MAX];
};

/* data.c */
void data_tell(struct data *data, enum data_event event);
void data_close_all(struct data *data, bool is_reset);
void data_finish(struct data *data, bool is_reset); /* closes it; nobody may be left who would know of it: then frees it, too */
void data_break_off(struct data *data, const char *reason); /* static; then as data_finish() */
void data_break_off_at(struct data *data, int side, const char *reason); /* what went wrong at that end; copied */

void data_on_fd(void *arg, int fd, int events); /* of an end */

/* data_dial.c */
void data_connect(struct data *data, enum data_side side);      /* whatever comes of it, even at once */
void data_on_connected(struct data *data, enum data_side side); /* or not: what was tried is over */
void data_on_silence(struct data *data);                        /* it takes too long */

/* data_tls.c: when both ends are connected and have shaken hands, data_begin(). */
void data_secure(struct data *data, enum data_side newest); /* that end has been connected */
void data_shake_hands(struct data *data); /* goes on with it */
void data_give_time(struct data *data); /* to handshakes: they may not have been possible before */

/* data_move.c: moves what can be moved; both ends are connected. */
void data_begin(struct data *data);
void data_flow(struct data *data);
loop_timer_fn data_on_pause;

#endif
