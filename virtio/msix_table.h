// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "virtio/interrupt.h"

namespace tapir::virtio {

/// The MSI-X table and pending bit array of a PCI function (PCI 3.0, 6.8.2 MSI-X Capability and Table
/// Structures): what each vector sends, which are masked, and which wait for being unmasked.
///
/// A vector is masked by its own mask bit, by the function mask, and while the function is not bus master (it
/// cannot write messages then). An interrupt on a masked vector is kept in its pending bit and sent once when
/// the mask goes away. The machine learns of a message (MsiInterrupt::set_message) only when it changed and
/// the vector is unmasked, so that a driver's masking and unmasking costs no update of the interrupt routes.
///
/// Threads: notify() from any thread, everything else from vCPU threads, also at once. Its lock is a leaf:
/// held while an MsiInterrupt is called, which must not wait for any other thread of the machine.
class MsixTable {
 public:
  static constexpr std::size_t kEntryBytes = 16;
  static constexpr std::size_t kMaxVectors = 2048;

  /// One borrowed MsiInterrupt per vector, 1 to kMaxVectors.
  explicit MsixTable(std::vector<MsiInterrupt*> interrupts);

  std::uint16_t size() const { return static_cast<std::uint16_t>(interrupts_.size()); }
  std::size_t table_bytes() const { return table_.size(); }
  /// The pending bits, padded to whole 64-bit words.
  std::size_t pba_bytes() const { return (interrupts_.size() + 63) / 64 * 8; }

  /// Any width at any offset; what lies beyond the table reads 0 and ignores writes. The standard only
  /// defines aligned accesses of 4 and 8 bytes; others do here what they would do to memory.
  void read_table(std::uint64_t offset, std::span<std::byte> into) const;
  void write_table(std::uint64_t offset, std::span<const std::byte> from);
  /// The pending bit array is read-only.
  void read_pba(std::uint64_t offset, std::span<std::byte> into) const;

  /// From the capability's message control and the command register.
  void set_control(bool enabled, bool function_masked, bool bus_master);
  /// Sends the vector's message, or makes it pending while masked. Nothing when MSI-X is off or there is no
  /// such vector.
  void notify(std::uint16_t vector);
  /// Power-on state: off, every vector masked, nothing pending.
  void reset();

 private:
  bool masked(std::size_t vector) const;
  std::uint32_t word(std::size_t vector, std::size_t offset) const;
  void reset_entries();
  /// After anything that can unmask or change the vector: tells its message, and sends it if it waits.
  void refresh(std::size_t vector);
  void refresh_all();

  mutable std::mutex mutex_;
  const std::vector<MsiInterrupt*> interrupts_;
  std::vector<std::optional<MsiMessage>> told_;  ///< by vector: the message last set
  std::vector<std::byte> table_;                 ///< as the guest sees it
  std::vector<bool> pending_;
  bool enabled_ = false;
  bool all_masked_ = false;
};

}  // namespace tapir::virtio
