# SPDX-License-Identifier: Apache-2.0
"""The bridge helper as root installs it, in a mount namespace of our own: /usr/local and /etc are seen through a layer
that takes the writes, so nothing of this machine changes."""

import os
import pathlib
import shutil
import tempfile

from guest import host

HELPER = "/usr/local/libexec/tapir-bridge-helper"
RULES = "/usr/local/etc/tapir/bridge.conf"
QEMU_HELPER = "/usr/local/libexec/qemu-bridge-helper"  # a copy, since Debian installs it without privilege
QEMU_RULES = "/etc/qemu/bridge.conf"


def cover(directory):
    """Lays the layer over a directory."""
    layer = tempfile.mkdtemp(prefix="tapir-layer.")
    host("mount", "-t", "tmpfs", "tmpfs", layer)
    for name in ("upper", "work"):
        os.mkdir(f"{layer}/{name}")
    host("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={directory},upperdir={layer}/upper,workdir={layer}/work",
         directory)


def cover_all():
    """What installing the helpers and writing their rules touches."""
    for directory in ("/usr/local", "/etc"):
        cover(directory)


def install(program, script, mode):
    """What `cmake --install` and tools/install-helper do; what the latter said."""
    os.makedirs(os.path.dirname(HELPER), exist_ok=True)
    shutil.copyfile(program, HELPER)
    os.chmod(HELPER, 0o755)
    return host(script, mode, HELPER)


def install_qemus():
    os.makedirs(os.path.dirname(QEMU_HELPER), exist_ok=True)
    shutil.copyfile("/usr/lib/qemu/qemu-bridge-helper", QEMU_HELPER)
    os.chmod(QEMU_HELPER, 0o4755)


def allow(*lines, path=RULES):
    """Makes these the rules."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pathlib.Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.chmod(path, 0o644)
