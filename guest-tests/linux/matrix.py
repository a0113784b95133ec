#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Linux matrix: every stock kernel x transport x number of CPUs, each guest put through the same checks.

    matrix.py --vmm tapir --kernels build/kernels --initrds DIR --logs DIR [--kernel cloud …] [--device …] [--cpus …]

Runs as root where KVM can run Linux (guest-tests/linux/run takes care of that); the VMM runs as user nobody. One line
per check, a table at the end; exit status 1 if anything failed.
"""

import argparse
import itertools
import os
import re
import time

import traffic
from guest import Guest, GuestError, Network, Recipe, host, launch_line, run_in_own_network

FILE_BYTES = 64 << 20
STREAM_SECONDS = 2
REBINDS = 20
MEMORY = 4096  # MiB: past the hole below 4 GiB
ADDRESS = "10.66.0.2"
MAC = "52:54:00:66:00:02"

# Lines of the guest's kernel log that would be about us.
COMPLAINTS = re.compile("|".join((
    r"ACPI (BIOS )?(Error|Warning|Exception|Bug)", r"ACPI: .*(invalid|bogus|incorrect|mismatch)", r"Firmware Bug",
    r"\[Firmware (Warn|Info)\]", r"MMCONFIG.*not reserved", r"APIC ID mismatch", r"PAT disabled",
    r"MP-BIOS bug", r"8254 timer not connected", r"IO-APIC.*(fail|broken)", r"BIOS (BUG|bug)", r"mtrr: your",
    r"pci.*(can't claim|no compatible bridge window|BAR.*(failed|conflict))", r"virtio.*(fail|error|timed? ?out)",
    r"NETDEV WATCHDOG", r"irq \d+: nobody cared", r"Spurious", r"\bBUG:", r"\bWARNING:", r"\bOops", r"Call Trace",
    r"soft lockup", r"rcu.*stall", r"unchecked MSR access")), re.IGNORECASE)

# What the CPU itself says about its microcode.
NOT_ABOUT_US = re.compile(r"Speculative|microcode")


class Checks:
    """The results of one guest."""

    def __init__(self, name):
        self.name = name
        self.results = []  # (check, passed)
        self.start = time.monotonic()

    def add(self, check, passed, detail=""):
        self.results.append((check, passed))
        print(f"{'PASS' if passed else 'FAIL'} {self.name} {check}{': ' + detail if detail else ''}", flush=True)

    def attempt(self, check, function):
        """`function` returns (passed, detail); a guest that does not answer fails the check."""
        try:
            self.add(check, *function())
        except GuestError as error:
            self.add(check, False, str(error))

    def passed(self):
        return all(passed for _, passed in self.results)


def output_of(guest, command, limit=60):
    status, output = guest.run(command, limit)
    if status:
        raise GuestError(f"{command}: status {status}: {output}")
    return output


def check_machine(guest, recipe):
    """As many CPUs and as much memory as asked for; the kernel keeps a few per cent for itself."""
    cpus = int(output_of(guest, "nproc"))
    total = int(output_of(guest, "awk '/^MemTotal/ { print $2 }' /proc/meminfo")) // 1024
    return (cpus == recipe.cpus and 0.93 * recipe.memory <= total <= recipe.memory,
            f"{cpus} CPUs, MemTotal {total} MiB of {recipe.memory}")


def check_link(guest, recipe):
    """Up, and on the transport that was asked for. The kernel notices the carrier up to a second after `ip link set up`."""
    output_of(guest, "i=0; until grep -q up /sys/class/net/eth0/operstate || [ $i = 50 ]; do sleep 0.2; i=$((i + 1)); done")
    state = output_of(guest, "cat /sys/class/net/eth0/operstate /sys/class/net/eth0/address").split()
    path = output_of(guest, "readlink -f /sys/class/net/eth0/device")
    on_pci = "/pci" in path
    return (state == ["up", recipe.mac] and on_pci == (recipe.device == "virtio-net-pci"), f"{state[0]}, {path}")


def check_offloads(guest):
    wanted = ("tx-checksumming", "rx-checksumming", "tcp-segmentation-offload", "tx-tcp-segmentation",
              "tx-tcp6-segmentation")
    output = output_of(guest, "ethtool -k eth0")
    states = dict(re.findall(r"^\s*(\S+): (on|off)", output, re.MULTILINE))
    off = [name for name in wanted if states.get(name) != "on"]
    return not off, f"not on: {', '.join(off)}" if off else ", ".join(wanted) + " on"


def check_ping(**options):
    loss = traffic.ping(ADDRESS, **options)
    return loss == 0, f"{loss:g} % lost"


def check_mtu(guest, network, recipe, mtu):
    """Both ends at this MTU: the largest packet passes whole, from both sides (20 + 8 bytes of headers)."""
    network.set_mtu(recipe.tap, mtu)
    output_of(guest, f"ip link set eth0 mtu {mtu}")
    loss = traffic.ping(ADDRESS, size=mtu - 28, dont_fragment=True, count=10)
    status, output = guest.run(f"ping -c 2 -W 5 -s {mtu - 28} $GATEWAY")
    return loss == 0 and status == 0 and " 0% packet loss" in output, f"{loss:g} % of {mtu}-byte packets lost"


def check_file(sums):
    return sums[0] == sums[1], f"SHA-256 {sums[0][:16]}… and {sums[1][:16]}…"


def check_stream(to_guest):
    rate = traffic.iperf3(ADDRESS, STREAM_SECONDS, to_guest)
    return rate > 1e5, f"{rate / 1e6:.0f} Mbit/s"


def check_rebind(guest):
    with traffic.Background(ADDRESS, MAC):
        status, output = guest.run(f"/rebind {REBINDS}", 180)
    return status == 0, f"{REBINDS} under traffic; done: {output.splitlines()[-1] if output else 'none'}"


def received_frames(guest):
    return int(output_of(guest, "cat /sys/class/net/eth0/statistics/rx_packets"))


def arriving(guest, tap, destination, vlan=None, count=50):
    """Whether the guest's driver sees such frames. The ping behind them, answered when they are through, is few more."""
    before = received_frames(guest)
    traffic.send_frames(tap, destination, count, vlan)
    output_of(guest, "ping -c 1 -W 5 $GATEWAY")
    return received_frames(guest) - before >= count


