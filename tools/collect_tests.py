#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes one ctest directory out of several, so that one run and one summary cover everything:

    collect_tests.py OUTPUT [--tests PREFIX BUILD_DIRECTORY]… [--command NAME COST COMMAND…]…

A test `net_test` of a directory given with prefix `tsan` is called tsan/net_test there. Tests of a higher COST start
earlier, so that the longest do not come last and alone.
"""
import json
import pathlib
import subprocess
import sys


def quoted(text):
    return "[==[" + str(text) + "]==]"


def entry(name, command, properties):
    lines = ["add_test(" + " ".join(quoted(word) for word in (name, *command)) + ")"]
    if properties:
        words = " ".join(f"{key} {quoted(value)}" for key, value in properties.items())
        lines.append(f"set_tests_properties({quoted(name)} PROPERTIES {words})")
    return lines


def text(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return ";".join(str(item) for item in value) if isinstance(value, list) else value


def tests_of(prefix, directory):
    shown = subprocess.run(["ctest", "--test-dir", directory, "--show-only=json-v1"], check=True,
                           stdout=subprocess.PIPE, text=True)
    lines = []
    for test in json.loads(shown.stdout)["tests"]:
        properties = {item["name"]: text(item["value"]) for item in test.get("properties", [])}
        # A test without a command was not built: ctest must find and report that.
        command = test.get("command") or [f"{prefix}/{test['name']} was not built"]
        lines += entry(f"{prefix}/{test['name']}", command, properties)
    return lines


def main():
    output, *words = sys.argv[1:]
    lines = []
    while words:
        kind = words.pop(0)
        if kind == "--tests":
            lines += tests_of(words.pop(0), words.pop(0))
        else:
            name, cost = words.pop(0), words.pop(0)
            command = []
            while words and not words[0].startswith("--"):
                command.append(words.pop(0))
            lines += entry(name, command, {"TIMEOUT": 3000, "COST": cost})
    directory = pathlib.Path(output)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "CTestTestfile.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
