/* core/id.h and core/rnd.h. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/id.h"
#include "core/rnd.h"
#include "tests/unit/unit.h"

static void minted_form(void)
{
	char out[ID_TEXT_MAX], other[ID_TEXT_MAX];

	CU_ASSERT_PTR_EQUAL(id_mint(0xa7, out), out);
	CU_ASSERT_EQUAL(strlen(out), 2 + 16); /* 80 bits, five to a character */
	CU_ASSERT_EQUAL(strncmp(out, "a7", 2), 0);
	CU_ASSERT_EQUAL(strspn(out + 2, "abcdefghijklmnopqrstuvwxyz234567"), 16);
	CU_ASSERT_STRING_NOT_EQUAL(out, id_mint(0xa7, other));
}

/* Each position takes many values: no random octet is left out or used twice. */
static void minted_bits_are_all_random(void)
{
	uint32_t seen[18] = { 0 };
	char out[ID_TEXT_MAX];

	for (int i = 0; i < 2000; i++) {
		id_mint(0, out);
		for (size_t at = 2; at < 18; at++)
			seen[at] |= 1U << (out[at] >= 'a' ? out[at] - 'a' : out[at] - '2' + 26);
	}
	for (size_t at = 2; at < 18; at++)
		CU_ASSERT_EQUAL(seen[at], UINT32_MAX); /* misses with a chance of 10^-26 */
}

static void uuid_form(void)
{
	char out[ID_TEXT_MAX], later[ID_TEXT_MAX];

	CU_ASSERT_PTR_EQUAL(id_uuid(0x5a, 0x0123456789ab, out), out);
	CU_ASSERT_EQUAL(strlen(out), 36);
	CU_ASSERT_EQUAL(strncmp(out, "01234567-89ab-7", 15), 0);
	CU_ASSERT_EQUAL(strncmp(out + 16, "5a-", 3), 0);
	CU_ASSERT_PTR_NOT_NULL(strchr("89ab", out[19]));
	CU_ASSERT(out[8] == '-' && out[13] == '-' && out[18] == '-' && out[23] == '-');
	CU_ASSERT_EQUAL(strspn(out, "0123456789abcdef-"), 36);
	id_uuid(0, 0x0123456789ac, later);
	CU_ASSERT(strcmp(out, later) < 0);
}

static void below_is_in_range(void)
{
	unsigned seen[3] = { 0 };

	for (int i = 0; i < 300; i++)
		seen[rnd_below(3)]++;
	CU_ASSERT(seen[0] > 0 && seen[1] > 0 && seen[2] > 0);
	for (int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(rnd_below(1), 0);
	for (int i = 0; i < 100; i++)
		CU_ASSERT(rnd_below(0x80000001) <= 0x80000000);
}

static void bytes_of_any_length(void)
{
	static unsigned char mem[2000];
	static const size_t lens[] = { 1, 255, 256, 257, 1500 };

	rnd_bytes(mem, 0);
	CU_ASSERT_EQUAL(mem[0], 0);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		unsigned n_zero = 0;

		memset(mem, 0, sizeof(mem));
		rnd_bytes(mem, lens[i]);
		for (size_t at = 0; at < lens[i]; at++)
			n_zero += mem[at] == 0;
		CU_ASSERT(lens[i] == 1 || n_zero < lens[i] / 10);
		CU_ASSERT_EQUAL(mem[lens[i]], 0);
	}
}

/* A child must not repeat what its parent draws. */
static void fork_gives_other_numbers(void)
{
	uint64_t parent[4], child[4];
	int ends[2];
	pid_t pid;

	rnd_u64();
	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	pid = fork();
	CU_ASSERT_FATAL(pid >= 0);
	if (pid == 0) {
		rnd_bytes(child, sizeof(child));
		_exit(write(ends[1], child, sizeof(child)) == sizeof(child) ? 0 : 1);
	}
	rnd_bytes(parent, sizeof(parent));
	CU_ASSERT_EQUAL(read(ends[0], child, sizeof(child)), sizeof(child));
	CU_ASSERT_NOT_EQUAL(memcmp(parent, child, sizeof(child)), 0);
	waitpid(pid, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

static const struct unit_test tests[] = {
	{ "minted form", minted_form },
	{ "minted bits are all random", minted_bits_are_all_random },
	{ "uuid form", uuid_form },
	{ "below is in range", below_is_in_range },
	{ "bytes of any length", bytes_of_any_length },
	{ "fork gives other numbers", fork_gives_other_numbers },
};

UNIT_MAIN("id", tests)
