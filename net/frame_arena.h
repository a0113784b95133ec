// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "net/base/mapping.h"
#include "net/base/result.h"
#include "net/frame_io.h"

namespace tapir::net {

/// The bounce memory of one engine: slots that small frames pass through on their way out, and slots that
/// hold any frame on its way in. Its pages come into being when they are first written, so an engine that
/// never uses the later slots never pays for them. Two parts, so that the first can be registered with
/// io_uring (which pins it) without the second: about 0.5 MiB, and 2.1 MiB in all. Owned and used by one I/O
/// thread.
class FrameArena {
 public:
  /// A frame of up to this size is cheaper to copy than to hand over in pieces.
  static constexpr std::size_t kTransmitSlotBytes = 512;
  static constexpr std::size_t kTransmitSlots = 64;
  /// The largest frame and one byte more: a read that fills its space may have been cut.
  static constexpr std::size_t kReceiveBytes = kMaxReceiveBytes + 1;
  static constexpr std::size_t kReceiveSlots = 32;
  static constexpr std::size_t kParts = 2;

  [[nodiscard]] static Result<FrameArena> create();

  std::span<std::byte, kTransmitSlotBytes> transmit_slot(std::size_t number) const;
  std::span<std::byte, kReceiveBytes> receive_slot(std::size_t number) const;

  /// The arena is part 0, then part 1.
  std::span<std::byte> part(std::size_t number) const;
  /// The part in which an address of the arena is.
  std::size_t part_of(const void* address) const;

 private:
  /// Whole pages, so that a slot shares none with its neighbour.
  static constexpr std::size_t kReceiveSlotBytes = std::size_t{68} * 1024;
  static constexpr std::size_t kFirstReceiveSlots = 7;
  static constexpr std::size_t kReceiveStart = kTransmitSlots * kTransmitSlotBytes;
  static constexpr std::size_t kFirstPartBytes = kReceiveStart + kFirstReceiveSlots * kReceiveSlotBytes;
  static constexpr std::size_t kBytes = kReceiveStart + kReceiveSlots * kReceiveSlotBytes;
  static_assert(kReceiveSlotBytes >= kReceiveBytes);

  explicit FrameArena(Mapping memory) : memory_(std::move(memory)) {}

  Mapping memory_;
};

}  // namespace tapir::net
