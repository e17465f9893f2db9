/* Encrypted control channels (RFC 4217): from the reply to AUTH on nothing can be read, so the data ports that the
 * configuration names are opened for this client and this server, unchanged, for as long as the session lives. Each
 * is for one connection at a time and opened again when that has ended. */
#include "algs/ftp/ftp_inside.h"

enum { TRY_AGAIN_MS = 1000 };

static void open_port(struct ftp_state *state, unsigned index)
{
	struct alg_want want = { .class = FTP_CLASS_TLS, .listener = ALG_SERVER, .at = state->about->server,
				 .is_same_port = true };
	uint32_t hole;

	want.at.port = (uint16_t)(state->about->tls_port_min + index);
	state->tls_ports[index].hole = 0;
	state->tls_ports[index].opened_ms = state->host->now_ms(state->session);
	if (want.at.port < FTP_PORT_FLOOR || state->host->hole_reserve(state->session, &want, &hole) < 0)
		return;
	if (state->host->hole_arm(state->session, hole) < 0) {
		state->host->hole_free(state->session, hole);
		return;
	}
	state->tls_ports[index].hole = hole;
}

static unsigned n_ports(const struct alg_about *about)
{
	unsigned n;

	if (about->tls_port_min == 0 || about->tls_port_max < about->tls_port_min)
		return 0;
	n = about->tls_port_max - about->tls_port_min + 1U;
	return n < FTP_TLS_PORTS_MAX ? n : FTP_TLS_PORTS_MAX;
}

static void open_missing(struct ftp_state *state)
{
	unsigned n = n_ports(state->about);

	for (unsigned i = 0; i < n; i++)
		if (state->tls_ports[i].hole == 0)
			open_port(state, i);
}

void ftp_tls_begin(struct ftp_state *state)
{
	unsigned n = n_ports(state->about), n_open = 0;

	state->is_encrypted = true;
	if (!state->is_foreign) {
		open_missing(state);
		for (unsigned i = 0; i < n; i++)
			n_open += state->tls_ports[i].hole != 0;
	}
	state->host->note(state->session, NULL, "encrypted from here on, passed unseen; %u of %u data ports open",
			  n_open, n);
}

/* One that goes as soon as it is there is refused: another session of the client has that port, and is left to it for a while. */
static void open_again(struct ftp_state *state, unsigned index)
{
	if (state->host->now_ms(state->session) - state->tls_ports[index].opened_ms >= TRY_AGAIN_MS) {
		open_port(state, index);
		return;
	}
	state->tls_ports[index].hole = 0;
	state->host->timer(state->session, FTP_TIMER_TLS, TRY_AGAIN_MS);
}

bool ftp_tls_event(struct ftp_state *state, const struct alg_event *event)
{
	if (event->type == ALG_EV_TIMER && event->cookie == FTP_TIMER_TLS) {
		open_missing(state);
		return true;
	}
	for (unsigned i = 0; i < FTP_TLS_PORTS_MAX && event->hole != 0; i++) {
		if (state->tls_ports[i].hole != event->hole)
			continue;
		if (event->type == ALG_EV_ENDED)
			open_port(state, i);
		else if (event->type == ALG_EV_EXPIRED)
			open_again(state, i);
		return true;
	}
	return false;
}
