/* core/buf.h and core/cursor.h. */
#include "core/buf.h"
#include "core/cursor.h"
#include "tests/unit/unit.h"

static void appends(void)
{
	char mem[128];
	struct buf b = buf_of(mem, sizeof(mem));

	buf_put(&b, SPAN_LIT("ab"));
	buf_putc(&b, ' ');
	buf_puts(&b, "cd ");
	buf_puts(&b, NULL);
	buf_u64(&b, 0);
	buf_putc(&b, ' ');
	buf_u64(&b, UINT64_MAX);
	buf_putc(&b, ' ');
	buf_hex(&b, "\x00\xfe\x10", 3);
	buf_printf(&b, " %s=%d", "x", -7);
	buf_printf(&b, "%s", "");
	CU_ASSERT(!b.is_full);
	CU_ASSERT(span_eq(buf_span(&b), SPAN_LIT("ab cd 0 18446744073709551615 00fe10 x=-7")));
}

static void append_kind(struct buf *b, int kind)
{
	switch (kind) {
	case 0: buf_put(b, SPAN_LIT("wxyz")); break;
	case 1: buf_puts(b, "wxyz"); break;
	case 2: buf_u64(b, 4711); break;
	case 3: buf_hex(b, "ab", 2); break;
	default: buf_printf(b, "%d", 4711); break;
	}
}

static void fits_exactly_or_not_at_all(void)
{
	for (int kind = 0; kind < 5; kind++) {
		for (size_t cap = 0; cap < 8; cap++) {
			char mem[16];
			struct buf b;

			memset(mem, '#', sizeof(mem));
			b = buf_of(mem, cap);
			append_kind(&b, kind);
			CU_ASSERT_EQUAL(b.is_full, cap < 4);
			CU_ASSERT_EQUAL(b.len, cap < 4 ? 0 : 4);
			for (size_t i = cap; i < sizeof(mem); i++)
				CU_ASSERT_EQUAL(mem[i], '#');
		}
	}
}

static void overflow_is_sticky(void)
{
	char mem[4];
	struct buf b = buf_of(mem, sizeof(mem));

	buf_puts(&b, "abc");
	buf_puts(&b, "de");
	buf_putc(&b, 'f'); /* would fit */
	buf_printf(&b, "f");
	CU_ASSERT(b.is_full);
	CU_ASSERT(span_eq(buf_span(&b), SPAN_LIT("abc")));
	b = buf_of(NULL, 0);
	buf_puts(&b, "");
	buf_printf(&b, "%s", "");
	CU_ASSERT(!b.is_full && b.len == 0);
	buf_printf(&b, "x");
	CU_ASSERT(b.is_full);
}

static void cursor_reads(void)
{
	struct cursor c = cursor_of("\x01\x02\x03\x84\x05\x06\xff", 7);

	CU_ASSERT_EQUAL(cursor_u8(&c), 1);
	CU_ASSERT_EQUAL(cursor_u16(&c), 0x0203);
	CU_ASSERT_EQUAL(cursor_left(&c), 4);
	CU_ASSERT_EQUAL(cursor_u32(&c), 0x840506ff);
	CU_ASSERT(!c.is_bad);
	CU_ASSERT_EQUAL(cursor_u8(&c), 0);
	CU_ASSERT(c.is_bad);
}

static void cursor_is_bad_for_good(void)
{
	struct cursor c = cursor_of("\x01\x02\x03", 3);

	CU_ASSERT_EQUAL(cursor_u32(&c), 0x01020000); /* the second half is missing */
	CU_ASSERT(c.is_bad);
	CU_ASSERT_EQUAL(cursor_u8(&c), 0);
	CU_ASSERT_PTR_NULL(cursor_take(&c, 0));
	c = cursor_of(NULL, 0);
	cursor_take(&c, 0);
	CU_ASSERT(!c.is_bad);
	CU_ASSERT_PTR_NULL(cursor_take(&c, SIZE_MAX));
	CU_ASSERT(c.is_bad);
}

static const struct unit_test tests[] = {
	{ "appends", appends },
	{ "fits exactly or not at all", fits_exactly_or_not_at_all },
	{ "overflow is sticky", overflow_is_sticky },
	{ "cursor reads", cursor_reads },
	{ "cursor is bad for good", cursor_is_bad_for_good },
};

UNIT_MAIN("buf", tests)
