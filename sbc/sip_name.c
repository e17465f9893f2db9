/* Names of SIP methods and headers, and how to find them fast. Every datagram asks for a dozen header names, so the
 * search is one table look-up and one comparison: a slot is computed from a name's length and its first, middle and
 * last letter. The tables are laid out by the compiler; two names that want the same slot stop the build
 * ("initialized field overwritten"), and other factors in HEADER_SLOT cure that. Pure; any thread. RFC 3261 7.1,
 * 7.3.3, 20, 21. */
#include "sbc/sip_name.h"

/* id, canonical spelling, and its first, middle (at length / 2) and last letter in lower case */
#define HEADERS(X) \
	X(ACCEPT, "Accept", 'a', 'e', 't') \
	X(ACCEPT_ENCODING, "Accept-Encoding", 'a', 'e', 'g') \
	X(ACCEPT_LANGUAGE, "Accept-Language", 'a', 'l', 'e') \
	X(ALERT_INFO, "Alert-Info", 'a', '-', 'o') \
	X(ALLOW, "Allow", 'a', 'l', 'w') \
	X(ALLOW_EVENTS, "Allow-Events", 'a', 'e', 's') \
	X(AUTHENTICATION_INFO, "Authentication-Info", 'a', 'a', 'o') \
	X(AUTHORIZATION, "Authorization", 'a', 'i', 'n') \
	X(CALL_ID, "Call-ID", 'c', 'l', 'd') \
	X(CALL_INFO, "Call-Info", 'c', '-', 'o') \
	X(CONTACT, "Contact", 'c', 't', 't') \
	X(CONTENT_DISPOSITION, "Content-Disposition", 'c', 'i', 'n') \
	X(CONTENT_ENCODING, "Content-Encoding", 'c', 'e', 'g') \
	X(CONTENT_LANGUAGE, "Content-Language", 'c', 'l', 'e') \
	X(CONTENT_LENGTH, "Content-Length", 'c', '-', 'h') \
	X(CONTENT_TYPE, "Content-Type", 'c', 't', 'e') \
	X(CSEQ, "CSeq", 'c', 'e', 'q') \
	X(DATE, "Date", 'd', 't', 'e') \
	X(DIVERSION, "Diversion", 'd', 'r', 'n') \
	X(ERROR_INFO, "Error-Info", 'e', '-', 'o') \
	X(EVENT, "Event", 'e', 'e', 't') \
	X(EXPIRES, "Expires", 'e', 'i', 's') \
	X(FROM, "From", 'f', 'o', 'm') \
	X(GEOLOCATION, "Geolocation", 'g', 'c', 'n') \
	X(HISTORY_INFO, "History-Info", 'h', 'y', 'o') \
	X(IDENTITY, "Identity", 'i', 't', 'y') \
	X(IN_REPLY_TO, "In-Reply-To", 'i', 'p', 'o') \
	X(MAX_BREADTH, "Max-Breadth", 'm', 'r', 'h') \
	X(MAX_FORWARDS, "Max-Forwards", 'm', 'r', 's') \
	X(MIME_VERSION, "MIME-Version", 'm', 'e', 'n') \
	X(MIN_EXPIRES, "Min-Expires", 'm', 'x', 's') \
	X(MIN_SE, "Min-SE", 'm', '-', 'e') \
	X(ORGANIZATION, "Organization", 'o', 'z', 'n') \
	X(P_ASSERTED_IDENTITY, "P-Asserted-Identity", 'p', 'd', 'y') \
	X(P_EARLY_MEDIA, "P-Early-Media", 'p', 'y', 'a') \
	X(P_PREFERRED_IDENTITY, "P-Preferred-Identity", 'p', 'd', 'y') \
	X(PATH, "Path", 'p', 't', 'h') \
	X(PRIORITY, "Priority", 'p', 'r', 'y') \
	X(PRIVACY, "Privacy", 'p', 'v', 'y') \
	X(PROXY_AUTHENTICATE, "Proxy-Authenticate", 'p', 'h', 'e') \
	X(PROXY_AUTHORIZATION, "Proxy-Authorization", 'p', 'h', 'n') \
	X(PROXY_REQUIRE, "Proxy-Require", 'p', 'r', 'e') \
	X(RACK, "RAck", 'r', 'c', 'k') \
	X(REASON, "Reason", 'r', 's', 'n') \
	X(RECORD_ROUTE, "Record-Route", 'r', '-', 'e') \
	X(REFER_TO, "Refer-To", 'r', 'r', 'o') \
	X(REFERRED_BY, "Referred-By", 'r', 'r', 'y') \
	X(REMOTE_PARTY_ID, "Remote-Party-ID", 'r', 'p', 'd') \
	X(REPLACES, "Replaces", 'r', 'a', 's') \
	X(REPLY_TO, "Reply-To", 'r', 'y', 'o') \
	X(REQUIRE, "Require", 'r', 'u', 'e') \
	X(RESOURCE_PRIORITY, "Resource-Priority", 'r', '-', 'y') \
	X(RETRY_AFTER, "Retry-After", 'r', '-', 'r') \
	X(ROUTE, "Route", 'r', 'u', 'e') \
	X(RSEQ, "RSeq", 'r', 'e', 'q') \
	X(SERVER, "Server", 's', 'v', 'r') \
	X(SERVICE_ROUTE, "Service-Route", 's', 'e', 'e') \
	X(SESSION_EXPIRES, "Session-Expires", 's', '-', 's') \
	X(SESSION_ID, "Session-ID", 's', 'o', 'd') \
	X(SUBJECT, "Subject", 's', 'j', 't') \
	X(SUBSCRIPTION_STATE, "Subscription-State", 's', 'i', 'e') \
	X(SUPPORTED, "Supported", 's', 'o', 'd') \
	X(TIMESTAMP, "Timestamp", 't', 's', 'p') \
	X(TO, "To", 't', 'o', 'o') \
	X(UNSUPPORTED, "Unsupported", 'u', 'p', 'd') \
	X(USER_AGENT, "User-Agent", 'u', 'a', 't') \
	X(USER_TO_USER, "User-To-User", 'u', 'o', 'r') \
	X(VIA, "Via", 'v', 'i', 'a') \
	X(WARNING, "Warning", 'w', 'n', 'g') \
	X(WWW_AUTHENTICATE, "WWW-Authenticate", 'w', 'e', 'e')

