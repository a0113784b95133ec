# SPDX-License-Identifier: Apache-2.0
"""Frames of the tests' own Ethernet type, which go to a guest through its tap and come back."""

import random
import socket
import threading
import time

MAC = "52:54:00:12:34:56"
TAP = "t0"
ETHERTYPE = 0x88B5  # IEEE 802: for experiments on a private network
PACKET_OUTGOING = 4
HEADER = bytes.fromhex(MAC.replace(":", "")) + b"\x02\x00\x00\x00\x00\x01" + ETHERTYPE.to_bytes(2, "big")


def open_socket():
    """Sends to the guest and receives, without waiting, what it sends."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    packets.bind((TAP, ETHERTYPE))
    packets.setblocking(False)
    return packets


class Echo:
    """Sends frames to the guest's tap, a window at a time, and compares what comes back, in order."""

    WINDOW = 16

    def __init__(self, count, held_back=0):
        """The last `held_back` frames wait for release()."""
        self._socket = open_socket()
        self._held_back = held_back
        numbers = random.Random(1)
        self._frames = [HEADER + numbers.randbytes(numbers.choice((46, 47, 100, 498, 499, 1000, 1499, 1500)))
                        for _ in range(count)]
        self._sent = self._received = self.returned_bytes = 0
        self.fault = ""

    def fileno(self):
        return self._socket.fileno()

    def fill(self):
        while self._sent < len(self._frames) - self._held_back and self._sent - self._received < self.WINDOW:
            self._socket.send(self._frames[self._sent])
            self._sent += 1

    def receive(self):
        while True:
            try:
                frame, address = self._socket.recvfrom(65536)
            except BlockingIOError:
                break
            if address[2] == PACKET_OUTGOING:
                continue
            if self._received < len(self._frames) and frame != self._frames[self._received]:
                self.fault = self.fault or f"frame {self._received} came back changed"
            self._received += 1
            self.returned_bytes += len(frame)
        self.fill()

    @property
    def returned(self):
        return self._received

    def waits_for_release(self):
        return self._held_back and self._received == len(self._frames) - self._held_back

    def release(self):
        self._held_back = 0
        self.fill()

    def finish(self):
        if self._received != len(self._frames):
            self.fault = self.fault or f"{self._received} of {len(self._frames)} frames came back"
        return self.fault


class Stream(threading.Thread):
    """Sends frames to the guest without a pause, faster than it takes them, and counts those that it sends back. The
    first byte behind the header tells the guest how to reset the machine: one way for each time that it starts."""

    WAYS = 5  # of guest reboots.cc

    def __init__(self, starts):
        super().__init__(daemon=True)
        self._starts = starts
        self._socket = open_socket()
        self._stopped = threading.Event()
        self.sent = self.returned = 0

    def run(self):
        while not self._stopped.is_set():
            frame = HEADER + bytes([self._starts() % self.WAYS]) + bytes(random.choice((45, 500, 1499)))
            try:
                self.sent += self._socket.send(frame) > 0
            except OSError:
                pass  # the tap's queue is full, or nobody has the tap open yet
            self._receive()
            time.sleep(0.0002)

    def _receive(self):
        while True:
            try:
                _, address = self._socket.recvfrom(65536)
            except OSError:
                return
            self.returned += address[2] != PACKET_OUTGOING

    def stop(self):
        self._stopped.set()
        self.join()
