# SPDX-License-Identifier: Apache-2.0
"""What the host sends to a Linux guest and gets from it: pings, streams, files."""

import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time

from guest import HOST_ADDRESS, HOST_MAC, GuestError, host

FILE_PORT = 5300


def ping(address, count=40, interval=0.02, size=56, dont_fragment=False):
    """The share of lost packets in percent."""
    words = ["ping", "-q", "-c", str(count), "-i", str(interval), "-W", "5", "-s", str(size)]
    output = host(*words, *(["-M", "do"] if dont_fragment else []), address, check=False)
    loss = re.search(r"([0-9.]+)% packet loss", output)
    if not loss:
        raise GuestError(f"ping {address}: {output.strip()}")
    return float(loss[1])


def _iperf3(address, seconds, to_guest, *words):
    """The end of iperf3's report. The guest runs the server."""
    line = ["iperf3", "-c", address, "-t", str(seconds), "-J", "--connect-timeout", "5000", *words]
    output = host(*line, *([] if to_guest else ["-R"]), check=False, limit=2 * seconds + 30)
    try:
        return json.loads(output)["end"]
    except (ValueError, KeyError):
        error = re.search(r'"error":\s*"([^"]*)"', output)
        raise GuestError(f"iperf3: {error[1] if error else output[-200:]}") from None


def _figures(work):
    """What `work` takes out of a report; one without it is of a run that failed."""
    try:
        return work()
    except (KeyError, ZeroDivisionError) as error:
        raise GuestError(f"iperf3: its report lacks {error}") from None


def iperf3(address, seconds, to_guest, streams=1):
    """Bits per second of TCP streams, as their receiver counted them."""
    end = _iperf3(address, seconds, to_guest, "-P", str(streams))
    return _figures(lambda: float(end["sum_received"]["bits_per_second"]))


def iperf3_datagrams(address, seconds, to_guest, size=64):
    """Datagrams of `size` bytes as fast as the sender can: how many the receiver got each second, and the share of
    the others in percent."""
    end = _iperf3(address, seconds, to_guest, "-u", "-b", "0", "-l", str(size))

    def work():
        received = end["sum_received"]
        arrived = received["packets"] - received["lost_packets"]
        return arrived / received["seconds"], 100 * (1 - arrived / end["sum_sent"]["packets"])

    return _figures(work)


class _OneConnection(threading.Thread):
    """Serves one TCP connection on FILE_PORT: `work` gets the socket, its value is result()."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self._work = work
        self._value = None
        self._listener = socket.create_server((HOST_ADDRESS, FILE_PORT))
        self._listener.settimeout(60)
        self.start()

    def run(self):
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(60)
                self._value = self._work(connection)
        except OSError as error:
            self._value = error
        finally:
            self._listener.close()

    def result(self):
        self.join(timeout=120)
        if self.is_alive() or isinstance(self._value, OSError):
            raise GuestError(f"the file's connection failed: {self._value}")
        return self._value


def send_file(guest, size, limit=120):
    """Sends a file of random bytes into the guest, which keeps it as /tmp/file. Returns both SHA-256 sums."""
    content = os.urandom(size)

    def work(connection):
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return hashlib.sha256(content).hexdigest()

    server = _OneConnection(work)
    status, output = guest.run(
        f"nc {HOST_ADDRESS} {FILE_PORT} < /dev/null > /tmp/file; sha256sum < /tmp/file", limit)
    if status:
        raise GuestError(f"the guest could not receive the file: {output}")
    return server.result(), output.split()[0]


def receive_file(guest, limit=120):
    """Gets /tmp/file from the guest. Returns both SHA-256 sums."""

    def work(connection):
        digest = hashlib.sha256()
        while chunk := connection.recv(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()

    server = _OneConnection(work)
    status, output = guest.run(
        f"sha256sum < /tmp/file; nc {HOST_ADDRESS} {FILE_PORT} < /tmp/file", limit)
    if status:
        raise GuestError(f"the guest could not send the file: {output}")
    return server.result(), output.split()[0]


def kernel_log(guest, limit=60):
    """The guest's kernel log, over the network: on the serial port it would take a VM exit for each byte."""

    def work(connection):
        text = b""
        while chunk := connection.recv(1 << 20):
            text += chunk
        return text.decode(errors="replace")

    server = _OneConnection(work)
    status, output = guest.run(f"dmesg | nc {HOST_ADDRESS} {FILE_PORT}", limit)
    if status:
        raise GuestError(f"the guest could not send its kernel log: {output}")
    return server.result()


def send_frames(tap, destination, count, vlan=None):
    """Sends Ethernet frames of no known protocol into the guest, past the bridge: to any address, with any VLAN tag."""
    octets = bytes(int(octet, 16) for octet in destination.split(":") + HOST_MAC.split(":"))
    tag = b"" if vlan is None else struct.pack("!HH", 0x8100, vlan)
    frame = octets + tag + struct.pack("!H", 0x88B5) + bytes(50)  # an EtherType for local experiments (IEEE 802)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
        packets.bind((tap, 0))
        for _ in range(count):
            packets.send(frame)


class Background:
    """Frames in both directions for as long as the block lasts: echo requests that the guest answers, and UDP
    datagrams that nobody waits for. The guest's address is pinned, so frames go on while its driver is away."""

    def __init__(self, address, mac):
        self._address = address
        self._mac = mac
        self._stop = threading.Event()

    def __enter__(self):
        host("ip", "neighbor", "replace", self._address, "lladdr", self._mac, "dev", "br0", "nud", "permanent")
        self._pinger = subprocess.Popen(["ping", "-q", "-i", "0.005", "-s", "1000", self._address],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        self._sender.join()
        self._pinger.kill()
        self._pinger.wait()
        host("ip", "neighbor", "del", self._address, "dev", "br0", check=False)

    def _send(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            payload = bytes(1200)
            while not self._stop.is_set():
                try:
                    datagrams.sendto(payload, (self._address, 9))
                except OSError:
                    pass  # the port is unreachable, which is what the guest answers
                time.sleep(0.002)
