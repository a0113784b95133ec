# SPDX-License-Identifier: Apache-2.0
"""What the helper grants and refuses, and what a granted tap is: the contract with QEMU and with tapir, seen from outside.
Numbers are those of the conformance list (HLP-…)."""

import contextlib
import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess

from bed import (NOBODY, OTHER_USER, PLAIN, SETCAP, SETUID, Failure, expect, links, nothing_left, run, taps)

TUNGETIFF, IFF_TAP, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x800454D2, 0x0002, 0x4000, 0x0100
ALLOWED = ("--use-vnet", "--br=br0")


def identify(fd):
    """Name and flags of the tap behind a descriptor."""
    name, flags = struct.unpack_from("16sH", fcntl.ioctl(fd, TUNGETIFF, bytes(40)))
    return name.rstrip(b"\0").decode(), flags


def both_installations_grant(bed):
    """An allowed user gets one tap on the bridge, set up and owned, from a setuid program as from a capable one."""
    bed.configure("allow br0\n")
    for mode in (SETUID, SETCAP):
        before = links()["br0"]["address"]
        with bed.call(*ALLOWED, mode=mode).granted() as answer:
            name, flags = identify(answer.descriptors[0])
            expect(flags & IFF_TAP and flags & IFF_VNET_HDR and not flags & IFF_MULTI_QUEUE, f"flags {flags:#x}")
            link = links()[name]
            expect(link["master"] == "br0" and "UP" in link["flags"], f"{link}")
            expect(link["linkinfo"]["info_data"]["user"] in ("nobody", NOBODY), f"owner: {link['linkinfo']}")
            expect(link["address"].startswith("fe:"), f"address {link['address']}")
            expect(str(NOBODY) in link["ifalias"] and "br0" in link["ifalias"], f"alias {link.get('ifalias')}")
            expect(links()["br0"]["address"] == before, "the bridge's address changed")
        nothing_left()


def neither_installation_says_so(bed):
    """HLP-35: without setuid bit and capability the sentence names the remedy."""
    bed.configure("allow br0\n")
    bed.call(*ALLOWED, mode=PLAIN).refused("CAP_NET_ADMIN", "install-helper")


def no_new_privs_says_so(bed):
    bed.configure("allow br0\n")
    for mode in (SETUID, SETCAP):
        bed.call(*ALLOWED, mode=mode, before=["setpriv", "--no-new-privs"]).refused("no_new_privs")


def root_is_served_too(bed):
    """As under sudo, where standard input is the socket."""
    bed.configure("allow br0\n", mode=0o600)
    with bed.call(*ALLOWED, mode=PLAIN, user=0).granted():
        pass
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        subprocess.run([bed.programs[PLAIN], *ALLOWED, "--fd=0"], stdin=theirs, check=True)
        _, fds, _, _ = socket.recv_fds(ours, 16, 4)
    expect(len(fds) == 1, f"{len(fds)} descriptors by way of standard input")
    os.close(fds[0])


def queues_come_as_asked(bed):
    bed.configure("allow br0\n")
    with bed.call(*ALLOWED, "--queues=4").granted(4) as answer:
        names = {identify(fd) for fd in answer.descriptors}
        expect(len(names) == 1 and names.pop()[1] & IFF_MULTI_QUEUE, "not four queues of one multi-queue tap")
        expect(len(taps()) == 1, f"interfaces: {taps().keys()}")
    nothing_left()


def vnet_header_only_when_asked(bed):
    bed.configure("allow br0\n")
    with bed.call("--br=br0").granted() as answer:
        expect(not identify(answer.descriptors[0])[1] & IFF_VNET_HDR, "a vnet header that nobody asked for")


def mtu_is_the_bridges(bed):
    bed.add_bridge("br9000", "mtu", "9000")
    bed.configure("allow br9000\n")
    with bed.call("--br=br9000").granted() as answer:
        expect(links()[identify(answer.descriptors[0])[0]]["mtu"] == 9000, "another MTU than the bridge's")
    run("ip", "link", "del", "br9000")


