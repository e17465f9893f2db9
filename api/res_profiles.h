/* JSON of a profile's parts that explain shows, too. */
#ifndef API_RES_PROFILES_H
#define API_RES_PROFILES_H

#include <jansson.h>

struct policy_rule;

json_t *res_profile_limits(const struct policy_rule *rule); /* null where there is none */

#endif
