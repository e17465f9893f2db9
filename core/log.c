/* Writes log lines: one line is one write() of at most PIPE_BUF octets, so lines of several threads and processes do not
 * mix. Never waits for a reader: what the descriptor does not take at once is dropped, counted, and reported when it
 * takes lines again. The descriptor is borrowed and may be shared with a terminal or a parent, so O_NONBLOCK is never
 * set on it; a line is written only when poll() says that there is room. (A regular file is written as files are.)
 * Any thread. Reads the wall clock itself, because lines come from threads without a loop. JSON: RFC 8259. */
#include "core/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"

enum {
	LINE_BYTES = PIPE_BUF,
	TAIL_BYTES = 32,    /* what comes after the fields */
	VALUE_BYTES = 1024, /* of one value, escaped */
	WINDOW_MS = 10000,
	MIDNIGHT_S = 86400,
};

enum fd_kind { FD_UNKNOWN, FD_FILE, FD_SOCKET, FD_PIPE, FD_OTHER };

static atomic_int log_level = LOG_INFO;
static atomic_int log_format = LOG_TEXT;
static atomic_ullong n_dropped;

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows; nobody waits while holding it */
static int log_fd = STDERR_FILENO;
static enum fd_kind log_kind = FD_UNKNOWN;
static uint64_t n_unreported;  /* dropped since the last report */
static bool is_in_mid_line;    /* the descriptor took only a part of the last line */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static enum fd_kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return FD_OTHER;
	if (S_ISREG(st.st_mode))
		return FD_FILE;
	if (S_ISSOCK(st.st_mode))
		return FD_SOCKET;
	return S_ISFIFO(st.st_mode) ? FD_PIPE : FD_OTHER;
}

void log_setup(int fd, enum log_format format, enum log_level level)
{
	atomic_store(&log_format, (int)format);
	atomic_store(&log_level, (int)level);
	pthread_mutex_lock(&write_lock);
	log_fd = fd;
	log_kind = kind_of(fd);
	is_in_mid_line = false;
	pthread_mutex_unlock(&write_lock);
}

bool log_is_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
	return atomic_load_explicit(&n_dropped, memory_order_relaxed);
}

/* 2026-11-22T17:04:23.123Z. Not gmtime_r(): that takes a lock of the C library and may read the time zone file. */
static void put_time(struct buf *b)
{
	struct timespec now;
	int64_t days, second, day_of_era, year_of_era, day_of_year, year, month, day;

	clock_gettime(CLOCK_REALTIME, &now);
	days = now.tv_sec / MIDNIGHT_S;
	second = now.tv_sec % MIDNIGHT_S;
	/* Count from 1 March 2000, so that the leap day is the last of its year; an era is 400 years. From 2000 to 2400. */
	day_of_era = days - 11017;
	year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524) / 365;
	day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153;
	day = day_of_year - (153 * month + 2) / 5 + 1;
	month = month < 10 ? month + 3 : month - 9;
	year = 2000 + year_of_era + (month <= 2);
	buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", (int)year, (int)month, (int)day, (int)(second / 3600),
		   (int)(second / 60 % 60), (int)(second % 60), (int)(now.tv_nsec / 1000000));
}

/* Characters that would move the cursor, end the line or turn the direction of the text around. */
static bool is_harmful(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* One character of `len` octets; a len of 0 stands for one octet that is no UTF-8. */
static void put_character(struct buf *b, const char *at, size_t len, uint32_t code, enum log_format format)
{
	if (len > 0 && (code == '"' || code == '\\'))
		buf_printf(b, "\\%c", (char)code);
	else if (len > 0 && !is_harmful(code))
		buf_put(b, (struct span){ at, len });
	else if (format == LOG_JSON)
		buf_printf(b, "\\u%04x", len > 0 ? (unsigned)code : 0xfffdU);
	else
		for (size_t i = 0; i < (len > 0 ? len : 1); i++)
			buf_printf(b, "\\x%02x", (unsigned char)at[i]);
}

static void put_quoted(struct buf *b, struct span text, enum log_format format)
{
	const size_t longest = 12; /* three or four octets as \xNN */
	size_t end = b->len + VALUE_BYTES;

	buf_putc(b, '"');
	while (text.len > 0 && b->len + longest <= end) {
		uint32_t code = 0;
		size_t len = span_utf8(text, &code);

		put_character(b, text.ptr, len, code, format);
		text = span_sub(text, len > 0 ? len : 1, text.len);
	}
	buf_puts(b, text.len > 0 ? "...\"" : "\"");
}

/* A value without quotes in text format: one word that nobody can take for something else. */
static bool is_plain(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
			return false;
	}
	return text.len > 0 && text.len < VALUE_BYTES / 2;
}

static void put_field(struct buf *b, const struct log_field *f, enum log_format format)
{
	if (format == LOG_JSON)
		buf_printf(b, ",\"%s\":", f->key);
	else
		buf_printf(b, " %s=", f->key);
	if (f->type == LOG_F_INT)
		buf_printf(b, "%lld", (long long)f->i);
	else if (f->type == LOG_F_UINT)
		buf_u64(b, f->u);
	else if (format == LOG_TEXT && is_plain(f->text))
		buf_put(b, f->text);
	else
		put_quoted(b, f->text, format);
}

