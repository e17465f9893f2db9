/* Sockets that need privilege: asked of the helper one by one, answered with a descriptor each, in the order of all requests.
 *
 * What a helper that was replaced has not answered fails: whether it had bound the socket already is not known, and whoever asks
 * again is served by the new one. Requests that were not sent yet wait for it. Control thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "core/err.h"
#include "pinhole/engine.h"

struct pinhole_socket_request {
	struct list node;       /* in one of the engine's three lists */
	struct pinholes *engine;
	struct wire_socket_request wanted;
	pinhole_socket_fn *fn;  /* NULL: given up */
	void *arg;
	int err;                /* of those that failed */
	bool is_sent;
};

static bool is_well_formed(const struct pinhole_socket *wanted)
{
	return addr_is_set(&wanted->addr) && (wanted->proto == IPPROTO_UDP || wanted->proto == IPPROTO_TCP) &&
	       wanted->realm <= UINT16_MAX;
}

int pinhole_socket_open(struct pinholes *engine, const struct pinhole_socket *wanted, pinhole_socket_fn *fn, void *arg,
			struct pinhole_socket_request **ret)
{
	struct pinhole_socket_request *request;

	if (!engine_has_helper(engine))
		return ERR_UNSUPPORTED;
	if (!is_well_formed(wanted))
		return ERR_STATE;
	if (engine->n_sockets == ENGINE_SOCKETS_MAX)
		return ERR_LIMIT;
	request = calloc(1, sizeof(*request));
	if (request == NULL)
		return -ENOMEM;
	request->engine = engine;
	request->fn = fn;
	request->arg = arg;
	request->wanted = (struct wire_socket_request){
		.addr = wire_addr_of(&wanted->addr), .realm = (uint16_t)wanted->realm, .proto = wanted->proto,
		.is_transparent = wanted->is_transparent, .is_connecting = wanted->is_connecting,
	};
	list_append(&engine->sockets_out, &request->node);
	engine->n_sockets++;
	engine_kick(engine);
	*ret = request;
	return 0;
}

static void release(struct pinhole_socket_request *request)
{
	list_remove(&request->node);
	request->engine->n_sockets--;
	free(request);
}

void pinhole_socket_cancel(struct pinhole_socket_request *request)
{
	request->fn = NULL;
	if (!request->is_sent) /* else its answer finds it */
		release(request);
}

bool sockets_send(struct pinholes *engine)
{
	struct pinhole_socket_request *request = LIST_ENTRY(engine->sockets_out.next, struct pinhole_socket_request, node);
	const struct engine_request what = { .socket = request };

	if (!requests_send(engine, WIRE_SOCKET, &request->wanted, 1, &what))
		return false;
	request->is_sent = true;
	list_remove(&request->node);
	list_append(&engine->sockets_sent, &request->node);
	return true;
}

/* The request is gone before its owner is told: what the owner does then is free. */
static void tell(struct pinhole_socket_request *request, int fd)
{
	pinhole_socket_fn *fn = request->fn;
	void *arg = request->arg;

	release(request);
	if (fn != NULL)
		fn(arg, fd);
}

/* The descriptor of the message is closed with it: the owner gets one of its own. */
bool sockets_take(struct pinhole_socket_request *request, const struct channel_message *message)
{
	const struct wire_result *result = message->records;
	bool is_well_formed = message->n_fds == (result->err == 0 ? 1U : 0U);
	int fd = is_well_formed ? result->err : ERR_CLOSED;

	if (fd == 0 && request->fn != NULL) {
		fd = fcntl(message->fds[0], F_DUPFD_CLOEXEC, 0);
		fd = fd < 0 ? -errno : fd;
	}
	tell(request, fd);
	return is_well_formed;
}

void sockets_fail(struct pinhole_socket_request *request, int err)
{
	struct pinholes *engine = request->engine;

	if (request->fn == NULL) {
		release(request);
		return;
	}
	request->err = err;
	request->is_sent = false;
	list_remove(&request->node);
	list_append(&engine->sockets_failed, &request->node);
	engine_kick(engine);
}

void sockets_fail_all(struct pinholes *engine, int err)
{
	LIST_EACH(&engine->sockets_out, node)
		sockets_fail(LIST_ENTRY(node, struct pinhole_socket_request, node), err);
}

void sockets_flush(struct pinholes *engine)
{
	while (!list_is_empty(&engine->sockets_failed)) {
		struct pinhole_socket_request *request = LIST_ENTRY(engine->sockets_failed.next, struct pinhole_socket_request, node);

		tell(request, request->err);
	}
}

static void free_all(struct list *requests)
{
	LIST_EACH(requests, node)
		release(LIST_ENTRY(node, struct pinhole_socket_request, node));
}

void sockets_free(struct pinholes *engine)
{
	free_all(&engine->sockets_out);
	free_all(&engine->sockets_sent);
	free_all(&engine->sockets_failed);
}
