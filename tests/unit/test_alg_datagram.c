/* Control channels of datagrams, with TFTP as it is: requests to the listener, answers from another port, whoever is none of the two, the
 * end by silence, limits, caps. */
#include <errno.h>
#include <unistd.h>

#include "algs/tcp_leg.h"
#include "core/err.h"
#include "tests/unit/alg_rig.h"

#define RRQ "\0\1file\0octet\0"
#define DATA "\0\3\0\1hello"
#define ACK "\0\4\0\1"
#define BYTES(text) (struct span){ text, sizeof(text) - 1 }

static struct alg_rig rig;

static struct addr loopback(unsigned host, uint16_t port)
{
	return (struct addr){ .family = AF_INET, .ip = { 127, 0, 0, (uint8_t)host }, .port = port };
}

static void post(int fd, const struct addr *to, struct span bytes)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	CU_ASSERT_EQUAL(sendto(fd, bytes.ptr, bytes.len, 0, (struct sockaddr *)&sa, len), (ssize_t)bytes.len);
	alg_rig_turn(&rig);
}

/* What came, and from where; false when nothing did. */
static bool get(int fd, struct span expected, struct addr *ret)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof(sa);
	char bytes[2048];
	ssize_t n = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&sa, &len);

	if (ret != NULL)
		*ret = addr_from_sockaddr((const struct sockaddr *)&sa);
	return n >= 0 && span_eq((struct span){ bytes, (size_t)n }, expected);
}

static bool is_quiet(int fd)
{
	char octet;

	return recv(fd, &octet, 1, MSG_DONTWAIT) < 0;
}

struct talk {
	int client, server;      /* of the transfer; the service's is rig.listener */
	struct addr gateway;     /* as the client knows it in the transfer */
	struct addr behind;      /* as the server knows it */
};

static struct addr service(void)
{
	return loopback(1, rig.port);
}

static void begin(struct talk *talk)
{
	struct addr to = service();

	*talk = (struct talk){ .client = alg_rig_datagrams(5), .server = alg_rig_datagrams(2) };
	post(talk->client, &to, BYTES(RRQ));
	CU_ASSERT_TRUE(get(rig.listener, BYTES(RRQ), &talk->behind));
	CU_ASSERT_EQUAL(talk->behind.ip[3], 3); /* from the gateway's other address */
	post(talk->server, &talk->behind, BYTES(DATA));
	CU_ASSERT_TRUE(get(talk->client, BYTES(DATA), &talk->gateway));
	CU_ASSERT_EQUAL(talk->gateway.ip[3], 1);
	CU_ASSERT_NOT_EQUAL(talk->gateway.port, rig.port); /* another port than the service's: requests are requests */
}

static void finish(struct talk *talk)
{
	close(talk->client);
	close(talk->server);
}

static void test_transfer(void)
{
	struct talk talk;

	alg_rig_open_tftp(&rig, "", NULL);
	begin(&talk);
	CU_ASSERT_STRING_EQUAL(rig.stored, "");
	post(talk.client, &talk.gateway, BYTES(ACK)); /* of the last block: done */
	CU_ASSERT_TRUE(get(talk.server, BYTES(ACK), NULL));
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=RRQ path=file user= direction=d bytes=9 code=0 ok=1\n");
	for (unsigned i = 0; i < 3; i++) { /* what was lost is repeated, and nothing else passes */
		alg_rig_pass(&rig, 5000);
		post(talk.server, &talk.behind, BYTES("\0\3\0\2more"));
		CU_ASSERT_TRUE(is_quiet(talk.client));
		post(talk.server, &talk.behind, BYTES(DATA));
		CU_ASSERT_TRUE(get(talk.client, BYTES(DATA), NULL));
		post(talk.client, &talk.gateway, BYTES(ACK));
		CU_ASSERT_TRUE(get(talk.server, BYTES(ACK), NULL));
	}
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	alg_rig_pass(&rig, 11000);
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	CU_ASSERT_PTR_NULL(strstr(strchr(rig.stored, '\n'), "transfer")); /* one record */
	finish(&talk);
	alg_rig_close(&rig);
}

static void test_silence(void)
{
	struct talk talk;

	alg_rig_open_tftp(&rig, "", NULL);
	begin(&talk);
	alg_rig_pass(&rig, 29000);
	CU_ASSERT_STRING_EQUAL(rig.stored, "");
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_STRING_EQUAL(rig.stored, "transfer verb=RRQ path=file user= direction=d bytes=9 code=0 ok=0\n");
	alg_rig_pass(&rig, 2000);
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 0);
	finish(&talk);
	alg_rig_close(&rig);
}

