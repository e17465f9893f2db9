/* What is between the two ends of relayed data, in one direction: octets that one sent and the other has not been given yet. Inside
 * data.c and its kind. Control thread. */
#ifndef ALGS_DATA_WAY_H
#define ALGS_DATA_WAY_H

#include <stdint.h>

#include "algs/data_end.h"

enum { DATA_WAY_MAX = 64 << 10 /* in a pipe */, DATA_WAY_RECORD = 16 << 10 /* in memory */ };

struct data_way { /* embedded, data_way_init() */
	int pipe[2];     /* between plain ends: octets stay in the kernel */
	char *record;    /* where TLS is at one end: DATA_WAY_RECORD octets */
	bool is_in_memory;
	size_t start, fill;
	bool has_ended;  /* its sender will send no more */
	bool is_shut;    /* its receiver has been told */
	uint64_t octets; /* passed on */
};

void data_way_init(struct data_way *way);
void data_way_close(struct data_way *way);
/* Takes up to `most` (above 0) from the sender: octets; 0: none now, or no room; ERR_CLOSED: its end; -EMFILE, -ENOMEM; or as
 * data_end_read(). */
int data_way_fill(struct data_way *way, struct data_end *from, size_t most);
/* Gives what is there to the receiver: octets; 0: it takes none now, or there are none; or a negative error. */
int data_way_drain(struct data_way *way, struct data_end *to);
/* The first octets, up to `size`, without passing them on. In memory: those that are there; otherwise those that the kernel has from
 * `from`, and ERR_CLOSED or an error when that has none. */
int data_way_peek(const struct data_way *way, const struct data_end *from, char *to, size_t size);

#endif
