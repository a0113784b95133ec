#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every number of the conformance list for bridge helpers, HLP-01 to HLP-38 without 37, is named by a test, and
prints by which files. A test names it as HLP-07 in its text or as Hlp07 in its name."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = [number for number in range(1, 39) if number != 37]


def main():
    found = {number: set() for number in NUMBERS}
    tests = [path for folder in ("helper", "net") for path in (TOP / folder).rglob("*_test.cc")]
    tests += [path for path in (TOP / "guest-tests/helper").glob("*.py") if path.name != "covered.py"]
    for path in tests:
        for number in re.findall(r"\b(?:HLP-|\w*?Hlp)(\d\d)", path.read_text(encoding="utf-8")):
            if int(number) in found:
                found[int(number)].add(path.relative_to(TOP).as_posix())
    for number, files in found.items():
        print(f"HLP-{number:02}: {', '.join(sorted(files)) or 'NO TEST'}")
    missing = [f"HLP-{number:02}" for number, files in found.items() if not files]
    print(f"{len(NUMBERS) - len(missing)} of {len(NUMBERS)} numbers have a test")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
