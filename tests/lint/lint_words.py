"""What must not get into the tree from the machine of whoever works on it."""
import re

import lintlib

# Put together here, so that this file does not hold what it looks for.
FOLDERS = ["work", "home", "Users"]
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "crates" + ".io",
              "proxy.golang" + ".org", "ruby" + "gems.org", "repo.maven" + ".apache.org"]

ABSOLUTE = re.compile(r"(?:(?<![\w.~$)}*-])|(?<=-I)|(?<=-L))/(" + "|".join(FOLDERS) + r")/")
HOSTS = re.compile("|".join(re.escape(host) for host in REGISTRIES), re.I)


def lines_with(tree, pattern, message):
    for path in tree.files:
        for number, line in tree.lines(path):
            match = pattern.search(line)
            if match:
                yield f"{path}:{number}: {message}: {match.group()}"


def absolute_paths(tree):
    return lines_with(tree, ABSOLUTE, "a path of somebody's machine")


def registries(tree):
    return lines_with(tree, HOSTS, "a package registry")


RULES = [
    ("no path of a developer's machine", absolute_paths),
    ("no host of a package registry", registries),
]

HOME = "/" + "home" + "/"
CASES = [
    ("paths", {
        "docs/a.md": f"see {HOME}ann/x\nsee docs{HOME}x\n$(srcdir){HOME}x\n",
        "check": f'cd "{HOME}x"\nhome/x\n',
        "core/a.c": f"/* -I/{'work'}/x */\n",
    }, ["docs/a.md:1:", "check:1:", "core/a.c:1:"]),
    ("registries", {"docs/a.md": f"https://{REGISTRIES[0]}/simple\nnothing\n"}, ["docs/a.md:1:"]),
]

lintlib.main(RULES, CASES)
