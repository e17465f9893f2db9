/* The grammar of replies. Lines inside a reply are data, whatever they look like; the caller keeps track of that.
 * Pure; any thread. */
#include "algs/ftp/ftp_reply.h"

#include "core/err.h"

enum { CODE_LEN = 3 };

bool ftp_reply_read(struct span line, struct ftp_reply_line *ret)
{
	uint32_t code;

	if (line.len < CODE_LEN || span_to_u32(span_sub(line, 0, CODE_LEN), 699, &code) < 0 || code < 100)
		return false;
	if (line.len > CODE_LEN && line.ptr[CODE_LEN] != ' ' && line.ptr[CODE_LEN] != '-')
		return false;
	*ret = (struct ftp_reply_line){ .code = code, .is_opener = line.len > CODE_LEN && line.ptr[CODE_LEN] == '-',
					.text_at = line.len > CODE_LEN ? CODE_LEN + 1 : CODE_LEN };
	return true;
}

bool ftp_reply_closes(struct span line, unsigned code)
{
	struct ftp_reply_line found;

	return ftp_reply_read(line, &found) && found.code == code && !found.is_opener;
}

int ftp_reply_find(struct span line, unsigned code, struct ftp_address *ret)
{
	struct span text = span_sub(line, CODE_LEN + 1, line.len);
	int err = ERR_UNSUPPORTED;

	if (code == 227)
		err = ftp_address_find_port(text, ret);
	else if (code == 228)
		err = ftp_address_find_lprt(text, ret);
	else if (code == 229)
		err = ftp_address_find_epsv(text, ret);
	if (err == 0)
		ret->at += CODE_LEN + 1;
	return err;
}

int ftp_reply_path(struct span text, struct buf *out)
{
	size_t at = span_find(text, '"') + 1;

	for (; at < text.len; at++) {
		if (text.ptr[at] == '"') {
			if (at + 1 == text.len || text.ptr[at + 1] != '"')
				return out->is_full ? ERR_PARSE : 0;
			at++;
		}
		buf_putc(out, text.ptr[at]);
	}
	return ERR_PARSE;
}

struct span ftp_reply_file(struct span text)
{
	if (!span_istarts(text, SPAN_LIT("FILE: ")))
		return SPAN_NONE;
	return span_trim(span_sub(text, 6, text.len));
}
