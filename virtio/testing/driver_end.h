// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "virtio/guest_memory.h"
#include "virtio/queue_layout.h"
#include "virtio/ring_layout.h"

namespace tapir::virtio::testing {

/// Collects the elements of one chain. Right by default; the raw fields of an element can be bent for
/// negative tests.
///
///     queue.add(ChainBuilder().readable(header, 12).readable(payload, 1500));
class ChainBuilder {
 public:
  struct Element {
    std::uint64_t address = 0;
    std::uint32_t bytes = 0;
    std::uint16_t flags = 0;  ///< VRING_DESC_F_WRITE, VRING_DESC_F_INDIRECT; NEXT is set when it is placed
  };

  ChainBuilder& readable(std::uint64_t address, std::uint32_t bytes) { return element({address, bytes, 0}); }
  ChainBuilder& writable(std::uint64_t address, std::uint32_t bytes) {
    return element({address, bytes, VRING_DESC_F_WRITE});
  }
  ChainBuilder& element(Element added) {
    elements_.push_back(added);
    return *this;
  }
  std::span<const Element> elements() const { return elements_; }

 private:
  std::vector<Element> elements_;
};

/// The driver end of a virtqueue of either format, in guest memory, that plays by the rules. One thread,
/// which may be another than the device's.
class DriverEnd {
 public:
  struct Used {
    std::uint16_t head;  ///< of a packed virtqueue the buffer ID
    std::uint32_t bytes;
  };

  DriverEnd() = default;
  DriverEnd(const DriverEnd&) = default;
  DriverEnd& operator=(const DriverEnd&) = default;
  virtual ~DriverEnd() = default;

  /// Writes the chain into free descriptors; publish() shows it to the device. Returns how it will come back,
  /// or nothing when there are not enough free descriptors.
  virtual std::optional<std::uint16_t> add(const ChainBuilder& chain) = 0;
  /// The same with the elements in an indirect table that is written at `table`.
  virtual std::optional<std::uint16_t> add_indirect(const ChainBuilder& chain, std::uint64_t table) = 0;
  /// Makes available all that was added. Returns whether the device asked for a kick.
  virtual bool publish() = 0;

  /// The oldest used chain not yet taken; its descriptors are free again.
  virtual std::optional<Used> take_used() = 0;
  /// Asks for an interrupt at the next used chain. True: there is one already.
  virtual bool enable_interrupts() = 0;
  virtual void disable_interrupts() = 0;

  virtual std::uint16_t free_descriptors() const = 0;
  virtual const QueueLayout& layout() const = 0;

  /// Against the rules, and shown to the device at once: what leaves the ring without a meaning.
  virtual void break_ring() = 0;
  /// Likewise: a chain as the device already has it, with publish() in flight twice.
  virtual void add_again(std::uint16_t head) = 0;
};

}  // namespace tapir::virtio::testing
