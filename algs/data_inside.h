/* Inside data.c and data_move.c. */
#ifndef ALGS_DATA_INSIDE_H
#define ALGS_DATA_INSIDE_H

#include "algs/data.h"
#include "core/loop.h"

struct pinhole_socket_request;

enum { DATA_PIPE_MAX = 64 << 10, DATA_TURN_MAX = 1 << 20, DATA_BURST_PER_S = 4 /* what may be saved up: a quarter of a second's */ };
enum data_state { DATA_BOUND, DATA_LISTENING, DATA_WAITING /* for data_arm() */, DATA_CONNECTING, DATA_HELD, DATA_FLOWING,
		  DATA_REFUSED, DATA_OVER };

struct way {
	int pipe[2];
	size_t fill;
	bool has_ended, is_shut, is_blocked;
	uint64_t octets;
};

struct data {
	struct data_conf conf;
	data_event_fn *fn;
	void *arg;
	enum data_state state;
	int listen_fd;
	struct loop_fd *listen_watch;
	struct pinhole_socket_request *request;
	int fds[2];
	struct loop_fd *watches[2];
	struct way ways[2]; /* by who sends */
	struct loop_timer timer, pause;
	struct data_limits limits;
	struct list node; /* among the leavers */
	int sender;       /* whose data is refused */
	uint64_t refused;
	bool is_freed;
	bool is_held, is_early, is_first_due, is_settling, is_told;
	unsigned first_steps;
	uint32_t settle_ms;
	int unacked[2];
	uint64_t taken, tokens, tokens_ms;
	char first[DATA_FIRST_MAX];
	size_t n_first;
	struct data_stats stats;
};

/* data.c */
void data_tell(struct data *data, enum data_event event);
void data_close_all(struct data *data, bool is_reset);
void data_break_off(struct data *data, const char *reason);

/* data_move.c: moves what can be moved; both ends are connected. */
void data_begin(struct data *data);
void data_flow(struct data *data);
loop_timer_fn data_on_pause;

#endif
