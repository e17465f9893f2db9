/* Joins and resolves paths. Knows nothing of links: what a server makes of a name may differ. Pure; any thread. */
#include "algs/ftp/ftp_path.h"

static bool is_rooted(struct span path)
{
	return path.len > 0 && (path.ptr[0] == '/' || path.ptr[0] == '~');
}

static struct span last_part(const struct buf *out)
{
	size_t at = out->len;

	while (at > 0 && out->data[at - 1] != '/')
		at--;
	return (struct span){ out->data + at, out->len - at };
}

static void add_part(struct buf *out, struct span part)
{
	if (out->len > 0 && out->data[out->len - 1] != '/')
		buf_putc(out, '/');
	buf_put(out, part);
}

/* One level up. What cannot be left without knowing more is kept. */
static void rise(struct buf *out)
{
	struct span last = last_part(out);

	if (out->len == 1 && out->data[0] == '/')
		return;
	if (last.len == 0 || span_eq(last, SPAN_LIT("..")) || last.ptr[0] == '~') {
		add_part(out, SPAN_LIT(".."));
		return;
	}
	out->len -= last.len;
	if (out->len > 1) /* the slash of "/" stays */
		out->len--;
}

static void add(struct buf *out, struct span path)
{
	while (path.ptr != NULL && !out->is_full) {
		struct span part = span_cut(&path, '/');

		if (part.len == 0 || span_eq(part, SPAN_LIT(".")))
			continue;
		if (span_eq(part, SPAN_LIT("..")))
			rise(out);
		else
			add_part(out, part);
	}
}

void ftp_path_join(struct span directory, struct span path, struct buf *out)
{
	struct span first = is_rooted(path) ? path : directory;

	if (first.len > 0 && first.ptr[0] == '/')
		buf_putc(out, '/');
	if (!is_rooted(path))
		add(out, directory);
	add(out, path);
}
