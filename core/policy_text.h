/* What a rule tells the peer. Inside of core/policy.c. */
#ifndef CORE_POLICY_TEXT_H
#define CORE_POLICY_TEXT_H

#include "core/policy.h"

/* The pattern with {rule}, {verb}, {target} and {user} replaced. UTF-8 without controls; what the peer chose is cut and reduced to
 * printable ASCII. Ends with NUL. pattern NULL: "". */
void policy_text_write(const char *pattern, const char *rule, const struct policy_question *question, char ret[POLICY_TEXT_MAX]);

#endif