def check_filter(guest, tap):
    """The guest's commands decide which frames it gets: by address, promiscuous mode, multicast and VLAN."""
    foreign, group = "52:54:00:66:00:77", "01:00:5e:00:00:77"
    wrong = []

    def expect(what, wanted, *frame):
        if arriving(guest, tap, *frame) != wanted:
            wrong.append(f"{what}: {'missing' if wanted else 'delivered'}")

    expect("own address", True, MAC)
    expect("foreign address", False, foreign)
    expect("foreign group", False, group)
    expect("foreign VLAN", False, MAC, 66)
    output_of(guest, "ifconfig eth0 allmulti")
    expect("any group", True, group)
    expect("foreign address beside any group", False, foreign)
    output_of(guest, "ifconfig eth0 -allmulti; ip link set eth0 promisc on")
    expect("promiscuous, foreign address", True, foreign)
    expect("promiscuous, foreign VLAN", True, MAC, 66)
    output_of(guest, "ip link set eth0 promisc off; vconfig add eth0 66 && ip link set eth0.66 up")
    expect("joined VLAN", True, MAC, 66)
    expect("another VLAN", False, MAC, 67)
    output_of(guest, "vconfig rem eth0.66")
    expect("left VLAN", False, MAC, 66)
    return not wrong, "; ".join(wrong) or "by address, group, VLAN and promiscuous mode"


def check_new_address(guest, tap):
    """A changed address is answered to, and the old one is foreign then."""
    new = "52:54:00:66:00:88"
    output_of(guest, f"ip link set eth0 address {new}")
    host("ip", "neighbor", "flush", "dev", "br0")
    passed = arriving(guest, tap, new) and not arriving(guest, tap, MAC) and traffic.ping(ADDRESS, count=5) == 0
    output_of(guest, f"ip link set eth0 address {MAC}")
    host("ip", "neighbor", "flush", "dev", "br0")
    return passed and traffic.ping(ADDRESS, count=5) == 0, f"{new}, and back"


def check_guest_offloads(guest, tap):
    """What the guest switches off, the host stops doing, and does again."""
    def segmentation():
        states = re.findall(r"tx-tcp-segmentation: (on|off)", host("ethtool", "-k", tap))
        return states[0] if states else "unknown"

    states = [segmentation()]
    for state in ("off", "on"):
        output_of(guest, f"ethtool -K eth0 rx-gro-hw {state}")
        states.append(segmentation())
    return states == ["on", "off", "on"], f"TSO of the tap: {', '.join(states)}"