def names_are_whole(bed):
    """HLP-01, HLP-12: a name that is too long, or no interface name, is refused whatever the rules say."""
    bed.configure("allow all\ndeny virbr-secret-00\n")
    bed.call("--br=virbr-secret-00").refused("access denied")
    for name in ("virbr-secret-0001", "x" * 16, "x" * 17, "x" * 4096, "", ".", "..", "a/b", "a%d", "a b", "ä", "a\nb"):
        bed.call(f"--br={name}").refused()
    nothing_left()


def include_is_not_searched_where_the_caller_stands(bed):
    """HLP-04."""
    folder = "/mnt/hostile"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/x.conf", "w", encoding="utf-8") as file:
        file.write("allow all\n")
    bed.configure("include x.conf\n")
    bed.call(*ALLOWED, cwd=folder).refused(f"{bed.configuration}:1:")


def secrets_are_not_repeated(bed):
    """HLP-06: what stands in a file of root's is not in the sentence that its reader gets."""
    secret = bed.configuration.parent / "secret.conf"
    secret.write_text("swordfish\n", encoding="utf-8")
    secret.chmod(0o600)
    bed.configure(f"include {secret}\nallow br0 swordfish\n")
    for user in (NOBODY, 0):
        answer = bed.call(*ALLOWED, user=user)
        answer.refused()
        expect("swordfish" not in answer.errors, f"it repeats: {answer.errors}")


def denied_looks_the_same_for_bridges_that_are_not_there(bed):
    """HLP-08: a refusal does not tell whether the bridge exists."""
    bed.configure("# nothing\n")
    there, missing = (bed.call(f"--br={name}") for name in ("br0", "br7"))
    there.refused("access denied")
    expect(there.errors.replace("br0", "br7") == missing.errors, f"{there.errors!r} and {missing.errors!r}")


def only_bridges_are_joined(bed):
    """HLP-14: an allowed name that is no bridge, or nothing at all."""
    run("ip", "tuntap", "add", "dummy0", "mode", "tap")
    bed.configure("allow all\n")
    bed.call("--br=dummy0").refused("dummy0", "bridge")
    bed.call("--br=lo").refused("lo", "bridge")
    bed.call("--br=br7").refused("br7")
    run("ip", "tuntap", "del", "dummy0", "mode", "tap")
    nothing_left()


def no_configuration_is_no_access(bed):
    """HLP-15."""
    with contextlib.suppress(FileNotFoundError):
        bed.configuration.unlink()
    bed.call(*ALLOWED).refused(str(bed.configuration))


def arguments_are_strict(bed):
    """HLP-24 and the usage errors."""
    bed.configure("allow br0\n")
    for value in ("3x", "", "-1", "99999999999", "0x3", " 3", "3 ", "+3"):
        bed.call(*ALLOWED, f"--fd={value}", fd=False).refused("--fd")
    bed.call(*ALLOWED, "--fd=200", fd=False).refused("200")
    bed.call(*ALLOWED, fd=False).refused("--fd")
    bed.call("--use-vnet").refused("--br")
    for word in ("--unknown", "br0", "--br", "--queues=0", "--queues=x", "--mac=1", "--help=1", "-h", "--"):
        bed.call(*ALLOWED, word).refused()
    for index in range(3):  # no socket at all
        bed.call(*ALLOWED, f"--fd={index}", fd=False).refused(f"{index}")
    nothing_left()


def version_and_help_need_nothing(bed):
    for mode in (SETUID, SETCAP, PLAIN):
        version = bed.call("--version", mode=mode, fd=False)
        expect(version.status == 0 and version.output.startswith("tapir-bridge-helper "), f"{version}")
        shown = bed.call("--help", mode=mode, fd=False)
        expect(shown.status == 0 and "--use-vnet" in shown.output and "--br=" in shown.output, f"{shown}")


