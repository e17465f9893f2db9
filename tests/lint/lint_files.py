"""Every source file says what it is, and is part of the build."""
import re

import lintlib


def head_comments(tree):
    for path in tree.sources():
        if not tree.text(path).startswith("/*"):
            yield f"{path}:1: begin with a comment: what the file owns, what it does not do, its thread"


def listed(tree):
    lists = [tree.text(f) for f in tree.files if f.endswith((".inc", "Makefile.am"))]
    words = set(re.split(r"[\s=]+", "\n".join(re.sub(r"#.*", "", text) for text in lists)))
    for path in tree.sources():
        if path not in words:
            yield f"{path}:1: is in no Makefile.inc, so the release tarball would lack it"


RULES = [
    ("every source file has a head comment", head_comments),
    ("every source file is listed in a Makefile.inc", listed),
]

CASES = [
    ("head comments", {
        "core/Makefile.inc": "x_SOURCES = core/a.c core/b.h\n",
        "core/a.c": "/* Owns a. */\nint a;\n",
        "core/b.h": "#ifndef B\n/* Too late. */\n",
    }, ["core/b.h:1:"]),
    ("listed files", {
        "Makefile.am": "x_SOURCES = core/a.c\n",
        "core/Makefile.inc": "x_SOURCES += \\\n\tcore/b.c core/bb.h\n# core/c.c\nEXTRA_DIST=core/d.c\n",
        "core/a.c": "/* a */", "core/b.c": "/* b */", "core/b.h": "/* b */", "core/c.c": "/* c */",
        "core/bb.h": "/* bb */", "core/d.c": "/* d */",
    }, ["core/b.h:1:", "core/c.c:1:"]),
]

lintlib.main(RULES, CASES)
