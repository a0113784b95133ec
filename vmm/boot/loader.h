// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "net/base/result.h"
#include "virtio/guest_memory.h"
#include "vmm/boot/entry.h"
#include "vmm/boot/image_file.h"
#include "vmm/platform.h"

namespace tapir::vmm::boot {

/// What the kernel is told besides its files.
struct LoadParameters {
  std::string_view command_line;
  std::uint64_t rsdp_address = platform::kAcpiTablesBase;  ///< 0: no ACPI
};

/// Puts a kernel, its initrd, its command line and all that it needs to start into guest memory, and says how
/// the boot CPU enters it. Finds out itself whether the kernel is a bzImage, a PVH or a plain 64-bit ELF, or
/// a multiboot kernel, and whether it is compressed with gzip or zstd. Linux gets the initrds one behind the
/// other as one, a multiboot kernel as modules.
///
/// Called at the start and again at each reboot, on the control thread while no vCPU runs; memory must read
/// as zero (fresh, or GuestMemory::clear()), apart from the ACPI tables. Everything is read anew, and a
/// kernel that is entered by Linux's own protocol (bzImage, ELF without a PVH note) gets a new random seed
/// each time; PVH and multiboot have no place for one.
///
///     files = BootFiles::open(kernel_path, initrds)     once
///     memory.clear(); write ACPI tables; entry = load(memory, files, parameters)     at each boot
///
/// Error: one sentence that names the option and file at fault, and the -m that would do when memory is
/// short.
[[nodiscard]] Result<EntryState> load(const virtio::GuestMemory& memory, const BootFiles& files,
                                      const LoadParameters& parameters);

}  // namespace tapir::vmm::boot
