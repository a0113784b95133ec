#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Less usual ways to boot a guest and to connect it, each by a check of its own; two guests have them all.

    variants.py --vmm tapir --kernels build/kernels --initrds DIR --logs DIR

pvh     an ELF vmlinux, entered by its PVH note. eth0 is the pair -net nic with -net tap,ifname=, with every offload;
        eth1 a tap with vnet_hdr=off, without any. SIGPWR is its power button.
intx    a bzImage with pci=nomsi on a tap that this program opened and handed over as a descriptor (fd=). Its
        virtqueues are packed.

Output and exit status as of matrix.py, whose checks it borrows. For tapir only.
"""

import argparse
import fcntl
import os
import re
import struct
import time

import traffic
from guest import HOST_ADDRESS, PREFIX, USER, Guest, Network, Recipe, host, launch_line, run_in_own_network
from matrix import Checks, check_log, check_offloads, output_of, print_table

ADDRESS = "10.66.0.2"
MAC = "52:54:00:66:00:02"
SECOND_ADDRESS = "10.66.1.2"  # of eth1, on a network of its own
SECOND_HOST_ADDRESS = "10.66.1.1"
SECOND_MAC = "52:54:00:66:01:02"
STREAM_SECONDS = 2
BOOT_SECONDS = 120

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000

# /proc/sys/kernel/bootloader_type, by which the kernel knows how it was entered.
LOADER_UNDEFINED, LOADER_PVH = 0xFF, 0xB0

RING_PACKED = 34  # linux/virtio_config.h: VIRTIO_F_RING_PACKED

# struct input_event: 16 bytes of time, then type, code and value. This is EV_KEY, KEY_POWER, pressed.
EVENT_BYTES, TIME_BYTES = 24, 16
POWER_KEY = "1 116 1 0"


def open_tap(name):
    """A tap of this program's, gone with the last descriptor of it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    host("ip", "link", "set", name, "master", "br0", "up")
    return descriptor


def add_routed_tap(name):
    """A persistent tap of USER's, beside the bridge."""
    host("ip", "tuntap", "add", name, "mode", "tap", "user", USER)
    host("ip", "address", "add", f"{SECOND_HOST_ADDRESS}/{PREFIX}", "dev", name)
    host("ip", "link", "set", name, "up")


def check_loader(guest, expected):
    found = int(output_of(guest, "cat /proc/sys/kernel/bootloader_type"))
    return found == expected, f"bootloader_type {found:#x}"


def check_interrupts(guest, msi):
    """Whether the NIC's interrupts are messages, or lines of the I/O APIC; those counted in vain would be none."""
    lines = output_of(guest, "grep virtio /proc/interrupts").splitlines()
    wanted, other = ("PCI-MSI", "IO-APIC") if msi else ("IO-APIC", "PCI-MSI")
    taken = sum(int(line.split()[1]) for line in lines if wanted in line)
    return taken > 0 and not any(other in line for line in lines), f"{taken} by {wanted}"


# C12, C13, C69: Linux resizes a virtqueue by resetting it alone.
def check_resize(guest):
    sizes = []
    with traffic.Background(ADDRESS, MAC):
        for size in (64, 32, 256, 128):
            output_of(guest, f"ethtool -G eth0 rx {size} tx {size}")
            shown = output_of(guest, "ethtool -g eth0").partition("Current")[2]
            sizes.append((size, int(re.search(r"RX:\s*(\d+)", shown)[1]), int(re.search(r"TX:\s*(\d+)", shown)[1])))
    loss = traffic.ping(ADDRESS)
    return loss == 0 and all(len(set(each)) == 1 for each in sizes), f"asked, RX, TX: {sizes}; {loss:g} % lost"


# C57: whatever lspci cannot read, or finds wrong, it marks. It does not know virtio's window capability by name.
def check_lspci(guest, log):
    dump = output_of(guest, 'cd /sys/bus/pci/devices; for device in *; do echo "$device"; '
                            "od -A n -v -t x1 $device/config; done")
    text = ""
    for line in dump.splitlines():
        if ":" in line:
            text, offset = f"{text}\n{line[5:]} device\n", 0
        else:
            text, offset = f"{text}{offset:02x}: {line.strip()}\n", offset + 16
    with open(f"{log}.config", "w", encoding="ascii") as file:
        file.write(text)
    shown = host("lspci", "-F", f"{log}.config", "-vvv")
    with open(log, "w", encoding="ascii") as file:
        file.write(shown)
    wrong = re.findall(r".*(?:!!!|\?\?|<chain|(?<!VirtIO: <)[Uu]nknown|access denied).*", shown)
    return "VirtIO: CommonCfg" in shown and not wrong, f"marked: {wrong}" if wrong else "nothing marked"


def check_packed(guest):
    features = output_of(guest, "cat /sys/class/net/eth0/device/features").strip()
    return features[RING_PACKED] == "1", "accepted" if features[RING_PACKED] == "1" else features


def check_no_offloads(guest, name):
    output = output_of(guest, f"ethtool -k {name}")
    return "tx-checksumming: off" in output and "tcp-segmentation-offload: off" in output, "checksums and TSO off"


def check_ping(address):
    loss = traffic.ping(address)
    return loss == 0, f"{loss:g} % lost"


