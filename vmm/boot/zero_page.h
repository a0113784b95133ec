// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <asm/bootparam.h>

#include <cstdint>

#include "net/base/result.h"
#include "virtio/guest_memory.h"

namespace tapir::vmm::boot {

/// What every kernel is told besides its memory map, whichever protocol carries it. The command line lies at
/// kCommandLineAddress.
struct BootData {
  std::uint64_t initrd_address = 0;
  std::uint64_t initrd_bytes = 0;  ///< 0: no initrd
  std::uint64_t rsdp_address = 0;  ///< 0: none
};

/// Writes the zero page (struct boot_params) to kZeroPageAddress, with the kernel's own header in it, the
/// memory map and a fresh seed of getrandom(2) for the guest's random number generator (setup_data type 9,
/// Documentation/arch/x86/boot.rst and zero-page.rst). Memory below 1 MiB must be RAM. Error: the host gives
/// no random bytes.
[[nodiscard]] Status write_zero_page(const virtio::GuestMemory& memory, const setup_header& header,
                                     const BootData& data);

}  // namespace tapir::vmm::boot
