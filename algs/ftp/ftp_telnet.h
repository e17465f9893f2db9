/* The Telnet in FTP's control channel (RFC 854, RFC 959 4.1.3, RFC 1123 4.1.2.12): sequences that begin with IAC.
 * Options are never agreed on; IP and Synch around ABOR pass; a doubled IAC is one octet of a name. Pure. */
#ifndef ALGS_FTP_FTP_TELNET_H
#define ALGS_FTP_FTP_TELNET_H

#include "core/buf.h"

enum ftp_telnet {
	FTP_TELNET_NONE,     /* an ordinary octet, or IAC in front of one: stands for itself */
	FTP_TELNET_ESCAPE,   /* IAC IAC: the octet 255 */
	FTP_TELNET_COMMAND,  /* IAC and one octet: IP, DM, NOP ... */
	FTP_TELNET_OPTION,   /* IAC, WILL WONT DO DONT, and an option */
	FTP_TELNET_SUB,      /* IAC SB ... IAC SE */
	FTP_TELNET_PART,     /* the beginning of one of these */
};
enum { FTP_TELNET_ANSWER_MAX = 3 };

/* What `bytes`, which is not empty, begins with; *ret_len is its length (1 for FTP_TELNET_NONE, all there is for
 * FTP_TELNET_PART). */
enum ftp_telnet ftp_telnet_next(struct span bytes, size_t *ret_len);
bool ftp_telnet_is_in(struct span bytes);
/* The text without Telnet: escapes are one octet, commands and options are gone. */
void ftp_telnet_strip(struct span bytes, struct buf *out);
/* Text as it has to be sent: each octet 255 is doubled. */
void ftp_telnet_escape(struct span text, struct buf *out);
/* The refusal of an option that was offered or asked for, into out; 0 octets for one that was withdrawn (RFC 1143:
 * no answer). */
size_t ftp_telnet_answer(struct span option, char out[FTP_TELNET_ANSWER_MAX]);

#endif
