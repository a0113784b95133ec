// SPDX-License-Identifier: Apache-2.0
#include "virtio/msix_table.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "virtio/register_access.h"

namespace tapir::virtio {

MsixTable::MsixTable(std::vector<MsiInterrupt*> interrupts)
    : interrupts_(std::move(interrupts)),
      told_(interrupts_.size()),
      table_(interrupts_.size() * kEntryBytes),
      pending_(interrupts_.size()) {
  CHECK(!interrupts_.empty() && interrupts_.size() <= kMaxVectors);
  reset_entries();
}

void MsixTable::read_table(std::uint64_t offset, std::span<std::byte> into) const {
  const std::lock_guard guard(mutex_);
  for (std::byte& byte : into) {
    byte = offset < table_.size() ? table_[offset] : std::byte{0};
    ++offset;
  }
}

void MsixTable::write_table(std::uint64_t offset, std::span<const std::byte> from) {
  if (!lies_within(offset, from.size(), 0, table_.size()) || from.empty()) {
    return;
  }
  const std::lock_guard guard(mutex_);
  std::copy(from.begin(), from.end(), table_.begin() + static_cast<std::ptrdiff_t>(offset));
  const std::size_t last = (offset + from.size() - 1) / kEntryBytes;
  for (std::size_t vector = offset / kEntryBytes; vector <= last; ++vector) {
    // Reserved bits read 0: all but the mask bit of the vector control, and the low two of the address.
    std::byte* entry = &table_[vector * kEntryBytes];
    entry[PCI_MSIX_ENTRY_LOWER_ADDR] &= std::byte{0xFC};
    entry[PCI_MSIX_ENTRY_VECTOR_CTRL] &= std::byte{PCI_MSIX_ENTRY_CTRL_MASKBIT};
    std::fill(entry + PCI_MSIX_ENTRY_VECTOR_CTRL + 1, entry + kEntryBytes, std::byte{0});
    refresh(vector);
  }
}

void MsixTable::read_pba(std::uint64_t offset, std::span<std::byte> into) const {
  const std::lock_guard guard(mutex_);
  for (std::byte& byte : into) {
    byte = std::byte{0};
    for (std::size_t bit = 0; bit < 8 && offset < pba_bytes(); ++bit) {
      const std::size_t vector = offset * 8 + bit;
      if (vector < pending_.size() && pending_[vector]) {
        byte |= static_cast<std::byte>(1U << bit);
      }
    }
    ++offset;
  }
}

void MsixTable::set_control(bool enabled, bool function_masked, bool bus_master) {
  const std::lock_guard guard(mutex_);
  enabled_ = enabled;
  all_masked_ = function_masked || !bus_master;
  refresh_all();
}

void MsixTable::notify(std::uint16_t vector) {
  const std::lock_guard guard(mutex_);
  if (!enabled_ || vector >= interrupts_.size()) {
    return;
  }
  pending_[vector] = true;
  refresh(vector);
}

void MsixTable::reset() {
  const std::lock_guard guard(mutex_);
  enabled_ = false;
  all_masked_ = false;
  reset_entries();
}

bool MsixTable::masked(std::size_t vector) const {
  return !enabled_ || all_masked_ ||
         (word(vector, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
}

std::uint32_t MsixTable::word(std::size_t vector, std::size_t offset) const {
  const std::span<const std::byte> bytes(table_);
  return static_cast<std::uint32_t>(load_little_endian(bytes.subspan(vector * kEntryBytes + offset, 4)));
}

void MsixTable::reset_entries() {
  std::fill(table_.begin(), table_.end(), std::byte{0});
  std::fill(pending_.begin(), pending_.end(), false);
  // A machine reset may take the interrupt routes away, so the next message is told even if it is the same.
  std::fill(told_.begin(), told_.end(), std::nullopt);
  for (std::size_t vector = 0; vector < interrupts_.size(); ++vector) {
    table_[vector * kEntryBytes + PCI_MSIX_ENTRY_VECTOR_CTRL] = std::byte{PCI_MSIX_ENTRY_CTRL_MASKBIT};
  }
}

void MsixTable::refresh(std::size_t vector) {
  if (masked(vector)) {
    return;
  }
  const MsiMessage message{
      .address = word(vector, PCI_MSIX_ENTRY_LOWER_ADDR) |
                 (std::uint64_t{word(vector, PCI_MSIX_ENTRY_UPPER_ADDR)} << 32U),
      .data = word(vector, PCI_MSIX_ENTRY_DATA),
  };
  if (told_[vector] != message) {
    if (Status set = interrupts_[vector]->set_message(message); !set) {
      told_[vector].reset();
      log_guest(LogLevel::kWarning,
                "MSI-X vector " + std::to_string(vector) + " cannot be routed: " + set.error().message());
      return;
    }
    told_[vector] = message;
  }
  if (pending_[vector]) {
    pending_[vector] = false;
    interrupts_[vector]->trigger();
  }
}

void MsixTable::refresh_all() {
  for (std::size_t vector = 0; vector < interrupts_.size(); ++vector) {
    refresh(vector);
  }
}

}  // namespace tapir::virtio
