#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A bisection as a kernel developer does it: `git bisect run tools/bisect-run` over commits of which the later ones crash
the guest, and some have no kernel to test, finds the first one that crashes.

    bisect.py --vmm build/release/vmm/tapir --guests build/release/guest-tests/freestanding

Exit status 0 if it found that commit, 1 if not, 77 if this user has no KVM (1 under TAPIR_TESTS_MUST_RUN=1). The repository
is made for this run and removed.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
COMMITS, FIRST_BAD, WITHOUT_KERNEL = 8, 6, (4, 7)
# The commit under test says how its guest ends, and whether it has a kernel.
TEST = 'exec "$1" -kernel "$2/$(cat kernel).elf" -append "$(cat append)" -m 16 -nographic -no-reboot < /dev/null'


def git(repository, *words):
    # No configuration of this user or machine.
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "LC_ALL": "C",
                   **{f"GIT_{who}_{what}": f"tester{'@localhost' if what == 'EMAIL' else ''}"
                      for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    done = subprocess.run(["git", "-C", repository, *words], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        print(done.stdout)
        sys.exit(f"FAIL git {' '.join(words)}: status {done.returncode}")
    return done.stdout


def bisect(options, repository):
    git(repository, "init", "-q")
    for number in range(COMMITS):
        for name, text in (("append", "exit=triple" if number >= FIRST_BAD else "exit=off"),
                           ("kernel", "absent" if number in WITHOUT_KERNEL else "exits"), ("number", str(number))):
            pathlib.Path(repository, name).write_text(text + "\n", encoding="ascii")
        git(repository, "add", ".")
        git(repository, "commit", "-q", "-m", f"commit {number}")
        git(repository, "tag", f"c{number}")
    # Of these the middle one, c4, has no kernel; c7, which is known to be bad, is never tested.
    git(repository, "bisect", "start", f"c{COMMITS - 1}", "c1")
    output = git(repository, "bisect", "run", str(TOP / "tools/bisect-run"), "sh", "-c", TEST, "test", options.vmm,
                 options.guests)
    print(output)
    found = git(repository, "rev-parse", "refs/bisect/bad").strip()
    return found == git(repository, "rev-parse", f"c{FIRST_BAD}").strip() and "skip" in git(repository, "bisect", "log")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--guests", required=True)
    options = parser.parse_args()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        must = os.environ.get("TAPIR_TESTS_MUST_RUN") == "1"
        print(f"{'FAIL' if must else 'SKIP'}: /dev/kvm cannot be opened by this user")
        return 1 if must else 77
    options.vmm, options.guests = os.path.abspath(options.vmm), os.path.abspath(options.guests)
    repository = tempfile.mkdtemp()
    try:
        right = bisect(options, repository)
    finally:
        shutil.rmtree(repository)
    print(f"{'PASS' if right else 'FAIL'} bisection finds the first commit that crashes")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
