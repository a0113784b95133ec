# SPDX-License-Identifier: Apache-2.0
"""tools/install-helper (HLP-35): it gives privilege to a helper that nobody but root can replace, and to nothing else."""

import os
import pathlib
import shutil
import subprocess

from bed import NOBODY, PLAIN, expect, run
from calls import ALLOWED

INSTALLER = str(pathlib.Path(__file__).resolve().parents[2] / "tools/install-helper")
FOLDER = pathlib.Path("/mnt/libexec")
PROGRAM = FOLDER / "tapir-bridge-helper"


def fresh(bed):
    """A helper without privilege in a folder of root's."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o755)
    shutil.copyfile(bed.programs[PLAIN], PROGRAM)
    PROGRAM.chmod(0o755)


def install(*words, user=0):
    done = subprocess.run([INSTALLER, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          user=user)
    return done.returncode, done.stdout


def refuses(words, *expected, user=0):
    status, said = install(*words, user=user)
    expect(status != 0, f"status {status}: {said}")
    for word in expected:
        expect(word in said, f"nothing about '{word}' in: {said}")
    mode = os.stat(PROGRAM).st_mode
    expect(not mode & 0o6000 and not run("getcap", PROGRAM), f"it has privilege all the same: {mode:o}")


def both_modes_give_just_what_is_needed(bed):
    bed.configure("allow br0\n")
    for mode, bits, capabilities in (("--setuid", 0o4755, ""), ("--setcap", 0o755, "cap_net_admin=ep"), (None, 0o755, "cap_net_admin=ep")):
        fresh(bed)
        status, said = install(*([mode] if mode else []), str(PROGRAM))
        expect(status == 0, said)
        found = os.stat(PROGRAM)
        expect(found.st_mode & 0o7777 == bits and found.st_uid == 0, f"{mode}: mode {found.st_mode:o}")
        expect(run("getcap", PROGRAM).partition(" ")[2].strip() == capabilities, f"{mode}: {run('getcap', PROGRAM)}")
        bed.programs["installed"] = str(PROGRAM)
        with bed.call(*ALLOWED, mode="installed").granted():
            pass


def rules_that_allow_nothing_are_made(bed):
    fresh(bed)
    bed.configuration.unlink(missing_ok=True)
    status, said = install("--setuid", str(PROGRAM))
    expect(status == 0 and bed.configuration.exists(), said)
    bed.programs["installed"] = str(PROGRAM)
    bed.call(*ALLOWED, mode="installed").refused("access denied")


def what_others_could_replace_gets_nothing(bed):
    bed.configure("allow br0\n")
    fresh(bed)
    FOLDER.chmod(0o777)
    refuses(["--setuid", str(PROGRAM)], str(FOLDER), "written by others")
    FOLDER.chmod(0o755)
    os.chown(FOLDER, NOBODY, 0)
    refuses(["--setuid", str(PROGRAM)], str(FOLDER), f"uid {NOBODY}")
    os.chown(FOLDER, 0, 0)
    PROGRAM.chmod(0o757)
    refuses(["--setcap", str(PROGRAM)], str(PROGRAM))


def rules_that_others_could_replace_leave_it_without_privilege(bed):
    fresh(bed)
    bed.configure("allow br0\n")
    folder = bed.configuration.parent
    folder.chmod(0o775)
    refuses(["--setuid", str(PROGRAM)], str(folder), "written by others")
    folder.chmod(0o755)
    bed.configure("nonsense\n")
    refuses(["--setuid", str(PROGRAM)], "mistakes in the rules")


def what_carries_no_privilege_is_named(bed):
    fresh(bed)
    bed.configure("allow br0\n")
    run("mount", "--bind", FOLDER, FOLDER)
    run("mount", "-o", "remount,bind,nosuid", FOLDER)
    refuses(["--setuid", str(PROGRAM)], "nosuid")
    run("umount", FOLDER)


def other_programs_and_users_are_refused(bed):
    fresh(bed)
    refuses(["--setuid", str(PROGRAM)], "root", user=NOBODY)
    refuses(["--setuid", str(FOLDER / "missing")], "missing")
    shutil.copyfile("/bin/true", PROGRAM)
    refuses(["--setuid", str(PROGRAM)], "no tapir-bridge-helper")
    refuses(["--setuid", "--setcap", str(PROGRAM)], "not both")
    refuses(["--unknown"], "usage")


TESTS = (both_modes_give_just_what_is_needed, rules_that_allow_nothing_are_made, what_others_could_replace_gets_nothing,
         rules_that_others_could_replace_leave_it_without_privilege,
         what_carries_no_privilege_is_named, other_programs_and_users_are_refused)
