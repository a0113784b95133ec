#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Linux guests of an ordinary user with two, five and eight NICs of every kind: macvtaps, taps with scripts, a bridge
through the helper, a hub of three, a NIC without a peer; NICs with several queues; and what tapir says when one of
these cannot be had.

    networks.py --vmm tapir --helper PROGRAM --installer tools/install-helper --kernels DIR --initrds DIR --logs DIR [PART…]

Output and exit status as of bridge.py.
"""

import os
import pathlib
import pwd
import re
import socket
import threading
import time

import installation
import traffic
from bridge import Bench, addresses, check_pings, install, read_options, report, set_up_nics, with_mac
from guest import USER, GuestError, host, run_in_own_network
from matrix import check_log, check_offloads, output_of

PATTERN = bytes(range(32, 96))


def add_card(number):
    """A network card with a peer that is the host's end of NIC `number`; the name of the card."""
    host("ip", "link", "add", f"card{number}", "type", "veth", "peer", "name", f"peer{number}")
    for name in (f"card{number}", f"peer{number}"):
        host("ip", "link", "set", name, "up")
    return f"card{number}"


def add_macvtap(number, owner=USER):
    """Macvtap mv`number` with the address of NIC `number`, on a card of its own; its device node."""
    host("ip", "link", "add", "link", add_card(number), "name", f"mv{number}", "address", addresses(number)[0], "type",
         "macvtap", "mode", "bridge")
    host("ip", "link", "set", f"mv{number}", "up")
    node = pathlib.Path(f"/dev/tap{pathlib.Path(f'/sys/class/net/mv{number}/ifindex').read_text().strip()}")
    deadline = time.monotonic() + 5
    while not node.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.chown(node, pwd.getpwnam(owner).pw_uid, 0)
    os.chmod(node, 0o600)
    return node


def add_tap(number):
    """A persistent tap of the user's, up, the other end of NIC `number`; its name."""
    host("ip", "tuntap", "add", f"t{number}", "mode", "tap", "user", USER)
    host("ip", "link", "set", f"t{number}", "up")
    return f"t{number}"


class Scripts:
    """Programs for script= and downscript= that write down what they are told, in a directory open to the user."""

    def __init__(self, bench):
        self._folder = pathlib.Path(bench.options.kernels) / "scripts"
        self._folder.mkdir(exist_ok=True)
        os.chmod(self._folder, 0o777)
        self._log = self._folder / "log"

    def add(self, name, *lines):
        path = self._folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $# $1 $(id -un)" >> {self._log}\n' + "".join(f"{line}\n" for line in lines),
                        encoding="ascii")
        path.chmod(0o755)
        return path

    def runs(self):
        return self._log.read_text(encoding="ascii").splitlines() if self._log.exists() else []

    def clear(self):
        self._log.unlink(missing_ok=True)

    def wait_for(self, expected):
        """Whether these are the runs, at the latest in a moment: the end of the VMM is not that of its scripts."""
        deadline = time.monotonic() + 10
        while self.runs() != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.runs() == expected, "; ".join(self.runs()) or "none ran"


def boots(bench, guest, name):
    bench.checks.attempt(f"{name} boot", lambda: (True, f"{guest.wait_ready(180):.0f} s"))
    return bench.checks.results[-1][1]


def check_nics(guest, expected):
    """`expected`: of each MAC address, a pattern for the path of its device."""
    found = {}
    for line in output_of(guest, "for nic in /sys/class/net/eth*; do "
                                 "echo $(cat $nic/address) $(readlink -f $nic/device); done").splitlines():
        mac, _, path = line.partition(" ")
        found[mac] = path
    wrong = [f"{mac}: {found.get(mac)}" for mac, pattern in expected.items() if not re.search(pattern, found.get(mac, ""))]
    return not wrong and len(found) == len(expected), "; ".join(wrong) or f"{len(found)} NICs where they should be"


