/* Encrypted control channels (RFC 4217): from the reply to AUTH on nothing can be read, so the data ports that the
 * configuration names are opened for this client and this server, unchanged, for as long as the session lives. Each
 * is for one connection at a time and opened again when that has ended. */
#include "algs/ftp/ftp_inside.h"

static void open_port(struct ftp_state *state, unsigned index)
{
	struct alg_want want = { .class = FTP_CLASS_TLS, .listener = ALG_SERVER, .at = state->about->server,
				 .is_same_port = true };
	uint32_t hole;

	want.at.port = (uint16_t)(state->about->tls_port_min + index);
	state->tls_holes[index] = 0;
	if (want.at.port < FTP_PORT_FLOOR || state->host->hole_reserve(state->session, &want, &hole) < 0)
		return;
	if (state->host->hole_arm(state->session, hole) < 0) {
		state->host->hole_free(state->session, hole);
		return;
	}
	state->tls_holes[index] = hole;
}

static unsigned n_ports(const struct alg_about *about)
{
	unsigned n;

	if (about->tls_port_min == 0 || about->tls_port_max < about->tls_port_min)
		return 0;
	n = about->tls_port_max - about->tls_port_min + 1U;
	return n < FTP_TLS_PORTS_MAX ? n : FTP_TLS_PORTS_MAX;
}

void ftp_tls_begin(struct ftp_state *state)
{
	unsigned n = n_ports(state->about), n_open = 0;

	state->is_encrypted = true;
	if (!state->is_foreign) {
		for (unsigned i = 0; i < n; i++)
			open_port(state, i);
		for (unsigned i = 0; i < n; i++)
			n_open += state->tls_holes[i] != 0;
	}
	state->host->note(state->session, NULL, "encrypted from here on, passed unseen; %u of %u data ports open",
			  n_open, n);
}

bool ftp_tls_event(struct ftp_state *state, const struct alg_event *event)
{
	for (unsigned i = 0; i < FTP_TLS_PORTS_MAX && event->hole != 0; i++) {
		if (state->tls_holes[i] != event->hole)
			continue;
		if (event->type == ALG_EV_ENDED || event->type == ALG_EV_EXPIRED)
			open_port(state, i);
		return true;
	}
	return false;
}
