#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An ordinary user who wants somebody else's tap: tries to attach to each tap as soon as it is there, and to persist and to
own it, until standard input ends. Prints what it got on a tap that is on a bridge; "tries: yes" alone if nothing."""

import fcntl
import os
import select
import struct
import sys

TUNSETIFF, TUNSETPERSIST, TUNSETOWNER = 0x400454CA, 0x400454CB, 0x400454CC
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100


def attach(name):
    """A descriptor with a queue of this tap, or None."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        return fd
    except OSError:
        os.close(fd)
        return None


def main():
    tried = False
    while not select.select([sys.stdin], [], [], 0)[0]:
        for name in os.listdir("/sys/class/net"):
            if name in ("lo", "br0"):
                continue
            tried = True
            fd = attach(name)
            if fd is None:
                continue
            if os.path.exists(f"/sys/class/net/{name}/brport"):
                print(f"a queue of {name}", end="; ")
            for request in (TUNSETPERSIST, TUNSETOWNER):
                try:
                    fcntl.ioctl(fd, request, 1)
                except OSError:
                    pass
            os.close(fd)
    print("tries: yes" if tried else "tries: none")


if __name__ == "__main__":
    main()
