// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

#include "net/base/result.h"
#include "virtio/packed_queue.h"
#include "virtio/split_queue.h"

namespace tapir::virtio {

/// The device side of a virtqueue in the format that the driver accepted; SplitQueue describes each function.
/// A device that holds one of these works with both. What it costs is one branch per call, which goes the
/// same way as long as the queue lives. I/O thread only; may be moved between threads while idle.
class Virtqueue {
  /// Calls `function` with the ring: std::visit goes through a table of functions, and this is inlined.
  template <typename Self, typename Function>
  static auto apply(Self& self, Function function) {
    if (auto* const split = std::get_if<SplitQueue>(&self.ring_)) {
      return function(*split);
    }
    return function(*std::get_if<PackedQueue>(&self.ring_));
  }

 public:
  /// Packed with RING_PACKED among `features`, the accepted bits, else split. `memory` outlives the queue.
  [[nodiscard]] static Result<Virtqueue> create(const GuestMemory& memory, const QueueLayout& layout,
                                                std::uint64_t features);

  Virtqueue(SplitQueue ring) : ring_(std::move(ring)) {}   // NOLINT(google-explicit-constructor)
  Virtqueue(PackedQueue ring) : ring_(std::move(ring)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] std::optional<DescriptorChain> pop(std::span<iovec> storage) {
    return apply(*this, [storage](auto& ring) { return ring.pop(storage); });
  }
  void undo_pop(DescriptorChain&& chain) {
    apply(*this, [&chain](auto& ring) { ring.undo_pop(std::move(chain)); });
  }
  void abandon(DescriptorChain&& chain) {
    apply(*this, [&chain](auto& ring) { ring.abandon(std::move(chain)); });
  }

  void add_used(DescriptorChain&& chain, std::uint32_t bytes) {
    apply(*this, [&chain, bytes](auto& ring) { ring.add_used(std::move(chain), bytes); });
  }
  void publish_used() {
    apply(*this, [](auto& ring) { ring.publish_used(); });
  }
  [[nodiscard]] bool needs_notification() {
    return apply(*this, [](auto& ring) { return ring.needs_notification(); });
  }

  [[nodiscard]] bool enable_kicks() {
    return apply(*this, [](auto& ring) { return ring.enable_kicks(); });
  }
  void disable_kicks() {
    apply(*this, [](auto& ring) { ring.disable_kicks(); });
  }

  bool broken() const {
    return apply(*this, [](auto& ring) { return ring.broken(); });
  }
  std::string_view broken_because() const {
    return apply(*this, [](auto& ring) { return ring.broken_because(); });
  }

  std::uint16_t size() const {
    return apply(*this, [](auto& ring) { return ring.size(); });
  }
  std::uint16_t chains_in_flight() const {
    return apply(*this, [](auto& ring) { return ring.chains_in_flight(); });
  }
  std::uint16_t free_descriptors() const {
    return apply(*this, [](auto& ring) { return ring.free_descriptors(); });
  }

 private:
  std::variant<SplitQueue, PackedQueue> ring_;
};

}  // namespace tapir::virtio
