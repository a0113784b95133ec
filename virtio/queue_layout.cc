// SPDX-License-Identifier: Apache-2.0
#include "virtio/queue_layout.h"

#include <string>

namespace tapir::virtio {

Result<std::byte*> place_ring(const GuestMemory& memory, const char* name, GuestAddress address,
                              std::uint64_t bytes, std::uint64_t alignment) {
  if (to_integer(address) % alignment != 0) {
    return fail(std::string(name) + " is not aligned to " + std::to_string(alignment) + " bytes");
  }
  const auto host = memory.slice(address, bytes);
  if (!host) {
    return fail(std::string(name) + " is not wholly in RAM");
  }
  return host->data();
}

}  // namespace tapir::virtio
