#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Linux guests of an ordinary user on bridges, through the bridge helper: every way to ask for one, both installations,
QEMU's helper under tapir and tapir's under QEMU, and what the rules isolate and lock mean for guests.

    bridge.py --vmm tapir --helper PROGRAM --installer tools/install-helper --kernels DIR --initrds DIR --logs DIR [PART…]

One line per check; exit status 1 if anything failed.
"""

import argparse
import contextlib
import os
import pathlib
import re
import socket
import time

import installation
import traffic
from guest import (HOST_ADDRESS, HOST_MAC, USER, Guest, GuestError, Network, Recipe, host, launch_line,
                   run_in_own_network)
from matrix import Checks, check_offloads

OURS, QEMUS = installation.HELPER, installation.QEMU_HELPER


def addresses(number):
    """Of NIC `number`: its MAC address, and the two ends of a subnet of its own."""
    return f"52:54:00:66:{number:02x}:02", f"10.66.{number}.1", f"10.66.{number}.2"


class Bench:
    """What all parts have: programs, bridges br0 and br1, and a place for logs."""

    def __init__(self, options, name="bridge"):
        self.options = options
        self.name = name
        self.checks = Checks(name)
        Network()
        host("ip", "link", "add", "br1", "type", "bridge")
        host("ip", "link", "set", "br1", "up")

    def guest(self, name, *network, vmm=None, cpus=1):
        options = self.options
        recipe = Recipe(vmm=vmm or options.vmm, kernel=os.path.join(options.kernels, "cloud/vmlinuz"),
                        initrd=os.path.join(options.initrds, "cloud.initrd"), network=network, cpus=cpus, memory=256)
        return Guest(launch_line(recipe), os.path.join(options.logs, f"{self.name}-{name}.log"))

    def nothing_left(self):
        """No port is on any bridge a moment after the last guest ended."""
        deadline = time.monotonic() + 5
        while (ports := host("bridge", "link", "show")) and time.monotonic() < deadline:
            time.sleep(0.1)
        return not ports, ports or "no port on any bridge"


def set_up_nics(guest, nics):
    """Gives each NIC of `nics` (number: bridge) its address in the guest, and its bridge the other end."""
    for number, bridge in nics.items():
        mac, ours, theirs = addresses(number)
        if ours not in host("ip", "address", "show", "dev", bridge):
            host("ip", "address", "add", f"{ours}/24", "dev", bridge)
        guest.run(f"for nic in /sys/class/net/*; do if [ $(cat $nic/address) = {mac} ]; then "
                  f"ip address add {theirs}/24 dev $(basename $nic); ip link set $(basename $nic) up; fi; done")


def check_pings(nics):
    lost = {number: traffic.ping(addresses(number)[2], count=10) for number in nics}
    return not any(lost.values()), f"% lost by NIC: {lost}"


def with_mac(number):
    return f"mac={addresses(number)[0]}"


def run_one(bench, name, nics, *network, vmm=None):
    """A guest with NICs {number: bridge}: it must boot, ping on each, and leave nothing on the bridges."""
    attempt = bench.checks.attempt
    with bench.guest(name, *network, vmm=vmm) as guest:
        try:
            bench.checks.add(f"{name} boot", True, f"{guest.wait_ready(180):.0f} s")
            set_up_nics(guest, nics)
        except GuestError as error:
            bench.checks.add(f"{name} boot", False, str(error))
            return
        attempt(f"{name} ping", lambda: check_pings(nics))
        if vmm != "qemu":
            attempt(f"{name} offloads", lambda: check_offloads(guest))
        attempt(f"{name} power-off", lambda: ((status := guest.power_off()) == 0, f"exit status {status}"))
    attempt(f"{name} leaves nothing", bench.nothing_left)


def every_form(bench):
    """The four forms of the original patches, each on the default bridge and on another; both installations; and
    Debian's helper."""
    installation.allow("allow br0", "allow br1")
    installation.allow("allow br0", "allow br1", path=installation.QEMU_RULES)
    bench.checks.add("install setuid", "set-user-ID" in install(bench, "--setuid"))
    run_one(bench, "net-bridge", {10: "br0", 11: "br0", 12: "br1", 13: "br0", 14: "br1"},
            "-net", "bridge", "-net", f"nic,model=virtio,macaddr={addresses(10)[0]}",
            "-netdev", "bridge,id=n1", "-device", f"virtio-net-pci,netdev=n1,{with_mac(11)}",
            "-netdev", "bridge,id=n2,br=br1", "-device", f"virtio-net-pci,netdev=n2,{with_mac(12)}",
            "-netdev", f"tap,id=n3,helper={OURS}", "-device", f"virtio-net-pci,netdev=n3,{with_mac(13)}",
            "-netdev", f"tap,id=n4,helper={OURS} --br=br1", "-device", f"virtio-net-device,netdev=n4,{with_mac(14)}")
    bench.checks.add("install setcap", "cap_net_admin" in install(bench, "--setcap"))
    run_one(bench, "net-tap-helper", {20: "br1", 21: "br0", 22: "br1", 23: "br0"},
            "-net", f"tap,helper={OURS},br=br1", "-net", f"nic,model=virtio,macaddr={addresses(20)[0]}",
            "-netdev", f"bridge,id=n1,helper={QEMUS}", "-device", f"virtio-net-pci,netdev=n1,{with_mac(21)}",
            "-netdev", f"tap,id=n2,helper={QEMUS} --br=br1", "-device", f"virtio-net-pci,netdev=n2,{with_mac(22)}",
            "-netdev", "bridge,id=n3,queues=2", "-device", f"virtio-net-pci,netdev=n3,{with_mac(23)}")
    run_one(bench, "net-bridge-br1", {30: "br1"},
            "-net", "bridge,br=br1", "-net", f"nic,model=virtio,macaddr={addresses(30)[0]}")
    run_one(bench, "net-tap-helper-default", {31: "br0"},
            "-net", f"tap,helper={OURS}", "-net", f"nic,model=virtio,macaddr={addresses(31)[0]}")
    run_one(bench, "qemu", {40: "br0", 41: "br1"},
            "-netdev", f"bridge,id=n0,helper={OURS}", "-device", f"virtio-net-pci,netdev=n0,{with_mac(40)}",
            "-netdev", f"bridge,id=n1,br=br1,helper={OURS}", "-device", f"virtio-net-pci,netdev=n1,{with_mac(41)}",
            vmm="qemu")


