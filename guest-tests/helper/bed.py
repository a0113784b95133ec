# SPDX-License-Identifier: Apache-2.0
"""Where tests call the bridge helper, and how: private mount and network namespaces in which the program stands in each
of its installations (setuid, file capability, neither), with a configuration, a /dev and bridges of their own. Nothing of
this machine changes, and all goes away with the last process.

    enter_own_namespaces()                      # starts the program anew inside
    bed = Bed(program, configuration)
    bed.configure("allow br0\\n")
    answer = bed.call("--use-vnet", "--br=br0")  # by user nobody, --fd is added
    answer.status, answer.errors, answer.descriptors
"""

import array
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

NOBODY = 65534
OTHER_USER = 12345
MARK = "TAPIR_HELPER_NAMESPACES"
SETUID, SETCAP, PLAIN = "setuid", "setcap", "plain"


class Failure(Exception):
    """What a test found wrong."""


def expect(condition, found):
    if not condition:
        raise Failure(found)


def enter_own_namespaces():
    if os.environ.pop(MARK, None):
        return
    os.environ[MARK] = "1"
    os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv])


def run(*words, check=True, **options):
    """Runs a command as root; its standard output and error."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)
    if check and done.returncode:
        raise Failure(f"{' '.join(str(word) for word in words)}: {done.stdout.strip()}")
    return done.stdout


def links():
    """The interfaces here by name, as `ip -json` tells of them."""
    return {link["ifname"]: link for link in json.loads(run("ip", "-json", "-details", "link", "show"))}


def taps():
    return {name: link for name, link in links().items() if link.get("linkinfo", {}).get("info_kind") == "tun"}


@dataclasses.dataclass
class Answer:
    """What a call of the helper came to. The descriptors are closed at the end of a `with` block."""
    status: int
    errors: str
    output: str
    data: bytes
    descriptors: list

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        for fd in self.descriptors:
            os.close(fd)
        self.descriptors = []

    def refused(self, *words):
        """Checks that nothing was given, and that the one sentence has these words in it."""
        expect(self.status == 1, f"exit status {self.status}, expected 1; it said: {self.errors.strip()}")
        expect(not self.descriptors and not self.data, "something was sent all the same")
        expect(self.errors.startswith("tapir-bridge-helper: ") and self.errors.count("\n") == 1,
               f"not one sentence: {self.errors!r}")
        for word in words:
            expect(word in self.errors, f"nothing about '{word}' in: {self.errors.strip()}")

    def granted(self, count=1):
        expect(self.status == 0, f"exit status {self.status}: {self.errors.strip()}")
        expect(self.errors == "" and self.output == "", f"it said: {self.errors}{self.output}")
        expect(len(self.descriptors) == count and self.data == b"\0",
               f"{len(self.descriptors)} descriptors, data {self.data!r}")
        return self


def receive(end):
    """All that lies in the socket: the data, and the descriptors."""
    data, fds = b"", []
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionResetError):
        while True:
            part, ancillary, _, _ = end.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 256))
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    numbers = array.array("i")
                    numbers.frombytes(value[:len(value) - len(value) % numbers.itemsize])
                    fds += numbers
            if not part:
                break
            data += part
    return data, fds


class Bed:
    def __init__(self, program, configuration, vmm=None, guests=None):
        self.configuration = pathlib.Path(configuration)
        self.vmm = vmm
        self.guests = guests
        self._make_dev()
        self._make_configuration_folder()
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt")
        self.programs = {}
        for mode in (SETUID, SETCAP, PLAIN):
            target = pathlib.Path("/mnt") / mode / "tapir-bridge-helper"
            target.parent.mkdir()
            shutil.copy(program, target)
            target.chmod(0o4755 if mode == SETUID else 0o755)
            if mode == SETCAP:
                run("setcap", "cap_net_admin=ep", target)
            self.programs[mode] = str(target)
        run("ip", "link", "set", "lo", "up")
        self.add_bridge("br0")

    @staticmethod
    def _make_dev():
        """Devices for everybody, as udev makes them; /dev/log is made by the test that reads it."""
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/dev")
        os.umask(0)
        for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("urandom", 1, 9), ("net/tun", 10, 200),
                                   ("kvm", 10, 232)):
            path = pathlib.Path("/dev") / name
            path.parent.mkdir(exist_ok=True)
            os.mknod(path, 0o666 | 0o020000, os.makedev(major, minor))
        os.umask(0o022)
        os.symlink("/proc/self/fd", "/dev/fd")

    def _make_configuration_folder(self):
        folder = self.configuration.parent
        there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", there)
        folder.mkdir(parents=True, exist_ok=True)

    def configure(self, text, mode=0o644):
        self.configuration.write_text(text, encoding="utf-8")
        self.configuration.chmod(mode)

    @staticmethod
    def add_bridge(name, *options):
        # An address of its own, which it keeps when ports come and go.
        run("ip", "link", "add", name, "address", "52:54:00:00:00:01", *options, "type", "bridge")
        run("ip", "link", "set", name, "up")

    def start(self, *arguments, mode=SETUID, user=NOBODY, groups=(), before=(), fd=True, **options):
        """The running helper and our end of its socket. `before`: words in front of the program's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        words = [*before, self.programs[mode], *arguments, *([f"--fd={theirs.fileno()}"] if fd else [])]
        options.setdefault("stdin", subprocess.DEVNULL)
        # strace has to be root to follow a setuid program; it takes the user itself.
        who = {} if before and before[0] == "strace" else {"user": user, "group": user, "extra_groups": groups}
        process = subprocess.Popen([str(word) for word in words], pass_fds=(theirs.fileno(),), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, **who, **options)
        theirs.close()
        return process, ours

    def call(self, *arguments, limit=20, **options):
        return self.finish(*self.start(*arguments, **options), limit)

    @staticmethod
    def finish(process, ours, limit=60):
        """Waits for the end of what start() started."""
        with ours:
            try:
                output, errors = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise Failure(f"no end within {limit} s") from None
            data, fds = receive(ours)
        return Answer(process.returncode, errors, output, data, fds)


def nothing_left(bridges=("br0",)):
    """Checks that no tap and no other interface is there. A tap goes with its last descriptor, at once."""
    left = set(links()) - {"lo", *bridges}
    expect(not left, f"left behind: {', '.join(sorted(left))}")