def strange_argument_vectors(bed):
    """HLP-25, HLP-26: no argument at all, very many, very long ones, and a long name of the program."""
    bed.configure("allow br0\n")
    bed.call(*ALLOWED, *["--use-vnet=" + "x" * 100] * 10000).refused()
    bed.call(f"--br={'x' * 131000}").refused()
    child = os.fork()
    if child == 0:
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 2)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        empty = (ctypes.c_char_p * 1)(None)
        ctypes.CDLL(None).execve(bed.programs[SETUID].encode(), empty, empty)
        os._exit(99)
    _, status = os.waitpid(child, 0)
    expect(os.waitstatus_to_exitcode(status) == 1, f"without arguments: {os.waitstatus_to_exitcode(status)}")
    process = subprocess.run(["x" * 100000, "--br=br0"], executable=bed.programs[SETUID], stderr=subprocess.PIPE,
                             user=NOBODY, check=False)
    expect(process.returncode == 1 and len(process.stderr) < 2000, f"{process.returncode}, {len(process.stderr)} bytes")


def limits_hold(bed):
    """A second tap over the limit is refused; it is free again as soon as the first one is closed."""
    bed.configure("allow br0\nlimit br0 all 2\n")
    answers = [bed.call(*ALLOWED).granted() for _ in range(2)]
    bed.call(*ALLOWED).refused("2")
    with bed.call(*ALLOWED, user=OTHER_USER).granted():
        pass  # another user has slots of his own
    answers.pop().close()
    answers.append(bed.call(*ALLOWED).granted())
    for answer in answers:
        answer.close()
    nothing_left()


def limits_hold_under_concurrency(bed):
    """HLP-31: of many calls at once exactly as many are granted as the limit says, and nothing stays behind."""
    bed.configure("allow br0\nlimit br0 all 5\n")
    running = [bed.start(*ALLOWED) for _ in range(60)]
    answers = [bed.finish(*helper) for helper in running]
    granted = sum(answer.status == 0 and len(answer.descriptors) == 1 for answer in answers)
    for answer in answers:
        answer.close()
    expect(granted == 5, f"{granted} of 60 were granted, the limit is 5")
    nothing_left()


def rules_reach_the_port(bed):
    """isolate and lock of the configuration are set on the port before it is up; vlan is where VLANs are."""
    bed.configure("allow br0\nisolate br0\nlock br0\n")
    guest = "52:54:00:00:00:07"
    bed.call("--br=br0").refused("--mac")
    with bed.call("--br=br0", f"--mac={guest}").granted() as answer:
        name, _ = identify(answer.descriptors[0])
        port = links()[name]["linkinfo"]["info_slave_data"]
        expect(port["isolated"] and port["locked"] and not port["learning"], f"{port}")
        entries = run("bridge", "fdb", "show", "dev", name)
        expect(re.search(f"^{guest} .*static", entries, re.MULTILINE), f"FDB: {entries}")
        bed.call("--br=br0", f"--mac={guest}", user=OTHER_USER).refused(guest)
    for address in ("01:00:5e:00:00:01", "02:00:00:00:00:01", links()["br0"]["address"]):
        bed.call("--br=br0", f"--mac={address}").refused(address)
    bed.configure("allow br0\nvlan br0 42\n")
    bed.call("--br=br0").refused("vlan_filtering")
    nothing_left()


def a_locked_address_cannot_be_taken(bed):
    """Another user who has the kernel forget a locked guest's address, which the descriptor of any tap on the bridge allows,
    does not get a tap with that address."""
    bed.configure("allow br0\nlock br0\n")
    victims, thiefs = "52:54:00:00:00:07", "52:54:00:00:00:08"
    with bed.call("--br=br0", f"--mac={victims}").granted():
        with bed.call("--br=br0", f"--mac={thiefs}", user=OTHER_USER).granted() as thief:
            fd = thief.descriptors[0]
            script = ("import fcntl, struct, sys\n"
                      "for address in sys.argv[2:]:\n"
                      "    request = struct.pack('16sH14s8x', b'', 1, bytes.fromhex(address.replace(':', '')))\n"
                      "    fcntl.ioctl(int(sys.argv[1]), 0x8924, request)  # SIOCSIFHWADDR\n")
            subprocess.run(["python3", "-c", script, str(fd), victims, "02:11:22:33:44:55"], check=True, pass_fds=[fd],
                           user=OTHER_USER, group=OTHER_USER, extra_groups=[])
            expect(victims not in run("bridge", "fdb", "show", "br", "br0"), "the kernel has not forgotten the address")
            bed.call("--br=br0", f"--mac={victims}", user=OTHER_USER).refused(victims)
        bed.call("--br=br0", f"--mac={victims}", user=OTHER_USER).refused(victims)
    with bed.call("--br=br0", f"--mac={victims}").granted():
        pass
    nothing_left()


