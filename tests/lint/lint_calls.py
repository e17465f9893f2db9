"""Calls that we do without: those that cannot be bounded, that hide errors, or that read a clock behind the loop's back."""
import re

import lintlib

# Call: what to use.
BANNED = {
    "sprintf": "buf_printf() or snprintf()",
    "vsprintf": "vsnprintf()",
    "strcpy": "a span and memcpy()",
    "strcat": "core/buf.h",
    "sscanf": "a parser that checks",
    "atoi": "span_to_u32()",
    "atol": "span_to_u32()",
    "gets": "fgets()",
    "strtok": "span_cut()",
    "alloca": "an arena or a fixed buffer",
}
CLOCKS = {name: "loop_now_ms() or loop_wall_ms()" for name in ("time", "gettimeofday", "clock_gettime")}
# All but the first two run where there is no loop of core/loop.h: on the store's thread, the relays', and in the helper,
# whose BPF back end shares a clock with the programs in the kernel.
CLOCK_FILES = ("core/loop.c", "core/log.c", "db/writer.c", "media-relay/forward.c", "media-relay/relay.c", "pinhole/bpf.c",
               "pinhole/helper_worker.c")


def calls(tree, path, table):
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(table) + r")\s*\(")
    for number, line in tree.code_lines(path):
        for match in pattern.finditer(line):
            yield f"{path}:{number}: {match.group(1)}() is not used here, but {table[match.group(1)]}"


def banned(tree):
    for path in tree.sources():
        yield from calls(tree, path, BANNED)


def clocks(tree):
    for path in tree.sources():
        if path not in CLOCK_FILES and not path.startswith("tests/"):
            yield from calls(tree, path, CLOCKS)


RULES = [
    ("no banned calls", banned),
    ("nobody reads a clock but the loops and the log", clocks),
]

CASES = [
    ("banned calls", {
        "core/a.c": '\tsprintf(b, "x");\n\tsnprintf(b, 1, "sprintf(");\n\t/* strcpy(a, b) */\n\tn = atoi (s);\n',
        "core/b.c": "\tmy_strtok(s); s->gets(s); // gets(s)\n\tx = strcat(strcpy(a, b), c);\n\talloca(9);\n",
        "tests/c.c": "/* many\nlines: atol(x) */ sscanf(a, b);\n\tvsprintf(a, b, c); c = '\"'; atol(x); c = '\"';\n",
    }, ["core/a.c:1: sprintf", "core/a.c:4: atoi", "core/b.c:2: strcat", "core/b.c:2: strcpy", "core/b.c:3: alloca",
        "tests/c.c:2: sscanf", "tests/c.c:3: vsprintf", "tests/c.c:3: atol"]),
    ("clocks", {
        "core/loop.c": "\tclock_gettime(a, b);\n",
        "core/log.c": "\tclock_gettime(a, b);\n",
        "tests/unit/a.c": "\ttime(NULL);\n",
        "sbc/b.c": "\tt = time(NULL);\n\tgettimeofday(a, b);\n\tclock_gettime(a, b);\n\tput_time(b); m.time(b);\n",
    }, ["sbc/b.c:1: time", "sbc/b.c:2: gettimeofday", "sbc/b.c:3: clock_gettime"]),
]

lintlib.main(RULES, CASES)
