# SPDX-License-Identifier: Apache-2.0
"""A Linux guest under tapir (or QEMU, to compare), as the test programs beside this file see it.

    network = Network()                       # a bridge in a network namespace of our own
    guest = Guest(launch_line(...), "x.log")  # starts the VMM as user nobody
    guest.wait_ready(120)
    guest.run("uname -r")                     # by the protocol that `init` beside this file explains
    guest.power_off(60)                       # the VMM's exit status
"""

import contextlib
import dataclasses
import glob
import grp
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

USER = "nobody"
HOST_ADDRESS = "10.66.0.1"
HOST_MAC = "52:54:00:66:00:01"
PREFIX = 24
NAMESPACE_MARK = "TAPIR_TEST_NAMESPACE"


TRIPLE_FAULT_STATUS = 6  # of tapir
REPEAT_STATUS = 75  # tells guest-tests/with-kvm that the emulation may be at fault and the run is worth another try


class GuestError(Exception):
    """The guest or its VMM did not do what every guest does: it died, or did not answer in time."""


class EmulationError(Exception):
    """The guest had a triple fault in the nested machine, where the emulation may be the cause: at times its own kernel
    has one, too."""


def run_in_own_network(main):
    """Runs this program's `main` in network and mount namespaces of its own and exits with its status. The namespaces go,
    with every interface and mount in them, with the last process that lives there, however that ends."""
    if not os.environ.pop(NAMESPACE_MARK, None):
        os.environ[NAMESPACE_MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    # The signals that end a program also run its `finally` blocks.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except EmulationError as error:
        print(f"FAIL {error}")
        sys.exit(REPEAT_STATUS)


def host(*words, check=True, limit=None):
    """Runs a command on the host's side, for `limit` seconds at most, and returns what it printed."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise GuestError(f"{' '.join(words)}: did not end in {limit} s") from None
    if check and done.returncode:
        raise GuestError(f"{' '.join(words)}: {done.stdout.strip()}")
    return done.stdout


class Network:
    """Bridge br0 with the host's address, and persistent taps on it that belong to USER."""

    def __init__(self, mtu=1500):
        self.mtu = mtu
        host("ip", "link", "set", "lo", "up")
        # An address of its own, which it keeps when ports come and go.
        host("ip", "link", "add", "br0", "address", HOST_MAC, "type", "bridge")
        host("ip", "address", "add", f"{HOST_ADDRESS}/{PREFIX}", "dev", "br0")
        host("ip", "link", "set", "br0", "up")

    def add_tap(self, name):
        host("ip", "tuntap", "add", name, "mode", "tap", "user", USER)
        host("ip", "link", "set", name, "mtu", str(self.mtu), "master", "br0", "up")
        host("ip", "link", "set", "br0", "mtu", str(self.mtu))

    def remove_tap(self, name):
        host("ip", "tuntap", "del", name, "mode", "tap")

    def set_mtu(self, tap, mtu):
        self.mtu = mtu
        host("ip", "link", "set", tap, "mtu", str(mtu))
        host("ip", "link", "set", "br0", "mtu", str(mtu))


@dataclasses.dataclass
class Recipe:
    """What is started. Without `network` words of its own it has one NIC on `tap`, with `address` and `mac`."""
    vmm: str  # path of tapir, or "qemu"
    kernel: str
    initrd: str
    tap: str = ""
    address: str = ""
    mac: str = ""
    network: tuple = ()
    device: str = "virtio-net-pci"
    cpus: int = 1
    memory: int = 512  # MiB
    append: str = ""
    reboot: bool = False


def as_user():
    """The words before a command that make it one of an ordinary user with access to /dev/kvm."""
    return ["setpriv", f"--reuid={USER}", "--regid=nogroup", f"--groups={kvm_group()}", "--inh-caps=-all"]


def launch_line(recipe):
    """The command line of the VMM, run by USER."""
    if recipe.vmm == "qemu":
        # QEMU has virtio-mmio on its microvm machine only.
        machine = "q35" if recipe.device == "virtio-net-pci" else "microvm,acpi=on,rtc=on"
        program = ["qemu-system-x86_64", "-M", machine, "-enable-kvm", "-cpu", "host"]
    else:
        program = [recipe.vmm]
    network = recipe.network or (
        "-netdev", f"tap,id=n0,ifname={recipe.tap},script=no,downscript=no",
        "-device", f"{recipe.device},netdev=n0,mac={recipe.mac}")
    address = f"guest.address={recipe.address}/{PREFIX} " if recipe.address else ""
    append = f"console=ttyS0 quiet panic=1 {address}guest.gateway={HOST_ADDRESS} {recipe.append}".strip()
    return as_user() + program + [
        "-kernel", recipe.kernel, "-initrd", recipe.initrd, "-append", append,
        "-m", str(recipe.memory), "-smp", str(recipe.cpus), "-nographic",
        *([] if recipe.reboot else ["-no-reboot"]), *network]


def kvm_group():
    """The group that may open /dev/kvm, as a number if it has no name."""
    number = os.stat("/dev/kvm").st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return number


class Guest:
    """One running VMM. Everything that the serial port said is in `log`, what the VMM said in `log`.stderr."""

    def __init__(self, line, log, pass_fds=()):
        self.log = log
        self._lines = queue.Queue()
        self._number = 0
        with open(log + ".stderr", "wb") as errors:
            errors.write((" ".join(line) + "\n").encode())
            errors.flush()
            self._process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                             pass_fds=pass_fds)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.kill()

    def _read(self):
        with open(self.log, "wb") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def _next_line(self, deadline, what):
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise GuestError(f"{what}: no answer in time") from None
        if line is None:
            self._lines.put(None)
            raise self._death(what)
        if "Kernel panic" in line:
            raise GuestError(f"{what}: {line}")
        return line

    def _death(self, what):
        """Why there is no more to read from the VMM, or to write to it."""
        status = self._process.wait()
        text = f"{what}: the VMM ended with status {status}: {self.last_error()}"
        if status == TRIPLE_FAULT_STATUS and os.environ.get("TAPIR_NESTED"):
            return EmulationError(text)
        return GuestError(text)

    def last_error(self):
        """The last line that the VMM itself printed, its command line not counted."""
        with open(self.log + ".stderr", errors="replace") as errors:
            lines = errors.read().splitlines()[1:]
        return lines[-1] if lines else "it said nothing"

    def wait_ready(self, limit):
        """Waits, at most `limit` seconds, until the guest serves commands; returns how long that took."""
        start = time.monotonic()
        while not self._next_line(start + limit, "boot").endswith("@READY"):
            pass
        return time.monotonic() - start

    def send(self, command):
        """Starts a command and does not wait; for those that have no end (reboot)."""
        self._number += 1
        try:
            self._process.stdin.write(f"@RUN {self._number} {command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death(command) from None
        return self._number

    def run(self, command, limit=60):
        """Runs a shell command in the guest; returns its exit status and what it printed."""
        number = self.send(command)
        deadline = time.monotonic() + limit
        output = []
        while True:
            line = self._next_line(deadline, command)
            if line.startswith("| "):
                output.append(line[2:])
            done = re.fullmatch(r"@DONE (\d+) (\d+)", line)
            if done and int(done[1]) == number:
                return int(done[2]), "\n".join(output)

    def power_off(self, limit=60):
        """Switches the guest off through ACPI and returns the VMM's exit status."""
        self.send("poweroff -f")
        return self.wait_end(limit)

    def press_power_button(self):
        """Of tapir only; QEMU has other ways."""
        self._process.send_signal(signal.SIGPWR)

    def terminate(self):
        """As a service manager ends the VMM."""
        self._process.terminate()

    def wait_end(self, limit):
        try:
            status = self._process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            raise GuestError(f"the VMM still runs {limit} s after the guest was told to stop") from None
        if status == TRIPLE_FAULT_STATUS:
            raise self._death("stop")
        return status

    def threads(self):
        """For the reader of a log: of each thread of the VMM its state and the CPU time that it took in a second."""
        def look():
            found = {}
            for thread in os.listdir(f"/proc/{self._process.pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{self._process.pid}/task/{thread}/stat",
                                                        encoding="ascii", errors="replace") as file:
                    name, _, rest = file.read().partition("(")[2].rpartition(")")
                    words = rest.split()
                    found[thread] = name, words[0], int(words[11]) + int(words[12])
            return found

        try:
            before = look()
            time.sleep(1)
            after = look()
        except FileNotFoundError:
            return "it has ended"
        ticks = os.sysconf("SC_CLK_TCK")
        return ", ".join(f"{name} {state} {(used - before.get(thread, (name, state, used))[2]) * 100 // ticks} %"
                         for thread, (name, state, used) in after.items())

    def kvm_count(self, name):
        """One of KVM's counts for this guest, where debugfs is mounted (Documentation/virt/kvm/halt-polling.rst names
        some); 0 where it is not."""
        for path in glob.glob(f"/sys/kernel/debug/kvm/{self._process.pid}-*/{name}"):
            with open(path, encoding="ascii") as file:
                return int(file.read())
        return 0

    def running(self):
        return self._process.poll() is None

    def kill(self):
        if self.running():
            self._process.kill()
        self._process.wait()
        self._reader.join(timeout=10)
        with contextlib.suppress(BrokenPipeError):  # what a VMM that died did not read any more
            self._process.stdin.close()
        self._process.stdout.close()
