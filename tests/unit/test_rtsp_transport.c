/* rtsp_transport_read(): what servers and clients write in Transport, each in its own way, and where it stands. */
#include "algs/rtsp/rtsp_transport.h"

#include <stdio.h>

#include "algs/rtsp/rtsp_addr.h"
#include "core/err.h"
#include "tests/unit/unit.h"

static struct rtsp_message message;

static int read_value(const char *value, struct rtsp_transports *ret)
{
	static char bytes[4096];
	struct buf out = buf_of(bytes, sizeof(bytes));
	size_t need;

	buf_puts(&out, "SETUP rtsp://h/x RTSP/1.0\r\nTransport: ");
	buf_puts(&out, value);
	buf_puts(&out, "\r\n\r\n");
	if (out.is_full || rtsp_message_read(buf_span(&out), &message, &need) != 1)
		return ERR_PARSE;
	return rtsp_transport_read(&message, ret);
}

static void put_end(struct buf *out, const struct rtsp_transport *t, enum alg_side side)
{
	struct rtsp_end end;

	if (!rtsp_transport_end(t, side, &end)) {
		buf_puts(out, "-");
		return;
	}
	if (end.rtp.family != 0)
		rtsp_put_ip(out, &end.rtp, true);
	buf_printf(out, ":%u,%u", end.rtp.port, end.rtcp);
}

/* All that is known of an alternative: "udp client-end server-end flags". */
static void put_all(struct buf *out, const struct rtsp_transport *t)
{
	buf_puts(out, rtsp_carrier_text(t->carrier));
	buf_putc(out, ' ');
	put_end(out, t, ALG_CLIENT);
	buf_putc(out, ' ');
	put_end(out, t, ALG_SERVER);
	if (t->has_channels)
		buf_printf(out, " %u,%u", t->channels[0], t->channels[1]);
	buf_puts(out, t->is_raw ? " raw" : "");
	buf_puts(out, t->is_record ? " record" : "");
	buf_puts(out, t->has_mux ? " mux" : "");
	buf_puts(out, t->has_destination ? " destination" : "");
	buf_puts(out, t->destination.has_name || t->dest[0].has_name ? " name" : "");
	buf_puts(out, t->is_odd ? " odd" : "");
	buf_puts(out, t->is_double ? " double" : "");
}