def on_nic(guest, number, command, limit=60):
    """What a command printed for which $name is the guest's interface of this NIC."""
    return output_of(guest, f"for nic in /sys/class/net/eth*; do if [ $(cat $nic/address) = {addresses(number)[0]} ]; then "
                            f"name=$(basename $nic); {command}; fi; done", limit)


def kernel_log(bench, guest, name, number):
    """`number`: of the NIC on br0, through which the log comes."""
    def attempt():
        on_nic(guest, number, f"ip address add 10.66.0.{number}/24 dev $name")
        return check_log(guest, os.path.join(bench.options.logs, f"networks-{name}.dmesg"))
    return attempt


def power_off(guest):
    return lambda: ((status := guest.power_off()) == 0, f"exit status {status}")


def refused(bench, words, *network):
    """tapir does not start, with status 1 and a last line that has all of the words."""
    def attempt():
        with bench.guest("refused", *network) as guest:
            status = guest.wait_end(60)
            said = guest.last_error()
        return status == 1 and all(str(word) in said for word in words), said
    return attempt


def nic(device, options, **netdev):
    """The words of a NIC and its netdev, whose keys are given; `type` is the first."""
    kind = netdev.pop("kind", "tap")
    words = ",".join([f"{kind},id=n{netdev.pop('number')}", *(f"{key}={value}" for key, value in netdev.items())])
    return ("-netdev", words, "-device", f"{device},netdev={words.split('id=')[1].split(',')[0]}{options}")


def two(bench):
    """Macvtaps by device and by name, of a user who owns their nodes."""
    attempt = bench.checks.attempt
    node = add_macvtap(60)
    add_macvtap(61)
    words = nic("virtio-net-pci", "", number=60, dev=node)
    with bench.guest("two", *words, *nic("virtio-net-device", f",{with_mac(61)}", number=61, ifname="mv61",
                                         script="no", downscript="no")) as guest:
        if boots(bench, guest, "two"):
            attempt("two nics", lambda: check_nics(guest, {addresses(60)[0]: "/pci", addresses(61)[0]: "LNRO0005"}))
            nics = {60: "peer60", 61: "peer61"}
            set_up_nics(guest, nics)
            attempt("two macvtap ping", lambda: check_pings(nics))
            attempt("two macvtap offloads", lambda: check_offloads(guest))
            for to_guest in (False, True):
                attempt(f"two macvtap stream {'in' if to_guest else 'out'}", lambda to_guest=to_guest: (
                    (rate := traffic.iperf3(addresses(60)[2], 2, to_guest)) > 1e5, f"{rate / 1e6:.0f} Mbit/s"))
            attempt("two power-off", power_off(guest))
    attempt("macvtap wrong address", refused(bench, ("52:54:00:66:01:99", "macvtap 'mv60'", addresses(60)[0]),
                                             *nic("virtio-net-pci", ",mac=52:54:00:66:01:99", number=60, dev=node)))
    os.chown(node, 0, 0)
    attempt("macvtap of another", refused(bench, ("may not open", node, "chown"), *words))
    attempt("macvtap missing", refused(bench, ("'/dev/tap9999' does not exist",),
                                       *nic("virtio-net-pci", "", number=60, dev="/dev/tap9999")))
    attempt("no tap device", refused(bench, ("'/dev/null' is no tap device",),
                                     *nic("virtio-net-pci", "", number=60, dev="/dev/null")))


def hub_forwards(source, targets):
    """Whether a frame that the host sends on one interface arrives at the others."""
    frame = b"\xff" * 6 + bytes.fromhex("525400660199") + b"\x88\xb5" + PATTERN
    captures = {}
    for name in (source, *targets):
        captures[name] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        captures[name].bind((name, 0x88B5))
        captures[name].settimeout(5)
    try:
        captures[source].send(frame)
        heard = [name for name in targets if captures[name].recv(2000)[:len(frame)] == frame]
    except TimeoutError:
        heard = []
    finally:
        for capture in captures.values():
            capture.close()
    return heard == list(targets), f"{source} to {', '.join(heard) or 'none'}"


