#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TCP through a guest under tapir and under QEMU (-M q35 -enable-kvm): the same kernel, initrd, tap options, bridge
and host, both guests up at once and measured in turns, the order changing from round to round.

    compare.py --vmm tapir --kernels build/kernels --initrds DIR --logs DIR [--rounds 5] [--seconds 4] [--cpus 1]
      [--vhost] [--helper PROGRAM]

--vhost: QEMU's frames are moved by the kernel's vhost-net. --helper, tapir's bridge helper: instead of a tap that is there,
both have the options `-net nic,model=virtio -net bridge`, each with its own helper.

Prints every measurement, then for each direction both medians with their range, and tapir's share of QEMU's.
"""

import argparse
import os
import statistics

import installation
import traffic
from guest import Guest, GuestError, Network, Recipe, launch_line, run_in_own_network

DIRECTIONS = (("guest to host", False), ("host to guest", True))


def network_words(options, name, tap, mac):
    """What joins the guest to br0."""
    if options.helper:
        helper = f",helper={installation.QEMU_HELPER}" if name == "qemu" else ""
        return ("-net", f"bridge{helper}", "-net", f"nic,model=virtio,macaddr={mac}")
    vhost = ",vhost=on" if name == "qemu" and options.vhost else ""
    return ("-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no{vhost}",
            "-device", f"virtio-net-pci,netdev=n0,mac={mac}")


def recipe_for(options, name, number):
    mac = f"52:54:00:66:00:{number + 2:02x}"
    return Recipe(vmm="qemu" if name == "qemu" else options.vmm,
                  kernel=os.path.join(options.kernels, options.kernel, "vmlinuz"),
                  initrd=os.path.join(options.initrds, f"{options.kernel}.initrd"), tap=f"t{number}",
                  address=f"10.66.0.{number + 2}", mac=mac, cpus=options.cpus,
                  network=network_words(options, name, f"t{number}", mac))


def measure(options, recipes):
    rates = {(name, direction): [] for name in recipes for direction, _ in DIRECTIONS}
    for turn in range(options.rounds):
        names = list(recipes) if turn % 2 == 0 else list(reversed(recipes))
        for direction, to_guest in DIRECTIONS:
            for name in names:
                rate = traffic.iperf3(recipes[name].address, options.seconds, to_guest) / 1e6
                rates[name, direction].append(rate)
                print(f"round {turn + 1}  {direction}  {name:5}  {rate:8.0f} Mbit/s", flush=True)
    return rates


def report(rates):
    print("\nMbit/s              tapir median (range)          QEMU median (range)           tapir / QEMU")
    for direction, _ in DIRECTIONS:
        cells, medians = [], []
        for name in ("tapir", "qemu"):
            values = rates[name, direction]
            medians.append(statistics.median(values))
            cells.append(f"{medians[-1]:.0f} ({min(values):.0f} to {max(values):.0f})")
        print(f"{direction:18}  {cells[0]:28}  {cells[1]:28}  {medians[0] / medians[1]:.2f}")


def install_helpers(options):
    installation.cover_all()
    installation.install(options.helper, options.installer, "--setuid")
    installation.install_qemus()
    installation.allow("allow br0")
    installation.allow("allow br0", path=installation.QEMU_RULES)


def main():
    parser = argparse.ArgumentParser()
    for name in ("vmm", "kernels", "initrds", "logs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--kernel", default="cloud")
    parser.add_argument("--vhost", action="store_true")
    parser.add_argument("--helper")
    parser.add_argument("--installer")
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    network = Network()
    recipes = {name: recipe_for(options, name, number) for number, name in enumerate(("tapir", "qemu"))}
    if options.helper:
        install_helpers(options)
    else:
        for recipe in recipes.values():
            network.add_tap(recipe.tap)
    try:
        with (Guest(launch_line(recipes["tapir"]), os.path.join(options.logs, "compare-tapir.log")) as tapir,
              Guest(launch_line(recipes["qemu"]), os.path.join(options.logs, "compare-qemu.log")) as qemu):
            for guest in (tapir, qemu):
                guest.wait_ready(240)
            report(measure(options, recipes))
            for guest in (tapir, qemu):
                guest.power_off()
    except GuestError as error:
        print(f"FAIL {error}")
        return 1
    return 0


if __name__ == "__main__":
    run_in_own_network(main)