static const struct {
	const char *value;
	const char *expected;
} cases[] = {
	{ "RTP/AVP;unicast;client_port=5000-5001", "udp :5000,5001 -" },
	{ "RTP/AVP/UDP;unicast;client_port=5000-5001", "udp :5000,5001 -" },
	{ "rtp/avp/udp ; UNICAST ; Client_Port = 5000-5001", "udp :5000,5001 -" },
	{ "RTP/AVP;unicast;client_port=5000", "udp :5000,0 -" },
	{ "RTP/AVP;unicast;client_port=5000/5010", "udp :5000,5010 -" },
	{ "RTP/AVP;client_port=5000-5001", "udp :5000,5001 -" },
	{ "RTP/SAVPF;unicast;client_port=5000-5001;MIKEY=\"AQAVgM==\"", "udp :5000,5001 -" },
	{ "RTP/AVP;unicast;client_port=5000-5001;mode=record", "udp :5000,5001 - record" },
	{ "RTP/AVP;unicast;client_port=5000-5001;mode=\"PLAY\"", "udp :5000,5001 -" },
	{ "RTP/AVP;unicast;client_port=5000-5001;mode=\"PLAY,RECORD\"", "udp :5000,5001 - record" },
	{ "RTP/AVP;unicast;client_port=5000-5001;mode=receive", "udp :5000,5001 - record" },
	{ "RTP/AVP;unicast;destination=192.0.2.1;client_port=5000-5001", "udp 192.0.2.1:5000,5001 - destination" },
	{ "RTP/AVP;unicast;destination=192.0.2.1:5000", "udp 192.0.2.1:5000,0 - destination" },
	{ "RTP/AVP;unicast;destination=2001:db8::1;client_port=5000-5001", "udp [2001:db8::1]:5000,5001 - destination" },
	{ "RTP/AVP;unicast;destination;client_port=5000-5001", "udp :5000,5001 - destination" },
	{ "RTP/AVP;unicast;destination=victim.example;client_port=5000-5001", "udp :5000,5001 - destination name" },
	{ "RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\"", "udp :5000,5001 - destination" },
	{ "RTP/AVP;unicast;dest_addr=\"192.0.2.1:5000\"/\"192.0.2.1:5003\"", "udp 192.0.2.1:5000,5003 - destination" },
	{ "RTP/AVP/UDP;unicast;dest_addr=\"[2001:db8::1]:5000\";RTCP-mux", "udp [2001:db8::1]:5000,0 - mux destination" },
	{ "RTP/AVP;unicast;dest_addr=\"cam.example:5000\"", "udp :5000,0 - destination name" },
	{ "MP2T/H2221/UDP;unicast;client_port=5000", "udp :5000,0 - raw" },
	{ "RAW/RAW/UDP;unicast;client_port=5000-5001", "udp :5000,5001 - raw" },

	{ "RTP/AVP/TCP;unicast;interleaved=0-1", "interleaved - - 0,1" },
	{ "RTP/AVP/TCP;unicast;interleaved=\"254-255\"", "interleaved - - 254,255" },
	{ "RTP/AVP/TCP;unicast;interleaved=7", "interleaved - - 7,7" },
	{ "RTP/AVP/TCP;unicast;interleaved=255-256", "interleaved - -" },
	{ "RTP/AVP/TCP;unicast;interleaved=-1", "interleaved - -" },
	{ "RTP/AVP/TCP;unicast;interleaved", "interleaved - -" },
	{ "RTP/AVP/TCP;unicast", "interleaved - -" },
	{ "RTP/AVP;unicast;interleaved=0-1", "interleaved - - 0,1" },
	{ "RTP/AVP/TCP;unicast;dest_addr=\":9000\";setup=passive;connection=new", "other :9000,0 - destination" },
	{ "RTP/AVP/D-ICE;unicast;candidates=\"1 1 UDP 1 192.0.2.1 5000 typ host\"", "other - -" },
	{ "x-real-rdt/udp;client_port=5000", "other :5000,0 - raw" },
	{ "RTP/AVP;multicast;destination=224.2.0.1;port=5000-5001;ttl=127", "multicast - - destination" },
	{ "RTP/AVP;multicast", "multicast - -" },
	{ "RTP/AVP;port=5000-5001", "multicast - -" },

	/* answers of servers */
	{ "RTP/AVP;unicast;client_port=5000-5001;server_port=6970-6971;ssrc=DEADBEEF", "udp :5000,5001 :6970,6971" },
	{ "RTP/AVP;unicast;destination=192.0.2.1;source=10.0.0.5;client_port=5000-5001;server_port=6970-6971",
	  "udp 192.0.2.1:5000,5001 10.0.0.5:6970,6971 destination" },
	{ "RTP/AVP/UDP;unicast;server_port=6970-6971", "udp - :6970,6971" },
	{ "RTP/AVP;unicast;client_port=5000-5001", "udp :5000,5001 -" },
	{ "RTP/AVP;unicast;client_port=5000-5001;server_port=6970", "udp :5000,5001 :6970,0" },
	{ "RTP/AVP;unicast;client_port=5000-5001;server_port=6970/7000", "udp :5000,5001 :6970,7000" },
	{ " RTP/AVP ;unicast; source = 10.0.0.5 ; SERVER_PORT=6970-6971;;x", "udp - 10.0.0.5:6970,6971" },
	{ "RTP/AVP;unicast;dest_addr=\"192.0.2.1:5000\"/\"192.0.2.1:5001\";src_addr=\"10.0.0.5:6970\"/\"10.0.0.5:6971\"",
	  "udp 192.0.2.1:5000,5001 10.0.0.5:6970,6971 destination" },
	{ "RTP/AVP;unicast;src_addr=\":6970\"/\":6971\"", "udp - :6970,6971" },
	{ "RTP/AVP;unicast;\r\n client_port=5000-5001\r\n\t;server_port=6970-6971", "udp :5000,5001 :6970,6971" },

	{ "RTP/AVP;unicast;client_port=abc", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port=0-1", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port=65536", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port=5000-", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port=5000-5001-5002", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port=-5000", "udp - - odd" },
	{ "RTP/AVP;unicast;client_port", "udp - - odd" },
	{ "RTP/AVP;unicast;multicast;client_port=5000", "multicast :5000,0 - odd" },
	{ "RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\"/\":5002\"", "udp - - destination odd" },
	{ "RTP/AVP;unicast;dest_addr=\"192.0.2.1:x\"", "udp - - destination odd" },
	{ "RTP/AVP;unicast;client_port=5000;client_port=22", "udp :22,0 - double" },
	{ "RTP/AVP;destination=192.0.2.1;destination=192.0.2.2", "udp - - destination double" },
};

static void test_table(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		struct buf out = buf_of(text, sizeof(text));
		struct rtsp_transports list = { .n = 99 };
		int ret = read_value(cases[i].value, &list);

		if (ret == 0 && list.n == 1)
			put_all(&out, &list.list[0]);
		else
			buf_printf(&out, "%d, %u alternatives", ret, list.n);
		if (!span_eq(buf_span(&out), span_of(cases[i].expected)))
			printf("# %s: %.*s\n", cases[i].value, SPAN_ARG(buf_span(&out)));
		CU_ASSERT(span_eq(buf_span(&out), span_of(cases[i].expected)));
	}
}

