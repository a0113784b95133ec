#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boots freestanding guests and judges them by the line protocol that runtime.h explains.

    run.py --vmm build/release/vmm/tapir --guests build/release/guest-tests/freestanding CASE…

`--vmm qemu` runs them under QEMU's emulation instead, to tell a wrong guest from a wrong VMM. Exit status 0 if all
cases passed, 1 if one failed, 77 if one was skipped and none failed. Cases with a NIC get a tap in a network
namespace of this program's own, so they need root; all need /dev/kvm.
"""

import argparse
import collections
import contextlib
import dataclasses
import os
import re
import select
import selectors
import subprocess
import sys
import tempfile
import time
import typing

import counters
from frames import MAC, TAP, Echo, Stream

NAMESPACE_MARK = "TAPIR_TEST_NAMESPACE"
MMIO = {"tapir": "0xe1000000", "qemu": "0xfeb02e00"}  # the first virtio-mmio device's registers


@dataclasses.dataclass
class Case:
    guest: str  # with .elf if it has no suffix
    append: str = ""
    memory: int = 64  # MiB
    initrd: str = ""  # {0} is the directory of the guests
    device: str = ""
    options: tuple = ()  # more words of the command line
    status: int = 0  # of the VMM
    reboots: int = 0  # how often the guest must be seen to start again; it runs without -no-reboot then
    frames: int = 0  # to be echoed
    counted: bool = False  # the VMM is asked for its statistics before the last frame
    cpus: int = 1
    stream: bool = False  # of frames that tell the guest how to reset the machine
    flood: int = 0  # bytes that the guest prints behind its END
    flood_to: str = ""  # "file", or "pipe": one that nobody reads before the VMM has ended
    quiet: bool = False  # the VMM may write no more than MOST_LINES a second, whatever the guest does
    limit: int = 60  # seconds

    MOST_LINES: typing.ClassVar[int] = 10


CASES = {
    "boot": Case("boot", "number=0x12345678 ram=64 last=word"),
    "boot-4g": Case("boot", "number=0x12345678 ram=4096 last=word", memory=4096),
    "multiboot": Case("multiboot32.elf", "number=0x12345678 ram=64 last=word", initrd="{0}/boot.elf arg=1,{0}/exits.elf"),
    "multiboot-flat": Case("multiboot.bin", "number=0x12345678 ram=64 last=word",
                           initrd="{0}/boot.elf arg=1,{0}/exits.elf"),
    "multiboot-gzip": Case("multiboot.bin.gz", "number=0x12345678 ram=64 last=word",
                           initrd="{0}/boot.elf arg=1,{0}/exits.elf"),
    "exit-off": Case("exits", "exit=off"),
    "exit-cf9": Case("exits", "exit=cf9"),
    "exit-i8042": Case("exits", "exit=i8042"),
    "exit-acpi": Case("exits", "exit=acpi"),
    "exit-triple": Case("exits", "exit=triple", status=6),
    "exit-isa-debug-exit": Case("exits", "exit=port port=0x501 value=0x10", options=("-device", "isa-debug-exit"),
                                status=0x21),
    "exit-isa-debug-exit-wide": Case("exits", "exit=port32 port=0xf4 value=0x11",
                                     options=("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"), status=0x23),
    "exit-tapir-exit": Case("exits", "exit=port port=0x508 value=42", options=("-device", "tapir-exit"), status=42),
    "reboot-cf9": Case("exits", "exit=cf9", reboots=3),
    "reboot-i8042": Case("exits", "exit=i8042", reboots=3),
    "reboot-acpi": Case("exits", "exit=acpi", reboots=3),
    "reboot-triple": Case("exits", "exit=triple", reboots=3),
    # Ten times each way. The guest sends back 8 frames before it resets the machine.
    "reboot-traffic-pci": Case("reboots", "transport=pci echo=8", device="virtio-net-pci", cpus=2, stream=True,
                               reboots=50, limit=120),
    "reboot-traffic-mmio": Case("reboots", "transport=mmio echo=8", device="virtio-net-device", cpus=2, stream=True,
                                reboots=50, limit=120),
    "pci-registers": Case("pci_registers", device="virtio-net-pci"),
    "mmio-registers": Case("mmio_registers", device="virtio-net-device"),
    "echo-pci": Case("echo", "transport=pci", device="virtio-net-pci", frames=500, limit=120),
    "echo-mmio": Case("echo", "transport=mmio", device="virtio-net-device", frames=500, limit=120),
    "statistics": Case("echo", "transport=pci", device="virtio-net-pci", frames=200, counted=True, limit=120),
    # They attack their own device; the VMM lives, says little, and the device works again after a reset.
    # C126-C134, VQ-01, VQ-02, VQ-04, VQ-05, VQ-11, VQ-17, VQ-18, VQ-22, VQ-23
    "hostile-rings-pci": Case("hostile_rings", "transport=pci", device="virtio-net-pci", quiet=True),
    # C126-C134, VQ-01, VQ-02, VQ-04, VQ-05, VQ-11, VQ-17, VQ-18, VQ-22, VQ-23
    "hostile-rings-mmio": Case("hostile_rings", "transport=mmio", device="virtio-net-device", quiet=True),
    # C50, C126, C127, C134, TR-01, TR-11, RST-01, VQ-24
    "hostile-state-pci": Case("hostile_state", "transport=pci", device="virtio-net-pci", quiet=True),
    # C50, C126, C127, C134, TR-01, TR-11, RST-01, VQ-24
    "hostile-state-mmio": Case("hostile_state", "transport=mmio", device="virtio-net-device", quiet=True),
    # C125, C137-C139, NET-05, NET-06, NET-07, NET-10, NET-16
    "hostile-frames-pci": Case("hostile_frames", "transport=pci", device="virtio-net-pci", quiet=True),
    # C125, C137-C139, NET-05, NET-06, NET-07, NET-10, NET-16
    "hostile-frames-mmio": Case("hostile_frames", "transport=mmio", device="virtio-net-device", quiet=True),
    # C133, RST-01, VQ-09, VQ-11
    "hostile-races-pci": Case("hostile_races", "transport=pci", device="virtio-net-pci", cpus=2, quiet=True, limit=120),
    # C133, RST-01, VQ-09, VQ-11
    "hostile-races-mmio": Case("hostile_races", "transport=mmio", device="virtio-net-device", cpus=2, quiet=True,
                               limit=120),
    # A byte is an exit to the VMM, which on some hosts takes 20 us. More than the VMM's buffer and a pipe hold.
    "flood-file": Case("flood", flood=512 << 10, flood_to="file", limit=120),
    "flood-pipe": Case("flood", flood=512 << 10, flood_to="pipe", limit=120),
}


def command_line(options, case):
    append = case.append + (f" bytes={case.flood}" if case.flood else "")
    if case.device:
        vmm = "qemu" if options.vmm == "qemu" else "tapir"
        append += f" mac=0x{MAC.replace(':', '')} mmio={MMIO[vmm]} frames={case.frames}"
    if options.vmm == "qemu":
        machine = "microvm,acpi=on,rtc=on" if case.device == "virtio-net-device" else "q35"
        words = ["qemu-system-x86_64", "-M", machine, "-accel", "tcg",
                 "-global", "virtio-mmio.force-legacy=false", "-global", "virtio-net-pci.disable-legacy=on"]
    else:
        words = [options.vmm]
    guest = case.guest if "." in case.guest else case.guest + ".elf"
    words += ["-kernel", os.path.join(options.guests, guest), "-append", append.strip(),
              "-m", str(case.memory), "-smp", str(case.cpus), "-nographic"]
    if case.initrd:
        words += ["-initrd", case.initrd.format(options.guests)]
    if not case.reboots:
        words.append("-no-reboot")
    if case.device:
        words += ["-netdev", f"tap,id=n0,ifname={TAP},script=no,downscript=no",
                  "-device", f"{case.device},netdev=n0,mac={MAC}"]
    else:
        words += ["-nic", "none"]
    return words + list(case.options)


class Judge:
    """Reads the guest's lines and says at the end what was wrong with them."""

    def __init__(self):
        self.starts = 0
        self.ended = False
        self.ways = collections.Counter()  # in which the guest reset the machine
        self._planned = 0
        self._seen = 0
        self.faults = []
        self.skipped = []

    def line(self, line):
        print("  " + line, flush=True)
        if plan := re.fullmatch(r".*TAPIR-GUEST 1 PLAN (\d+)", line):  # firmware may have begun the line
            self._close()
            self.starts += 1
            self.ended = False
            self._planned, self._seen = int(plan[1]), 0
        elif re.match(r"(PASS|FAIL|SKIP) ", line):
            self._seen += 1
            if line.startswith("FAIL"):
                self.faults.append(line)
            if line.startswith("SKIP"):
                self.skipped.append(line)
        elif way := re.fullmatch(r"INFO way 0x(\d)", line):
            self.ways[int(way[1])] += 1
        elif line == "END":
            self.ended = True

    def _close(self):
        if self.starts and not self.ended:
            self.faults.append("the guest began anew before its END")
        if self.starts and self._seen != self._planned:
            self.faults.append(f"{self._planned} checks were planned, {self._seen} were made")

    def judge_stream(self, stream):
        """Of a guest that resets the machine in the ways that the stream's frames name."""
        print(f"  {stream.sent} frames sent, {stream.returned} came back; resets by way: {sorted(self.ways.items())}")
        if stream.returned < self.starts:
            self.faults.append(f"{stream.returned} frames came back from a guest that started {self.starts} times")
        for way in range(stream.WAYS):
            # Frames that wait in the tap's queue may be of the boot before, so the counts need not be equal.
            if self.ways[way] * stream.WAYS * 2 < self.starts:
                self.faults.append(f"only {self.ways[way]} of {self.starts} resets were by way {way}")

    def finish(self):
        if not self.starts:
            self.faults.append("the guest said nothing")
        elif not self.ended:
            self.faults.append("the guest died before its END")
        self._close()


