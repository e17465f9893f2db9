/* TLS at the ends of relayed data: the handshakes, before anything flows. RFC 4217 7: whoever dialled, the FTP client is TLS's client,
 * and begins when it likes: as soon as it is connected, or when it has read "150". There are servers that wait with their "150" for the
 * handshake, and others that cannot bear one before the command. So the gateway says nothing to a server before its client has begun:
 * what works without the gateway works through it. Then both handshakes go on side by side. */
#include "algs/data_inside.h"
#include "core/tls.h"

enum { HANDSHAKE_MS = 30000 };

static bool is_good(struct data *data, int side, int result)
{
	struct data_end *end = &data->ends[side];

	if (result < 0) {
		data_break_off_at(data, side, data_end_error(end));
		return false;
	}
	if (result == 0 || end->tls == NULL)
		return true;
	data->stats.tls[side] = (struct data_tls){ tls_version(end->tls), tls_cipher(end->tls), tls_is_resumed(end->tls) };
	if (!data->stats.tls[side].is_resumed && data->conf.security[side].must_resume) {
		data_break_off_at(data, side, "it did not resume the TLS session of its control channel");
		return false;
	}
	return true;
}

static bool may_begin(struct data *data)
{
	for (int side = 0; side < DATA_SIDES && !data->has_begun && !data->conf.is_dialled; side++)
		if (data->conf.security[side].is_leading && !data_end_has_begun(&data->ends[side]))
			return false;
	data->has_begun = true;
	return true;
}

void data_shake_hands(struct data *data)
{
	bool is_done = true, is_waited_for = false;

	if (!may_begin(data))
		return;
	for (int side = 0; side < DATA_SIDES; side++) {
		int result = data->is_connected[side] ? data_end_handshake(&data->ends[side]) : 0;

		if (!is_good(data, side, result))
			return;
		is_done &= result == 1;
		is_waited_for |= result == 0 && (data->is_connected[side] || data->is_connecting[side]);
	}
	if (!is_waited_for) /* an end that is yet to be dialled may take its time */
		loop_timer_stop(&data->timer);
	if (!is_done)
		return;
	if (data->conf.is_dialled)
		data_tell(data, DATA_OPENED);
	data_begin(data);
}

void data_give_time(struct data *data)
{
	if (data->state == DATA_SECURING)
		loop_timer_start(&data->timer, HANDSHAKE_MS);
}

static bool secure(struct data *data, enum data_side side)
{
	struct tls *tls;

	if (!data->is_connected[side] || !data->conf.security[side].is_secured)
		return true;
	if (data->conf.secure(data->arg, side, data->ends[side].fd, &tls) < 0) {
		data_break_off_at(data, side, "no TLS to be had: its control channel has ended, or out of memory");
		return false;
	}
	data_end_secure(&data->ends[side], tls);
	data->ways[DATA_DIALLER].is_in_memory = data->ways[DATA_TARGET].is_in_memory = true;
	return true;
}

void data_secure(struct data *data, enum data_side newest)
{
	if (data->is_connected[!newest])
		data->state = DATA_SECURING;
	if (!data->is_connecting[!newest])
		loop_timer_start(&data->timer, HANDSHAKE_MS);
	if (!data->conf.is_dialled && !secure(data, !newest)) /* it has waited until there was somebody to talk to */
		return;
	if (secure(data, newest))
		data_shake_hands(data);
}
