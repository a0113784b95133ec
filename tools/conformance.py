#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the two tables of what tapir's devices are tested for, out of lists of rows and the comments above tests:

    conformance.py           writes guest-tests/conformance.md and guest-tests/known-bugs.md
    conformance.py --check   exits with 1 if a row has neither a test nor a reason, if a comment names a row that is not
                             in a list, or stands above no test that is built, or if a table is not what would be written

A test of a row has the row's id in the comment directly above it, for example `// C17, VQ-09: what it is about`, or
`# C17` above a test in Python. Ranges are written C95-C98.
"""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
KINDS = ("VQ", "TR", "RST", "NET", "SER", "LDR", "MEM", "KVM", "SIG", "CTL")
ID = re.compile(r"(?<![\w-])(?:C(\d{1,3})(?:-C(\d{1,3}))?|((?:" + "|".join(KINDS) + r")-\d\d))(?![\w-])")
CPP_TEST = re.compile(r"(?:TEST|TEST_F|TEST_P|TYPED_TEST)\((\w+), (\w+)\)")
FUZZER = re.compile(r'extern "C" int LLVMFuzzerTestOneInput')
PYTHON_TEST = re.compile(r'\s*(?:def (\w+)\(|"([\w-]+)": Case\()')
# Where tests are: files, and how such a test is called.
PLACES = (("virtio/**/*_test.cc", "//"), ("virtio/*_fuzz.cc", "//"), ("vmm/**/*_test.cc", "//"), ("vmm/**/*_fuzz.cc", "//"),
          ("net/**/*_test.cc", "//"), ("guest-tests/freestanding/run.py", "#"), ("guest-tests/linux/*.py", "#"))

TABLES = {
    "conformance": ("Conformance to virtio 1.3", ("Row", "Section", "Level", "What", "Result", "Tests"), """\
What the specification asks of the device and its transports, and the tests that show it. Levels: M must, S should, y may;
d is what a driver must not do, and the device survives. Section numbers and titles are those of virtio 1.3."""),
    "known-bugs": ("Known bugs of such devices", ("Id", "Where", "What", "Result", "Tests"), """\
Bugs that other virtio devices, the kernel's tap and small VMMs have had, and the tests that show that tapir has not."""),
}
MADE = """\
Made by tools/conformance.py from {name}.rows and the comments above the tests; not to be edited. Tests are named as in
their files: suite and test of GoogleTest, a fuzzer, a case of guest-tests/freestanding/run.py or a check of a Linux guest."""


class Faults:
    def __init__(self):
        self.found = 0

    def add(self, text):
        print(text)
        self.found += 1


def ids_in(text):
    for match in ID.finditer(text):
        if match[3]:
            yield match[3]
        else:
            for number in range(int(match[1]), int(match[2] or match[1]) + 1):
                yield f"C{number}"


def test_at(path, line):
    """The name of the test that begins with this line, if one does."""
    if match := CPP_TEST.match(line):
        return f"{match[1]}.{match[2]}"
    if FUZZER.match(line):
        return f"fuzz/{path.stem.removesuffix('_fuzz')}"
    if path.suffix == ".py" and (match := PYTHON_TEST.match(line)):
        folder = "guest" if path.parent.name == "freestanding" else f"linux/{path.stem}"
        return f"{folder}/{match[2] or match[1]}"
    return None


def is_built(path, test):
    """Whether CMake, or the program that runs a Linux guest, knows the test."""
    if path.suffix == ".cc":
        return any(path.relative_to(lists.parent).as_posix() in lists.read_text().split()
                   for lists in (folder / "CMakeLists.txt" for folder in path.parents) if lists.is_file())
    if path.name == "run.py":
        return test.removeprefix("guest/") in (path.parent / "CMakeLists.txt").read_text().replace(")", " ").split()
    name = test.rpartition("/")[2]
    return len(re.findall(rf"\b{name}\b", path.read_text())) > 1


def tests_by_row(faults):
    """id -> [(file, test)], in the order of files and lines."""
    found = {}
    for pattern, mark in PLACES:
        for path in sorted(TOP.glob(pattern)):
            name = path.relative_to(TOP).as_posix()
            comment = []
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if line.lstrip().startswith(mark):
                    comment += ids_in(line)
                    continue
                test = test_at(path, line)
                if comment and test is None:
                    faults.add(f"{name}:{number}: {', '.join(comment)} stands above no test")
                elif comment and not is_built(path, test):
                    faults.add(f"{name}:{number}: {test} is not run")
                for row in comment:
                    if (name, test) not in found.setdefault(row, []):
                        found[row].append((name, test))
                comment = []
    return found


def rows_of(name):
    """Each row as its words; a title of a part as one word."""
    for line in (TOP / "guest-tests" / f"{name}.rows").read_text().splitlines():
        if line.startswith("= "):
            yield [line[2:]]
        elif not line.startswith("#"):
            yield [word.strip() for word in line.split("|")]


def table(name, tests, faults):
    title, heads, text = TABLES[name]
    lines = [f"# {title}", "", *text.splitlines(), "", *MADE.format(name=name).splitlines()]
    known = []
    for row in rows_of(name):
        if len(row) == 1:
            lines += ["", f"## {row[0]}", "", "| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
            continue
        words, reason = row[:len(heads) - 2], " | ".join(row[len(heads) - 2:])
        known.append(row[0])
        names = ", ".join(f"`{test}`" for _, test in tests.get(row[0], []))
        if not names and not reason:
            faults.add(f"{name}.rows: {row[0]} has neither a test nor a reason")
        lines.append("| " + " | ".join([*words, reason or "pass", names or "–"]) + " |")
    if len(set(known)) != len(known):
        faults.add(f"{name}.rows: an id stands there twice")
    return "\n".join(lines) + "\n", known


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    faults = Faults()
    tests = tests_by_row(faults)
    known = []
    for name in TABLES:
        text, ids = table(name, tests, faults)
        known += ids
        path = TOP / "guest-tests" / f"{name}.md"
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            faults.add(f"{path.relative_to(TOP)} is not what tools/conformance.py makes; run it")
    for row in tests:
        if row not in known:
            faults.add(f"{tests[row][0][0]}: {tests[row][0][1]} names {row}, which is in no list")
    sys.exit(1 if faults.found else 0)


if __name__ == "__main__":
    main()
