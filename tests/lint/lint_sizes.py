"""Upper bounds for functions and files. They are not aims: 40 lines and 400 lines are."""
import re

import lintlib

FUNCTION_LINES = 100
FILE_LINES = 1000
HEADER_LINES = 300

# A function head whose brace is not alone on the next line would hide the function from this lint.
BRACE_ON_HEAD = re.compile(r"[A-Za-z_][^=]*\)\s*\{\s*$")


def functions(tree):
    for path in tree.sources():
        start = None
        for number, line in tree.code_lines(path):
            if line.rstrip() == "{":
                start = number
            elif line.startswith("}") and start is not None:
                if number - start + 1 > FUNCTION_LINES:
                    yield f"{path}:{start}: the function has {number - start + 1} lines, {FUNCTION_LINES} are the limit"
                start = None


def braces(tree):
    for path in tree.sources():
        for number, line in tree.code_lines(path):
            if BRACE_ON_HEAD.match(line):
                yield f"{path}:{number}: the opening brace of a function stands on its own line"


def files(tree):
    for path in tree.files:
        if not path.endswith((".c", ".h", ".py")):
            continue
        limit = HEADER_LINES if path.endswith(".h") else FILE_LINES
        count = len(tree.text(path).splitlines())
        if count > limit:
            yield f"{path}:{limit}: the file has {count} lines, {limit} are the limit"


RULES = [
    (f"no function has more than {FUNCTION_LINES} lines", functions),
    ("functions begin with a brace on its own line", braces),
    (f"no file has more than {FILE_LINES} lines, no header more than {HEADER_LINES}", files),
]


def function(lines):
    return "int f(void)\n{\n" + "\tg();\n" * (lines - 2) + "}\n"


CASES = [
    ("functions", {
        "core/fits.c": function(FUNCTION_LINES),
        "core/long.c": function(3) + function(FUNCTION_LINES + 1) + function(3),
        "core/table.c": "static const int t[] = {\n" + "\t1,\n" * 300 + "};\n" + function(5),
        "core/brace.c": "static int f(int a) {\n\tif (a) {\n\t\tg();\n\t}\n}\n",
    }, ["core/long.c:6:", "core/brace.c:1:"]),
    ("files", {
        "core/fits.c": ";\n" * FILE_LINES,
        "core/long.c": ";\n" * (FILE_LINES + 1),
        "core/fits.h": ";\n" * HEADER_LINES,
        "core/long.h": ";\n" * (HEADER_LINES + 1),
        "tests/long.py": "\n" * (FILE_LINES + 1),
        "docs/long.md": "\n" * (FILE_LINES + 1),
    }, ["core/long.c:", "core/long.h:", "tests/long.py:"]),
]

lintlib.main(RULES, CASES)
