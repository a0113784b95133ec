#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every file includes only what its floor of the house may (design: floors stand on those below).
Prints each breach as FILE:LINE and exits with 1 if there is one."""
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
# A folder of ours: the folders whose headers it may include. The longest matching folder counts.
FLOORS = {"net/base": ("net/base",), "net": ("net",), "virtio": ("virtio", "net"), "vmm": ("vmm", "virtio", "net"),
          "helper": ("helper", "net/base"), "guest-tests": ("guest-tests",), "tools": ("tools",),
          "tools/bench": ("tools", "net", "virtio"), "tools/bench/guest": ("tools/bench/guest", "guest-tests")}
# Headers of others that only some files may include.
RESERVED = {r"linux/kvm\.h": r"vmm/", r"liburing": r"(net/uring|tools/bench/)", r"cap-ng\.h": r"helper/privileges\.cc",
            r"seccomp\.h": r"helper/seccomp_filter\.cc", r"libmnl/": r"helper/netlink",
            r"nlohmann/": r"(vmm/json|tools/bench/)", r"fmt/": r"(?!net/base/|helper/)"}


def breach(name, header, ours):
    if not ours:
        return next((f"<{header}> is not for this file" for pattern, files in RESERVED.items()
                     if re.match(pattern, header) and not re.match(files, name)), None)
    floor = max((folder for folder in FLOORS if name.startswith(folder + "/")), key=len)
    if any(header.startswith(folder + "/") for folder in FLOORS[floor]):
        return None
    # The helper's build names the few files of net/ that it also stands on.
    if floor == "helper" and pathlib.Path(header).stem in (TOP / "helper/CMakeLists.txt").read_text():
        return None
    return f'"{header}" is above the floor of {floor}/, or beside it'


found = 0
for path in sorted(path for folder in ("net", "virtio", "vmm", "helper", "guest-tests", "tools")
                   for suffix in ("*.h", "*.cc", "*.in") for path in (TOP / folder).rglob(suffix)):
    name = path.relative_to(TOP).as_posix()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)', line)
        if match and (why := breach(name, match[2], match[1] == '"')):
            print(f"{name}:{number}: {why}")
            found += 1
sys.exit(1 if found else 0)
