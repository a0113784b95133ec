# SPDX-License-Identifier: Apache-2.0
"""Many guests of one ordinary user at once, each with a tap of its own from the helper, all on one bridge: freestanding guests
(echo.elf) that send one frame back and switch themselves off."""

import contextlib
import pathlib
import re
import socket
import statistics
import subprocess
import time

from bed import NOBODY, SETUID, expect, nothing_left

COUNTS = (1, 10)
MORE = (50, 100)  # for soak
GUEST_MIB = 64
ETHERTYPE = 0x88B5  # IEEE 802: for experiments on a private network
US = bytes.fromhex("525400000001")  # the bridge's own address
SECONDS_EACH = 3  # on a slow KVM; a guest takes a tenth of it


class Guest:
    """A running tapir, with its files in `folder`."""

    def __init__(self, bed, folder, number):
        self._errors_path = folder / f"{number}.errors"
        self._console_path = folder / f"{number}.console"
        words = [bed.vmm, "-kernel", str(bed.guests / "echo.elf"), "-append", "transport=pci frames=1 share=1",
                 "-m", str(GUEST_MIB), "-nographic", "-net", "nic,model=virtio",
                 "-net", f"bridge,helper={bed.programs[SETUID]}"]
        with open(self._errors_path, "wb") as errors, open(self._console_path, "wb") as console:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=console, stderr=errors, user=NOBODY,
                                            group=NOBODY, extra_groups=())
        self.begin = time.monotonic()
        self.start_seconds = None
        self.memory_kib = 0
        self.address = None

    def look(self):
        """Whether the guest waits for its frame; its memory and its address are known then."""
        if self.start_seconds is None and "INFO ready" in self.console():
            self.start_seconds = time.monotonic() - self.begin
            self.address = re.search(r"random MAC address (\S+);", self._errors_path.read_text()).group(1)
            self.memory_kib = memory_kib(self.process.pid)
        return self.start_seconds is not None

    def console(self):
        return self._console_path.read_text(encoding="utf-8", errors="replace")

    def errors(self):
        return self._errors_path.read_text(encoding="utf-8", errors="replace")


def memory_kib(pid):
    """What is this process's alone, without the guest's memory."""
    total = mapping_bytes = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text(encoding="ascii").splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            mapping_bytes = int(header[2], 16) - int(header[1], 16)
        elif mapping_bytes != GUEST_MIB << 20 and (value := re.match(r"Private_\w+: +(\d+) kB", line)):
            total += int(value[1])
    return total


def ping(packets, guests):
    """Sends each guest a frame; the addresses from which it came back. One after another, for the bridge gives a frame to
    all guests whose address it has not seen yet."""
    heard = set()
    with contextlib.suppress(TimeoutError):
        for guest in guests:
            address = bytes.fromhex(guest.address.replace(":", ""))
            packets.send(address + US + ETHERTYPE.to_bytes(2, "big") + bytes(100))
            frame, origin = b"", ()
            while frame[6:12] != address or origin[2] == socket.PACKET_OUTGOING:
                frame, origin = packets.recvfrom(2048)
            heard.add(guest.address)
    return heard


def run_guests(bed, count):
    """Runs so many at once; their seconds to be ready, and memory in KiB."""
    folder = pathlib.Path("/mnt") / f"many-{count}"
    folder.mkdir()
    limit = time.monotonic() + SECONDS_EACH * (count + 10)
    guests = [Guest(bed, folder, number) for number in range(count)]
    try:
        while not all([guest.look() for guest in guests]):
            for guest in guests:
                expect(guest.process.poll() is None, f"a guest ended: {guest.errors()}{guest.console()}")
            expect(time.monotonic() < limit, f"{sum(guest.look() for guest in guests)} of {count} guests are ready in time")
            time.sleep(0.02)
        addresses = {guest.address for guest in guests}
        expect(len(addresses) == count, f"{count} guests have {len(addresses)} addresses")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE)) as packets:
            packets.bind(("br0", ETHERTYPE))
            packets.settimeout(SECONDS_EACH * 10)
            heard = ping(packets, guests)
        silent = "".join(guest.errors() + guest.console() for guest in guests if guest.address not in heard)
        expect(heard == addresses, f"frames came back from {len(heard & addresses)} of {count} guests: {silent}")
        for guest in guests:
            status = guest.process.wait(timeout=SECONDS_EACH * (count + 10))
            expect(status == 0, f"exit status {status}: {guest.errors()}{guest.console()}")
    finally:
        for guest in guests:
            guest.process.kill()
            guest.process.wait()
    nothing_left()
    return [guest.start_seconds for guest in guests], [guest.memory_kib for guest in guests]


def run_all(bed, counts):
    bed.configure("allow br0\n")
    for count in counts:
        begin = time.monotonic()
        starts, memory = run_guests(bed, count)
        print(f"     {count:3} guests: ready after {statistics.median(starts):.2f} s (median; {max(starts):.2f} s at most), "
              f"{statistics.median(memory)} KiB each beyond guest memory ({max(memory)} at most), "
              f"all over in {time.monotonic() - begin:.2f} s", flush=True)


def many_guests_share_a_bridge(bed):
    run_all(bed, COUNTS)


def a_hundred_guests_share_a_bridge(bed):
    run_all(bed, MORE)


TESTS = [many_guests_share_a_bridge]