static void test_third_parties(void)
{
	struct talk talk;
	struct addr to;
	int stranger, other;

	alg_rig_open_tftp(&rig, "", NULL);
	stranger = alg_rig_datagrams(9);
	other = alg_rig_datagrams(2); /* the server's host, another port */
	begin(&talk);
	post(stranger, &talk.behind, BYTES(DATA));
	post(other, &talk.behind, BYTES(DATA)); /* the first answer has fixed it */
	CU_ASSERT_TRUE(is_quiet(talk.client));
	post(stranger, &talk.gateway, BYTES(ACK));
	CU_ASSERT_TRUE(is_quiet(talk.server));
	post(talk.server, &talk.behind, BYTES(DATA));
	CU_ASSERT_TRUE(get(talk.client, BYTES(DATA), NULL));
	to = service();
	post(stranger, &to, BYTES(DATA)); /* no request: it opens nothing */
	CU_ASSERT_TRUE(get(rig.listener, BYTES(DATA), &to));
	post(other, &to, BYTES(DATA));
	CU_ASSERT_TRUE(is_quiet(stranger));
	close(stranger);
	close(other);
	finish(&talk);
	alg_rig_close(&rig);
}

static void test_again(void)
{
	struct talk talk;
	struct addr to, behind;

	alg_rig_open_tftp(&rig, "", NULL);
	begin(&talk);
	to = service();
	post(talk.client, &to, BYTES(RRQ)); /* from the same port: another transfer */
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.stored, "transfer verb=RRQ path=file"));
	CU_ASSERT_TRUE(get(rig.listener, BYTES(RRQ), &behind));
	CU_ASSERT_EQUAL(alg_rig_sessions(&rig), 1);
	post(talk.server, &behind, BYTES(DATA));
	CU_ASSERT_TRUE(get(talk.client, BYTES(DATA), NULL));
	finish(&talk);

	talk.client = alg_rig_datagrams(5); /* and a request that is only repeated, because nothing came back */
	post(talk.client, &to, BYTES(RRQ));
	post(talk.client, &to, BYTES(RRQ));
	CU_ASSERT_TRUE(get(rig.listener, BYTES(RRQ), &behind));
	CU_ASSERT_TRUE(get(rig.listener, BYTES(RRQ), &to));
	CU_ASSERT_TRUE(addr_eq(&to, &behind));
	close(talk.client);
	alg_rig_close(&rig);
}

static void test_profile(void)
{
	struct talk talk;
	struct addr to;

	alg_rig_open_tftp(&rig, "", "      - { name: no-secrets, deny: { target: \"^secret\" }, code: 2, text: \"no\" }\n"
				    "      - { allow: { verb: [RRQ] }, max_bytes: 12 }\n");
	talk.client = alg_rig_datagrams(5);
	to = service();
	post(talk.client, &to, BYTES("\0\1secret\0octet\0"));
	CU_ASSERT_TRUE(is_quiet(rig.listener));
	CU_ASSERT_TRUE(get(talk.client, BYTES("\0\5\0\2no\0"), NULL));
	close(talk.client);
	begin(&talk); /* 9 octets */
	post(talk.client, &talk.gateway, BYTES(ACK)); /* 13 */
	CU_ASSERT_TRUE(is_quiet(talk.server));
	CU_ASSERT_PTR_NOT_NULL(strstr(rig.stored, "bytes=9 code=0 ok=0"));
	finish(&talk);
	alg_rig_close(&rig);
}

static void test_caps(void)
{
	struct talk talk;
	struct addr to;
	int second;

	alg_rig_open_tftp(&rig, "max_sessions: 1", NULL);
	begin(&talk);
	second = alg_rig_datagrams(6);
	to = service();
	post(second, &to, BYTES(RRQ));
	CU_ASSERT_TRUE(is_quiet(rig.listener));
	close(second);
	finish(&talk);
	alg_rig_close(&rig);
}

static const struct unit_test tests[] = {
	{ "a transfer, and what is repeated", test_transfer },
	{ "silence is an end, too", test_silence },
	{ "third parties", test_third_parties },
	{ "a request again", test_again },
	{ "what a profile says", test_profile },
	{ "no more than the limit", test_caps },
};
UNIT_MAIN("alg_datagram", tests)