def run_case(options, case):
    """Runs one guest; returns its faults and skips."""
    judge = Judge()
    echo = Echo(case.frames, 1 if case.counted else 0) if case.frames else None
    stream = Stream(lambda: judge.starts) if case.stream else None
    words = command_line(options, case)
    print("  $ " + " ".join(words), flush=True)
    vmm = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    selector = selectors.DefaultSelector()
    selector.register(vmm.stdout, selectors.EVENT_READ)
    if echo:
        selector.register(echo, selectors.EVENT_READ)
    start = time.monotonic()
    deadline = start + case.limit
    pending = b""
    if stream:
        stream.start()
    try:
        while time.monotonic() < deadline:
            for key, _ in selector.select(timeout=0.5):
                if key.fileobj is echo:
                    echo.receive()
                    if echo.waits_for_release():
                        judge.faults += counters.judge(vmm, echo)
                        echo.release()
                    continue
                chunk = os.read(vmm.stdout.fileno(), 4096)
                if not chunk:
                    selector.unregister(vmm.stdout)
                    deadline = 0.0
                    break
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace").rstrip("\r")
                    judge.line(text)
                    if echo and text == "INFO ready":
                        echo.fill()
            if case.reboots and judge.starts > case.reboots and judge.ended:
                break
        if case.reboots:
            vmm.terminate()
        status = vmm.wait(timeout=10 if deadline == 0.0 or case.reboots else 0.1)
        errors = vmm.stderr.read().decode(errors="replace").strip()
        for line in errors.splitlines():
            print("  stderr: " + line)
        judge_status(options, case, judge, status)
        seconds = 1 + time.monotonic() - start
        if case.quiet and len(errors.splitlines()) > case.MOST_LINES * seconds:
            judge.faults.append(f"the VMM wrote {len(errors.splitlines())} lines in {seconds:.0f} s")
    except subprocess.TimeoutExpired:
        judge.faults.append(f"the VMM still ran after {case.limit} s")
    finally:
        vmm.kill()
        vmm.wait()
        if stream:
            stream.stop()
    judge.finish()
    if stream:
        judge.judge_stream(stream)
    if echo and (fault := echo.finish()):
        judge.faults.append(fault)
    return judge.faults, judge.skipped


