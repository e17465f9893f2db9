/* A list of copies. */
#include "pinhole/helper_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/err.h"

enum { WAITING_MAX = 64 << 20 }; /* bytes: two lists of all pinholes that there can be */

struct helper_out_message {
	struct helper_out_message *next;
	struct wire_head head;
	size_t len; /* of the records */
	int fds[WIRE_FDS_MAX];
	unsigned n_fds;
	_Alignas(8) uint8_t records[];
};

void helper_out_init(struct helper_out *out, int channel)
{
	*out = (struct helper_out){ .channel = channel };
	out->last = &out->first;
}

bool helper_out_is_empty(const struct helper_out *out)
{
	return out->first == NULL;
}

static void drop_first(struct helper_out *out)
{
	struct helper_out_message *message = out->first;

	out->first = message->next;
	if (out->first == NULL)
		out->last = &out->first;
	out->bytes -= sizeof(*message) + message->len;
	for (unsigned i = 0; i < message->n_fds; i++)
		close(message->fds[i]);
	free(message);
}

void helper_out_fini(struct helper_out *out)
{
	while (out->first != NULL)
		drop_first(out);
}

static int send_now(const struct helper_out *out, const struct wire_head *head, const void *records, const int *fds,
		    unsigned n_fds)
{
	return wire_send(out->channel, (enum wire_op)head->op, head->serial, records, head->count, fds, n_fds);
}

static int queue(struct helper_out *out, const struct wire_head *head, const void *records, const int *fds, unsigned n_fds)
{
	size_t len = head->count * wire_record_size((enum wire_op)head->op);
	struct helper_out_message *message;

	if (out->bytes > WAITING_MAX)
		return ERR_LIMIT;
	message = malloc(sizeof(*message) + len);
	if (message == NULL)
		return -ENOMEM;
	*message = (struct helper_out_message){ .head = *head, .len = len };
	if (len > 0)
		memcpy(message->records, records, len);
	*out->last = message;
	out->last = &message->next;
	out->bytes += sizeof(*message) + len;
	for (; message->n_fds < n_fds; message->n_fds++) {
		message->fds[message->n_fds] = fcntl(fds[message->n_fds], F_DUPFD_CLOEXEC, 0);
		if (message->fds[message->n_fds] < 0)
			return -errno;
	}
	return 0;
}

int helper_out_put(struct helper_out *out, const struct wire_head *head, const void *records, const int *fds, unsigned n_fds)
{
	int err = out->first == NULL ? send_now(out, head, records, fds, n_fds) : -EAGAIN;

	return err == -EAGAIN ? queue(out, head, records, fds, n_fds) : err;
}

int helper_out_flush(struct helper_out *out)
{
	int err = 0;

	while (out->first != NULL && err == 0) {
		const struct helper_out_message *message = out->first;

		err = send_now(out, &message->head, message->records, message->fds, message->n_fds);
		if (err == 0)
			drop_first(out);
	}
	return err == -EAGAIN ? 0 : err;
}
