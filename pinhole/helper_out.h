/* Messages to posternd that its end of the channel has no room for yet, in order. While any wait, no further request is
 * read, so what one request makes, and what happens meanwhile, is all that can gather. Single thread: the helper's worker. */
#ifndef PINHOLE_HELPER_OUT_H
#define PINHOLE_HELPER_OUT_H

#include "pinhole/wire.h"

struct helper_out_message;
struct helper_out {
	int channel;
	struct helper_out_message *first, **last;
	size_t bytes;
};

void helper_out_init(struct helper_out *out, int channel);
void helper_out_fini(struct helper_out *out);
/* Sends or queues; the descriptors are duplicated when they have to wait. 0, ERR_CLOSED, ERR_LIMIT when far too much waits,
 * or another error: each means that the worker has to end. */
int helper_out_put(struct helper_out *out, const struct wire_head *head, const void *records, const int *fds, unsigned n_fds);
int helper_out_flush(struct helper_out *out); /* as far as there is room; as helper_out_put() */
bool helper_out_is_empty(const struct helper_out *out);

#endif
