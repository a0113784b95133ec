# SPDX-License-Identifier: Apache-2.0
"""Asks a running VMM for its statistics, as an operator does, and compares them with what the other end of its NIC saw."""

import json
import os
import select
import signal
import time

PATIENCE = 10  # seconds


def _next_object(vmm, deadline):
    """The next line of the VMM's stderr that is a JSON object; other lines are told and forgotten."""
    line = b""
    while time.monotonic() < deadline:
        if not select.select([vmm.stderr], [], [], 0.1)[0]:
            continue
        byte = os.read(vmm.stderr.fileno(), 1)
        if not byte:
            return None
        line += byte
        if byte == b"\n":
            if line.startswith(b"{"):
                return json.loads(line)
            print("  stderr: " + line.decode(errors="replace").rstrip())
            line = b""
    return None


def _differences(queue, echo):
    """What the counters of a queue pair say other than the other end of the tap, which had every frame back."""
    wanted = {"frames": echo.returned, "bytes": echo.returned_bytes}
    found = []
    for direction in ("receive", "transmit"):
        counted = queue[direction]
        found += [f"{direction}: {counted[key]} {key} were counted, and {number} seen"
                  for key, number in wanted.items() if counted[key] != number]
        for group in ("dropped", "errors"):
            found += [f"{direction}: {group} {key} is {number}" for key, number in counted[group].items() if number]
        found += [f"{direction}: no {key} were counted" for key in ("kicks", "batches") if not counted[key]]
        if counted["interrupts"]:
            found.append(f"{direction}: a guest that polls had {counted['interrupts']} interrupts")
    if not queue["system_calls"]:
        found.append("no system calls were counted")
    return found


def judge(vmm, echo):
    """Asks by SIGUSR1, again until the numbers are those of the other end: the last frame is seen there a moment before
    it is counted. Returns faults."""
    deadline = time.monotonic() + PATIENCE
    found = []
    while True:
        vmm.send_signal(signal.SIGUSR1)
        answer = _next_object(vmm, deadline)
        if answer is None:
            return found or ["no JSON object came for SIGUSR1"]
        nic, = answer["nics"]
        queue, = nic["queues"]
        found = _differences(queue, echo)
        if nic["peer"] != "n0" or nic["interface"] != "t0" or nic["link"] != "up":
            found.append(f"the NIC is told as {nic}")
        if not found:
            print("  " + json.dumps(answer))
            return found
