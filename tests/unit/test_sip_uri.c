/* URIs, name-addr values and lists: good, bad and hostile. */
#include "sbc/sip_uri.h"

#include "core/err.h"
#include <stdio.h>

#include "tests/unit/unit.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void uri_parts(void)
{
	static const struct {
		const char *text;
		enum sip_scheme scheme;
		const char *user, *password, *host;
		uint16_t port;
		const char *params, *headers;
	} rows[] = {
		{ "sip:example.com", SIP_SCHEME_SIP, "", "", "example.com", 0, "", "" },
		{ "SIP:alice@Example.com:5070", SIP_SCHEME_SIP, "alice", "", "Example.com", 5070, "", "" },
		{ "sips:a:secret@h.example.;lr", SIP_SCHEME_SIPS, "a", "secret", "h.example.", 0, "lr", "" },
		{ "sip:a@192.0.2.1;transport=udp?Subject=x&Priority=", SIP_SCHEME_SIP, "a", "", "192.0.2.1", 0, "transport=udp",
		  "Subject=x&Priority=" },
		{ "sip:[2001:db8::10]:5070", SIP_SCHEME_SIP, "", "", "[2001:db8::10]", 5070, "", "" },
		{ "sip:[2001:db8::10:5070]", SIP_SCHEME_SIP, "", "", "[2001:db8::10:5070]", 0, "", "" },
		{ "sip:u@[::ffff:192.0.2.2]", SIP_SCHEME_SIP, "u", "", "[::ffff:192.0.2.2]", 0, "", "" },
		{ "sip:user;par=u%40example.net@example.com", SIP_SCHEME_SIP, "user;par=u%40example.net", "", "example.com", 0, "", "" },
		{ "sip:sips%3Auser%40example.com@example.net", SIP_SCHEME_SIP, "sips%3Auser%40example.com", "", "example.net", 0, "",
		  "" },
		{ "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
		  SIP_SCHEME_SIP, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
		  "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)", "example.com", 0, "", "" },
		{ "sip:a:@h", SIP_SCHEME_SIP, "a", "", "h", 0, "", "" },
		{ "sip:h;%6C%72;n%61me=v%61lue%25%34%31", SIP_SCHEME_SIP, "", "", "h", 0, "%6C%72;n%61me=v%61lue%25%34%31", "" },
		{ "sip:sip_proxy.local", SIP_SCHEME_SIP, "", "", "sip_proxy.local", 0, "", "" },
		{ "tel:+1-201-555-0123", SIP_SCHEME_TEL, "+1-201-555-0123", "", "", 0, "", "" },
		{ "tel:7042;phone-context=example.com", SIP_SCHEME_TEL, "7042", "", "", 0, "phone-context=example.com", "" },
		{ "tel:*69#", SIP_SCHEME_TEL, "*69#", "", "", 0, "", "" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct sip_uri uri;

		CU_ASSERT_EQUAL(sip_uri_parse(span_of(rows[i].text), &uri), 0);
		CU_ASSERT_EQUAL(uri.scheme, rows[i].scheme);
		CU_ASSERT(span_eq(uri.text, span_of(rows[i].text)));
		CU_ASSERT(span_eq(uri.user, span_of(rows[i].user)));
		CU_ASSERT(span_eq(uri.password, span_of(rows[i].password)));
		CU_ASSERT(span_eq(uri.host, span_of(rows[i].host)));
		CU_ASSERT_EQUAL(uri.port, rows[i].port);
		CU_ASSERT(span_eq(uri.params, span_of(rows[i].params)));
		CU_ASSERT(span_eq(uri.headers, span_of(rows[i].headers)));
	}
}

static void uri_refused(void)
{
	static const char *const texts[] = {
		"", "sip", "sip:", ":", "://", "1sip:a@b", "sip :a@b", "sip:@h", "sip:a@", "sip:a@b@c", "sip:a@b;x=c@d",
		"sip:a@b?x=c@d", "sip:a b@c", " sip:a@c", "sip:a@c ", "<sip:a@c>", "sip:a@b\r\n", "sip:a\"@b", "sip:a%zz@b",
		"sip:a%4@b", "sip:a%@b", "sip:\xc3\xa9@b", "sip:a:b:c@d", "sip:h:", "sip:h:0", "sip:h:99999", "sip:h:65536",
		"sip:h:-1", "sip:h:+5060", "sip:h:5o60", "sip:h:005060", "sip:h:5060x", "sip:h:5060:5061", "sip:2001:db8::10",
		"sip:a@2001:db8::10", "sip:[2001:db8::10", "sip:[2001:db8:::1]", "sip:user@[2001:db8:::192.0.2.1]",
		"sip:[fe80::1%eth0]", "sip:[192.0.2.1]", "sip:[]", "sip:[::1]x", "sip:256.0.0.1", "sip:10.1", "sip:192.0.2.1.",
		"sip:1.2.3", "sip:0x7f.1", "sip:a..b", "sip:.b", "sip:-a.b", "sip:a-.b", "sip:h;", "sip:h;;x", "sip:h;=x",
		"sip:h;x=", "sip:h;x=\"q\"", "sip:h;x=a=b", "sip:h; lr", "sip:h?", "sip:h?x", "sip:h?=y", "sip:h?x=y&", "sip:h?x=y;z",
		"sip:h/path", "sip://h", "tel:", "tel:+", "tel:+12a", "tel:-", "tel:12;", "tel:+1 2", "tel:alice", "nobody:",
		"nobody:a b", "nobody:<a>", "nobody:a\x7f",
	};

	for (size_t i = 0; i < LEN(texts); i++) {
		struct sip_uri uri = { .port = 7 };

		CU_ASSERT_EQUAL(sip_uri_parse(span_of(texts[i]), &uri), ERR_PARSE);
		if (sip_uri_parse(span_of(texts[i]), &uri) != ERR_PARSE)
			printf("# accepted: %s\n", texts[i]);
		CU_ASSERT_EQUAL(uri.port, 7); /* not touched */
	}
	CU_ASSERT_EQUAL(sip_uri_parse((struct span){ "sip:a\0@b", 8 }, &(struct sip_uri){ 0 }), ERR_PARSE);
}

static void uri_of_other_scheme(void)
{
	static const char *const texts[] = { "nobodyKnowsThisScheme:totallyopaquecontent", "soap.beep://192.0.2.103:3002",
		"isbn:2983792873", "sipfoo:a@b", "urn:service:sos", "http://www.example.com/?a=b#c", "si:p" };

	for (size_t i = 0; i < LEN(texts); i++)
		CU_ASSERT_EQUAL(sip_uri_parse(span_of(texts[i]), &(struct sip_uri){ 0 }), ERR_UNSUPPORTED);
}

static void uri_literals(void)
{
	struct sip_uri uri;
	struct addr mapped;

	CU_ASSERT_EQUAL(sip_uri_parse(SPAN_LIT("sip:u@192.0.2.9:5070"), &uri), 0);
	CU_ASSERT_EQUAL(uri.addr.family, AF_INET);
	CU_ASSERT_EQUAL(uri.addr.port, 5070);
	CU_ASSERT_EQUAL(sip_uri_parse(SPAN_LIT("sip:u@[2001:db8::1]"), &uri), 0);
	CU_ASSERT_EQUAL(uri.addr.family, AF_INET6);
	CU_ASSERT_EQUAL(uri.addr.port, 0);
	CU_ASSERT_EQUAL(sip_uri_parse(SPAN_LIT("sip:u@[::ffff:192.0.2.9]"), &uri), 0);
	CU_ASSERT_EQUAL(addr_parse_ip(SPAN_LIT("192.0.2.9"), &mapped), 0);
	CU_ASSERT(addr_eq(&uri.addr, &mapped));
	CU_ASSERT_EQUAL(sip_uri_parse(SPAN_LIT("sip:u@example.com:5070"), &uri), 0);
	CU_ASSERT(!addr_is_set(&uri.addr));
	CU_ASSERT_EQUAL(uri.addr.port, 0);
}

static void unsafe_users(void)
{
	static const struct {
		const char *user;
		bool is_safe;
	} rows[] = {
		{ "alice", true }, { "", true }, { "a%20b", true }, { "null-%00-null", false }, { "a%0d%0ab", false }, { "a%0A", false },
		{ "%zz", false }, { "a%", false }, { "a%4", false }, { "%41%0D", false },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct sip_uri uri = { .user = span_of(rows[i].user) };

		CU_ASSERT_EQUAL(sip_uri_user_is_safe(&uri), rows[i].is_safe);
	}
}

static void plain_users(void)
{
	static const struct {
		const char *uri, *user;
	} rows[] = {
		{ "sip:0900@h", "0900" }, { "sip:%30900@h", "0900" }, { "sip:%2B4930@h", "+4930" }, { "sip:a%20b%3f%3B@h", "a%20b%3F%3B" },
		{ "sip:%23%2a1@h", "%23*1" }, { "sip:%2530@h", "%2530" }, { "sip:09-00@h", "09-00" }, { "sip:h", "" }, { "sip:%e4@h", "%E4" },
		{ "sip:0(9)-0.0@h;user=phone", "0900" }, { "sip:0%2D900@h;user=phone", "0900" },
		{ "sip:1-1;phone-context=a-b.c@h;user=phone", "11;phone-context=a-b.c" }, { "tel:+49-(30).1", "+49301" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		char text[64];
		struct buf out = buf_of(text, sizeof(text));
		struct sip_uri uri;

		CU_ASSERT_EQUAL_FATAL(sip_uri_parse(span_of(rows[i].uri), &uri), 0);
		sip_uri_put_user(&uri, &out);
		CU_ASSERT(span_eq(buf_span(&out), span_of(rows[i].user)));
	}
}

static void params(void)
{
	struct span list = SPAN_LIT("transport=TCP;lr;q = 0.5 ; note=\"a;lr2=b\\\"\";x=[::1]");
	struct span value = SPAN_NONE;

	CU_ASSERT(sip_param(list, "Transport", &value));
	CU_ASSERT(span_eq(value, SPAN_LIT("TCP")));
	CU_ASSERT(sip_param(list, "lr", &value));
	CU_ASSERT(span_is_empty(value));
	CU_ASSERT(sip_param(list, "q", &value));
	CU_ASSERT(span_eq(value, SPAN_LIT("0.5")));
	CU_ASSERT(sip_param(list, "note", &value));
	CU_ASSERT(span_eq(value, SPAN_LIT("\"a;lr2=b\\\"\"")));
	CU_ASSERT(sip_param(list, "x", &value));
	CU_ASSERT(!sip_param(list, "lr2", &value));
	CU_ASSERT(!sip_param(list, "transpor", &value));
	CU_ASSERT(!sip_param(SPAN_NONE, "lr", &value));
	CU_ASSERT(!sip_param(SPAN_LIT(";;lr"), "lr", &value));
}

static void name_addrs(void)
{
	static const struct {
		const char *text, *display, *uri, *params, *tag;
	} rows[] = {
		{ "<sip:a@b>", "", "sip:a@b", "", "" },
		{ "  \"Bell, A. <x>\" <sip:a@b;lr>;tag=9 ", "\"Bell, A. <x>\"", "sip:a@b;lr", "tag=9", "9" },
		{ "A. Bell <sip:a@b?x=y>", "A. Bell", "sip:a@b?x=y", "", "" },
		{ "caller<sip:a@b>;TAG = 3 ; x", "caller", "sip:a@b", "TAG = 3 ; x", "3" },
		{ "sip:a@b;tag=1", "", "sip:a@b", "tag=1", "1" },
		{ "sip:a@b ;  tag    = 1", "", "sip:a@b", "tag    = 1", "1" },
		{ "sip:a@b:5060;user=phone", "", "sip:a@b:5060", "user=phone", "" },
		{ "\"q\\\"\\\\\" <sip:a@b>;p=\"x;tag=2\";tag=1", "\"q\\\"\\\\\"", "sip:a@b", "p=\"x;tag=2\";tag=1", "1" },
		{ "token1~` token2'+_ token3*%!.- <sip:m@e>;fromParam''~+*_!.-%=\"\xd1\x80\";tag=_token~1'+`*%!-.",
		  "token1~` token2'+_ token3*%!.-", "sip:m@e", "fromParam''~+*_!.-%=\"\xd1\x80\";tag=_token~1'+`*%!-.",
		  "_token~1'+`*%!-." },
		{ "isbn:2983792873", "", "isbn:2983792873", "", "" },
		{ "<http://www.example.com>;tag=3", "", "http://www.example.com", "tag=3", "3" },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct sip_name_addr addr;

		CU_ASSERT_EQUAL(sip_name_addr_parse(span_of(rows[i].text), &addr), 0);
		CU_ASSERT(span_eq(addr.text, span_trim(span_of(rows[i].text))));
		CU_ASSERT(span_eq(addr.display, span_of(rows[i].display)));
		CU_ASSERT(span_eq(addr.uri, span_of(rows[i].uri)));
		CU_ASSERT(span_eq(addr.params, span_of(rows[i].params)));
		CU_ASSERT(span_eq(addr.tag, span_of(rows[i].tag)));
	}
}

static void name_addrs_refused(void)
{
	static const char *const texts[] = {
		"", " ", "<>", "<sip:a@b", "sip:a@b>", "\"open <sip:a@b>", "\"q\" sip:a@b", "\"q\"", "Bell, Alexander <sip:a@b>",
		"<sip:a@b>x", "<sip:a@b>;", "<sip:a@b>;;x", "<sip:a@b>;tag", "<sip:a@b>;tag=", "<sip:a@b>;tag=1;tag=1",
		"<sip:a@b>;tag=\"1\"", "<sip:a@b>;x=", "<sip:a@b>;x=a b", "<sip:a@b>;x=\"open", "< sip:a@b >", "<sip:a@b >",
		"sip:a@b?Route=%3Csip:c%3E", "sip:a,b@c", "sip:a@b, sip:c@d", "<sip:a@b>, <sip:c@d>", "<<sip:a@b>>",
		"<sip:\"a\"@b>", "a\r\nb <sip:a@b>", "\xc3\xa9 <sip:a@b>",
	};

	for (size_t i = 0; i < LEN(texts); i++) {
		struct sip_name_addr addr;

		CU_ASSERT_EQUAL(sip_name_addr_parse(span_of(texts[i]), &addr), ERR_PARSE);
	}
}

static void lists(void)
{
	static const struct {
		const char *text;
		const char *elements[4];
	} rows[] = {
		{ "a", { "a" } },
		{ " a , b ", { "a", "b" } },
		{ "\"x, y\" <sip:a,b@c>;p=\"1,2\", <sip:d>", { "\"x, y\" <sip:a,b@c>;p=\"1,2\"", "<sip:d>" } },
		{ "\"q\\\",\", b", { "\"q\\\",\"", "b" } },
		{ "a,,b", { "a", "", "b" } },
		{ "a,", { "a", "" } },
		{ "", { "" } },
		{ "\"open, b", { "\"open, b" } },
		{ "a, \"", { "a", "\"" } },
	};

	for (size_t i = 0; i < LEN(rows); i++) {
		struct span list = span_of(rows[i].text);
		struct span element;
		size_t n = 0;

		while (sip_list_next(&list, &element)) {
			CU_ASSERT_FATAL(n < 4 && rows[i].elements[n] != NULL);
			CU_ASSERT(span_eq(element, span_of(rows[i].elements[n])));
			n++;
		}
		CU_ASSERT(n == 4 || rows[i].elements[n] == NULL);
	}
}

static const struct unit_test tests[] = {
	{ "parts of a URI", uri_parts },
	{ "URIs that are refused", uri_refused },
	{ "other schemes are told apart", uri_of_other_scheme },
	{ "address literals", uri_literals },
	{ "escapes in the user part", unsafe_users },
	{ "users in their plain form", plain_users },
	{ "parameters", params },
	{ "name-addr", name_addrs },
	{ "name-addr that are refused", name_addrs_refused },
	{ "comma lists", lists },
};

UNIT_MAIN("sip_uri", tests)