def install(bench, mode):
    return installation.install(bench.options.helper, bench.options.installer, mode)


def refusals(bench):
    """The helper's own words reach the user, status 1, and nothing is left."""
    def refused(words, *network):
        with bench.guest("refused", *network) as guest:
            status = guest.wait_end(30)
            said = guest.last_error()
        return status == 1 and all(word in said for word in words), said

    pair = ("-net", "bridge", "-net", "nic,model=virtio")
    installation.allow("deny br0")
    bench.checks.attempt("denied", lambda: refused(("access denied", f"{installation.RULES}:1", "br0"), *pair))
    installation.allow("allow br0", "nonsense")
    bench.checks.attempt("bad rules", lambda: refused((f"{installation.RULES}:2",), *pair))
    os.chmod(OURS, 0o755)
    host("setcap", "-r", OURS, check=False)
    installation.allow("allow br0")
    bench.checks.attempt("no privilege", lambda: refused(("install-helper",), *pair))
    install(bench, "--setuid")


def through_sudo(bench):
    """A helper without privilege of its own, run by sudo, which passes only the standard descriptors on; the rules see
    root."""
    sudoers = pathlib.Path("/etc/sudoers.d/tapir-test")
    sudoers.write_text(f"{USER} ALL=(root) NOPASSWD: {OURS}\n", encoding="ascii")
    sudoers.chmod(0o440)
    host("setcap", "-q", "-r", OURS, check=False)
    os.chmod(OURS, 0o755)
    installation.allow("allow br0 user root", "allow br1 user root")
    run_one(bench, "sudo", {50: "br0", 51: "br1"},
            "-net", f"tap,helper=sudo -n {OURS}", "-net", f"nic,model=virtio,macaddr={addresses(50)[0]}",
            "-netdev", f"bridge,id=n1,br=br1,helper=sudo -n {OURS}", "-device", f"virtio-net-pci,netdev=n1,{with_mac(51)}")
    install(bench, "--setuid")


FILL = 0x5A