def resident_bytes(pid):
    """Without pages of files, which come as code is run for the first time. From the page tables: the counters of
    /proc/PID/status are late by some pages for each CPU. 0 of a process that has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(r"^Anonymous: *(\d+) kB", file.read(), re.MULTILINE)[1]) << 10
    except (OSError, TypeError):
        return 0


def watch_memory(vmm, limit, peek):
    """Until the VMM has ended: its memory when `peek` has seen the guest's END, and the most that it had afterwards."""
    at_end = most = 0
    deadline = time.monotonic() + limit
    while vmm.poll() is None:
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(vmm.args, limit)
        if at_end or b"\nEND\n" in peek():
            most = max(most, resident_bytes(vmm.pid))
            at_end = at_end or most
        time.sleep(0.05)
    return at_end, most


def run_flood(options, case):
    """Runs a guest that prints much, into a file, or into a pipe that nobody reads."""
    judge = Judge()
    words = command_line(options, case)
    print("  $ " + " ".join(words), flush=True)
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        if case.flood_to == "file":
            reading = stack.enter_context(tempfile.TemporaryFile())
            writing = os.dup(reading.fileno())
        else:
            ends = os.pipe()
            reading = stack.enter_context(open(ends[0], "rb", buffering=0))
            writing = ends[1]
        seen = b""

        def peek():
            nonlocal seen
            if case.flood_to == "file":
                seen = os.pread(reading.fileno(), 4096, 0)
            elif select.select([reading], [], [], 0)[0]:
                seen += os.read(reading.fileno(), 4096)
            return seen

        vmm = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=writing, stderr=errors)
        os.close(writing)
        try:
            at_end, most = watch_memory(vmm, case.limit, peek)
        except subprocess.TimeoutExpired:
            return [f"the VMM still ran after {case.limit} s"], []
        finally:
            vmm.kill()
            vmm.wait()
        output = os.pread(reading.fileno(), case.flood * 2, 0) if case.flood_to == "file" else seen + reading.read()
        errors.seek(0)
        message = errors.read().decode(errors="replace").strip()
    protocol, _, flood = output.partition(b"\nEND\n")
    for line in protocol.decode(errors="replace").splitlines() + ["END"]:
        judge.line(line)
    judge.finish()
    judge_status(options, case, judge, vmm.returncode)
    judge_flood(case, judge, flood, message, (at_end, most))
    return judge.faults, judge.skipped


