/* See rehearsal_settings.h. */
#include "algs/rehearsal_settings.h"

#include "core/err.h"

enum { EXAMPLE_PORT = 40000 };

static struct addr own_address(const struct realm_conf *realm, uint8_t family)
{
	for (unsigned i = 0; i < realm->n_addresses; i++)
		if (realm->addresses[i].family == family)
			return realm->addresses[i];
	return realm->addresses[0];
}

/* The server that was named, or one that this ALG serves. */
static struct addr server_of(const struct rehearsal_ask *ask)
{
	const struct alg_conf *alg = ask->alg;
	struct addr server = ask->server;

	if (!addr_is_set(&server) && alg->mode == CONFIG_ALG_EXPLICIT)
		return alg->server;
	if (!addr_is_set(&server)) {
		server = alg->servers[0].addr;
		if (alg->servers[0].bits < (server.family == AF_INET ? 31 : 127)) /* not the network's own address */
			server.ip[server.family == AF_INET ? 3 : 15] |= 1;
	}
	if (server.port == 0)
		server.port = alg->n_ports > 0 ? alg->ports[0] : ask->module->default_port;
	return server;
}

static struct addr client_of(const struct rehearsal_ask *ask, uint8_t family)
{
	static const char *const examples[] = { "192.0.2.77", "2001:db8::77" };
	struct addr client = ask->client;

	if (!addr_is_set(&client))
		(void)addr_parse_ip(span_of(examples[family == AF_INET6]), &client);
	if (client.port == 0)
		client.port = EXAMPLE_PORT;
	return client;
}

static void put_addr(struct buf *b, const char *name, struct addr addr, uint16_t port)
{
	char text[ADDR_TEXT_MAX];

	addr.port = port;
	buf_printf(b, "set %s %s\n", name, addr_text(&addr, text));
}

static void put_gateway(struct buf *b, const struct rehearsal_ask *ask, const struct addr *client,
			const struct addr *server)
{
	const struct alg_conf *alg = ask->alg;
	struct addr near = own_address(alg->realm, client->family), far = own_address(alg->to, server->family);

	if (alg->mode == CONFIG_ALG_TRANSPARENT)
		return;
	if (alg->mode == CONFIG_ALG_EXPLICIT)
		put_addr(b, "gateway-client", near, alg->n_ports > 0 ? alg->ports[0] : server->port);
	put_addr(b, "gateway-server", far, EXAMPLE_PORT);
	put_addr(b, "media-client", near, alg->realm->media_port_min);
	put_addr(b, "media-server", far, alg->to->media_port_min);
}

static void put_tls(struct buf *b, const struct alg_conf *alg)
{
	buf_printf(b, "set tls %s\n", config_alg_tls_text(alg));
	if (alg->tls == CONFIG_ALG_TLS_TERMINATE)
		buf_printf(b, "set tls-server %s\nset tls-required %s\n", alg->is_server_tls ? "yes" : "no",
			   config_alg_tls_need_text(alg->tls_need));
}

int rehearsal_settings(struct buf *b, const struct rehearsal_ask *ask)
{
	const struct alg_conf *alg = ask->alg;
	struct addr server = server_of(ask);
	bool is_explicit = alg->mode == CONFIG_ALG_EXPLICIT;
	struct addr client = client_of(ask, is_explicit ? alg->realm->addresses[0].family : server.family);

	put_addr(b, "client", client, client.port);
	put_addr(b, "server", server, server.port);
	put_gateway(b, ask, &client, &server);
	if (alg->to->media_port_min >= 1024)
		buf_printf(b, "set port %u\n", alg->to->media_port_min);
	put_tls(b, alg);
	if (alg->tls_port_min != 0)
		buf_printf(b, "set tls-ports %u-%u\n", alg->tls_port_min, alg->tls_port_max);
	buf_printf(b, "set active %s\n", alg->may_be_active ? "yes" : "no");
	if (alg->is_server_passive)
		buf_puts(b, "set server-data passive\n");
	buf_printf(b, "set idle %u\n", alg->idle_ms);
	return b->is_full ? ERR_LIMIT : 0;
}
