#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TCP and UDP through a guest under tapir and under QEMU (-M q35 -enable-kvm): the same kernel, initrd, tap options,
bridge and host, all guests up at once and measured in turns, the order changing from round to round.

    compare.py --vmm tapir --kernels build/kernels --initrds DIR --logs DIR [--rounds 5] [--seconds 4] [--cpus 1]
      [--traffic tcp|udp|all] [--vhost] [--helper PROGRAM]

--vhost: a third guest, under QEMU with its frames moved by the kernel's vhost-net. --helper, tapir's bridge helper: instead
of a tap that is there, all have the options `-net nic,model=virtio -net bridge`, each VMM with its own helper.

Prints every measurement, then for each kind of traffic all medians with their range, and tapir's share of each other's.
A measurement that does not end is made again with a guest that is started anew, twice at most: a line beginning with REPEAT
says so and what the VMM's threads did, and the last lines count them.
"""

import argparse
import dataclasses
import os
import statistics
import typing

import installation
import traffic
from guest import EmulationError, Guest, GuestError, Network, Recipe, host, launch_line, run_in_own_network

REPEATS = 2  # of one measurement
# KVM's, of the guest: how often it left the CPU, stood still, got an interrupt.
COUNTS = ("exits", "halt_exits", "irq_injections")


@dataclasses.dataclass
class Kind:
    """Something to be measured: its figure, and a note on it."""
    name: str
    unit: str
    measure: typing.Callable[[str, int], tuple]


def streams(to_guest):
    return lambda address, seconds: (traffic.iperf3(address, seconds, to_guest) / 1e6, "")


def datagrams(to_guest):
    def measure(address, seconds):
        rate, lost = traffic.iperf3_datagrams(address, seconds, to_guest)
        return rate, f"{lost:.1f} % lost"
    return measure


KINDS = {"tcp": (Kind("TCP, guest to host", "Mbit/s", streams(False)), Kind("TCP, host to guest", "Mbit/s", streams(True))),
         "udp": (Kind("UDP 64 B, guest to host", "1/s", datagrams(False)),
                 Kind("UDP 64 B, host to guest", "1/s", datagrams(True)))}


class Contender:
    """A VMM and the guest that runs under it."""

    def __init__(self, options, name, number):
        self.name = name
        self.repeats = 0
        self._tap = f"t{number}"
        mac = f"52:54:00:66:00:{number + 2:02x}"
        self._recipe = Recipe(vmm=options.vmm if name == "tapir" else "qemu",
                              kernel=os.path.join(options.kernels, options.kernel, "vmlinuz"),
                              initrd=os.path.join(options.initrds, f"{options.kernel}.initrd"), tap=self._tap,
                              address=f"10.66.0.{number + 2}", mac=mac, cpus=options.cpus,
                              network=self._network_words(options, mac))
        self._log = os.path.join(options.logs, f"compare-{name}")
        self._starts = 0
        self._guest = None

    def _network_words(self, options, mac):
        """What joins the guest to br0."""
        if options.helper:
            helper = "" if self.name == "tapir" else f",helper={installation.QEMU_HELPER}"
            return ("-net", f"bridge{helper}", "-net", f"nic,model=virtio,macaddr={mac}")
        vhost = {"qemu": ",vhost=off", "vhost": ",vhost=on"}.get(self.name, "")
        return ("-netdev", f"tap,id=n0,ifname={self._tap},script=no,downscript=no{vhost}",
                "-device", f"virtio-net-pci,netdev=n0,mac={mac}")

    @property
    def tap(self):
        return self._tap

    def start(self):
        self._starts += 1
        self._guest = Guest(launch_line(self._recipe), f"{self._log}-{self._starts}.log")

    def wait_ready(self):
        self._again("boot", lambda: self._guest.wait_ready(240))

    def measure(self, kind, seconds):
        """The kind's figure, and a note with what KVM counted for the guest meanwhile."""
        def attempt():
            before = {name: self._guest.kvm_count(name) for name in COUNTS}
            value, note = kind.measure(self._recipe.address, seconds)
            counts = ", ".join(f"{(self._guest.kvm_count(name) - before[name]) / seconds:.0f} {name}/s" for name in COUNTS)
            return value, ", ".join(filter(None, (note, counts)))
        return self._again(kind.name, attempt)

    def _again(self, what, attempt):
        """What `attempt` gives, at its last try with a new guest."""
        for _ in range(REPEATS):
            try:
                return attempt()
            except (GuestError, EmulationError) as error:
                self.repeats += 1
                print(f"REPEAT {self.name}, {what}: {error}\n"
                      f"  threads: {self._guest.threads()}\n"
                      f"  answer on the serial port: {self._answer()}\n"
                      f"  {self._counters()}", flush=True)
                self.kill()
                self.start()
                if what != "boot":
                    self._guest.wait_ready(240)
        return attempt()

    def _answer(self):
        try:
            return self._guest.run("grep -h virtio /proc/interrupts; cat /proc/uptime; "
                                   "cat /sys/class/net/eth0/statistics/[rt]x_packets", 10)[1].replace("\n", "; ")
        except (GuestError, EmulationError) as error:
            return error

    def _counters(self):
        lines = host("ip", "-s", "link", "show", self._tap, check=False).splitlines()
        return "\n  ".join(line.strip() for line in lines[2:])

    def power_off(self):
        self._guest.power_off()

    def kill(self):
        if self._guest:
            self._guest.kill()