static void put_head(struct buf *b, enum log_level level, const char *subsystem, const char *message,
		     enum log_format format)
{
	buf_puts(b, format == LOG_JSON ? "{\"ts\":\"" : "");
	put_time(b);
	if (format == LOG_JSON) {
		buf_printf(b, "\",\"level\":\"%s\",\"subsystem\":\"%s\",\"message\":", level_names[level], subsystem);
	} else {
		buf_printf(b, " %s %s ", level_names[level], subsystem);
	}
	put_quoted(b, span_of(message), format);
}

/* A whole line in out (LINE_BYTES). Fields that do not fit are left out, which the line says. */
static struct span format_line(char *out, enum log_level level, const char *subsystem, const char *message,
			       const struct log_field *fields, unsigned n_fields)
{
	enum log_format format = (enum log_format)atomic_load_explicit(&log_format, memory_order_relaxed);
	struct buf b = buf_of(out, LINE_BYTES - TAIL_BYTES);
	bool is_cut = false;

	put_head(&b, level, subsystem, message, format);
	for (unsigned i = 0; i < n_fields && !is_cut; i++) {
		size_t before = b.len;

		put_field(&b, &fields[i], format);
		if (b.is_full) {
			b.len = before;
			b.is_full = false;
			is_cut = true;
		}
	}
	b.cap = LINE_BYTES;
	if (is_cut)
		buf_puts(&b, format == LOG_JSON ? ",\"truncated\":true" : " truncated=true");
	buf_puts(&b, format == LOG_JSON ? "}\n" : "\n");
	return buf_span(&b);
}

static bool has_room(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR | POLLNVAL)) == POLLOUT;
}

static ssize_t write_now(struct span bytes)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes.ptr, .iov_len = bytes.len };
	ssize_t n;

	if (log_kind == FD_SOCKET)
		return send(log_fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (log_kind == FD_FILE)
		return write(log_fd, bytes.ptr, bytes.len);
	if (!has_room(log_fd))
		return -1;
	if (log_kind == FD_PIPE) {
		/* Another process may fill the pipe between poll() and this; kernels since 6.4 can refuse to wait. */
		n = pwritev2(log_fd, &iov, 1, -1, RWF_NOWAIT);
		if (n >= 0 || errno != EOPNOTSUPP)
			return n;
	}
	return write(log_fd, bytes.ptr, bytes.len);
}

/* False when nothing of it, or not all, was taken. Called under write_lock. */
static bool write_line(struct span line)
{
	ssize_t n;

	if (is_in_mid_line && write_now(SPAN_LIT("\n")) != 1)
		return false;
	is_in_mid_line = false;
	n = write_now(line);
	is_in_mid_line = n > 0 && (size_t)n < line.len;
	return n == (ssize_t)line.len;
}

/* Called under write_lock. */
static bool write_loss_report(void)
{
	const struct log_field count = LF_UINT("count", n_unreported);
	SCRATCH char line[LINE_BYTES];

	return write_line(format_line(line, LOG_WARN, "log", "lines lost", &count, 1));
}

void log_write(enum log_level level, const char *subsystem, const char *message, const struct log_field *fields,
	       unsigned n_fields)
{
	SCRATCH char bytes[LINE_BYTES];
	struct span line;
	int saved_errno = errno;

	if (!log_is_on(level))
		return;
	line = format_line(bytes, level, subsystem, message, fields, n_fields);
	pthread_mutex_lock(&write_lock);
	if (log_kind == FD_UNKNOWN)
		log_kind = kind_of(log_fd);
	if (n_unreported > 0 && write_loss_report())
		n_unreported = 0;
	/* While the report does not get through, a shorter line must not overtake it. */
	if (n_unreported > 0 || !write_line(line)) {
		n_unreported++;
		atomic_fetch_add_explicit(&n_dropped, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&write_lock);
	errno = saved_errno;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool log_gate_pass(struct log_gate *gate, uint32_t burst)
{
	uint64_t start = __atomic_load_n(&gate->window_start_ms, __ATOMIC_RELAXED);
	uint64_t now = now_ms();

	/* Threads that meet at the edge of a window may let a few lines more through; none is counted twice. */
	if (now >= start + WINDOW_MS &&
	    __atomic_compare_exchange_n(&gate->window_start_ms, &start, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		__atomic_store_n(&gate->passed, 0, __ATOMIC_RELAXED);
	if (__atomic_load_n(&gate->passed, __ATOMIC_RELAXED) < burst &&
	    __atomic_fetch_add(&gate->passed, 1, __ATOMIC_RELAXED) < burst)
		return true;
	__atomic_fetch_add(&gate->suppressed, 1, __ATOMIC_RELAXED);
	atomic_fetch_add_explicit(&n_dropped, 1, memory_order_relaxed);
	return false;
}

void log_gate_report(struct log_gate *gate, enum log_level level, const char *subsystem, const char *message)
{
	uint32_t suppressed = __atomic_exchange_n(&gate->suppressed, 0, __ATOMIC_RELAXED);

	if (suppressed > 0) {
		const struct log_field fields[] = { LF_TEXT("repeated", message), LF_UINT("count", suppressed) };

		log_write(level, subsystem, "similar lines suppressed", fields, 2);
	}
}
