// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "net/base/result.h"
#include "virtio/guest_memory.h"

namespace tapir::virtio {

/// Where the driver placed a virtqueue: what the transport's queue registers say at DRIVER_OK. The names are
/// those of a split virtqueue; of a packed one the areas hold, in this order, the descriptor ring, the driver
/// event suppression and the device event suppression (virtio 1.3, 2.6 Virtqueues, 2.8 Packed Virtqueues).
struct QueueLayout {
  std::uint16_t size = 0;  ///< descriptors: up to 32768, of a split virtqueue a power of two
  GuestAddress descriptor_table{};
  GuestAddress avail_ring{};
  GuestAddress used_ring{};
};

/// The host bytes of one area of a virtqueue; `name` is for the error when it is misaligned or not wholly in
/// RAM.
[[nodiscard]] Result<std::byte*> place_ring(const GuestMemory& memory, const char* name, GuestAddress address,
                                            std::uint64_t bytes, std::uint64_t alignment);

}  // namespace tapir::virtio
