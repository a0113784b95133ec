# SPDX-License-Identifier: Apache-2.0
"""The same access rules through QEMU's helper and through ours: where QEMU's grants, ours does, unless one of the known
defects of QEMU's is the reason; where ours refuses what QEMU's grants, its sentence names file and line. And the time that
each takes."""

import itertools
import os
import pathlib
import random
import shutil
import statistics
import time

from bed import NOBODY, OTHER_USER, SETUID, expect, run
from calls import ALLOWED

QEMU_PROGRAM = "/usr/lib/qemu/qemu-bridge-helper"
QEMU_RULES = pathlib.Path("/etc/qemu/bridge.conf")
FILES = 200
SEED = 20261125
BRIDGES = ("br0", "br1", "br2")
GROUP = 4242
# (user, supplementary groups)
CALLERS = ((NOBODY, ()), (OTHER_USER, (GROUP,)))

# What may stand in a file that is well-formed for both.
COMMON = ("allow br0", "allow br1", "allow br2", "allow all", "deny br0", "deny br1", "deny br2", "deny all",
          "# a comment", "", "  allow   br1  ", "\tdeny br2", "allow br0\r")
# Defects of QEMU's helper, by what triggers them: ours refuses the file.
DEFECTS = {
    "include /does/not/exist": "a missing include is passed over",
    "allow br0 br1": "more than one name is taken for one long name",
    "allow ": "an empty name is accepted",
    "#" + "a" * 4094 + "allow br0": "the tail of a long line becomes a line of its own",
}


QEMUS = "qemu"


def prepare_qemus(bed):
    """A privileged copy of QEMU's helper, to be called as one more installation."""
    if QEMUS not in bed.programs:
        os.mkdir("/mnt/qemu")
        bed.programs[QEMUS] = "/mnt/qemu/qemu-bridge-helper"
        shutil.copyfile(QEMU_PROGRAM, bed.programs[QEMUS])
        os.chmod(bed.programs[QEMUS], 0o4755)
        there = next(parent for parent in QEMU_RULES.parents if parent.is_dir())
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", there)
        QEMU_RULES.parent.mkdir(exist_ok=True)


def make_rules(bed, random_lines, number):
    """Writes one set of rules for both helpers; the defects of QEMU's that it touches."""
    lines = [random_lines.choice(COMMON) for _ in range(random_lines.randrange(0, 6))]
    triggers = []
    if random_lines.random() < 0.2:
        triggers = [random_lines.choice(list(DEFECTS))]
        lines.insert(random_lines.randrange(len(lines) + 1), triggers[0])
    if random_lines.random() < 0.3:  # QEMU's scheme: a file for one group
        include = bed.configuration.parent / f"group-{number}.conf"
        include.write_text(random_lines.choice(COMMON[:8]) + "\n", encoding="utf-8")
        os.chown(include, 0, GROUP)
        include.chmod(0o640)
        lines.append(f"include {include}")
    text = "\n".join(lines) + ("\n" if random_lines.random() < 0.9 else "")
    bed.configure(text)
    QEMU_RULES.write_text(text, encoding="utf-8")
    QEMU_RULES.chmod(0o644)
    return text, [DEFECTS[trigger] for trigger in triggers]


def rules_mean_the_same(bed):
    prepare_qemus(bed)
    for name in BRIDGES[1:]:
        bed.add_bridge(name)
    random_lines = random.Random(SEED)
    both, neither, excused = 0, 0, 0
    for number in range(FILES):
        text, defects = make_rules(bed, random_lines, number)
        for (user, groups), bridge in itertools.product(CALLERS, BRIDGES):
            case = f"file {number} {text!r:.200}, uid {user}, {bridge}"
            words, caller = ("--use-vnet", f"--br={bridge}"), {"user": user, "groups": groups}
            with bed.call(*words, mode=QEMUS, **caller) as qemus, bed.call(*words, **caller) as ours:
                granted = (qemus.status == 0, ours.status == 0)
                expect(granted != (False, True), f"only ours grants: {case}; QEMU's says {qemus.errors}")
                both += granted == (True, True)
                neither += granted == (False, False)
                if granted == (True, False):
                    expect(defects, f"only QEMU's grants, and no known defect is the reason: {case}; {ours.errors}")
                    expect(f"{bed.configuration}:" in ours.errors, f"no file and line: {ours.errors}")
                    excused += 1
    for name in BRIDGES[1:]:
        run("ip", "link", "del", name)
    print(f"     {FILES} files: both grant {both}, both refuse {neither}, ours refuses for a defect of QEMU's {excused}")
    expect(min(both, neither, excused) > 20, "too few cases of one kind to mean anything")


def median_times(bed):
    """From exec to descriptor in hand, in turns. Reported, not judged: the machine is not ours alone."""
    prepare_qemus(bed)
    bed.configure("allow br0\n")
    QEMU_RULES.write_text("allow br0\n", encoding="utf-8")
    times = {SETUID: [], QEMUS: []}
    for _ in range(100):
        for name, values in times.items():
            start = time.perf_counter()
            with bed.call(*ALLOWED, mode=name) as answer:
                values.append(time.perf_counter() - start)
                expect(answer.status == 0, f"{name}: {answer.errors}")
    for name, values in times.items():
        tenth = statistics.quantiles(values, n=10)
        print(f"     {name}: median {1e3 * statistics.median(values):.2f} ms "
              f"(10 % {1e3 * tenth[0]:.2f}, 90 % {1e3 * tenth[8]:.2f})")


TESTS = (rules_mean_the_same, median_times)
