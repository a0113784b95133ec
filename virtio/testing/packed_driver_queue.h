// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "virtio/guest_memory.h"
#include "virtio/packed_layout.h"
#include "virtio/testing/driver_end.h"

namespace tapir::virtio::testing {

/// The driver end of a packed virtqueue in guest memory. It plays by the rules of virtio 1.3, 2.8 with add(),
/// publish(), take_used(); the raw writers break them.
///
/// It writes the part of a descriptor behind the address in one piece, and an event word too, as the device
/// reads them, so that ThreadSanitizer knows them for what they are.
class PackedDriverQueue final : public DriverEnd {
 public:
  /// A layout of `size` entries: the ring at `base` (a multiple of 16), behind it the two event words.
  static QueueLayout place(std::uint64_t base, std::uint16_t size);
  /// The first address behind that, a multiple of 16.
  static std::uint64_t end_of(std::uint64_t base, std::uint16_t size);

  /// Zeroes the ring. `memory` outlives the queue; `layout` must lie in it.
  PackedDriverQueue(const GuestMemory& memory, const QueueLayout& layout, bool event_index);

  std::optional<std::uint16_t> add(const ChainBuilder& chain) override;
  std::optional<std::uint16_t> add_indirect(const ChainBuilder& chain, std::uint64_t table) override;
  bool publish() override;
  std::optional<Used> take_used() override;
  bool enable_interrupts() override;
  void disable_interrupts() override;
  std::uint16_t free_descriptors() const override { return free_descriptors_; }
  const QueueLayout& layout() const override { return layout_; }
  /// A chain without an end.
  void break_ring() override;
  void add_again(std::uint16_t head) override { add_raw({0x1000, 64, head, 0}); }

  // Raw access, for what a correct driver never does.
  void write_descriptor(std::uint16_t index, const vring_packed_desc& descriptor);
  vring_packed_desc read_descriptor(std::uint16_t index) const;
  void set_driver_event(std::uint32_t word);
  std::uint32_t device_event() const;
  /// One descriptor as it is, available in its turn, whatever is in flight.
  void add_raw(vring_packed_desc descriptor);
  const packed_ring::Place& next_avail() const { return next_avail_; }
  const packed_ring::Place& next_used() const { return next_used_; }

 private:
  std::byte* tail(std::uint16_t index) const;

  const GuestMemory* memory_;
  std::byte* descriptors_;
  std::byte* driver_event_;
  std::byte* device_event_;
  QueueLayout layout_;
  bool event_index_;
  packed_ring::Place next_avail_;
  packed_ring::Place next_used_;
  packed_ring::Place first_unpublished_;
  std::uint32_t unpublished_ = 0;  ///< descriptors from there on
  std::uint64_t first_tail_ = 0;   ///< what makes the first of them available
  std::uint16_t free_descriptors_;
  std::vector<std::uint16_t> free_ids_;
  std::vector<std::uint16_t> lengths_;  ///< by buffer ID, the descriptors of a chain in flight
};

/// Writes a table of packed descriptors at `table`.
void write_packed_indirect_table(const GuestMemory& memory, std::uint64_t table,
                                 std::span<const ChainBuilder::Element> elements);

}  // namespace tapir::virtio::testing
