// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "virtio/guest_memory.h"
#include "vmm/boot/entry.h"

namespace tapir::vmm::boot {

/// Writes the descriptor table (code at selector 0x10, data at 0x18, both flat, code of the width that the
/// mode needs) and, for long mode, page tables that map the first 4 GiB to themselves with 2 MiB pages; fills
/// in where they are. Memory below 1 MiB must be RAM.
void write_cpu_tables(const virtio::GuestMemory& memory, EntryState& entry);

}  // namespace tapir::vmm::boot
