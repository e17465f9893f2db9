/* What offer.c (reading) and offer_rewrite.c (writing) share: lines, their attributes, addresses in them. Nobody else includes this.
 * Pure. */
#ifndef SBC_OFFER_LINE_H
#define SBC_OFFER_LINE_H

#include "sbc/offer.h"

struct offer_line {
	char type;         /* 0: an empty line */
	struct span value; /* behind "x=" */
	struct span whole; /* with its line end */
	struct span end;   /* "\r\n", "\n" or nothing */
};
/* Cuts the next line from *rest. False at the end. */
bool offer_next_line(struct span *rest, struct offer_line *ret);

enum offer_attribute_kind { ATTRIBUTE_OTHER, ATTRIBUTE_RTCP, ATTRIBUTE_RTCP_MUX, ATTRIBUTE_DIRECTION, ATTRIBUTE_DROP };
struct offer_attribute {
	struct span name;
	enum offer_attribute_kind kind;
	enum offer_direction direction;
};
/* Of the value of an a= line; of kind ATTRIBUTE_OTHER for those without a meaning here. */
const struct offer_attribute *offer_attribute(struct span value);

bool offer_is_host_char(char c);
/* "IN IP4 192.0.2.1". An IPv4-mapped address comes as IP6 and counts as IPv4. 0, or as offer_parse(), with the reason in *ret_text. */
int offer_connection(struct span value, struct addr *ret, const char **ret_text);

#endif