def judged_lines(log):
    """The kernel log without what is not about us."""
    return [line for line in log.splitlines() if not NOT_ABOUT_US.search(line)]


def check_log(guest, path):
    log = traffic.kernel_log(guest)
    with open(path, "w", encoding="utf-8") as file:
        file.write(log)
    found = [line for line in judged_lines(log) if COMPLAINTS.search(line)]
    return not found and len(log) > 1000, " | ".join(found) or f"{len(log.splitlines())} lines, no complaint"


def run_guest(options, network, kernel, device, cpus):
    checks = Checks(f"{kernel}/{device}/{cpus}")
    log = os.path.join(options.logs, f"{kernel}-{device}-{cpus}cpu.log")
    network.set_mtu("t0", 9000)  # a guest learns the tap's MTU when it starts, and may not go above it
    recipe = Recipe(vmm=options.vmm, kernel=os.path.join(options.kernels, kernel, "vmlinuz"),
                    initrd=os.path.join(options.initrds, f"{kernel}.initrd"), tap="t0", address=ADDRESS, mac=MAC,
                    device=device, cpus=cpus, memory=MEMORY)
    with Guest(launch_line(recipe), log) as guest:
        try:
            checks.add("boot", True, f"{guest.wait_ready(180):.0f} s to the first command")
        except GuestError as error:
            checks.add("boot", False, str(error))
            return checks
        attempt = checks.attempt
        attempt("machine", lambda: check_machine(guest, recipe))
        attempt("link", lambda: check_link(guest, recipe))
        attempt("offloads", lambda: check_offloads(guest))
        attempt("ping", check_ping)
        attempt("mtu-9000", lambda: check_mtu(guest, network, recipe, 9000))
        attempt("file-in", lambda: check_file(traffic.send_file(guest, FILE_BYTES)))
        attempt("mtu-1500", lambda: check_mtu(guest, network, recipe, 1500))
        attempt("file-out", lambda: check_file(traffic.receive_file(guest)))
        attempt("iperf3-out", lambda: check_stream(to_guest=False))
        attempt("iperf3-in", lambda: check_stream(to_guest=True))
        attempt("filter", lambda: check_filter(guest, recipe.tap))
        attempt("new-address", lambda: check_new_address(guest, recipe.tap))
        attempt("guest-offloads", lambda: check_guest_offloads(guest, recipe.tap))
        attempt("rebind", lambda: check_rebind(guest))
        attempt("offloads-after", lambda: check_offloads(guest))
        attempt("ping-after", check_ping)
        attempt("kernel-log", lambda: check_log(guest, log.replace(".log", ".dmesg")))
        attempt("power-off", lambda: ((status := guest.power_off()) == 0, f"exit status {status}"))
    return checks


def print_table(all_checks):
    names = []
    for checks in all_checks:
        names += [name for name, _ in checks.results if name not in names]
    width = max(len(checks.name) for checks in all_checks)
    print("\n" + " " * width + "  " + " ".join(names))
    for checks in all_checks:
        results = dict(checks.results)
        cells = ["." if name not in results else "ok" if results[name] else "FAIL" for name in names]
        print(f"{checks.name:{width}}  " +
              " ".join(f"{cell:{len(name)}}" for cell, name in zip(cells, names)) + f"  {checks.seconds:.0f} s")


def main():
    parser = argparse.ArgumentParser()
    for name in ("vmm", "kernels", "initrds", "logs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--kernel", nargs="+", default=["cloud", "amd64"])
    parser.add_argument("--device", nargs="+", default=["virtio-net-pci", "virtio-net-device"])
    parser.add_argument("--cpus", nargs="+", type=int, default=[1, 2])
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    network = Network()
    network.add_tap("t0")
    all_checks = []
    for kernel, device, cpus in itertools.product(options.kernel, options.device, options.cpus):
        checks = run_guest(options, network, kernel, device, cpus)
        checks.seconds = time.monotonic() - checks.start
        all_checks.append(checks)
    print_table(all_checks)
    failed = [checks.name for checks in all_checks if not checks.passed()]
    print(f"{len(all_checks) - len(failed)} of {len(all_checks)} guests passed"
          + (f"; failed: {' '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    run_in_own_network(main)