def judge_flood(case, judge, flood, message, memory):
    """What came out is the beginning of what was printed, the VMM knows how much did not, and did not grow for it."""
    at_end, most = memory
    lost = re.search(r"(\d+) bytes of the guest's serial output were lost: (.*)", message)
    print(f"  {len(flood)} of {case.flood} bytes came out; stderr: {message or 'nothing'}")
    print(f"  resident memory: {at_end >> 10} KiB at the guest's END, {most >> 10} KiB at most afterwards")
    letters = b"abcdefghijklmnopqrstuvwxyz"
    if flood != (letters * (len(flood) // len(letters) + 1))[:len(flood)]:
        judge.faults.append("what came out is not what the guest printed")
    if len(flood) + (int(lost[1]) if lost else 0) != case.flood:
        judge.faults.append("what came out and what is said to be lost are not what was printed")
    if (case.flood_to == "pipe") != bool(lost):
        judge.faults.append("bytes were lost" if lost else "nothing was lost, though nobody read")
    if not at_end or most - at_end > at_end * 5 // 100:
        judge.faults.append("the VMM grew by more than 5 % while the guest printed")


def judge_status(options, case, judge, status):
    if case.reboots:
        if judge.starts <= case.reboots:
            judge.faults.append(f"the guest started {judge.starts} times, not {case.reboots + 1} or more")
        return
    expected = 0 if options.vmm == "qemu" else case.status
    if status != expected:
        judge.faults.append(f"the VMM's exit status is {status}, not {expected}")


def skip(reason):
    """What is missing is a failure where it has to be there."""
    must = os.environ.get("TAPIR_TESTS_MUST_RUN") == "1"
    print(f"{'FAIL' if must else 'SKIP'}: {reason}")
    sys.exit(1 if must else 77)


def prepare(options, cases):
    if options.vmm != "qemu" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        skip("/dev/kvm cannot be opened by this user")
    if not any(case.device for case in cases):
        return
    if os.environ.pop(NAMESPACE_MARK, None):
        # The host's own frames of IPv6 would be counted as well.
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6", "w", encoding="ascii") as file:
            file.write("1" if any(case.counted for case in cases) else "0")
        for words in (["tuntap", "add", TAP, "mode", "tap"], ["link", "set", TAP, "up"]):
            subprocess.run(["ip", *words], check=True)
        return
    if os.geteuid() != 0:
        skip("only root can make a tap")
    os.environ[NAMESPACE_MARK] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--guests", required=True)
    parser.add_argument("case", nargs="+", choices=list(CASES))
    options = parser.parse_args()
    prepare(options, [CASES[name] for name in options.case])
    outcome = 0
    for name in options.case:
        print(f"{name}:")
        run = run_flood if CASES[name].flood else run_case
        faults, skipped = run(options, CASES[name])
        for fault in faults:
            print(f"  !! {fault}")
        print(f"{'FAIL' if faults else 'SKIP' if skipped else 'PASS'} {name}")
        if faults:
            outcome = 1
        elif skipped and not outcome:
            outcome = 1 if os.environ.get("TAPIR_TESTS_MUST_RUN") == "1" else 77
    return outcome


if __name__ == "__main__":
    sys.exit(main())