static void test_list(void)
{
	struct rtsp_transports list;

	CU_ASSERT_EQUAL(read_value("RTP/AVP/TCP;interleaved=0-1 ,, RTP/AVP;mode=\"a,b\";client_port=5000-5001\r\n"
				   "CSeq: 1\r\ntransport:RTP/AVP;multicast", &list), 0);
	CU_ASSERT_EQUAL_FATAL(list.n, 3);
	CU_ASSERT(span_eq(list.list[0].text, SPAN_LIT("RTP/AVP/TCP;interleaved=0-1")));
	CU_ASSERT(span_eq(list.list[0].spec, SPAN_LIT("RTP/AVP/TCP")));
	CU_ASSERT(span_eq(list.list[1].client_port.text, SPAN_LIT("5000-5001")));
	CU_ASSERT_EQUAL(list.list[0].header, 0);
	CU_ASSERT_EQUAL(list.list[1].header, 0);
	CU_ASSERT_EQUAL(list.list[2].header, 2);
	CU_ASSERT_EQUAL(list.list[2].carrier, RTSP_MULTICAST);
}

static void test_tokens(void)
{
	struct rtsp_transports list;
	const struct rtsp_transport *t = &list.list[0];

	CU_ASSERT_EQUAL(read_value("RTP/AVP;unicast;dest_addr= \"192.0.2.1:5000\" / \":5001\" ;source=[2001:db8::1];client_port=\"1024\"",
				   &list), 0);
	CU_ASSERT_EQUAL_FATAL(list.n, 1);
	CU_ASSERT_EQUAL(t->n_dest, 2);
	CU_ASSERT(span_eq(t->dest[0].text, SPAN_LIT("192.0.2.1:5000")));
	CU_ASSERT(span_eq(t->dest[1].text, SPAN_LIT(":5001")));
	CU_ASSERT_EQUAL(t->dest[1].addr.family, 0);
	CU_ASSERT(span_eq(t->source.text, SPAN_LIT("[2001:db8::1]")));
	CU_ASSERT(t->source.has_brackets);
	CU_ASSERT(span_eq(t->client_port.text, SPAN_LIT("1024")));
}

static void test_faults(void)
{
	static const char *const faulty[] = {
		"RTP/AVP;unicast;x=\";destination=192.0.2.9;y=\"", "RTP/AVP;x=\"a", "RTP/AVP;x=a\\\"b\"", "a,b;x=\"a;b\"",
	};
	struct rtsp_transports list;

	for (size_t i = 0; i < sizeof(faulty) / sizeof(faulty[0]); i++)
		CU_ASSERT_EQUAL(read_value(faulty[i], &list), ERR_PARSE);
}

static void test_limit(void)
{
	for (unsigned extra = 0; extra < 2; extra++) {
		char text[512];
		struct buf out = buf_of(text, sizeof(text) - 1);
		struct rtsp_transports list;

		for (unsigned i = 0; i < RTSP_TRANSPORTS_MAX + extra; i++)
			buf_puts(&out, "RTP/AVP;unicast,");
		text[out.len] = '\0';
		CU_ASSERT_EQUAL(read_value(text, &list), extra ? ERR_LIMIT : 0);
	}
}

static void test_addresses(void)
{
	struct alg_addr a = { 0 }, b = { 0 };

	CU_ASSERT_FALSE(rtsp_ip_eq(&a, &b)); /* none equals nothing */
	CU_ASSERT(rtsp_ip_parse(SPAN_LIT("::ffff:192.0.2.1"), &a) && rtsp_ip_parse(SPAN_LIT("192.0.2.1"), &b));
	CU_ASSERT(rtsp_ip_eq(&a, &b));
	CU_ASSERT_FALSE(rtsp_ip_parse(SPAN_LIT("192.0.2.1:5"), &a));
	CU_ASSERT(rtsp_ip_parse(SPAN_LIT("239.1.2.3"), &a) && rtsp_ip_is_multicast(&a));
	CU_ASSERT_FALSE(rtsp_ip_is_multicast(&b));
}

static const struct unit_test tests[] = {
	{ "alternatives as clients and servers write them", test_table },
	{ "lists, over several fields", test_list },
	{ "tokens stand where they stand", test_tokens },
	{ "what not every reader sees alike", test_faults },
	{ "limit", test_limit },
	{ "addresses", test_addresses },
};
UNIT_MAIN("rtsp_transport", tests)
