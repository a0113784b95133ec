# SPDX-License-Identifier: Apache-2.0
"""The corpus of command lines, and why tapir answers some of them otherwise than QEMU does.

A file of corpus/ holds cases of this form; lines that begin with # are comments, and case and expectations are words and
text as a shell and a reader would take them:

    -netdev tap,id=a,fd=3,queues=2 -nic none
      error queues= cannot be given with fd=          one line for each problem, in order; part of the sentence
      qemu accepts KEY                                or "refuses KEY": QEMU's answer where it is not tapir's
    -netdev tap,id=a,fd=3
      warning has no NIC and is not opened            for each warning
    -net none
      ok                                              neither
    -netdev help
      list                                            something is printed, and the status is 0

KEY stands in differences.txt, with the kind and the reason of the difference. `qemu not-run REASON` leaves a line out of
the comparison.
"""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ("improvement", "lacking", "host", "newer")


class Malformed(Exception):
    """The corpus is not what it should be."""


@dataclasses.dataclass
class Case:
    place: str
    line: str
    expectations: list[tuple[str, str]]
    qemu: tuple[str, str] | None = None  # "accepts", "refuses" or "not-run", and the key or reason

    @property
    def accepted(self):
        return all(kind != "error" for kind, _ in self.expectations)


def read_file(path):
    cases = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        if not text.strip() or text.startswith("#"):
            continue
        if not text.startswith(" "):
            cases.append(Case(f"{path.name}:{number}", text, []))
            continue
        kind, _, rest = text.strip().partition(" ")
        if kind == "qemu":
            cases[-1].qemu = tuple(rest.split(" ", 1))
        elif kind in ("ok", "warning", "error", "list"):
            cases[-1].expectations.append((kind, rest))
        else:
            raise Malformed(f"{path.name}:{number}: {kind}?")
    return cases


def read_corpus():
    cases = [case for path in sorted((HERE / "corpus").glob("*.txt")) for case in read_file(path)]
    lines = set()
    for case in cases:
        if not case.expectations:
            raise Malformed(f"{case.place}: nothing is expected")
        if case.line in lines:
            raise Malformed(f"{case.place}: the line is there twice")
        lines.add(case.line)
    return cases


def read_differences():
    """{key: (kind, reason)}"""
    differences = {}
    for text in (HERE / "differences.txt").read_text().splitlines():
        if not text or text.startswith("#"):
            continue
        key, kind, reason = text.split(None, 2)
        if kind not in KINDS or key in differences:
            raise Malformed(f"differences.txt: {text}")
        differences[key] = (kind, reason)
    return differences
