// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tools/bench/frames.h"
#include "virtio/guest_memory.h"

namespace tapir::bench {

/// How the memory that frames move from and to is cut.
struct Shape {
  std::size_t transmit_piece_bytes = 4096;  ///< of a large frame; 0: it is one piece
  std::size_t receive_buffer_bytes = 1536;
};

/// Memory like that of a guest's driver: one place for each entry of a virtqueue of 256, so that neither the
/// raw methods nor the device work from a single hot buffer.
///
///     0              rings and indirect tables
///     kTransmit      256 frames to send; pieces are a page apart from each other
///     …              256 receive buffers
class FrameSlots {
 public:
  static constexpr std::uint16_t kSlots = 256;
  static constexpr std::uint64_t kTransmit = std::uint64_t{1} << 20U;
  static constexpr std::uint64_t kMaxSlotBytes = 0x28000;
  static constexpr std::uint64_t kMaxBufferBytes = 0x11000;
  static constexpr std::uint64_t kMemoryBytes = kTransmit + kSlots * (kMaxSlotBytes + kMaxBufferBytes);

  /// `memory` has kMemoryBytes and outlives this. Writes a frame into each transmit slot.
  FrameSlots(const virtio::GuestMemory& memory, const FrameMix& mix, const Shape& shape);

  /// The pieces of the frame in the slot, in host memory.
  std::span<const iovec> transmit(std::size_t slot) const { return transmit_[slot % kSlots]; }
  std::size_t transmit_bytes(std::size_t slot) const { return mix_.size_of(slot % kSlots); }
  /// Receive buffers from `slot` on; all of them lie twice in a row, so that any 256 have a span.
  std::span<const iovec> receive(std::size_t slot, std::size_t buffers) const {
    return std::span(receive_).subspan(slot % kSlots, buffers);
  }
  /// As few buffers as hold the largest frame that a tap can give.
  std::size_t buffers_for_any_frame() const;
  std::uint64_t address_of(const iovec& piece) const;
  /// All that frames move from or to.
  std::span<std::byte> all() const;

 private:
  std::byte* host_;
  std::uint64_t end_ = 0;  ///< of what is in use
  FrameMix mix_;
  std::vector<std::vector<iovec>> transmit_;
  std::vector<iovec> receive_;
};

}  // namespace tapir::bench