def five(bench):
    """A tap with scripts at a chosen slot, a virtio-mmio one, a macvtap, a bridge, and a hub of three. SIGTERM ends it."""
    attempt = bench.checks.attempt
    scripts = Scripts(bench)
    up, down = scripts.add("up"), scripts.add("down")
    for number in (70, 71, 74, 75):
        add_tap(number)
    installation.allow("allow br0")
    install(bench, "--setuid")
    with bench.guest("five", "-net", f"nic,model=virtio,macaddr={addresses(74)[0]}",
                     *(word for number in (74, 75)
                       for word in ("-net", f"tap,ifname=t{number},script=no,downscript=no")),
                     *nic("virtio-net-pci", f",addr=0x9,{with_mac(70)}", number=70, ifname="t70", script=up, downscript=down),
                     *nic("virtio-net-device", f",{with_mac(71)}", number=71, ifname="t71", script="no", downscript="no"),
                     *nic("virtio-net-pci", "", number=72, dev=add_macvtap(72)),
                     *nic("virtio-net-pci", f",{with_mac(73)}", number=73, kind="bridge", br="br0")) as guest:
        if boots(bench, guest, "five"):
            attempt("up script before the guest", lambda: ((runs := scripts.runs()) == [f"up 1 t70 {USER}"], "; ".join(runs)))
            attempt("five nics", lambda: check_nics(guest, {
                addresses(70)[0]: "0000:00:09.0", addresses(71)[0]: "LNRO0005", addresses(72)[0]: "/pci",
                addresses(73)[0]: "/pci", addresses(74)[0]: "/pci"}))
            nics = {70: "t70", 71: "t71", 72: "peer72", 73: "br0", 74: "t74"}
            set_up_nics(guest, nics)
            attempt("five ping", lambda: check_pings(nics))
            attempt("hub of three, first tap", lambda: hub_forwards("t74", ["t75"]))
            attempt("hub of three, second tap", lambda: hub_forwards("t75", ["t74"]))
            attempt("hub of three, nic", lambda: hub_hears_nic(guest))
            attempt("hub offloads", lambda: check_hub_offloads(guest))
            attempt("hub stream", lambda: ((rate := traffic.iperf3(addresses(74)[2], 2, False)) > 1e5,
                                           f"{rate / 1e6:.0f} Mbit/s"))
            attempt("five kernel log", kernel_log(bench, guest, "five", 73))
        guest.terminate()
        attempt("SIGTERM", lambda: ((status := guest.wait_end(60)) == 128 + 15, f"exit status {status}"))
    attempt("down script after SIGTERM", lambda: scripts.wait_for([f"up 1 t70 {USER}", f"down 1 t70 {USER}"]))
    attempt("five leaves nothing", bench.nothing_left)


def hub_hears_nic(guest):
    """A broadcast of the guest arrives at both taps of the hub."""
    captures = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) for _ in range(2)]
    for capture, name in zip(captures, ("t74", "t75")):
        capture.bind((name, 0x0806))
        capture.settimeout(10)
    source = bytes.fromhex(addresses(74)[0].replace(":", ""))
    guest.run("ping -c 1 -W 1 10.66.74.99")  # nobody's: it asks for it
    heard = 0
    for capture in captures:
        with capture:
            try:
                while capture.recv(2000)[6:12] != source:
                    pass
                heard += 1
            except TimeoutError:
                pass
    return heard == 2, f"{heard} of 2 taps"


def check_hub_offloads(guest):
    output = on_nic(guest, 74, "ethtool -k $name")
    missing = [name for name in ("tx-checksumming: on", "tcp-segmentation-offload: on") if name not in output]
    return not missing, f"not there: {missing}" if missing else "checksums and TSO on"


