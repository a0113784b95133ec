// SPDX-License-Identifier: Apache-2.0
#include "virtio/virtqueue.h"

#include <linux/virtio_config.h>

namespace tapir::virtio {

Result<Virtqueue> Virtqueue::create(const GuestMemory& memory, const QueueLayout& layout,
                                    std::uint64_t features) {
  if ((features >> VIRTIO_F_RING_PACKED & 1U) != 0) {
    TAPIR_TRY_ASSIGN(PackedQueue ring, PackedQueue::create(memory, layout, features));
    return Virtqueue(std::move(ring));
  }
  TAPIR_TRY_ASSIGN(SplitQueue ring, SplitQueue::create(memory, layout, features));
  return Virtqueue(std::move(ring));
}

}  // namespace tapir::virtio
