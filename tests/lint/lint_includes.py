"""Who may include what: folders are layers, and each third-party library is used in one place."""
import fnmatch

import lintlib

# A file includes its own folder and folders of a lower rank. Equal ranks do not know each other.
RANKS = {"daemon": 6, "api": 5, "sbc": 4, "algs": 4, "media-relay": 3, "pinhole": 2, "db": 2, "core": 1}

# Header pattern: the files that may include it. Tests may include anything.
LIBRARIES = {
    "uv.h": ["core/loop.c"],
    "uv/*": ["core/loop.c"],
    "yaml.h": ["core/yaml.c"],
    "jansson.h": ["core/conf*.[ch]", "core/yaml*.[ch]", "api/*", "sbc/call_row.c", "algs/data_row.c"],
    "sqlite3.h": ["db/*"],
    "microhttpd.h": ["api/*"],
    "osip*": ["sbc/sip_osip.c"],
    "pcre2*": ["core/regex.c"],
    "openssl/*": ["core/openssl.h", "api/token_hash.c"],
    "bpf/*": ["pinhole/bpf*.c", "pinhole/bpf/*"],
    "libnetfilter_conntrack/*": ["pinhole/conntrack*.c"],
    "libnftnl/*": ["pinhole/nft*.c"],
    "libmnl/*": ["pinhole/*"],
    "seccomp.h": ["pinhole/sandbox.c"],
    "CUnit/*": [],
}


def code_of_layers(tree):
    return [f for f in tree.sources() if not f.startswith("tests/")]


def layers(tree):
    for path in code_of_layers(tree):
        folder = path.split("/")[0]
        for number, mark, name in lintlib.includes(tree, path):
            target = name.split("/")[0]
            if target not in RANKS and mark == "<":
                continue
            if folder not in RANKS or target not in RANKS or (target != folder and RANKS[target] >= RANKS[folder]):
                yield f"{path}:{number}: {folder} must not include {name}"


def spelling(tree):
    for path in tree.sources():
        for number, mark, name in lintlib.includes(tree, path):
            if name == "config.h":
                yield f"{path}:{number}: the build includes config.h already"
            elif name.endswith(".c"):
                yield f"{path}:{number}: include headers, not {name}"
            elif mark == '"' and ("/" not in name or ".." in name):
                yield f'{path}:{number}: write "folder/{name.split("/")[-1]}" from the top of the tree'
            elif mark == "<" and name.split("/")[0] in RANKS:
                yield f'{path}:{number}: our own headers stand in quotation marks'


def libraries(tree):
    for path in code_of_layers(tree):
        for number, _, name in lintlib.includes(tree, path):
            for pattern, users in LIBRARIES.items():
                if fnmatch.fnmatchcase(name, pattern) and not any(fnmatch.fnmatchcase(path, u) for u in users):
                    yield f"{path}:{number}: {name} belongs to {' '.join(users) or 'tests'}"


RULES = [
    ("a folder includes only what is below it", layers),
    ("includes are written from the top of the tree", spelling),
    ("each library is used in its own place", libraries),
]

CASES = [
    ("layers", {
        "core/a.c": '#include "core/a.h"\n#include "db/x.h"\n',
        "db/b.c": '#include "core/a.h"\n  #  include "pinhole/y.h"\n',
        "sbc/c.c": '#include "db/x.h"\n#include "algs/z.h"\n#include "api/r.h"\n',
        "algs/ftp/d.c": '#include "media-relay/m.h"\n#include "sbc/c.h"\n#include "algs/alg.h"\n',
        "daemon/e.c": '#include "api/r.h"\n#include "core/a.h"\n#include <stdio.h>\n',
        "tests/unit/f.c": '#include "daemon/e.h"\n#include "tests/unit/unit.h"\n',
        "api/g.c": '#include "tests/unit/unit.h"\n/* #include "daemon/e.h" */\n// #include "daemon/e.h"\n',
    }, ["core/a.c:2:", "db/b.c:2:", "sbc/c.c:2:", "sbc/c.c:3:", "algs/ftp/d.c:2:", "api/g.c:1:"]),
    ("spelling", {
        "core/a.c": '#include <core/a.h>\n#include "core/b.c"\n#include "core/../core/a.h"\n#include "config.h"\n',
        "tests/unit/b.c": '#include "core/a.c"\n#include "unit.h"\n',
    }, ["core/a.c:1:", "core/a.c:2:", "core/a.c:3:", "core/a.c:4:", "tests/unit/b.c:1:", "tests/unit/b.c:2:"]),
    ("libraries", {
        "core/loop.c": "#include <uv.h>\n#include <jansson.h>\n",
        "core/loop.h": "#include <uv.h>\n",
        "core/regex.c": "#include <pcre2.h>\n",
        "core/regex.h": "#include <pcre2.h>\n",
        "core/config.c": "#include <jansson.h>\n#include <yaml.h>\n",
        "sbc/sip_osip.c": "#include <osipparser2/osip_parser.h>\n",
        "sbc/sip_stack.c": "#include <osip2/osip.h>\n",
        "db/store.c": "#include <sqlite3.h>\n#include <microhttpd.h>\n",
        "api/http.c": "#include <microhttpd.h>\n#include <jansson.h>\n#include <CUnit/CUnit.h>\n#include <pcre2.h>\n",
        "tests/unit/a.c": "#include <CUnit/CUnit.h>\n#include <sqlite3.h>\n",
    }, ["core/loop.c:2:", "core/loop.h:1:", "core/regex.h:1:", "core/config.c:2:", "sbc/sip_stack.c:1:", "db/store.c:2:",
        "api/http.c:3:", "api/http.c:4:"]),
]

lintlib.main(RULES, CASES)