def eight(bench):
    """Four virtio-mmio and four virtio-pci NICs, one of these without a peer, one without MSI-X, one at the last slot.
    SIGKILL ends it."""
    attempt = bench.checks.attempt
    scripts = Scripts(bench)
    scripts.clear()
    up, down = scripts.add("up"), scripts.add("down")
    words, nics, expected = [], {}, {}
    for number in range(80, 87):
        pci = number < 83
        options = {80: ",addr=1f", 81: ",vectors=0,rx_queue_size=1024", 82: ",host_mtu=1400,mrg_rxbuf=off"}.get(number, "")
        words += nic("virtio-net-pci" if pci else "virtio-net-device", f",{with_mac(number)}{options}", number=number,
                     ifname=add_tap(number), script=up if number == 86 else "no", downscript=down if number == 86 else "no")
        nics[number] = f"t{number}"
        expected[addresses(number)[0]] = {80: "0000:00:1f.0"}.get(number, "/pci" if pci else "LNRO0005")
    expected[addresses(87)[0]] = "/pci"
    host("ip", "link", "set", "t81", "master", "br0")
    with bench.guest("eight", *words, "-device", f"virtio-net-pci,{with_mac(87)}") as guest:
        if boots(bench, guest, "eight"):
            attempt("eight nics", lambda: check_nics(guest, expected))
            nics[81] = "br0"
            set_up_nics(guest, nics)
            attempt("eight ping", lambda: check_pings(nics))
            attempt("eight mtu", lambda: ((text := on_nic(guest, 82, "cat $nic/mtu")) == "1400", text))
            attempt("eight queue size", lambda: ("1024" in (text := on_nic(guest, 81, "ethtool -g $name | grep RX: | tail -n 1")),
                                                 text))
            attempt("eight nic alone", lambda: check_alone(guest))
            attempt("eight interrupts", lambda: ("IO-APIC" in (text := output_of(guest, "grep -c . /proc/interrupts; "
                                                 "grep virtio /proc/interrupts")), f"{len(text.splitlines()) - 1} lines of virtio"))
            attempt("eight kernel log", kernel_log(bench, guest, "eight", 81))
        guest.kill()
    host("ip", "link", "set", "t81", "nomaster")
    attempt("down script after SIGKILL", lambda: scripts.wait_for([f"up 1 t86 {USER}", f"down 1 t86 {USER}"]))


def check_alone(guest):
    """A NIC that nobody hears takes frames all the same, more than any queue holds."""
    output = on_nic(guest, 87, "ip address add 10.66.87.2/24 dev $name; ip link set $name up; "
                               "arp -s 10.66.87.1 52:54:00:66:01:99; ping -q -c 600 -i 0.002 -s 1000 10.66.87.1 > /dev/null; "
                               "cat $nic/statistics/tx_packets", 120)
    return int(output.splitlines()[-1]) >= 600, f"{output.splitlines()[-1]} frames sent"


def queues(bench):
    """Two CPUs, a tap of four queues and one of two through the helper. The guest changes how many it uses."""
    attempt = bench.checks.attempt
    host("ip", "tuntap", "add", "t95", "mode", "tap", "user", USER, "multi_queue")
    host("ip", "link", "set", "t95", "up")
    installation.allow("allow br0")
    install(bench, "--setuid")
    with bench.guest("queues", *nic("virtio-net-pci", f",mq=on,{with_mac(95)}", number=95, ifname="t95", queues=4,
                                    script="no", downscript="no"),
                     *nic("virtio-net-pci", f",mq=on,{with_mac(96)}", number=96, kind="bridge", br="br0", queues=2),
                     cpus=2) as guest:
        if boots(bench, guest, "queues"):
            nics = {95: "t95", 96: "br0"}
            set_up_nics(guest, nics)
            attempt("queues at first", lambda: (pairs_of(guest, 95) == "4 2" and pairs_of(guest, 96) == "2 2",
                                                f"{pairs_of(guest, 95)}, {pairs_of(guest, 96)}"))
            attempt("queues vectors", lambda: check_vectors(guest))
            attempt("queues ping", lambda: check_pings(nics))
            for number, most in ((95, 4), (96, 2)):
                attempt(f"queues {number} change", lambda number=number, most=most: change_pairs(guest, number, most))
            attempt("queues ping again", lambda: check_pings(nics))
            attempt("queues used", lambda: check_queues_used(guest))
            attempt("queues kernel log", kernel_log(bench, guest, "queues", 96))
            attempt("queues power-off", power_off(guest))
    attempt("queues leave nothing", bench.nothing_left)


