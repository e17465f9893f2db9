/* Logging: fixed message text, variable parts as fields. Any thread; never blocks (what a full pipe does not take is
 * dropped and counted). Every value is escaped (control octets, quotes, backslash, what is not UTF-8, characters that
 * reorder text on a terminal), so a peer cannot forge a line. Long values are cut and end in "...". */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/span.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT /* time level subsystem message key=value */, LOG_JSON /* one object per line */ };

/* To `fd` (borrowed; its O_NONBLOCK flag is left alone). Before this call: text, info and above, standard error. */
void log_setup(int fd, enum log_format format, enum log_level level);
bool log_is_on(enum log_level level);
uint64_t log_dropped(void); /* lines lost to a full pipe or to rate limits, since start */

/* One line. `message` is a literal without variable parts, so that it can be searched for; what varies is a field:
 * a literal key and a value made with LF_TEXT, LF_SPAN (both may hold foreign text), LF_INT or LF_UINT. */
struct log_field {
	const char *key;
	enum { LOG_F_TEXT, LOG_F_INT, LOG_F_UINT } type;
	struct span text;
	int64_t i;
	uint64_t u;
};
#define LF_TEXT(key, s) (struct log_field){ key, LOG_F_TEXT, span_of(s), 0, 0 }
#define LF_SPAN(key, s) (struct log_field){ key, LOG_F_TEXT, s, 0, 0 }
#define LF_INT(key, n) (struct log_field){ key, LOG_F_INT, SPAN_NONE, (n), 0 }
#define LF_UINT(key, n) (struct log_field){ key, LOG_F_UINT, SPAN_NONE, 0, (n) }

void log_write(enum log_level level, const char *subsystem, const char *message, const struct log_field *fields,
	       unsigned n_fields);

/* log_warn("sip", "message refused", LF_SPAN("source", src), LF_INT("code", 400)); at least one field. */
#define LOG_AT(level, subsystem, message, ...) \
	do { \
		if (log_is_on(level)) { \
			const struct log_field log_fields_[] = { __VA_ARGS__ }; \
			log_write(level, subsystem, message, log_fields_, \
				  sizeof(log_fields_) / sizeof(log_fields_[0])); \
		} \
	} while (0)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)

/* For what a peer can trigger: at most `burst` lines per 10 s from this call site; the next line that passes is preceded
 * by one that counts the suppressed ones. struct log_gate is static at the call site; any thread. */
struct log_gate {
	uint64_t window_start_ms;
	uint32_t passed;
	uint32_t suppressed;
};
bool log_gate_pass(struct log_gate *gate, uint32_t burst);
/* Writes how many lines the gate has held back since it was last asked, if any. */
void log_gate_report(struct log_gate *gate, enum log_level level, const char *subsystem, const char *message);
#define LOG_GATED(burst, level, subsystem, message, ...) \
	do { \
		static struct log_gate gate_; \
		if (log_is_on(level) && log_gate_pass(&gate_, burst)) { \
			log_gate_report(&gate_, level, subsystem, message); \
			LOG_AT(level, subsystem, message, __VA_ARGS__); \
		} \
	} while (0)

#endif
