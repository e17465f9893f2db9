/* Media sessions without sockets, behind the symbols of media-relay/media.h: ports are handed out in order from the realm's pool, what
 * signalling says is reported as text, and tests raise events. Link before the archives. */
#ifndef TESTS_MOCK_FAKE_MEDIA_H
#define TESTS_MOCK_FAKE_MEDIA_H

#include "media-relay/media.h"

/* Called for each change, e.g. "open 0", "remote a 0 192.0.2.50:4000", "hold", "resume", "close". */
typedef void fake_media_report_fn(void *arg, const char *text);
struct media_engine *fake_media_new(fake_media_report_fn *report, void *arg);
void fake_media_free(struct media_engine *engine);

/* The session opened last that is still open, or NULL. */
struct media *fake_media_last(struct media_engine *engine);
void fake_media_raise(struct media *media, enum media_event event, unsigned stream, enum media_side side);
/* What media_stats() says of the stream from now on, and MEDIA_PATH for this side; reason is static. ERR_STATE before media_answered():
 * nothing leaves the relay before. */
int fake_media_move(struct media *media, unsigned stream, enum media_side side, enum media_path path, const char *reason);
/* The next n media_stream_open() fail with ERR_LIMIT. */
void fake_media_refuse(struct media_engine *engine, unsigned n);

#endif
