/* Telnet sequences as they are found in FTP. Keeps nothing, answers nothing by itself. Pure; any thread. RFC 854,
 * RFC 1143. */
#include "algs/ftp/ftp_telnet.h"

enum { SE = 240, SB = 250, WILL = 251, WONT = 252, DO = 253, DONT = 254, IAC = 255 };

static unsigned octet(struct span bytes, size_t at)
{
	return (unsigned char)bytes.ptr[at];
}

static enum ftp_telnet subnegotiation(struct span bytes, size_t *ret_len)
{
	for (size_t at = 2; at + 1 < bytes.len; at++) {
		if (octet(bytes, at) != IAC)
			continue;
		if (octet(bytes, at + 1) == SE) {
			*ret_len = at + 2;
			return FTP_TELNET_SUB;
		}
		at++; /* what follows IAC is no IAC of its own */
	}
	*ret_len = bytes.len;
	return FTP_TELNET_PART;
}

enum ftp_telnet ftp_telnet_next(struct span bytes, size_t *ret_len)
{
	unsigned command;

	*ret_len = 1;
	if (octet(bytes, 0) != IAC)
		return FTP_TELNET_NONE;
	if (bytes.len < 2)
		return FTP_TELNET_PART;
	command = octet(bytes, 1);
	if (command < SE)
		return FTP_TELNET_NONE; /* a client that does not double it in names */
	*ret_len = 2;
	if (command == IAC)
		return FTP_TELNET_ESCAPE;
	if (command == SB)
		return subnegotiation(bytes, ret_len);
	if (command < WILL)
		return FTP_TELNET_COMMAND;
	if (bytes.len < 3)
		return FTP_TELNET_PART;
	*ret_len = 3;
	return FTP_TELNET_OPTION;
}

bool ftp_telnet_is_in(struct span bytes)
{
	return bytes.len > 0 && memchr(bytes.ptr, IAC, bytes.len) != NULL;
}

void ftp_telnet_strip(struct span bytes, struct buf *out)
{
	size_t len;

	for (; bytes.len > 0; bytes = span_sub(bytes, len, bytes.len)) {
		enum ftp_telnet kind = ftp_telnet_next(bytes, &len);

		if (kind == FTP_TELNET_NONE || kind == FTP_TELNET_ESCAPE)
			buf_putc(out, bytes.ptr[0]);
		else if (kind == FTP_TELNET_PART && len == 1)
			buf_putc(out, bytes.ptr[0]);
	}
}

void ftp_telnet_escape(struct span text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (octet(text, i) == IAC)
			buf_putc(out, text.ptr[i]);
		buf_putc(out, text.ptr[i]);
	}
}

size_t ftp_telnet_answer(struct span option, char out[FTP_TELNET_ANSWER_MAX])
{
	unsigned command = octet(option, 1);

	if (command != WILL && command != DO)
		return 0;
	out[0] = (char)IAC;
	out[1] = (char)(command == WILL ? DONT : WONT);
	out[2] = option.ptr[2];
	return 3;
}
