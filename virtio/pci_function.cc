// SPDX-License-Identifier: Apache-2.0
#include "virtio/pci_function.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "virtio/register_access.h"

namespace tapir::virtio {
namespace {

/// Decoding of I/O ports stays 0: no function has an I/O BAR.
constexpr std::uint32_t kWritableCommand = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                           PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE;
constexpr std::uint32_t kMinBarBytes = 16;

constexpr std::uint64_t bar_register(unsigned bar) {
  return PCI_BASE_ADDRESS_0 + std::uint64_t{bar} * 4;
}

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) : identity_(identity) {
  set_config(PCI_VENDOR_ID, 2, identity.vendor, 0);
  set_config(PCI_DEVICE_ID, 2, identity.device, 0);
  set_config(PCI_COMMAND, 2, 0, kWritableCommand);
  set_config(PCI_CLASS_REVISION, 4, (identity.class_code << 8U) | identity.revision, 0);
  set_config(PCI_CACHE_LINE_SIZE, 1, 0, 0xFF);
  set_config(PCI_SUBSYSTEM_VENDOR_ID, 2, identity.subsystem_vendor, 0);
  set_config(PCI_SUBSYSTEM_ID, 2, identity.subsystem, 0);
  set_config(PCI_INTERRUPT_PIN, 1, identity.interrupt_pin, 0);
  if (identity.interrupt_pin != 0) {
    set_config(PCI_INTERRUPT_LINE, 1, 0, 0xFF);
  }
}

void PciFunction::config_read(std::uint64_t offset, std::span<std::byte> into) {
  if (!lies_within(offset, into.size(), 0, kConfigBytes)) {
    std::fill(into.begin(), into.end(), std::byte{0xFF});
    return;
  }
  const std::lock_guard guard(config_mutex_);
  before_config_read(offset, into.size());
  // PCI 3.0, 6.2.3 Device Status: Interrupt Status shows the cause, whether or not the line is disabled.
  set_config(PCI_STATUS, 1,
             (config_value(PCI_STATUS, 1) & ~std::uint32_t{PCI_STATUS_INTERRUPT}) |
                 (intx_pending() ? PCI_STATUS_INTERRUPT : 0U),
             0);
  for (std::byte& byte : into) {
    byte = offset < kHeaderSpaceBytes ? config_[offset] : std::byte{0};
    ++offset;
  }
}

void PciFunction::config_write(std::uint64_t offset, std::span<const std::byte> from) {
  if (!lies_within(offset, from.size(), 0, kHeaderSpaceBytes)) {
    return;
  }
  const std::lock_guard guard(config_mutex_);
  for (std::size_t i = 0; i < from.size(); ++i) {
    const std::byte mask = writable_[offset + i];
    config_[offset + i] = (config_[offset + i] & ~mask) | (from[i] & mask);
  }
  apply_config();
  after_config_write(offset, from.size());
}

void PciFunction::read_bar(unsigned /*bar*/, std::uint64_t /*offset*/, std::span<std::byte> into) {
  std::fill(into.begin(), into.end(), std::byte{0xFF});
}

void PciFunction::write_bar(unsigned /*bar*/, std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) {
}

void PciFunction::reset() {
  const std::lock_guard guard(config_mutex_);
  for (std::size_t i = 0; i < config_.size(); ++i) {
    config_[i] &= ~writable_[i];
  }
  if (msix_) {
    msix_->reset();
  }
  apply_config();
}

void PciFunction::add_bar(unsigned bar, std::uint32_t bytes) {
  CHECK(bar < kBars && bars_[bar].bytes == 0 && bytes >= kMinBarBytes && std::has_single_bit(bytes));
  bars_[bar].bytes = bytes;
  // Address bits below the size read 0, which is how software finds the size (PCI 3.0, 6.2.5.1).
  set_config(bar_register(bar), 4, PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_32,
             ~(bytes - 1));
}

std::uint8_t PciFunction::add_capability(std::uint8_t id, std::span<const std::byte> body,
                                         std::span<const std::byte> writable) {
  constexpr std::size_t kHeadBytes = 2;  // id and next pointer
  const std::uint8_t at = next_capability_;
  CHECK(at + kHeadBytes + body.size() <= kHeaderSpaceBytes && writable.size() <= body.size());
  for (std::size_t i = 0; i < writable.size(); ++i) {
    CHECK((body[i] & writable[i]) == std::byte{0});
  }
  set_config(at, 1, id, 0);
  std::copy(body.begin(), body.end(), config_.begin() + at + kHeadBytes);
  std::copy(writable.begin(), writable.end(), writable_.begin() + at + kHeadBytes);
  if (last_capability_ == 0) {
    set_config(PCI_CAPABILITY_LIST, 1, at, 0);
    set_config(PCI_STATUS, 2, config_value(PCI_STATUS, 2) | PCI_STATUS_CAP_LIST, 0);
  } else {
    set_config(last_capability_ + std::uint64_t{PCI_CAP_LIST_NEXT}, 1, at, 0);
  }
  last_capability_ = at;
  // Capabilities begin at multiples of 4.
  next_capability_ = static_cast<std::uint8_t>((at + kHeadBytes + body.size() + 3) & ~std::size_t{3});
  return at;
}

void PciFunction::use_msix(std::vector<MsiInterrupt*> interrupts, unsigned bar, std::uint32_t table_offset,
                           std::uint32_t pba_offset) {
  CHECK(!msix_ && bar < kBars && table_offset % 8 == 0 && pba_offset % 8 == 0);
  if (interrupts.empty()) {
    return;
  }
  msix_ = std::make_unique<MsixTable>(std::move(interrupts));
  CHECK(lies_within(table_offset, msix_->table_bytes(), 0, bars_[bar].bytes));
  CHECK(lies_within(pba_offset, msix_->pba_bytes(), 0, bars_[bar].bytes));
  std::array<std::byte, PCI_CAP_MSIX_SIZEOF - 2> body{};
  const std::span<std::byte> fields(body);
  store_little_endian(msix_->size() - 1U, fields.subspan(PCI_MSIX_FLAGS - 2, 2));
  store_little_endian(table_offset | bar, fields.subspan(PCI_MSIX_TABLE - 2, 4));
  store_little_endian(pba_offset | bar, fields.subspan(PCI_MSIX_PBA - 2, 4));
  std::array<std::byte, 2> writable{};
  store_little_endian(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, writable);
  msix_capability_ = add_capability(PCI_CAP_ID_MSIX, body, writable);
}

void PciFunction::refresh_intx() {
  if (intx_ == nullptr) {
    return;
  }
  const std::lock_guard guard(intx_mutex_);
  // PCI 3.0, 6.8.3.3: a function with MSI-X enabled does not use its pin.
  const bool level = intx_pending() && !intx_disabled_.load() && !msix_enabled_.load();
  if (level != intx_level_) {
    intx_level_ = level;
    intx_->set_level(level);
  }
}

std::span<std::byte> PciFunction::config_bytes(std::uint64_t offset, std::size_t bytes) {
  return std::span(config_).subspan(offset, bytes);
}

std::uint32_t PciFunction::config_value(std::uint64_t offset, std::size_t bytes) const {
  return static_cast<std::uint32_t>(load_little_endian(std::span(config_).subspan(offset, bytes)));
}

void PciFunction::set_config(std::uint64_t offset, std::size_t bytes, std::uint32_t value,
                             std::uint32_t writable) {
  store_little_endian(value, std::span(config_).subspan(offset, bytes));
  store_little_endian(writable, std::span(writable_).subspan(offset, bytes));
}

void PciFunction::apply_config() {
  const std::uint32_t command = config_value(PCI_COMMAND, 2);
  intx_disabled_.store((command & PCI_COMMAND_INTX_DISABLE) != 0);
  if (msix_) {
    const std::uint32_t control = config_value(msix_capability_ + std::uint64_t{PCI_MSIX_FLAGS}, 2);
    const bool enabled = (control & PCI_MSIX_FLAGS_ENABLE) != 0;
    msix_enabled_.store(enabled);
    msix_->set_control(enabled, (control & PCI_MSIX_FLAGS_MASKALL) != 0, (command & PCI_COMMAND_MASTER) != 0);
  }
  refresh_intx();
  for (unsigned bar = 0; bar < kBars; ++bar) {
    if (bars_[bar].bytes != 0) {
      update_bar(bar, (command & PCI_COMMAND_MEMORY) != 0);
    }
  }
}

void PciFunction::update_bar(unsigned bar, bool decode) {
  Bar& state = bars_[bar];
  const std::uint32_t start =
      config_value(bar_register(bar), 4) & static_cast<std::uint32_t>(PCI_BASE_ADDRESS_MEM_MASK);
  if (mapper_ == nullptr) {
    return;
  }
  if (state.mapped_at && (!decode || *state.mapped_at != start)) {
    bar_moved(bar, std::nullopt);
    mapper_->unmap_bar(bar);
    state.mapped_at.reset();
  }
  if (!decode || state.mapped_at) {
    return;
  }
  if (Status mapped = mapper_->map_bar(bar, GuestAddress{start}, state.bytes); !mapped) {
    // The guest's doing: the BAR is decoded nowhere until it is moved again.
    log_guest(LogLevel::kWarning,
              "PCI BAR " + std::to_string(bar) + " is not decoded: " + mapped.error().message());
    return;
  }
  state.mapped_at = start;
  bar_moved(bar, GuestAddress{start});
}

}  // namespace tapir::virtio