def measure(options, contenders, kinds):
    values = {(each.name, kind.name): [] for each in contenders for kind in kinds}
    for turn in range(options.rounds):
        for kind in kinds:
            for each in contenders if turn % 2 == 0 else reversed(contenders):
                value, note = each.measure(kind, options.seconds)
                values[each.name, kind.name].append((value, note))
                print(f"round {turn + 1}  {kind.name:23}  {each.name:5}  {value:8.0f} {kind.unit}  {note}".rstrip(), flush=True)
    return values


def report(contenders, kinds, values):
    """A line for each kind and VMM: all figures are of the same run."""
    titles = {"tapir": "tapir", "qemu": "QEMU", "vhost": "QEMU, vhost"}
    print(f"\n{'':25}{'':13}{'median':>9}{'min':>9}{'max':>9}          tapir's share")
    for kind in kinds:
        medians = {each.name: statistics.median(value for value, _ in values[each.name, kind.name]) for each in contenders}
        for each in contenders:
            figures = [value for value, _ in values[each.name, kind.name]]
            share = "" if each.name == "tapir" else f"{medians['tapir'] / medians[each.name]:.2f}"
            notes = sorted(note for _, note in values[each.name, kind.name])
            print(f"{kind.name:25}{titles[each.name]:13}{medians[each.name]:9.0f}{min(figures):9.0f}{max(figures):9.0f} "
                  f"{kind.unit:7}  {share:5}  {notes[len(notes) // 2]}".rstrip())
    print("measured again: " + ", ".join(f"{each.name} {each.repeats}" for each in contenders))


def install_helpers(options):
    installation.cover_all()
    installation.install(options.helper, options.installer, "--setuid")
    installation.install_qemus()
    installation.allow("allow br0")
    installation.allow("allow br0", path=installation.QEMU_RULES)


def read_options():
    parser = argparse.ArgumentParser()
    for name in ("vmm", "kernels", "initrds", "logs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--kernel", default="cloud")
    parser.add_argument("--traffic", choices=("tcp", "udp", "all"), default="all")
    parser.add_argument("--vhost", action="store_true")
    parser.add_argument("--helper")
    parser.add_argument("--installer")
    options = parser.parse_args()
    if options.vhost and options.helper:
        parser.error("-net bridge has no vhost; --vhost and --helper exclude each other")
    return options


def main():
    options = read_options()
    os.makedirs(options.logs, exist_ok=True)
    host("mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug", check=False)  # in this program's own mount namespace
    network = Network()
    names = ("tapir", "qemu", "vhost") if options.vhost else ("tapir", "qemu")
    contenders = [Contender(options, name, number) for number, name in enumerate(names)]
    kinds = [kind for name, each in KINDS.items() if options.traffic in (name, "all") for kind in each]
    if options.helper:
        install_helpers(options)
    else:
        for each in contenders:
            network.add_tap(each.tap)
    try:
        for each in contenders:
            each.start()
        for each in contenders:
            each.wait_ready()
        report(contenders, kinds, measure(options, contenders, kinds))
        for each in contenders:
            each.power_off()
    except GuestError as error:
        print(f"FAIL {error}")
        return 1
    finally:
        for each in contenders:
            each.kill()
    return 0


if __name__ == "__main__":
    run_in_own_network(main)
