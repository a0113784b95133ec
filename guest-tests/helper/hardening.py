# SPDX-License-Identifier: Apache-2.0
"""What a hostile caller can do to the helper, and what it can do itself: privileges, order of system calls, death at every
one of them, environment, descriptors, limits, signals, tracing. Numbers are those of the conformance list (HLP-…)."""

import collections
import contextlib
import ctypes
import itertools
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile
import time

from bed import NOBODY, PLAIN, SETCAP, SETUID, Failure, expect, links, nothing_left, run
from calls import ALLOWED

CAP_NET_ADMIN = 1 << 12
MODES = (SETUID, SETCAP)


def traced(bed, *extra, mode=SETUID, arguments=ALLOWED, limit=30, **options):
    """A call under strace; the answer and the lines of the trace, its `execve` left out."""
    with tempfile.NamedTemporaryFile(mode="r", encoding="utf-8", errors="replace") as trace:
        before = ["strace", "-f", "-qq", "-u", "nobody", "-o", trace.name, *extra]
        answer = bed.call(*arguments, mode=mode, before=before, limit=limit, **options)
        lines = [re.sub(r"^\d+ +", "", line) for line in trace.read().splitlines()]
    return answer, [line for line in lines if not line.startswith(("---", "+++"))][1:]


def trace_of_a_grant(bed, mode=SETUID):
    answer, lines = traced(bed, mode=mode)
    answer.granted().close()
    return lines


def first(lines, pattern, start=0):
    """The index of the first line that matches, from `start` on."""
    for index in range(start, len(lines)):
        if re.search(pattern, lines[index]):
            return index
    raise Failure(f"the trace has no {pattern} from line {start} on")


def steps_come_in_order(bed):
    """HLP-order: privileges go before anything is opened; no capability is left when the descriptor is sent."""
    bed.configure("allow br0\n")
    for mode in MODES:
        lines = trace_of_a_grant(bed, mode)
        if mode == SETUID:
            identity = first(lines, r"^setresuid\(65534, 65534, 65534\)")
            expect(first(lines, r"^setresgid\(65534") < identity, "the user went before the group")
        dropped = first(lines, r"^capset\(.*effective=1<<CAP_NET_ADMIN, permitted=1<<CAP_NET_ADMIN, inheritable=0")
        no_new_privs = first(lines, r"^prctl\(PR_SET_NO_NEW_PRIVS, 1")
        filtered = first(lines, r"^seccomp\(SECCOMP_SET_MODE_FILTER|^prctl\(PR_SET_SECCOMP")
        trail = first(lines, r"^socket\(AF_UNIX, SOCK_DGRAM")
        rules = first(lines, r"^openat\(.*bridge\.conf.*O_NOFOLLOW")
        tun = first(lines, r'^openat\(.*"/dev/net/tun"')
        made = first(lines, r"TUNSETIFF", tun)
        kept = first(lines, r"TUNSETOWNER, (0x)?0\b", made)
        up = first(lines, r"^sendto\(.*ifi_flags=IFF_UP", kept)
        bare = first(lines, r"^capset\(.*effective=0, permitted=0, inheritable=0", kept)
        recorded = first(lines, r'^sendto\(.*"<\d+>tapir-bridge-helper', bare)
        owned = first(lines, r"TUNSETOWNER, (0xfffe|65534)\b", made)
        sent = first(lines, r"^sendmsg\(.*SCM_RIGHTS", bare)
        order = [dropped, no_new_privs, filtered, trail, rules, tun, made, kept, up, bare, recorded, owned, sent]
        expect(order == sorted(order), f"{mode}: order {order}")
        # What the loader and the checks of the drop itself need: libraries and /proc.
        opened = [line for line in lines[:dropped] if re.match(r"(openat|socket)\(", line)
                  and not re.search(r'"/(etc/ld\.so|lib|usr/lib|proc/)', line)]
        expect(not opened, f"{mode}: opened with full privileges: {opened}")


def without_a_way_to_the_audit_trail_nothing_is_made(bed):
    """Whoever takes the helper's means away before it could record a grant gets none."""
    bed.configure("allow br0\n")
    before = ["strace", "-f", "-qq", "-u", "nobody", "-o", "/dev/null", "-e", "inject=socket:delay_enter=2000000:when=1"]
    helper = bed.start(*ALLOWED, before=before)
    pid = traced_child(helper[0], lambda pid: status_of(pid)["Seccomp"].strip() == "2")
    time.sleep(0.2)  # from its filter to its first socket
    subprocess.run(["prlimit", "--pid", str(pid), "--nofile=0:0"], check=True, user=NOBODY, group=NOBODY, extra_groups=[])
    with bed.finish(*helper) as answer:
        answer.refused("audit trail")
    nothing_left()


