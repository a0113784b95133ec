// SPDX-License-Identifier: Apache-2.0
// The bytes are guest memory: rings, descriptors and indirect tables are whatever they say. The first four
// choose the queue, split or packed, and steer what the device does with its chains.
#include <linux/virtio_config.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "net/base/check.h"
#include "virtio/ring_layout.h"
#include "virtio/testing/chain_check.h"
#include "virtio/virtqueue.h"

namespace {

using namespace tapir::virtio;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{64} << 10;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 4) {
    return 0;
  }
  static GuestMemory memory = *GuestMemory::create(kMemoryBytes);
  const auto ram = memory.regions()[0].host;
  const std::size_t copied = std::min(size - 4, ram.size());
  std::memcpy(ram.data(), data + 4, copied);
  std::memset(ram.data() + copied, 0, ram.size() - copied);

  // Rings at fixed places near the front, so that short inputs reach them.
  const bool packed = (data[1] & 4U) != 0;
  const auto queue_size = static_cast<std::uint16_t>(packed ? data[0] + 1U : 1U << (data[0] % 9));
  const QueueLayout layout{queue_size, GuestAddress{0x40}, GuestAddress{0}, GuestAddress{0x2000}};
  const std::uint64_t features = static_cast<std::uint64_t>(data[1] & 3U) << VIRTIO_RING_F_INDIRECT_DESC |
                                 std::uint64_t{packed} << VIRTIO_F_RING_PACKED;
  auto queue = Virtqueue::create(memory, layout, features);
  CHECK(queue.has_value());

  std::array<iovec, kMaxChainPieces> storage{};
  std::vector<DescriptorChain> held;
  const auto end = [&](DescriptorChain chain) {
    const auto bytes = std::min<std::uint64_t>(chain.writable_bytes(), UINT32_MAX);
    queue->add_used(std::move(chain), static_cast<std::uint32_t>(bytes));
  };
  for (unsigned step = 0; step < 600; ++step) {
    auto chain = queue->pop(storage);
    if (!chain) {
      if (!queue->enable_kicks()) {
        break;
      }
      queue->disable_kicks();
      continue;
    }
    CHECK(testing::is_sound(memory, *chain));
    const unsigned what = (data[2] >> (step % 8U) & 1U) | ((data[3] >> (step % 7U) & 1U) << 1U);
    if (what == 0) {
      end(*std::move(chain));
      queue->publish_used();
      static_cast<void>(queue->needs_notification());
    } else if (what == 1) {
      held.push_back(*std::move(chain));
    } else if (what == 2) {
      queue->undo_pop(*std::move(chain));
      end(queue->pop(storage).value_or(DescriptorChain{}));
    } else {
      end(*std::move(chain));
    }
  }
  CHECK(queue->chains_in_flight() == held.size() && held.size() <= queue_size);
  for (DescriptorChain& chain : held) {
    end(std::move(chain));
  }
  queue->publish_used();
  return 0;
}