def pairs_of(guest, number):
    """How many queue pairs the NIC may use and uses."""
    return on_nic(guest, number, "echo $(ethtool -l $name | awk '/^Combined:/ { print $2 }')")


def check_vectors(guest):
    """A vector for each virtqueue of frames and one for the configuration; Linux wants none for its commands."""
    counts = sorted(output_of(guest, "awk '/virtio/ { split($NF, name, \"-\"); count[name[1]]++ } "
                                     "END { for (name in count) print count[name] }' /proc/interrupts").split(), key=int)
    return counts == ["5", "9"], f"{counts} interrupts"


def change_pairs(guest, number, most):
    """One pair, all, and one again, while streams run both ways in turn."""
    rates = []
    for to_guest in (True, False):
        stream = threading.Thread(target=lambda to_guest=to_guest: rates.append(
            traffic.iperf3(addresses(number)[2], 5, to_guest, streams=4)))
        stream.start()
        time.sleep(1)
        for pairs in (1, most, 1, most):
            on_nic(guest, number, f"ethtool -L $name combined {pairs} || true")  # an error if it has so many already
            if (now := pairs_of(guest, number).split()[-1]) != str(pairs):
                return False, f"{now} pairs in place of {pairs}"
        stream.join()
    return len(rates) == 2 and min(rates) > 1e5, " and ".join(f"{rate / 1e6:.0f} Mbit/s" for rate in rates)


def check_queues_used(guest):
    """The frames came to several receive queues of the tap of four: to which, the ports of the streams decide."""
    counts = on_nic(guest, 95, "echo $(ethtool -S $name | awk '/rx_queue_[0-9]*_packets/ { print $2 }')").split()
    return len(counts) == 4 and sum(int(count) > 0 for count in counts) > 1, f"{counts} frames"


def scripts_that_fail(bench):
    """No guest starts: failing, missing and hanging scripts, and each says so."""
    attempt = bench.checks.attempt
    scripts = Scripts(bench)
    scripts.clear()
    add_tap(90)
    down = scripts.add("down")
    failing = scripts.add("failing", "echo 'there is no bridge' >&2", "exit 3")
    hanging = scripts.add("hanging", "echo waiting >&2", "sleep 1000")

    def tap(script):
        return nic("virtio-net-pci", "", number=90, ifname="t90", script=script, downscript=down)

    attempt("failing script", refused(bench, (failing, "exited with status 3", "there is no bridge"), *tap(failing)))
    attempt("missing script", refused(bench, ("script=/nonexistent",), *tap("/nonexistent")))
    attempt("hanging script", refused(bench, (hanging, "did not end in 10 s", "waiting"), *tap(hanging)))
    attempt("no down script then", lambda: scripts.wait_for([f"failing 1 t90 {USER}", f"hanging 1 t90 {USER}"]))


PARTS = {"two": two, "five": five, "eight": eight, "queues": queues, "scripts": scripts_that_fail}


def main():
    options = read_options(PARTS)
    # This namespace's interfaces, by which the macvtaps among them are known.
    host("mount", "-t", "sysfs", "sysfs", "/sys")
    installation.cover_all()
    bench = Bench(options, "networks")
    for part in options.parts or PARTS:
        try:
            PARTS[part](bench)
        except GuestError as error:
            bench.checks.add(part, False, str(error))
    return report(bench.checks)


if __name__ == "__main__":
    run_in_own_network(main)