def nothing_is_executed_nor_entered(bed):
    """HLP-09, HLP-38: no exec, no other namespace, no child."""
    bed.configure("allow br0\n")
    lines = trace_of_a_grant(bed)
    found = [line for line in lines if re.match(r"(execve|execveat|setns|unshare|fork|vfork|clone3?)\(", line)]
    expect(not found, f"{found}")


def death_at_every_call_leaves_nothing(bed):
    """HLP-29: killed when it enters any of its system calls, it leaves no interface."""
    bed.configure("allow br0\nlimit br0 all 3\n")
    lines = trace_of_a_grant(bed)
    calls = collections.Counter(match[1] for line in lines if (match := re.match(r"(\w+)\(", line)))
    deaths = 0
    for name, count in calls.items():
        for number in range(1, count + 1):
            answer, _ = traced(bed, "-e", f"inject={name}:signal=SIGKILL:when={number}")
            deaths += answer.status not in (0, 1)
            answer.close()
            nothing_left()
    expect(deaths > 50, f"only {deaths} deaths at {sum(calls.values())} calls")
    ports = run("bridge", "link", "show")
    expect("master br0" not in ports, f"ports left: {ports}")
    print(f"     {deaths} deaths, none left an interface")


def failing_drops_end_the_run(bed):
    """HLP-16, HLP-17, HLP-18, HLP-19: whichever step of giving up privileges fails, nothing is opened and nothing is given."""
    bed.configure("allow br0\n")
    for mode in MODES:
        lines = trace_of_a_grant(bed, mode)
        before = lines[:first(lines, r"^openat\(.*bridge\.conf")]
        counts = collections.Counter(match[1] for line in before
                                     if (match := re.match(r"(capset|setresuid|setresgid|prctl|seccomp)\(", line)))
        expect(counts["capset"] and counts["prctl"], f"{counts}")
        for name, count in counts.items():
            for number in range(1, count + 1):
                answer, lines = traced(bed, "-e", f"inject={name}:error=EPERM:when={number}", mode=mode)
                with answer:
                    failed = next(line for line in lines if "(INJECTED)" in line)
                    if answer.status == 0:  # only asked: it did not matter
                        expect(re.search(r"PR_(CAPBSET_READ|GET_|CAP_AMBIENT)|SECCOMP_GET_|SECCOMP_SET_MODE_FILTER.*NULL", failed), f"went on after {failed}")
                        continue
                    expect(not answer.descriptors, f"gave a descriptor after {failed}")
                    expect(not any("/dev/net/tun" in line for line in lines), f"opened the device after {failed}")


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def traced_child(tracer, arrived):
    """The pid of the helper under this strace, once `arrived(pid)`."""
    children = pathlib.Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, KeyError):  # strace has short-lived children of its own before
            for pid in map(int, children.read_text(encoding="ascii").split()):
                if arrived(pid):
                    return int(children.read_text(encoding="ascii").split()[0])
    raise Failure("the helper did not get that far")


class Held:
    """A helper that is held for a moment as it enters a system call, still holding its tap."""

    def __init__(self, bed, name, **options):
        before = ["strace", "-f", "-qq", "-u", "nobody", "-o", "/dev/null", "-e",
                  f"inject={name}:delay_enter=3000000:when=1"]
        self._tracer, self._end = bed.start(*ALLOWED, before=before, **options)
        self.pid = traced_child(self._tracer, lambda pid: any(name.startswith("tap") for name in links()))
        time.sleep(0.2)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._tracer.kill()
        self._tracer.communicate()
        self._end.close()