enum { HEADER_SLOTS = 512, METHOD_SLOTS = 32 };

#define HEADER_SLOT(len, first, middle, last) (((len) * 2 + (first) * 14 + (middle) * 19 + (last)) & (HEADER_SLOTS - 1))
#define METHOD_SLOT(len, first) (((len) * 11 + (first)) & (METHOD_SLOTS - 1))

#define NAME_ROW(id, name, first, middle, last) [SIP_H_##id] = SPAN_LIT(name),
#define SLOT_ROW(id, name, first, middle, last) [HEADER_SLOT(sizeof(name) - 1, first, middle, last)] = SIP_H_##id,

static const struct span header_names[SIP_HEADERS] = { HEADERS(NAME_ROW) };
static const uint8_t header_slots[HEADER_SLOTS] = { HEADERS(SLOT_ROW) };

static const uint8_t compact_forms[26] = {
	['b' - 'a'] = SIP_H_REFERRED_BY, ['c' - 'a'] = SIP_H_CONTENT_TYPE, ['e' - 'a'] = SIP_H_CONTENT_ENCODING,
	['f' - 'a'] = SIP_H_FROM, ['i' - 'a'] = SIP_H_CALL_ID, ['k' - 'a'] = SIP_H_SUPPORTED,
	['l' - 'a'] = SIP_H_CONTENT_LENGTH, ['m' - 'a'] = SIP_H_CONTACT, ['o' - 'a'] = SIP_H_EVENT,
	['r' - 'a'] = SIP_H_REFER_TO, ['s' - 'a'] = SIP_H_SUBJECT, ['t' - 'a'] = SIP_H_TO,
	['u' - 'a'] = SIP_H_ALLOW_EVENTS, ['v' - 'a'] = SIP_H_VIA, ['x' - 'a'] = SIP_H_SESSION_EXPIRES,
	['y' - 'a'] = SIP_H_IDENTITY,
};

#define METHODS(X) \
	X(INVITE, 'I') X(ACK, 'A') X(BYE, 'B') X(CANCEL, 'C') X(OPTIONS, 'O') X(INFO, 'I') X(MESSAGE, 'M') X(UPDATE, 'U') \
	X(PRACK, 'P') X(REFER, 'R') X(NOTIFY, 'N') X(SUBSCRIBE, 'S') X(PUBLISH, 'P') X(REGISTER, 'R')
#define METHOD_NAME_ROW(id, first) [SIP_##id] = SPAN_LIT(#id),
#define METHOD_SLOT_ROW(id, first) [METHOD_SLOT(sizeof(#id) - 1, first)] = SIP_##id,

