#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Brings about every end of a run that tapir(1) lists, with real guests, and prints a table: situation, status.

    statuses.py --vmm build/dev/vmm/tapir --guests build/dev/guest-tests/freestanding [--signals N]

`--signals` is how often each signal ends a guest at a random moment. Exit status 0 if each status, sentence and report
was as documented, 1 if not, 77 where /dev/kvm cannot be used.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

LIMIT = 60  # seconds that any run may take
ABNORMAL = ("panic", "triple-fault", "fail", "expect-missed", "time-limit", "signal")


@dataclasses.dataclass
class Situation:
    name: str
    append: str
    status: int
    cause: str
    options: str = "-no-reboot"
    says: str = ""  # part of what stands on standard error


SITUATIONS = [
    Situation("powers off", "exit=off", 0, "power-off"),
    Situation("resets under -no-reboot", "exit=cf9", 0, "reset"),
    Situation("resets under -action reboot=shutdown", "exit=cf9", 0, "reset", "-action reboot=shutdown"),
    Situation("panics, by pvpanic", "exit=panic panic=pvpanic", 4, "panic", says="pvpanic driver says"),
    Situation("panics, by its console, then resets", "exit=panic panic=reset", 4, "panic",
              says="the guest panicked: Kernel panic - not syncing: Attempted to kill init!"),
    Situation("panics, then resets, may reboot", "exit=panic panic=reset", 4, "panic", "-action reboot=reset"),
    Situation("panics, by its console, then says so", "exit=panic panic=end", 4, "panic",
              says="| [    1.234568] CPU: 0 PID: 1 Comm: init"),
    Situation("panics, by its console, then halts", "exit=panic panic=halt", 4, "panic", says="vCPU 0 at RIP="),
    Situation("panics under -action panic=shutdown", "exit=panic panic=pvpanic", 0, "panic",
              "-no-reboot -action panic=shutdown"),
    Situation("panics under -action panic=none, then resets", "exit=panic panic=reset", 0, "reset",
              "-no-reboot -action panic=none"),
    Situation("panics under -action panic=pause, time limit", "exit=panic panic=pvpanic", 4, "panic",
              "-no-reboot -action panic=pause -time-limit 1", says="tapir waits"),
    Situation("quotes a panic, powers off", "exit=quote", 0, "power-off"),
    Situation("triple fault", "exit=triple", 6, "triple-fault", says="the guest had a triple fault"),
    Situation("isa-debug-exit", "exit=port port=0x501 value=3", 7, "guest-status", "-device isa-debug-exit"),
    Situation("tapir-exit", "exit=port port=0x508 value=99", 99, "guest-status", "-device tapir-exit"),
    Situation("powers off under -no-shutdown, time limit", "exit=off", 124, "time-limit",
              "-no-shutdown -time-limit 1"),
    Situation("halts for ever", "exit=hang hang=halt", 124, "time-limit", "-time-limit 1",
              says="the time limit of 1 s ended the guest"),
    Situation("spins with interrupts off", "exit=hang hang=spin", 124, "time-limit", "-time-limit 1"),
    Situation("floods its console", "exit=hang hang=flood", 124, "time-limit", "-time-limit 1"),
    Situation("reboots for ever", "exit=cf9", 124, "time-limit", "-time-limit 2"),
    Situation("hangs, and is warned", "exit=hang hang=spin", 124, "time-limit", "-time-limit 2,warn=1",
              says="pressing the power button"),
    Situation("time limit before -expect", "exit=hang hang=spin", 124, "time-limit", "-time-limit 1 -expect never",
              says="whose console had not matched -expect 'never'"),
    Situation("-expect matches a line", "exit=hang hang=spin", 0, "expect", "-expect ^END$"),
    Situation("-expect matches a prompt", "exit=prompt", 0, "expect", "-expect login:.$ -expect PASS"),
    Situation("-expect never matches, powers off", "exit=off", 10, "expect-missed", "-expect never -expect ^END$",
              says="before its console had matched -expect 'never'"),
    Situation("-expect waits for a panic", "exit=panic panic=halt", 0, "expect", "-expect Kernel.panic"),
    Situation("-fail matches a line", "exit=hang hang=spin", 10, "fail", "-fail never -fail ^PASS",
              says="-fail '^PASS' matched the line 'PASS exit= is known'"),
    Situation("an expression that others take for ever for", "exit=hang hang=flood", 124, "time-limit",
              "-time-limit 1 -fail ((a*)*)*Z|(x+x+)+y -expect (.*)*Q"),
    Situation("a wrong option", "exit=off", 1, "cannot-run", "-frobnicate", says="no such option"),
    Situation("no kernel", "exit=off", 1, "cannot-run", "-initrd /nonexistent", says="/nonexistent"),
]


