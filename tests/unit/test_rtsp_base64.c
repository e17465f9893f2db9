/* Base64 in pieces: the vectors of RFC 4648, what may stand between, and what is refused. */
#include "algs/rtsp/rtsp_base64.h"

#include <stdio.h>

#include "core/err.h"
#include "tests/unit/unit.h"

static const struct {
	const char *text, *octets; /* NULL: refused */
} cases[] = {
	{ "", "" },
	{ "Zg==", "f" },
	{ "Zm8=", "fo" },
	{ "Zm9v", "foo" },
	{ "Zm9vYg==", "foob" },
	{ "Zm9vYmE=", "fooba" },
	{ "Zm9vYmFy", "foobar" },
	{ "Zg==Zm8=Zm9v", "ffofoo" },           /* each padded by itself */
	{ "Zm9v\r\nYm Fy\r\n", "foobar" },
	{ "Z\nm\t8 =", "fo" },
	{ "Zg=\r\n=Zg==", "ff" },
	{ "+/+/", "\xfb\xff\xbf" },
	{ "Zm9", "fo" },                        /* more may come */
	{ "=", NULL },
	{ "Z===", NULL },
	{ "Zg=v", NULL },
	{ "Zg===", NULL },
	{ "Zm8==", NULL },
	{ "Zm9v=", NULL },
	{ "Zm-v", NULL },
	{ "Zm9v*", NULL },
	{ "Zm9\x80", NULL },
};

static int decode(const char *text, size_t step, char *out, size_t *ret_len)
{
	struct rtsp_base64 decoder = { 0 };
	struct span rest = span_of(text);
	int err = 0;

	*ret_len = 0;
	while (err == 0 && rest.len > 0) {
		size_t len = 0;

		err = rtsp_base64_decode(&decoder, span_sub(rest, 0, step), out + *ret_len, &len);
		*ret_len += len;
		rest = span_sub(rest, step, rest.len);
	}
	return err;
}

static void test_decode(void)
{
	char out[64];
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t step = 1; step <= 5; step++) {
			int err = decode(cases[i].text, step, out, &len);
			bool is_right = cases[i].octets == NULL ? err == ERR_PARSE :
					err == 0 && span_eq((struct span){ out, len }, span_of(cases[i].octets));

			if (!is_right)
				printf("# \"%s\" in pieces of %zu: %d, %zu octets\n", cases[i].text, step, err, len);
			CU_ASSERT_TRUE(is_right);
		}
	}
}

static void test_encode(void)
{
	static const unsigned whole[] = { 0, 1, 2, 3, 4, 5, 6, 11 }; /* rows of `cases` that encoding gives back */
	char out[64];

	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
		struct span octets = span_of(cases[whole[i]].octets);

		rtsp_base64_encode(octets, out);
		CU_ASSERT_TRUE(span_eq((struct span){ out, RTSP_BASE64_ENCODED(octets.len) }, span_of(cases[whole[i]].text)));
	}
}

static const struct unit_test tests[] = {
	{ "decoded, however it is cut", test_decode },
	{ "encoded", test_encode },
};
UNIT_MAIN("rtsp_base64", tests)
