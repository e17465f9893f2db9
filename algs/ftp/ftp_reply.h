/* Replies of FTP: one line of a reply, and what stands in those that matter. RFC 959 4.2, RFC 1123 4.1.2, RFC 1639,
 * RFC 2428. Pure. */
#ifndef ALGS_FTP_FTP_REPLY_H
#define ALGS_FTP_FTP_REPLY_H

#include "algs/ftp/ftp_address.h"

struct ftp_reply_line {
	unsigned code;       /* 100 to 699 */
	bool is_opener;      /* '-' follows: lines follow until one with this code and no '-' */
	size_t text_at;      /* where the text begins */
};
/* line: without its end and without Telnet. False: it begins in another way. */
bool ftp_reply_read(struct span line, struct ftp_reply_line *ret);
/* Whether a line inside a reply of several is its last one. */
bool ftp_reply_closes(struct span line, unsigned code);

/* Where to connect to, in a reply with that code (227, 228, 229); places are of the whole line. */
int ftp_reply_find(struct span line, unsigned code, struct ftp_address *ret);
/* The path in a 257: between quotation marks, doubled ones are one. ERR_PARSE when it is none or does not fit. */
int ftp_reply_path(struct span text, struct buf *out);
/* The name in a 150 to STOU (RFC 1123 4.1.2.9), empty when there is none. */
struct span ftp_reply_file(struct span text);

#endif
