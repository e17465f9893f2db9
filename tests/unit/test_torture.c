/* The messages of RFC 4475 and RFC 5118, one file each, through the guard and the parser. They are not part of the
 * source: $POSTERN_SRCDIR/../shared/torture holds them where there is a copy, and without it the tests are skipped. */
#include <stdio.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/err.h"
#include "sbc/sip_msg.h"
#include "tests/unit/unit.h"

enum { ACCEPTED = 0, DROPPED = -1 /* or the code of the refusal */ };

struct verdict {
	const char *file;
	int outcome;
	const char *reason; /* where it is not what the RFC's own text asks of the element that gets the message */
};

#define ABOVE "decided by what gets the message: "

static const struct verdict rfc4475[] = {
	{ "badaspec.dat", 400, NULL },
	{ "badbranch.dat", 400, NULL },
	{ "baddate.dat", ACCEPTED, NULL },
	{ "baddn-noblank.dat", 400, NULL },
	{ "baddn.dat", 400, NULL },
	{ "badinv01.dat", 400, NULL },
	{ "badvers.dat", 505, NULL },
	{ "bcast.dat", DROPPED, NULL },
	{ "bext01.dat", ACCEPTED, ABOVE "420" },
	{ "bigcode.dat", DROPPED, NULL },
	{ "clerr.dat", 400, NULL },
	{ "cparam01.dat", ACCEPTED, NULL },
	{ "cparam02.dat", ACCEPTED, NULL },
	{ "dblreq.dat", ACCEPTED, NULL },
	{ "esc01.dat", ACCEPTED, NULL },
	{ "esc02.dat", ACCEPTED, ABOVE "501" },
	{ "escnull.dat", ACCEPTED, NULL },
	{ "escruri.dat", 400, NULL },
	{ "insuf.dat", 400, NULL },
	{ "intmeth.dat", 501, NULL },
	{ "inv2543.dat", ACCEPTED, NULL },
	{ "invut.dat", ACCEPTED, ABOVE "415" },
	{ "longreq.dat", 400, "34 Via values and a branch and a tag above the published limits" },
	{ "ltgtruri.dat", 400, NULL },
	{ "lwsdisp.dat", ACCEPTED, NULL },
	{ "lwsruri.dat", 400, NULL },
	{ "lwsstart.dat", 400, NULL },
	{ "mcl01.dat", 400, NULL },
	{ "mismatch01.dat", 400, NULL },
	{ "mismatch02.dat", 501, NULL },
	{ "mpart01.dat", ACCEPTED, NULL },
	{ "multi01.dat", 400, NULL },
	{ "ncl.dat", 400, NULL },
	{ "noreason.dat", ACCEPTED, NULL },
	{ "novelsc.dat", 416, NULL },
	{ "quotbal.dat", 400, NULL },
	{ "regaut01.dat", ACCEPTED, ABOVE "401" },
	{ "regbadct.dat", 400, NULL },
	{ "regescrt.dat", ACCEPTED, NULL },
	{ "scalar02.dat", 400, NULL },
	{ "scalarlg.dat", DROPPED, NULL },
	{ "sdp01.dat", ACCEPTED, ABOVE "406" },
	{ "semiuri.dat", ACCEPTED, NULL },
	{ "transports.dat", ACCEPTED, NULL },
	{ "trws.dat", 400, NULL },
	{ "unkscm.dat", 416, NULL },
	{ "unksm2.dat", ACCEPTED, ABOVE "400 by a registrar" },
	{ "unreason.dat", ACCEPTED, NULL },
	{ "wsinv.dat", ACCEPTED, NULL },
	{ "zeromf.dat", ACCEPTED, ABOVE "483" },
};

static const struct verdict rfc5118[] = {
	{ "ipv4-mapped-ipv6.dat", ACCEPTED, NULL },
	{ "ipv6-bad.dat", 400, NULL },
	{ "ipv6-bug-abnf-3-colons.dat", 400, NULL },
	{ "ipv6-correct-abnf-2-colons.dat", ACCEPTED, NULL },
	{ "ipv6-good.dat", ACCEPTED, NULL },
	{ "ipv6-in-sdp.dat", ACCEPTED, NULL },
	{ "mult-ip-in-header.dat", ACCEPTED, NULL },
	{ "mult-ip-in-sdp.dat", ACCEPTED, NULL },
	{ "port-ambiguous.dat", ACCEPTED, NULL },
	{ "port-unambiguous.dat", ACCEPTED, NULL },
	{ "via-received-param-no-delim.dat", ACCEPTED, NULL },
	{ "via-received-param-with-delim.dat", ACCEPTED, NULL },
};

static struct guard_message guarded;
static char bytes[GUARD_MESSAGE_MAX];

/* Opens a file of a collection; NULL when it is not there. */
static FILE *open_message(const char *collection, const char *file)
{
	const char *source = getenv("POSTERN_SRCDIR");
	char path[1024];

	snprintf(path, sizeof(path), "%s/../shared/torture/%s/%s", source ? source : ".", collection, file);
	return fopen(path, "rb");
}

static int outcome_of(struct span datagram)
{
	struct arena *arena = arena_new(128 * 1024);
	struct sip_flow flow = { 0 };
	struct guard_fault fault = { 0 };
	enum guard_verdict verdict;
	struct sip_msg *msg = NULL;
	int outcome = ACCEPTED;

	CU_ASSERT_FATAL(arena != NULL);
	verdict = guard_scan(datagram, &guarded, &fault);
	if (verdict == GUARD_OK && sip_msg_parse(arena, &guarded, &flow, &msg, &fault) < 0)
		verdict = guarded.is_request ? GUARD_REPLY : GUARD_DROP;
	if (verdict != GUARD_OK)
		outcome = verdict == GUARD_REPLY ? fault.code : DROPPED;
	arena_free(arena);
	return outcome;
}

static void check_collection(const char *collection, const struct verdict *verdicts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		FILE *file = open_message(collection, verdicts[i].file);
		size_t len;
		int outcome;

		if (file == NULL)
			printf("# %s/%s is not there\n", collection, verdicts[i].file);
		CU_ASSERT_FATAL(file != NULL);
		len = fread(bytes, 1, sizeof(bytes), file);
		fclose(file);
		outcome = outcome_of((struct span){ bytes, len });
		if (outcome != verdicts[i].outcome)
			printf("# %s: %d instead of %d\n", verdicts[i].file, outcome, verdicts[i].outcome);
		CU_ASSERT_EQUAL(outcome, verdicts[i].outcome);
		/* Cut anywhere, it is never more than refused. */
		for (size_t cut = 0; cut < len; cut += 7)
			outcome_of((struct span){ bytes, cut });
	}
}

static void torture_rfc4475(void)
{
	check_collection("rfc4475", rfc4475, sizeof(rfc4475) / sizeof(rfc4475[0]));
}

static void torture_rfc5118(void)
{
	check_collection("rfc5118", rfc5118, sizeof(rfc5118) / sizeof(rfc5118[0]));
}

static const struct unit_test tests[] = {
	{ "RFC 4475", torture_rfc4475 },
	{ "RFC 5118", torture_rfc5118 },
};

int main(int argc, char **argv)
{
	FILE *probe = open_message("rfc4475", rfc4475[0].file);

	if (probe == NULL) {
		printf("1..0 # SKIP the torture messages are not there\n");
		return 0;
	}
	fclose(probe);
	if (sip_msg_init() < 0)
		return 99;
	return unit_main(argc, argv, "torture", tests, sizeof(tests) / sizeof(tests[0]));
}
