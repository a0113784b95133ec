# SPDX-License-Identifier: Apache-2.0
"""Long counts: 500 helpers killed at a random moment, 50 of them at once, and limits under concurrency, again and again.
The bridge must be back at its baseline after each round."""

import concurrent.futures
import random
import signal
import time

from bed import expect, nothing_left
from calls import ALLOWED
from many import a_hundred_guests_share_a_bridge

AT_ONCE = 50


def start_and_kill(bed, delay):
    """Whether it was killed before its end."""
    process, end = bed.start(*ALLOWED)
    time.sleep(delay)
    process.kill()
    with bed.finish(process, end) as answer:
        return answer.status == -signal.SIGKILL


def starts_and_kills(bed):
    bed.configure("allow br0\n")
    random_time = random.Random(1)
    killed = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(10):
            delays = [random_time.uniform(0, 0.05) for _ in range(AT_ONCE)]
            killed += sum(pool.map(lambda delay: start_and_kill(bed, delay), delays))
            nothing_left()
    expect(killed, "every helper ended before it was killed")
    print(f"     500 starts, {killed} killed on their way, bridge back to its baseline each time")


def limits_hold_exactly(bed):
    bed.configure("allow br0\nlimit br0 all 7\n")
    for _ in range(20):
        running = [bed.start(*ALLOWED) for _ in range(AT_ONCE)]
        answers = [bed.finish(*helper) for helper in running]
        count = sum(len(answer.descriptors) for answer in answers)
        for answer in answers:
            answer.close()
        expect(count == 7, f"{count} of {AT_ONCE} were granted, the limit is 7")
        nothing_left()
    print(f"     20 rounds of {AT_ONCE} at once: 7 granted in each")


TESTS = (starts_and_kills, limits_hold_exactly, a_hundred_guests_share_a_bridge)
