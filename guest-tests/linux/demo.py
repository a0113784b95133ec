#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The part of tools/demo that needs KVM: one Linux guest on a bridge, shown step by step.

    demo.py --vmm tapir --helper PROGRAM --installer tools/install-helper --kernel vmlinuz --initrd initrd
"""

import argparse
import os
import shlex
import tempfile

import installation
import traffic
from guest import (HOST_ADDRESS, PREFIX, USER, Guest, GuestError, Network, as_user, host, run_in_own_network)

ADDRESS = "10.66.0.2"


def step(text):
    print(f"\n--- {text}", flush=True)


def show(text):
    for line in text.splitlines():
        print("    " + line, flush=True)


def folded(words):
    """A command line for people: an option and its value on each line."""
    lines, line = [], ""
    for word in words:
        if word.startswith("-") and not word.startswith("--") and line:
            lines.append(line)
            line = "   "
        line += (" " if line else "") + shlex.quote(word)
    return " \\\n".join([*lines, line])


def demonstrate(options, log):
    step(f"A bridge with address {HOST_ADDRESS}, in a network namespace of its own")
    Network()
    show(host("ip", "-brief", "address", "show"))
    step("The bridge helper, installed by root, with the one rule 'allow br0'")
    installation.cover("/usr/local")
    installation.allow("allow br0")
    show(installation.install(options.helper, options.installer, "--setuid").splitlines()[0])
    show(host(installation.HELPER, "--check"))

    line = as_user() + [
        options.vmm, "-kernel", options.kernel, "-initrd", options.initrd,
        "-append", f"console=ttyS0 quiet guest.address={ADDRESS}/{PREFIX} guest.gateway={HOST_ADDRESS}",
        "-m", "256", "-nographic", "-net", "bridge", "-net", "nic,model=virtio"]
    step(f"Debian's cloud kernel, started by user {USER}, who has no privileges but group kvm")
    show(folded(line))
    with Guest(line, log) as guest:
        print(f"    the guest is ready after {guest.wait_ready(120):.1f} s")
        step("The tap that the helper made, as the host sees it")
        show(host("ip", "-details", "link", "show", "master", "br0"))
        step("Inside the guest")
        show(guest.run("uname -a; ip -4 address show dev eth0; "
                       "echo; ethtool -i eth0 | head -n 1; "
                       "ethtool -k eth0 | grep -e '^.x-checksumming' -e '^tcp-segmentation'")[1])
        step("Ping, from the host to the guest")
        show(host("ping", "-c", "4", "-i", "0.2", ADDRESS))
        step("TCP, three seconds each way (iperf3)")
        for name, to_guest in (("guest to host", False), ("host to guest", True)):
            print(f"    {name}: {traffic.iperf3(ADDRESS, 3, to_guest) / 1e6:.0f} Mbit/s", flush=True)
        step("Power-off")
        status = guest.power_off()
        print(f"    tapir ended with exit status {status}")
        left = host("ip", "link", "show", "master", "br0").strip()
        print(f"    ports on the bridge: {left or 'none'}")
    return status


def main():
    parser = argparse.ArgumentParser()
    for name in ("vmm", "helper", "installer", "kernel", "initrd"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as logs:
        log = os.path.join(logs, "serial")
        try:
            return demonstrate(options, log)
        except GuestError as error:
            print(f"\nThis did not work: {error}\nThe last lines of the guest's serial port:")
            if os.path.exists(log):
                with open(log, errors="replace", encoding="utf-8") as lines:
                    show("\n".join(lines.read().splitlines()[-15:]))
            return 1


if __name__ == "__main__":
    run_in_own_network(main)
