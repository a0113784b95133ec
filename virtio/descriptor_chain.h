// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "net/base/check.h"
#include "virtio/guest_memory.h"

namespace tapir::virtio {

/// Pieces that one chain may have after adjacent buffers are merged: what readv(2) and writev(2) take
/// (IOV_MAX). Also the number of descriptors that are followed in one indirect table.
inline constexpr std::size_t kMaxChainPieces = 1024;

/// Why a chain cannot be used. The driver broke a rule; the chain goes back to it with length 0.
enum class ChainFault : std::uint8_t {
  kNone,
  kAddress,        ///< a buffer or an indirect table is not wholly in RAM
  kNext,           ///< `next` points outside its table
  kLoop,           ///< more descriptors than the queue (or than kMaxChainPieces in an indirect table)
  kOrder,          ///< a device-readable buffer after a device-writable one (virtio 1.3, 2.7.4.2)
  kIndirect,       ///< indirect without the feature, nested, with NEXT, or its length is no whole table
                   ///< (2.7.5.3.1)
  kTooLarge,       ///< more than 2^32 bytes in total (2.7.5.2)
  kTooManyPieces,  ///< legal, but more pieces than a system call takes
};

/// One buffer that the driver made available: a ticket, move-only, that ends in exactly one add_used() or
/// undo_pop() (or abandon(), at a reset) of the virtqueue that gave it. A ticket that is destroyed before
/// that is a bug of ours: the guest would wait for ever for its buffer (checked in debug builds).
///
/// The elements were walked and checked once, when the chain was popped; the pieces point into guest memory
/// and live in the storage that the caller gave to pop(). I/O thread only.
class DescriptorChain {
 public:
  DescriptorChain() = default;
  /// The other one owes nothing any more, and is of no more use.
  DescriptorChain(DescriptorChain&& other) noexcept : parts_(other.parts_) { other.parts_.open = false; }
  DescriptorChain& operator=(DescriptorChain&& other) noexcept {
    if (this != &other) {
      check_ended();
      parts_ = other.parts_;
      other.parts_.open = false;
    }
    return *this;
  }
  DescriptorChain(const DescriptorChain&) = delete;
  DescriptorChain& operator=(const DescriptorChain&) = delete;
  ~DescriptorChain() { check_ended(); }

  ChainFault fault() const { return parts_.fault; }
  /// What the device may read, then what it may write, in the driver's order; both empty when there is a
  /// fault.
  std::span<const iovec> readable() const { return {parts_.pieces, parts_.readable_pieces}; }
  std::span<const iovec> writable() const {
    return {parts_.pieces + parts_.readable_pieces, parts_.writable_pieces};
  }
  std::uint64_t readable_bytes() const { return parts_.readable_bytes; }
  std::uint64_t writable_bytes() const { return parts_.writable_bytes; }
  /// Entries of the virtqueue that it occupies until it is used: one for an indirect table.
  std::uint16_t ring_descriptors() const { return parts_.ring_descriptors; }
  /// How the driver knows it: the index of its first descriptor, or of a packed virtqueue its buffer ID.
  std::uint16_t head() const { return parts_.head; }

 private:
  friend class ChainAssembler;
  friend class SplitQueue;
  friend class PackedQueue;

  /// Copied at each move: one for every buffer of a frame, several times.
  struct Parts {
    const iovec* pieces = nullptr;
    std::uint64_t readable_bytes = 0;
    std::uint64_t writable_bytes = 0;
    std::uint16_t readable_pieces = 0;
    std::uint16_t writable_pieces = 0;
    std::uint16_t ring_descriptors = 0;
    std::uint16_t head = 0;
    ChainFault fault = ChainFault::kNone;
    bool open = false;  ///< still owed to the driver
  };

  void check_ended() const {
#ifndef NDEBUG
    CHECK(!parts_.open);
#endif
  }

  Parts parts_;
};

/// Puts a chain together from its elements in order, with the rules that every ring format shares: buffers in
/// RAM, readable before writable, sums that cannot overflow, zero-length elements skipped, neighbours merged.
class ChainAssembler {
 public:
  /// Pieces go to the front of `storage`, at most kMaxChainPieces of them.
  ChainAssembler(const GuestMemory& memory, std::span<iovec> storage);

  /// The next element. Its address is not looked at when `bytes` is 0: Linux sends such elements.
  [[nodiscard]] ChainFault add(GuestAddress address, std::uint32_t bytes, bool writable);

  /// The chain, once all elements are added. With a fault it has no pieces.
  DescriptorChain finish(std::uint16_t head, std::uint16_t ring_descriptors, ChainFault fault);

 private:
  const GuestMemory& memory_;
  std::span<iovec> storage_;
  std::size_t pieces_ = 0;
  std::size_t readable_pieces_ = 0;
  std::uint64_t readable_bytes_ = 0;
  std::uint64_t writable_bytes_ = 0;
};

}  // namespace tapir::virtio