def heard(guest, source):
    """How many of five echo requests, filled with FILL, arrive at br0 from the address `source`."""
    address = bytes.fromhex(source.replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as capture:  # ETH_P_ALL
        capture.bind(("br0", 0))
        guest.run(f"ping -c 5 -i 0.2 -W 1 -s 200 -p {FILL:02x} {HOST_ADDRESS}")
        capture.settimeout(1)
        found = 0
        with contextlib.suppress(TimeoutError):
            while True:
                frame = capture.recv(2000)
                found += frame[6:12] == address and bytes([FILL] * 100) in frame
    return found


def isolated_and_locked(bench):
    """Two guests on a bridge that isolates and locks: both reach the host, neither the other, and one that sends from the
    other's address is not heard at all."""
    installation.allow("allow br0", "isolate br0", "lock br0")
    attempt = bench.checks.attempt
    network = [("-net", "bridge", "-net", f"nic,model=virtio,macaddr=52:54:00:66:00:1{number}") for number in range(2)]
    with bench.guest("locked-0", *network[0]) as first, bench.guest("locked-1", *network[1]) as second:
        for number, guest in enumerate((first, second)):
            guest.wait_ready(240)
            guest.run(f"ip address add 10.66.0.1{number}/24 dev eth0; ip link set eth0 up; "
                      f"ip neighbor replace {HOST_ADDRESS} lladdr {HOST_MAC} dev eth0")
        attempt("both reach the host", lambda: ((lost := [traffic.ping(f"10.66.0.1{n}", count=5) for n in range(2)]) ==
                                                [0, 0], f"% lost: {lost}"))
        attempt("isolated from each other", lambda: ((result := first.run("ping -c 3 -W 1 10.66.0.11"))[0] != 0,
                                                     result[1].splitlines()[-1]))
        attempt("own address is heard", lambda: ((n := heard(first, "52:54:00:66:00:10")) == 5, f"{n} of 5 frames"))
        first.run("ip link set eth0 down; ip link set eth0 address 52:54:00:66:00:11; ip link set eth0 up; sleep 1; "
                  f"ip neighbor replace {HOST_ADDRESS} lladdr {HOST_MAC} dev eth0")
        attempt("the other's address is not", lambda: ((n := heard(first, "52:54:00:66:00:11")) == 0, f"{n} of 5 frames"))
        attempt("the other is not disturbed", lambda: ((lost := traffic.ping("10.66.0.11", count=5)) == 0,
                                                       f"{lost} % lost"))
    attempt("locked leaves nothing", bench.nothing_left)


def down_helper(bench):
    """It runs even after SIGKILL, as the user, and is told bridge and tap."""
    installation.allow("allow br0")
    folder = pathlib.Path(bench.options.kernels) / "down"
    folder.mkdir()
    os.chmod(folder, 0o777)
    script = folder / "script"
    script.write_text(f'#!/bin/sh\necho "$(id -un) $*" > {folder}/ran\n', encoding="ascii")
    script.chmod(0o755)
    with bench.guest("down", "-netdev", f"bridge,id=n0,down-helper={script} -x", "-device",
                     "virtio-net-pci,netdev=n0") as guest:
        guest.wait_ready(180)
        guest.kill()

    def ran():
        deadline = time.monotonic() + 10
        while not (folder / "ran").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        text = (folder / "ran").read_text().strip() if (folder / "ran").exists() else "it did not run"
        return bool(re.fullmatch(rf"{USER} -x --br=br0 --ifname=tap\d+", text)), text

    bench.checks.attempt("down-helper after SIGKILL", ran)
    bench.checks.attempt("down leaves nothing", bench.nothing_left)


PARTS = {"forms": every_form, "refusals": refusals, "sudo": through_sudo, "locked": isolated_and_locked, "down": down_helper}


def read_options(parts):
    """The command line of this program, or of one like it with other parts; makes the folder of logs."""
    parser = argparse.ArgumentParser()
    for name in ("vmm", "helper", "installer", "kernels", "initrds", "logs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    return options


def report(checks):
    """The last line, and the exit status."""
    passed = sum(passed for _, passed in checks.results)
    print(f"{passed} of {len(checks.results)} checks passed")
    return 0 if checks.passed() else 1


def main():
    options = read_options(PARTS)
    installation.cover_all()
    bench = Bench(options)
    installation.install_qemus()
    install(bench, "--setuid")
    for part in options.parts or PARTS:
        PARTS[part](bench)
    return report(bench.checks)


if __name__ == "__main__":
    run_in_own_network(main)