static const struct span method_names[SIP_METHODS] = { METHODS(METHOD_NAME_ROW) };
static const uint8_t method_slots[METHOD_SLOTS] = { METHODS(METHOD_SLOT_ROW) };

static const char *const reason_phrases[700] = {
	[100] = "Trying", [180] = "Ringing", [181] = "Call Is Being Forwarded", [182] = "Queued", [183] = "Session Progress",
	[199] = "Early Dialog Terminated", [200] = "OK", [202] = "Accepted", [204] = "No Notification",
	[300] = "Multiple Choices", [301] = "Moved Permanently", [302] = "Moved Temporarily", [305] = "Use Proxy",
	[380] = "Alternative Service", [400] = "Bad Request", [401] = "Unauthorized", [402] = "Payment Required",
	[403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed", [406] = "Not Acceptable",
	[407] = "Proxy Authentication Required", [408] = "Request Timeout", [410] = "Gone",
	[412] = "Conditional Request Failed", [413] = "Request Entity Too Large", [414] = "Request-URI Too Long",
	[415] = "Unsupported Media Type", [416] = "Unsupported URI Scheme", [417] = "Unknown Resource-Priority",
	[420] = "Bad Extension", [421] = "Extension Required", [422] = "Session Interval Too Small",
	[423] = "Interval Too Brief", [424] = "Bad Location Information", [428] = "Use Identity Header",
	[429] = "Provide Referrer Identity", [430] = "Flow Failed", [433] = "Anonymity Disallowed",
	[436] = "Bad Identity Info", [437] = "Unsupported Credential", [438] = "Invalid Identity Header",
	[439] = "First Hop Lacks Outbound Support", [440] = "Max-Breadth Exceeded", [469] = "Bad Info Package",
	[470] = "Consent Needed", [480] = "Temporarily Unavailable", [481] = "Call/Transaction Does Not Exist",
	[482] = "Loop Detected", [483] = "Too Many Hops", [484] = "Address Incomplete", [485] = "Ambiguous",
	[486] = "Busy Here", [487] = "Request Terminated", [488] = "Not Acceptable Here", [489] = "Bad Event",
	[491] = "Request Pending", [493] = "Undecipherable", [494] = "Security Agreement Required",
	[500] = "Server Internal Error", [501] = "Not Implemented", [502] = "Bad Gateway", [503] = "Service Unavailable",
	[504] = "Server Time-out", [505] = "Version Not Supported", [513] = "Message Too Large",
	[555] = "Push Notification Service Not Supported", [580] = "Precondition Failure", [600] = "Busy Everywhere",
	[603] = "Decline", [604] = "Does Not Exist Anywhere", [606] = "Not Acceptable", [607] = "Unwanted",
	[608] = "Rejected",
};

static unsigned lower(char c)
{
	return (unsigned char)c | 0x20;
}

enum sip_method sip_method_of(struct span name)
{
	enum sip_method method;

	if (name.len == 0)
		return SIP_UNKNOWN;
	method = method_slots[METHOD_SLOT(name.len, (unsigned char)name.ptr[0])];
	return span_eq(method_names[method], name) ? method : SIP_UNKNOWN;
}

struct span sip_method_name(enum sip_method method)
{
	return method_names[method];
}

static enum sip_header_id compact_form(char c)
{
	unsigned letter = lower(c) - 'a';

	return letter < sizeof(compact_forms) && c >= 'A' ? compact_forms[letter] : SIP_H_OTHER;
}

enum sip_header_id sip_header_of(struct span name)
{
	enum sip_header_id id;

	if (name.len < 2)
		return name.len == 0 ? SIP_H_OTHER : compact_form(name.ptr[0]);
	id = header_slots[HEADER_SLOT(name.len, lower(name.ptr[0]), lower(name.ptr[name.len / 2]),
				      lower(name.ptr[name.len - 1]))];
	if (header_names[id].len != name.len)
		return SIP_H_OTHER;
	/* Most peers write the canonical spelling. */
	if (memcmp(header_names[id].ptr, name.ptr, name.len) == 0 || span_ieq(header_names[id], name))
		return id;
	return SIP_H_OTHER;
}

struct span sip_header_name(enum sip_header_id id)
{
	return header_names[id];
}

struct span sip_reason_phrase(int status)
{
	const char *phrase = status >= 100 && status < 700 ? reason_phrases[status] : NULL;

	return span_of(phrase ? phrase : "Unknown");
}
