// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "virtio/guest_memory.h"
#include "virtio/ring_layout.h"
#include "virtio/testing/driver_end.h"

namespace tapir::virtio::testing {

/// The driver end of a split virtqueue in guest memory, for tests, fuzzers and benchmarks. It plays by the
/// rules of virtio 1.3, 2.7 with add(), publish(), take_used(); the raw writers break them. One thread, which
/// may be another than the device's.
class DriverQueue final : public DriverEnd {
 public:
  /// A layout of `size` entries with the three rings one after the other from `base` (a multiple of 16).
  static QueueLayout place(std::uint64_t base, std::uint16_t size);
  /// The first address behind the rings of place(base, size), a multiple of 16.
  static std::uint64_t end_of(std::uint64_t base, std::uint16_t size);

  /// Zeroes the rings. `memory` outlives the queue; `layout` must lie in it.
  DriverQueue(const GuestMemory& memory, const QueueLayout& layout, bool event_index);

  std::optional<std::uint16_t> add(const ChainBuilder& chain) override;
  std::optional<std::uint16_t> add_indirect(const ChainBuilder& chain, std::uint64_t table) override;
  bool publish() override;
  std::optional<Used> take_used() override;
  bool enable_interrupts() override;
  void disable_interrupts() override;
  std::uint16_t free_descriptors() const override { return static_cast<std::uint16_t>(free_.size()); }
  const QueueLayout& layout() const override { return layout_; }
  /// The avail index jumps.
  void break_ring() override { set_avail_index(30000); }
  void add_again(std::uint16_t head) override { add_raw_head(head); }

  // Raw access, for what a correct driver never does.
  void write_descriptor(std::uint16_t index, const vring_desc& descriptor);
  vring_desc read_descriptor(std::uint16_t index) const;
  void set_avail_entry(std::uint16_t slot, std::uint16_t head);
  void set_avail_index(std::uint16_t index);
  void set_avail_flags(std::uint16_t flags);
  void set_used_event(std::uint16_t event);
  /// Puts `head` into the next avail slot as it is, without touching descriptors.
  void add_raw_head(std::uint16_t head);
  std::uint16_t avail_index() const { return next_avail_; }
  std::uint16_t used_index() const;
  std::uint16_t used_flags() const;
  std::uint16_t avail_event() const;
  Used used_entry(std::uint16_t slot) const;

 private:
  const GuestMemory* memory_;
  std::byte* descriptors_;
  std::byte* avail_;
  std::byte* used_;
  QueueLayout layout_;
  bool event_index_;
  std::uint16_t next_avail_ = 0;
  std::uint16_t published_avail_ = 0;
  std::uint16_t next_used_ = 0;
  std::vector<std::uint16_t> free_;
  std::vector<std::vector<std::uint16_t>> chains_;  ///< by head, the descriptors of a chain in flight
};

/// Writes a table of descriptors at `table`: each element with NEXT to the one after it.
void write_indirect_table(const GuestMemory& memory, std::uint64_t table,
                          std::span<const ChainBuilder::Element> elements);

}  // namespace tapir::virtio::testing