def no_privilege_is_left_with_the_tap(bed):
    """HLP-16, HLP-20, HLP-22: when the descriptor is sent there is no capability, no way back, and the caller's groups."""
    bed.configure("allow br0\n")
    for mode in MODES:
        with Held(bed, "sendmsg", mode=mode) as held:
            status = status_of(held.pid)
            expect(status["Uid"].split() == [str(NOBODY)] * 4, f"Uid {status['Uid']}")
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                expect(int(status[name], 16) == 0, f"{mode}: {name} {status[name]}")
            if mode == SETUID:
                expect(int(status["CapBnd"], 16) == 0, f"CapBnd {status['CapBnd']}")
            expect(status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", "not locked down")


def the_caller_cannot_reach_into_it(bed):
    """HLP-30: the caller, whose user it now has, can neither trace it nor take its descriptors."""
    bed.configure("allow br0\n")
    for mode, call in itertools.product(MODES, ("openat", "sendmsg")):
        if call == "openat":
            continue  # nothing to take yet; Held waits for the tap
        with Held(bed, call, mode=mode) as held:
            script = ("import ctypes, os, sys\n"
                      "libc = ctypes.CDLL(None, use_errno=True)\n"
                      "pid = int(sys.argv[1])\n"
                      "got = []\n"
                      "if libc.ptrace(0x4206, pid, None, None) == 0: got.append('ptrace')\n"
                      "for name in ('mem', 'fd/4', 'environ'):\n"
                      "    try: open(f'/proc/{pid}/{name}', 'rb').read(1); got.append(name)\n"
                      "    except OSError: pass\n"
                      "fd = os.pidfd_open(pid)\n"
                      "for number in range(3, 12):\n"
                      "    if libc.syscall(438, fd, number, 0) >= 0: got.append(f'descriptor {number}')\n"
                      "print(' '.join(got))\n")
            got = subprocess.run(["python3", "-c", script, str(held.pid)], user=NOBODY, group=NOBODY, extra_groups=[],
                                 stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
            expect(not got, f"{mode}: the caller got {got}")


def environment_does_not_matter(bed):
    """HLP-27: loader and library variables; and no search path in the program."""
    bed.configure("allow br0\n")
    hostile = {"LD_PRELOAD": "/mnt/evil.so", "LD_LIBRARY_PATH": "/mnt", "LD_AUDIT": "/mnt/evil.so", "LD_DEBUG": "all",
               "GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.mxfast=99999999", "MALLOC_TRACE": "/mnt/trace",
               "TMPDIR": "/mnt", "LANG": "xx_XX", "LOCPATH": "/mnt", "GCONV_PATH": "/mnt", "PATH": "/mnt", "IFS": "/"}
    for mode in MODES:
        with bed.call(*ALLOWED, mode=mode, env=hostile).granted():
            pass
    dynamic = run("readelf", "-d", bed.programs[PLAIN])
    expect("RPATH" not in dynamic and "RUNPATH" not in dynamic, "it has a search path")


def hardened(program):
    """HLP-36: position independent, read-only relocations, no executable stack, stack protector, control flow marks."""
    headers = run("readelf", "-hlWd", program)
    expect("DYN (" in headers, "not position independent")
    expect("GNU_RELRO" in headers and re.search(r"BIND_NOW|FLAGS_1.*NOW", headers), "relocations stay writable")
    expect(re.search(r"GNU_STACK.* RW ", headers), "executable stack")
    symbols = run("readelf", "-sW", "--dyn-syms", program)
    expect("__stack_chk_fail" in symbols, "no stack protector")
    # Debian's own start-up files lack the marks, so the program as a whole cannot be declared to have them.
    expect(re.search(r"<main>:\n.*endbr64", run("objdump", "-d", program)), "no control flow marks")


def the_programs_are_hardened(bed):
    hardened(bed.programs[PLAIN])
    if bed.vmm:
        hardened(bed.vmm)


def descriptors_are_its_own(bed):
    """HLP-23: standard descriptors closed in every way, and five thousand others open."""
    bed.configure("allow br0\n")
    for closed in itertools.chain.from_iterable(itertools.combinations(range(3), count) for count in (1, 2, 3)):
        shell = " ".join(f"{fd}>&-" for fd in closed)
        with bed.call(*ALLOWED, before=["sh", "-c", f'exec "$0" "$@" {shell}']) as answer:
            expect(answer.status == 0 and len(answer.descriptors) == 1, f"{closed} closed: {answer}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(5000)]
    try:
        for fd in many:
            os.set_inheritable(fd, True)
        with bed.call(*ALLOWED, close_fds=False).granted():
            pass
    finally:
        for fd in many:
            os.close(fd)


def small_limits_end_cleanly(bed):
    """HLP-28: granted or refused, but never anything left, never a core."""
    bed.configure("allow br0\n")
    kinds = [("nofile", number) for number in range(9)] + [
        ("fsize", 0), ("as", 8 << 20), ("stack", 64 << 10), ("cpu", 1), ("nproc", 1), ("memlock", 0), ("data", 0)]
    for kind, number in kinds:
        with bed.call(*ALLOWED, before=["prlimit", f"--{kind}={number}:{number}"]) as answer:
            expect(answer.status in (0, 1, 126, 127) or kind in ("as", "stack", "data", "nofile"), f"{kind}: {answer}")
            expect((answer.status == 0) == (len(answer.descriptors) == 1), f"{kind}={number}: {answer}")
        nothing_left()


def ignored_and_blocked_signals_do_not_matter(bed):
    """HLP-29: a peer that is gone is a sentence, not a signal, and the tap goes."""
    bed.configure("allow br0\n")

    def hostile():
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.Signals))
        signal.setitimer(signal.ITIMER_REAL, 0.001)

    with bed.call(*ALLOWED, preexec_fn=hostile).granted():
        pass
    process, ours = bed.start(*ALLOWED, before=["sh", "-c", 'sleep 0.3; exec "$0" "$@"'])
    ours.close()
    _, errors = process.communicate(timeout=20)
    expect(process.returncode == 1 and errors.count("\n") == 1, f"{process.returncode}: {errors}")
    nothing_left()


def fewer_capabilities_never_mean_more(bed):
    """HLP-21: called without some of the capabilities that set-id programs expect, it works or ends cleanly."""
    bed.configure("allow br0\n")
    names = ("cap_setuid", "cap_setgid", "cap_setpcap", "cap_net_admin", "cap_dac_override")
    sets = [(name,) for name in names] + list(itertools.combinations(names, 2))
    drop = ("import ctypes, os, sys\n"
            "numbers = dict(cap_dac_override=1, cap_setgid=6, cap_setuid=7, cap_setpcap=8, cap_net_admin=12)\n"
            "libc = ctypes.CDLL(None)\n"
            "for name in sys.argv[1].split(','): assert libc.prctl(24, numbers[name], 0, 0, 0) == 0\n"
            f"os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})\n"
            "try: os.execv(sys.argv[2], sys.argv[2:])\n"
            "except PermissionError: sys.exit(126)\n")
    for mode, dropped in itertools.product(MODES, sets):
        before = ["python3", "-c", drop, ",".join(dropped)]
        with bed.call(*ALLOWED, mode=mode, before=before, user=0) as answer:
            expect(answer.status in (0, 1, 126), f"{mode} without {dropped}: {answer}")
            expect((answer.status == 0) == (len(answer.descriptors) == 1), f"{mode} without {dropped}: {answer}")
            expect(answer.status == 0 or "cap_net_admin" in dropped or mode == SETUID, f"{mode} without {dropped}: {answer}")
        nothing_left()


def in_a_user_namespace_it_rules_only_there(bed):
    """HLP-09: root of a namespace of its own gets what that namespace has, not what this one has."""
    bed.configure("allow br0\n")
    with bed.call(*ALLOWED, mode=PLAIN, before=["unshare", "--user", "--map-root-user", "--net"]) as answer:
        expect(answer.status == 1 and not answer.descriptors, f"{answer}")
    expect(not [name for name in links() if name.startswith("tap")], "a tap on this side")


def taps_belong_to_the_caller(bed):
    """HLP-32: the device is opened after the change of user, so that its socket is the caller's for packet filters."""
    bed.configure("allow br0\n")
    lines = trace_of_a_grant(bed)
    expect(first(lines, r"^setresuid\(65534") < first(lines, r'"/dev/net/tun"'), "opened as root")


def many_calls_at_once_leave_the_bridge_as_it_was(bed):
    """HLP-31."""
    bed.configure("allow br0\n")
    bed.call(*ALLOWED).granted().close()  # with its first port ever a bridge computes limits that it then keeps
    before = run("ip", "-details", "link", "show", "br0")
    for _ in range(4):
        running = [bed.start(*ALLOWED) for _ in range(50)]
        for answer in [bed.finish(*helper) for helper in running]:
            answer.granted().close()
        nothing_left()
    after = run("ip", "-details", "link", "show", "br0")
    strip = re.compile(r"(hello_timer|tcn_timer|topology_change_timer|gc_timer) +[\d.]+|state \w+|<[^>]*>")
    expect(strip.sub("", before) == strip.sub("", after), f"{before}\n{after}")


def others_get_no_queue_of_a_fresh_tap(bed):
    """Another user who tries without pause to attach to every new multi-queue tap never gets a queue of one on a bridge,
    and cannot rename, persist or own it."""
    bed.configure("allow br0\nlimit br0 user nobody 3\n")
    attacker = pathlib.Path(__file__).with_name("attacker.py")
    with subprocess.Popen(["python3", str(attacker)], user=12345, group=12345, extra_groups=[],
                          stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        for _ in range(100):
            with bed.call(*ALLOWED, "--queues=2") as answer:
                expect(answer.status in (0, 1), f"{answer}")
        process.stdin.close()
        won = process.stdout.read().strip()
    expect(won == "tries: yes", f"the attacker reports: {won}")
    nothing_left()


TESTS = (steps_come_in_order, without_a_way_to_the_audit_trail_nothing_is_made, nothing_is_executed_nor_entered, death_at_every_call_leaves_nothing,
         failing_drops_end_the_run, no_privilege_is_left_with_the_tap, the_caller_cannot_reach_into_it,
         environment_does_not_matter, the_programs_are_hardened, descriptors_are_its_own, small_limits_end_cleanly,
         ignored_and_blocked_signals_do_not_matter, fewer_capabilities_never_mean_more,
         in_a_user_namespace_it_rules_only_there, taps_belong_to_the_caller,
         many_calls_at_once_leave_the_bridge_as_it_was, others_get_no_queue_of_a_fresh_tap)
