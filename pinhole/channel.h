/* posternd's end of the socket to postern-pinholed: whole messages in and out on the control loop, never blocking. It
 * knows the form of messages (wire.h), not what they mean. Control thread. */
#ifndef PINHOLE_CHANNEL_H
#define PINHOLE_CHANNEL_H

#include "pinhole/wire.h"

struct loop;
struct channel;

struct channel_message {
	struct wire_head head;
	const void *records; /* head.count of them; valid during the call, as the descriptors are */
	const int *fds;
	unsigned n_fds;
};

struct channel_ops { /* called with arg */
	void (*message)(void *arg, const struct channel_message *message);
	void (*writable)(void *arg); /* after -EAGAIN: there is space again */
	/* Once, not from within channel_close(): the other side has gone, or sent what nobody may send. */
	void (*closed)(void *arg, const char *why);
};

/* fd becomes the channel's, also on failure, and non-blocking. */
int channel_new(struct loop *loop, int fd, const struct channel_ops *ops, void *arg, struct channel **ret);
void channel_free(struct channel *channel); /* not from within its own callbacks. NULL is fine */
/* No callback comes any more. May be called from within one, and twice. */
void channel_close(struct channel *channel);
bool channel_is_open(const struct channel *channel);
/* 0; -EAGAIN when the socket is full: nothing was sent, and `writable` will be called; ERR_CLOSED. */
int channel_send(struct channel *channel, enum wire_op op, uint64_t serial, const void *records, uint32_t count);

#endif
