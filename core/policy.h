/* Rules for application commands. A profile is an ordered list of rules; the first whose selectors all match decides, and an
 * explicit default does when none matches. Compiled once with the configuration, immutable, asked from any thread: the same
 * question gets the same answer, and the answer names its rule. Asking has no effect but counting.
 *
 * What is matched is as the protocol has it; `verb`, `class` and `transport` ignore case, regular expressions (PCRE2 under a
 * match limit) decide as written. A selector that needs what the question does not have does not match. An expression that
 * reaches its limit counts as a match for deny and as none for allow: nobody gets past a rule by making it work hard. */
#ifndef CORE_POLICY_H
#define CORE_POLICY_H

#include "core/addr.h"

struct arena;

enum { POLICY_RULES_MAX = 256, POLICY_VALUES_MAX = 64 /* of one selector */, POLICY_TEXT_MAX = 160, POLICY_NAME_MAX = 64 };

enum policy_direction { POLICY_NO_DATA, POLICY_UP /* client to server */, POLICY_DOWN };

/* One rule as written. Absent selectors (n 0, NULL, family 0) match everything. */
struct policy_rule {
	const char *name;                  /* as configured, or "rule-<n>" from 1 */
	bool is_allow;
	const char *const *verbs;
	unsigned n_verbs;
	const char *const *classes;        /* "read", "write", "admin", "session" */
	unsigned n_classes;
	const char *const *transports;
	unsigned n_transports;
	const char *const *users;          /* globs: '*' any octets, '?' one */
	unsigned n_users;
	const char *const *mimes;          /* globs, ASCII case-insensitive */
	unsigned n_mimes;
	const char *target_regex;          /* of the path or URL; or NULL */
	const char *magic_hex;             /* first octets of the data, up to 16 as hex digits; or NULL. See policy_needs_data() */
	const struct prefix *clients, *servers;
	unsigned n_clients, n_servers;
	bool has_direction;
	enum policy_direction direction;
	uint64_t size_above, size_below;   /* announced size; 0: not asked */
	/* What follows from it. */
	unsigned code;                     /* deny: status for the peer; 0: the protocol's usual one */
	const char *text;                  /* deny: for the peer; {rule}, {verb}, {target}, {user} stand for these; or NULL */
	uint64_t max_bytes;                /* allow: most octets of one transfer; 0: no limit */
	uint32_t bytes_per_s;              /* allow: rate of one transfer; 0: no limit */
	uint32_t max_per_minute;           /* allow: so many matches a minute and session, further ones are denied; 0: no limit */
	bool is_logged;
	bool is_observed;                  /* deny only: counted, and the next rule is asked */
};

struct policy_profile {
	const char *name, *protocol;
	const struct policy_rule *rules;
	unsigned n_rules;
	bool is_default_allow;
	bool is_observed;                  /* nothing is denied or limited; what would be denied is counted */
};

struct policy;
/* Compiles. 0, -ENOMEM, ERR_PARSE with what is wrong with which rule (an expression that does not compile), or ERR_LIMIT for
 * more rules or values than there may be. The profile's memory must outlive the policy. */
int policy_new(const struct policy_profile *profile, unsigned *ret_rule, char *error_text, size_t error_size, struct policy **ret);
void policy_free(struct policy *policy); /* NULL is fine */
const struct policy_profile *policy_profile(const struct policy *policy);

struct policy_question {
	struct span verb, class, target, user, transport, mime;
	struct span magic;                 /* the first octets of the data; empty: not known yet */
	struct addr client, server;
	enum policy_direction direction;
	bool has_size;
	uint64_t size;
	uint32_t minute_count;             /* how often this verb was asked for in this session within a minute, this time
					    * included */
};
struct policy_verdict {
	bool is_allowed;
	bool is_logged;
	const char *rule;                  /* "default" when none matched */
	int rule_index;                    /* -1: the default */
	const char *would_deny;            /* the first rule that is only observed, or the one that profile's observing overruled; or NULL */
	unsigned code;                     /* denied; 0: the protocol's usual one */
	char text[POLICY_TEXT_MAX];        /* denied: printable, ends with NUL; "" when the rule has none */
	uint64_t max_bytes;                /* allowed; 0: no limit */
	uint32_t bytes_per_s;
};
/* policy NULL: everything is allowed, rule "none". */
void policy_decide(const struct policy *policy, const struct policy_question *question, struct policy_verdict *ret);
/* As policy_decide(), and not counted: for explain. */
void policy_explain(const struct policy *policy, const struct policy_question *question, struct policy_verdict *ret);
/* Some rule limits octets or rate, or looks at them: data has to pass through the process. */
bool policy_needs_data(const struct policy *policy);

struct policy_count {
	uint64_t hits;       /* it decided */
	uint64_t would_deny; /* it matched and would have denied, but it or the profile is only observed; not in hits */
};
/* Before anybody else knows `policy`: its rule goes on with the counters of a rule of `before`, and both count there from now on.
 * An index n_rules stands for the default. */
void policy_keep_count(struct policy *policy, unsigned index, const struct policy *before, unsigned index_before);
/* index n_rules: the default. Any thread. */
void policy_count(const struct policy *policy, unsigned index, struct policy_count *ret);

#endif