class Runner:
    def __init__(self, options, directory):
        self.options = options
        self.report = os.path.join(directory, "report.json")
        self.faults = []

    def words(self, append, more):
        return [self.options.vmm, "-kernel", os.path.join(self.options.guests, "exits.elf"), "-append", append,
                "-m", "16", "-serial", "null", *more.split(), "-report", self.report]

    def fault(self, name, text):
        self.faults.append(f"{name}: {text}")

    def row(self, name, status, seconds):
        print(f"  {name:<50} {status:>4} {seconds:6.1f} s", flush=True)

    def situation(self, one):
        begin = time.monotonic()
        run = subprocess.run(self.words(one.append, one.options), stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, errors="replace", timeout=LIMIT, check=False)
        self.row(one.name, run.returncode, time.monotonic() - begin)
        if run.returncode != one.status:
            self.fault(one.name, f"status {run.returncode}, not {one.status}; stderr: {run.stderr}")
        if one.says not in run.stderr:
            self.fault(one.name, f"'{one.says}' is not in: {run.stderr}")
        report = self.read_report(one.name)
        if report.get("cause") != one.cause or report.get("status") != one.status:
            self.fault(one.name, f"the report says {report.get('status')}, {report.get('cause')}")
        if one.cause in ABNORMAL and "vCPU 0 at RIP=" not in run.stderr:
            self.fault(one.name, "the registers are not told")
        if one.status != 1 and "TAPIR-GUEST 1 PLAN" not in report["console"]["first"]:
            self.fault(one.name, "the console is not in the report")

    def read_report(self, name):
        try:
            with open(self.report, encoding="utf-8") as file:
                report = json.load(file)
            os.unlink(self.report)
            return report
        except (OSError, ValueError) as error:
            self.fault(name, f"no report: {error}")
            return {"console": {"first": ""}}

    def unwritable(self, name, path, message):
        run = subprocess.run(self.words("exit=off", "-no-reboot") + ["-report", path], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=LIMIT, check=False)
        self.row(name, run.returncode, 0)
        if run.returncode != 0 or message not in run.stderr:
            self.fault(name, f"status {run.returncode}, stderr: {run.stderr}")

    def signalled(self, number, stopped):
        """A signal at a random moment, to a guest that prints into a pipe that nobody reads."""
        name = f"{signal.Signals(number).name} at a random moment" + (", stopped before" if stopped else "")
        words = [word if word != "null" else "stdio" for word in self.words("exit=hang hang=flood", "")]
        vmm = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(random.uniform(0, 0.8))
        if stopped:
            vmm.send_signal(signal.SIGSTOP)
            vmm.send_signal(signal.SIGCONT)
        begin = time.monotonic()
        vmm.send_signal(number)
        try:
            status = vmm.wait(timeout=LIMIT)
        finally:
            vmm.kill()
        seconds = time.monotonic() - begin
        vmm.communicate()
        # Before tapir watches for signals, one has its usual effect, and so has SIGKILL always.
        if status not in (128 + number, -number) or (number == signal.SIGKILL and status != -number):
            self.fault(name, f"status {status}")
        self.row(name, status, seconds)
        return seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--guests", required=True)
    parser.add_argument("--signals", type=int, default=1)
    options = parser.parse_args()
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        must = os.environ.get("TAPIR_TESTS_MUST_RUN") == "1"
        print(f"{'FAIL' if must else 'SKIP'}: /dev/kvm cannot be opened by this user")
        return 1 if must else 77
    with tempfile.TemporaryDirectory() as directory:
        runner = Runner(options, directory)
        print(f"  {'the guest':<50} status")
        for one in SITUATIONS:
            runner.situation(one)
        runner.unwritable("-report into a folder that is not there", "/nonexistent/report", "/nonexistent/report")
        runner.unwritable("-report onto a full disk", "/dev/full", "No space left on device")
        slowest = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
            for _ in range(options.signals):
                slowest = max(slowest, runner.signalled(number, stopped=random.random() < 0.5))
        print(f"  the slowest end by a signal took {slowest:.1f} s")
    for fault in runner.faults:
        print(f"FAIL {fault}")
    return 1 if runner.faults else 0


if __name__ == "__main__":
    sys.exit(main())
