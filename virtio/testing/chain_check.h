// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "virtio/descriptor_chain.h"
#include "virtio/guest_memory.h"

namespace tapir::virtio::testing {

/// Whether every piece of the chain has bytes and lies in the first region of RAM, the sums are theirs, and
/// one with a fault has none: what holds of any chain, whatever the driver wrote. Any thread.
inline bool is_sound(const GuestMemory& memory, const DescriptorChain& chain) {
  const auto ram = memory.regions()[0].host;
  std::uint64_t sum = 0;
  for (const auto pieces : {chain.readable(), chain.writable()}) {
    for (const iovec& piece : pieces) {
      const auto* const first = static_cast<const std::byte*>(piece.iov_base);
      if (piece.iov_len == 0 || first < ram.data() || first + piece.iov_len > ram.data() + ram.size()) {
        return false;
      }
      sum += piece.iov_len;
    }
  }
  return sum == chain.readable_bytes() + chain.writable_bytes() &&
         (chain.fault() == ChainFault::kNone || sum == 0);
}

}  // namespace tapir::virtio::testing
