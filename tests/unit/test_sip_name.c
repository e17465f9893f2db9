/* Method and header names: every name, compact forms, near misses. */
#include "sbc/sip_name.h"

#include <ctype.h>

#include "tests/unit/unit.h"

static void method_names(void)
{
	for (enum sip_method m = SIP_UNKNOWN + 1; m < SIP_METHODS; m++) {
		struct span name = sip_method_name(m);

		CU_ASSERT(name.len > 2);
		CU_ASSERT_EQUAL(sip_method_of(name), m);
	}
	CU_ASSERT(span_is_empty(sip_method_name(SIP_UNKNOWN)));
}

static void method_strangers(void)
{
	static const char *const names[] = { "", "I", "invite", "Invite", "INVITES", "INVIT", "REGISTE", "NOTIFI", "%49NVITE", "BYE " };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CU_ASSERT_EQUAL(sip_method_of(span_of(names[i])), SIP_UNKNOWN);
	CU_ASSERT_EQUAL(sip_method_of(SPAN_NONE), SIP_UNKNOWN);
}

static void swap_case(struct span name, char *out)
{
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		out[i] = (char)(isupper(c) ? tolower(c) : toupper(c));
	}
}

static void header_names(void)
{
	for (enum sip_header_id id = SIP_H_OTHER + 1; id < SIP_HEADERS; id++) {
		struct span name = sip_header_name(id);
		char other_case[64];

		CU_ASSERT_FATAL(name.len > 1 && name.len < sizeof(other_case));
		CU_ASSERT_EQUAL(sip_header_of(name), id);
		swap_case(name, other_case);
		CU_ASSERT_EQUAL(sip_header_of((struct span){ other_case, name.len }), id);
		other_case[1] = '!';
		CU_ASSERT_EQUAL(sip_header_of((struct span){ other_case, name.len }), SIP_H_OTHER);
	}
	CU_ASSERT(span_is_empty(sip_header_name(SIP_H_OTHER)));
}

static void header_compact_forms(void)
{
	static const struct {
		const char *letter;
		enum sip_header_id id;
	} rows[] = {
		{ "b", SIP_H_REFERRED_BY }, { "c", SIP_H_CONTENT_TYPE }, { "e", SIP_H_CONTENT_ENCODING }, { "f", SIP_H_FROM },
		{ "i", SIP_H_CALL_ID }, { "k", SIP_H_SUPPORTED }, { "l", SIP_H_CONTENT_LENGTH }, { "m", SIP_H_CONTACT },
		{ "o", SIP_H_EVENT }, { "r", SIP_H_REFER_TO }, { "s", SIP_H_SUBJECT }, { "t", SIP_H_TO },
		{ "u", SIP_H_ALLOW_EVENTS }, { "v", SIP_H_VIA }, { "x", SIP_H_SESSION_EXPIRES }, { "y", SIP_H_IDENTITY },
		{ "V", SIP_H_VIA }, { "T", SIP_H_TO }, { "z", SIP_H_OTHER }, { "6", SIP_H_OTHER }, { "\x16", SIP_H_OTHER },
		{ "{", SIP_H_OTHER }, { "@", SIP_H_OTHER }, { "\xd6", SIP_H_OTHER },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(sip_header_of(span_of(rows[i].letter)), rows[i].id);
}

static void header_strangers(void)
{
	static const char *const names[] = { "", "Vi", "Vias", "C%6Fntact", "Content-Lengt", "X-Via", "To ", "Max_Forwards",
		"Call\rID", "P-Asserted-Identitz", "Record Route" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		CU_ASSERT_EQUAL(sip_header_of(span_of(names[i])), SIP_H_OTHER);
	CU_ASSERT_EQUAL(sip_header_of(SPAN_NONE), SIP_H_OTHER);
}

static void reason_phrases(void)
{
	CU_ASSERT(span_eq(sip_reason_phrase(200), SPAN_LIT("OK")));
	CU_ASSERT(span_eq(sip_reason_phrase(487), SPAN_LIT("Request Terminated")));
	CU_ASSERT(span_eq(sip_reason_phrase(608), SPAN_LIT("Rejected")));
	CU_ASSERT(span_eq(sip_reason_phrase(299), SPAN_LIT("Unknown")));
	CU_ASSERT(span_eq(sip_reason_phrase(99), SPAN_LIT("Unknown")));
	CU_ASSERT(span_eq(sip_reason_phrase(700), SPAN_LIT("Unknown")));
	CU_ASSERT(span_eq(sip_reason_phrase(-1), SPAN_LIT("Unknown")));
}

static const struct unit_test tests[] = {
	{ "method names both ways", method_names },
	{ "unknown methods", method_strangers },
	{ "header names both ways, any case", header_names },
	{ "compact forms", header_compact_forms },
	{ "unknown headers", header_strangers },
	{ "reason phrases", reason_phrases },
};

UNIT_MAIN("sip_name", tests)
