# SPDX-License-Identifier: Apache-2.0
"""Where QEMU reads command lines: private mount and network namespaces in which everything is there that the lines of the
corpus name, so that what is refused is refused for the line itself. Nothing of this machine changes.

    bridges br0, br1, virbr0, which QEMU's helper allows to all; taps t0, t1, t2 (one queue) and m0 (many);
    descriptors 3 and 4 are taps of one queue, 5, 6 and 7 the queues of one tap; QEMU's default scripts do nothing
"""

import fcntl
import os
import shlex
import struct
import subprocess
import sys

MARK = "TAPIR_COMMAND_LINE_NAMESPACES"
TUNSETIFF, TUNGETIFF = 0x400454CA, 0x800454D2
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
FIRST_DESCRIPTOR, DESCRIPTORS = 3, 5
HELPER = "/usr/lib/qemu/qemu-bridge-helper"
# The guest never runs: QEMU builds its machine, answers on its control socket, and is told to quit.
QEMU = ["qemu-system-x86_64", "-S", "-display", "none", "-serial", "none", "-qmp", "stdio"]
QUIT = '{"execute":"qmp_capabilities"}{"execute":"quit"}'


def enter_own_namespaces():
    if os.environ.pop(MARK, None):
        return
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv])


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def set_up():
    # /etc with other files than the machine's own, and a place for them.
    run("mount", "-t", "tmpfs", "none", "/mnt")
    os.makedirs("/mnt/upper")
    os.makedirs("/mnt/work")
    run("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work", "/etc")
    os.makedirs("/etc/qemu", exist_ok=True)
    with open("/etc/qemu/bridge.conf", "w", encoding="ascii") as file:
        file.write("allow all\n")
    for script in ("/etc/qemu-ifup", "/etc/qemu-ifdown"):
        with open(script, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n")
        os.chmod(script, 0o755)
    run("ip", "link", "set", "lo", "up")
    for bridge in ("br0", "br1", "virbr0"):
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "link", "set", bridge, "up")
    for tap in ("t0", "t1", "t2", "m0"):
        queues = ["multi_queue"] if tap == "m0" else []
        run("ip", "tuntap", "add", tap, "mode", "tap", "vnet_hdr", *queues)
        run("ip", "link", "set", tap, "up")


def open_queue(name, flags):
    """A queue of a tap and the tap's name."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)
    answer = fcntl.ioctl(descriptor, TUNSETIFF, request)
    return descriptor, answer[:16].rstrip(b"\0").decode()


def open_descriptors():
    """In the child: the descriptors that the lines name."""
    queues = [open_queue("tap%d", 0)[0] for _ in range(2)]
    first, name = open_queue("tap%d", IFF_MULTI_QUEUE)
    queues += [first] + [open_queue(name, IFF_MULTI_QUEUE)[0] for _ in range(2)]
    high = [fcntl.fcntl(queue, fcntl.F_DUPFD, 100) for queue in queues]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, FIRST_DESCRIPTOR + number)
    os.closerange(FIRST_DESCRIPTOR + DESCRIPTORS, 200)


def ask_qemu(line):
    """Whether QEMU takes the line, and what it says."""
    # virtio-net-device wants a machine that has virtio-mmio.
    machine = "microvm" if "virtio-net-device" in line else "q35"
    done = subprocess.run([*QEMU, "-M", machine, *shlex.split(line)], input=QUIT, capture_output=True, text=True,
                          errors="replace", check=False, close_fds=False, preexec_fn=open_descriptors, timeout=60)
    said = [text for text in done.stderr.splitlines() if not text.startswith("qemu: module")]
    return done.returncode == 0, " / ".join(said)


def ask_tapir(program, line):
    """The same of tapir, which opens nothing."""
    done = subprocess.run([program, "-dry-run", "-kernel", "vmlinuz", *shlex.split(line)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=60)
    return done.returncode == 0, done.stderr.strip()
