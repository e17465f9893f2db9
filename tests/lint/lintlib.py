"""What the lints share: the source files of a tree, C text without comments and strings, TAP output, self-tests.

A lint is a table of rules. A rule is a function that takes a Tree and yields what is wrong in it, as text that begins with
"file:line: ". Each lint also brings small bad trees and says what it must find there: a lint that has gone blind fails.
"""
import os
import re
import subprocess
import sys
import tempfile

SKIPPED_DIRS = {".git", "autom4te.cache", "build-aux", "m4", "__pycache__", ".pytest_cache", "_build", "_inst", "_dest"}
GENERATED = {"configure", "configure~", "aclocal.m4", "config.h.in", "config.h.in~", "config.h", "config.log",
             "config.status", "Makefile", "Makefile.in", "stamp-h1"}
SOURCE = (".c", ".h")


class Tree:
    """The files of a source tree that people wrote; paths are relative to its top and use slashes."""

    def __init__(self, root):
        self.root = root
        self.files = sorted(self._from_git() or self._from_disk())
        self._texts = {}

    def _from_git(self):
        """Tracked files, and new ones that are not ignored; None outside of a checkout."""
        if not os.path.exists(os.path.join(self.root, ".git")):
            return None
        run = subprocess.run(["git", "-C", self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        names = set(run.stdout.decode("utf-8", "surrogateescape").split("\0")) - {""}
        return {name for name in names if os.path.isfile(os.path.join(self.root, name))}

    def _from_disk(self):
        found = set()
        for folder, subfolders, names in os.walk(self.root):
            at_top = folder == self.root
            subfolders[:] = [s for s in subfolders if s not in SKIPPED_DIRS and not (at_top and s.startswith("build"))]
            for name in names:
                if not (at_top and name in GENERATED):
                    found.add(os.path.relpath(os.path.join(folder, name), self.root).replace(os.sep, "/"))
        return found

    def sources(self):
        return [f for f in self.files if f.endswith(SOURCE)]

    def text(self, path):
        if path not in self._texts:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                self._texts[path] = file.read()
        return self._texts[path]

    def lines(self, path):
        return enumerate(self.text(path).splitlines(), 1)

    def code_lines(self, path):
        """As lines(), with comments and the contents of strings blanked out."""
        return enumerate(blank_comments(self.text(path)).splitlines(), 1)


TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def blank_comments(text):
    """C text where comments, strings and character constants are spaces; lines stay where they are. #include lines keep
    their names."""
    def blank(match):
        start = text.rfind("\n", 0, match.start()) + 1
        if match.group()[0] == '"' and INCLUDE.match(text[start:match.end()]):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())
    return TOKENS.sub(blank, text)


def includes(tree, path):
    """(line, "<" or the quotation mark, name) of each #include."""
    for number, line in tree.code_lines(path):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


class Tap:
    def __init__(self):
        self.number = 0
        self.failed = 0

    def result(self, is_ok, name, notes=()):
        self.number += 1
        self.failed += not is_ok
        for note in notes:
            print("# " + note)
        print(f"{'ok' if is_ok else 'not ok'} {self.number} - {name}", flush=True)


def make_tree(folder, files):
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return Tree(folder)


def self_test(tap, rules, cases):
    """cases: (name, files, the faults that must be found: exact starts, in any order)."""
    for name, files, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            tree = make_tree(folder, files)
            found = [fault for _, rule in rules for fault in rule(tree)]
        missed = [e for e in expected if not any(f.startswith(e) for f in found)]
        extra = [f for f in found if not any(f.startswith(e) for e in expected)]
        notes = ["missed: " + m for m in missed] + ["false alarm: " + e for e in extra]
        tap.result(not notes, "self-test: " + name, notes)


def main(rules, cases):
    """rules: (what holds in a good tree, rule). Exits with 1 when a rule is broken or a self-test fails."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("POSTERN_SRCDIR", os.path.join(here, "..", ".."))
    tree = Tree(os.path.abspath(root))
    tap = Tap()
    print(f"1..{len(rules) + len(cases) + 1}")
    tap.result(len(tree.files) > 0, "the tree has files")
    for name, rule in rules:
        faults = list(rule(tree))
        tap.result(not faults, name, faults)
    self_test(tap, rules, cases)
    sys.exit(1 if tap.failed else 0)