def check_stream(address, to_guest):
    rate = traffic.iperf3(address, STREAM_SECONDS, to_guest)
    return rate > 1e5, f"{rate / 1e6:.0f} Mbit/s"


def check_second_nic(guest):
    output_of(guest, f"ip address add {SECOND_ADDRESS}/{PREFIX} dev eth1 && ip link set eth1 up")
    address = output_of(guest, "cat /sys/class/net/eth1/address").strip()
    return address == SECOND_MAC, address


def check_power_button(guest):
    """The guest opens its button, is given the press as a key, and only then switches itself off."""
    device = os.path.dirname(os.path.dirname(output_of(
        guest, "grep -l 'Power Button' /sys/class/input/event*/device/name").splitlines()[0]))
    # Opened before the command ends, read behind its back.
    output_of(guest, f"exec 3< /dev/input/{os.path.basename(device)}; "
                     f"( event=$(dd bs={EVENT_BYTES} count=1 <&3 | od -A n -t u2 -j {TIME_BYTES}); "
                     f'[ "$(echo $event)" = "{POWER_KEY}" ] && poweroff -f ) > /dev/null 2>&1 &')
    if not guest.running():
        return False, "the guest is off before the button is pressed"
    guest.press_power_button()
    status = guest.wait_end(60)
    return status == 0, f"the guest saw the key; exit status {status}"


def run_guest(options, name, recipe, checks_of_it, pass_fds=()):
    """Boots the guest and puts it through its checks, a list of names with functions of the guest."""
    checks = Checks(name)
    log = os.path.join(options.logs, f"variants-{name}.log")
    with Guest(launch_line(recipe), log, pass_fds) as guest:
        checks.attempt("boot", lambda: (True, f"{guest.wait_ready(BOOT_SECONDS):.0f} s to the first command"))
        if checks.passed():
            for check, function in checks_of_it:
                checks.attempt(check, lambda function=function: function(guest))
    checks.seconds = time.monotonic() - checks.start
    return checks


def kernel_log_check(options, name):
    return lambda guest: check_log(guest, os.path.join(options.logs, f"variants-{name}.dmesg"))


def run_pvh(options, recipe):
    recipe.kernel = os.path.join(options.kernels, "cloud", "vmlinux")
    recipe.network = (
        "-net", f"nic,model=virtio,macaddr={MAC}", "-net", "tap,ifname=t0,script=no,downscript=no",
        "-netdev", "tap,id=n1,ifname=t1,vnet_hdr=off,script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=n1,mac={SECOND_MAC}")
    return run_guest(options, "pvh", recipe, [
        ("loader", lambda guest: check_loader(guest, LOADER_PVH)),
        ("pair-ping", lambda guest: check_ping(ADDRESS)),
        ("pair-offloads", check_offloads),
        ("msi", lambda guest: check_interrupts(guest, msi=True)),
        ("resize", check_resize),
        ("lspci", lambda guest: check_lspci(guest, os.path.join(options.logs, "variants-pvh.lspci"))),
        ("no-header", check_second_nic),
        ("no-header-ping", lambda guest: check_ping(SECOND_ADDRESS)),
        ("no-header-offloads", lambda guest: check_no_offloads(guest, "eth1")),
        ("no-header-out", lambda guest: check_stream(SECOND_ADDRESS, to_guest=False)),
        ("no-header-in", lambda guest: check_stream(SECOND_ADDRESS, to_guest=True)),
        ("kernel-log", kernel_log_check(options, "pvh")),
        ("power-button", check_power_button),
    ])


def run_intx(options, recipe):
    descriptor = open_tap("t2")
    recipe.append = "pci=nomsi"
    recipe.network = ("-netdev", f"tap,id=n0,fd={descriptor}",
                      "-device", f"virtio-net-pci,netdev=n0,mac={MAC},packed=on")
    try:
        return run_guest(options, "intx", recipe, [
            ("loader", lambda guest: check_loader(guest, LOADER_UNDEFINED)),
            ("packed", check_packed),
            ("ping", lambda guest: check_ping(ADDRESS)),
            ("offloads", check_offloads),
            ("stream-out", lambda guest: check_stream(ADDRESS, to_guest=False)),
            ("stream-in", lambda guest: check_stream(ADDRESS, to_guest=True)),
            ("intx", lambda guest: check_interrupts(guest, msi=False)),
            ("kernel-log", kernel_log_check(options, "intx")),
            ("power-off", lambda guest: ((status := guest.power_off()) == 0, f"exit status {status}")),
        ], pass_fds=(descriptor,))
    finally:
        os.close(descriptor)


def main():
    parser = argparse.ArgumentParser()
    for name in ("vmm", "kernels", "initrds", "logs"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    network = Network()
    network.add_tap("t0")
    add_routed_tap("t1")
    all_checks = []
    for run in (run_pvh, run_intx):
        recipe = Recipe(vmm=options.vmm, kernel=os.path.join(options.kernels, "cloud", "vmlinuz"),
                        initrd=os.path.join(options.initrds, "cloud.initrd"), tap="", address=ADDRESS, mac=MAC)
        all_checks.append(run(options, recipe))
    print_table(all_checks)
    failed = [checks.name for checks in all_checks if not checks.passed()]
    print(f"failed: {' '.join(failed)}" if failed else f"{len(all_checks)} guests passed")
    return 1 if failed else 0


if __name__ == "__main__":
    run_in_own_network(main)