def per_user_files_work(bed):
    """QEMU's scheme: an include that only one group can read is for that group alone."""
    include = bed.configuration.parent / "group.conf"
    include.write_text("allow br0\n", encoding="utf-8")
    os.chown(include, 0, 4242)
    include.chmod(0o640)
    bed.configure(f"include {include}\n")
    with bed.call(*ALLOWED, groups=[4242]).granted():
        pass
    bed.call(*ALLOWED).refused("access denied")


def check_is_for_root_and_tells_the_truth(bed):
    bed.configure("allow br0 user nobody\nlimit br0 all 3\n")
    bed.call("--check", fd=False).refused("root")
    shown = bed.call("--check", "--user=nobody", fd=False, user=0, mode=PLAIN)
    expect(shown.status == 0 and "br0" in shown.output and "3" in shown.output, f"{shown}")
    bed.configure("allow br0\ndeny\n")
    wrong = bed.call("--check", fd=False, user=0, mode=PLAIN)
    expect(wrong.status == 1 and f"{bed.configuration}:2:" in wrong.errors, f"{wrong}")


def grants_and_refusals_are_recorded(bed):
    """One datagram to /dev/log each; a logger that does not read holds up nobody."""
    bed.configure("allow br0\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        os.chmod("/dev/log", 0o666)
        log.settimeout(5)
        with bed.call(*ALLOWED).granted() as answer:
            tap, _ = identify(answer.descriptors[0])
        record = log.recv(4096).decode()
        for word in ("<8", "tapir-bridge-helper[", str(NOBODY), "br0", tap):
            expect(word in record, f"no {word} in {record!r}")
        bed.call("--br=br1").refused()
        record = log.recv(4096).decode()
        for word in (str(NOBODY), "br1"):
            expect(word in record, f"no {word} in {record!r}")
        for refused, word in ((lambda: bed.call(*ALLOWED, mode=PLAIN), "CAP_NET_ADMIN"),
                              (lambda: bed.call("--br=br0", "--fd=77", fd=False), "--fd=77")):
            refused().refused(word)
            record = log.recv(4096).decode()
            expect("refused" in record and word in record, f"no refusal for {word} in {record!r}")
        for _ in range(600):  # more than the socket's queue takes
            bed.call("--br=br1", limit=5).refused()
            if log_is_full():
                break
        else:
            raise Failure("the log's queue never got full")
        with bed.call(*ALLOWED, limit=5).granted():
            pass
    os.unlink("/dev/log")
    with bed.call(*ALLOWED).granted():
        pass


def log_is_full():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.sendto(b"<86>probe", "/dev/log")
        except BlockingIOError:
            return True
    return False


TESTS = (both_installations_grant, neither_installation_says_so, no_new_privs_says_so, root_is_served_too,
         queues_come_as_asked, vnet_header_only_when_asked, mtu_is_the_bridges, names_are_whole,
         include_is_not_searched_where_the_caller_stands, secrets_are_not_repeated,
         denied_looks_the_same_for_bridges_that_are_not_there, only_bridges_are_joined, no_configuration_is_no_access,
         arguments_are_strict, version_and_help_need_nothing, strange_argument_vectors, limits_hold,
         limits_hold_under_concurrency, rules_reach_the_port, a_locked_address_cannot_be_taken,
         per_user_files_work,
         check_is_for_root_and_tells_the_truth, grants_and_refusals_are_recorded)
