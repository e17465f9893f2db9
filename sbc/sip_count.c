/* sbc/sip_count.h: an array of counters that the message path adds to, and rows that read it when /metrics is asked
 * for. Faults are rare, and found in their table by name. */
#include "sbc/sip_count.h"

#include <stdio.h>

#include "core/config.h"
#include "core/metrics.h"

#define FAULTS "postern_sip_parse_errors_total"
#define FAULTS_HELP "Received messages that are malformed or exceed a limit, by what was found first."
#define FAULT(counter) { .name = FAULTS, .labels = "reason=\"" counter "\"", .help = FAULTS_HELP }

static _Atomic int64_t counts[CONFIG_REALMS_MAX][2][SIP_KINDS];

/* The counters of guard.c, sip_msg.c and sip_stack.c. */
static struct metric faults[] = {
	FAULT("other"),
	FAULT("body-short"), FAULT("body-size"), FAULT("call-id"), FAULT("comma-count"), FAULT("contact"),
	FAULT("content-encoding"), FAULT("content-length"), FAULT("control-octet"), FAULT("cseq"), FAULT("cseq-method"),
	FAULT("duplicate"), FAULT("folding"), FAULT("from"), FAULT("header-count"), FAULT("header-name"),
	FAULT("header-size"), FAULT("headers-open"), FAULT("line-end"), FAULT("max-forwards"), FAULT("memory"),
	FAULT("message-memory"), FAULT("message-size"), FAULT("method"), FAULT("method-unknown"), FAULT("no-call-id"),
	FAULT("no-content-type"), FAULT("no-cseq"), FAULT("no-from"), FAULT("no-to"), FAULT("no-via"), FAULT("not-sip"),
	FAULT("parameter-count"), FAULT("quotes"), FAULT("route"), FAULT("second-parser"), FAULT("start-line"),
	FAULT("status"), FAULT("to"), FAULT("too-short"), FAULT("uri"), FAULT("uri-scheme"), FAULT("uri-size"),
	FAULT("value-count"), FAULT("version"), FAULT("version-other"), FAULT("via"), FAULT("via-count"),
};
enum { N_FAULTS = sizeof(faults) / sizeof(faults[0]) };

void sip_count_message(unsigned realm, enum sip_way way, unsigned kind)
{
	if (realm < CONFIG_REALMS_MAX && kind < SIP_KINDS)
		atomic_fetch_add_explicit(&counts[realm][way][kind], 1, memory_order_relaxed);
}

bool sip_count_fault(const char *counter)
{
	size_t len = strlen(counter), prefix = strlen("reason=\"");

	for (unsigned i = 1; i < N_FAULTS; i++) {
		const char *name = faults[i].labels + prefix;

		if (strncmp(name, counter, len) == 0 && name[len] == '"') {
			metric_add(&faults[i], 1);
			return true;
		}
	}
	metric_add(&faults[0], 1);
	return false;
}

static int64_t read_count(void *arg)
{
	return atomic_load_explicit((_Atomic int64_t *)arg, memory_order_relaxed);
}

static void register_kinds(const struct realm_conf *realm, bool is_request)
{
	static const char *const ways[] = { [SIP_IN] = "in", [SIP_OUT] = "out" };
	char labels[192];
	struct metric row = { .labels = labels };

	row.name = is_request ? "postern_sip_requests_total" : "postern_sip_responses_total";
	row.help = is_request ? "SIP requests accepted and sent, copies included." :
				"SIP responses accepted and sent, copies included.";
	for (unsigned i = 0; i < 2 * SIP_KINDS; i++) {
		enum sip_way way = i / SIP_KINDS ? SIP_OUT : SIP_IN;
		unsigned kind = i % SIP_KINDS;
		struct span method = sip_method_name(kind < SIP_METHODS ? (enum sip_method)kind : SIP_UNKNOWN);

		if (is_request != (kind < SIP_METHODS))
			continue;
		if (is_request)
			snprintf(labels, sizeof(labels), "realm=\"%s\",transport=\"udp\",direction=\"%s\",method=\"%.*s\"",
				 realm->name, ways[way], method.len ? (int)method.len : 5, method.len ? method.ptr : "other");
		else
			snprintf(labels, sizeof(labels), "realm=\"%s\",direction=\"%s\",class=\"%uxx\"", realm->name,
				 ways[way], kind - SIP_METHODS + 1);
		metrics_register_read(&row, read_count, &counts[realm->index][way][kind]);
	}
}

void sip_count_register(const struct config *config)
{
	static bool is_done;

	if (is_done)
		return;
	is_done = true;
	for (unsigned i = 0; i < config->n_realms; i++)
		register_kinds(&config->realms[i], true);
	for (unsigned i = 0; i < config->n_realms; i++)
		register_kinds(&config->realms[i], false);
	metrics_register(faults, N_FAULTS);
}
