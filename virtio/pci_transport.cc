// SPDX-License-Identifier: Apache-2.0
#include "virtio/pci_transport.h"

#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include <array>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "virtio/register_access.h"

namespace tapir::virtio {
namespace {

using QueueArea = TransportState::QueueArea;

constexpr std::uint16_t kVendor = 0x1AF4;
constexpr std::uint16_t kFirstModernDevice = 0x1040;  // plus the device type
constexpr std::uint32_t kClassEthernet = 0x02'0000;
constexpr std::uint32_t kClassOther = 0xFF'0000;
/// The common configuration of virtio 1.3. Fields of features that are not offered read 0.
constexpr std::uint32_t kCommonBytes = 64;
constexpr std::uint32_t kIsrBytes = 1;
/// Inside the window capability.
constexpr unsigned kWindowData = sizeof(virtio_pci_cap);
constexpr unsigned kWindowDataBytes = 4;

PciIdentity identity_of(const Device& device) {
  PciIdentity identity;
  identity.vendor = kVendor;
  identity.device = static_cast<std::uint16_t>(kFirstModernDevice + device.type());
  identity.revision = 1;
  identity.class_code = device.type() == VIRTIO_ID_NET ? kClassEthernet : kClassOther;
  identity.subsystem_vendor = identity.vendor;
  identity.subsystem = identity.device;
  identity.interrupt_pin = 1;
  return identity;
}

/// The width of the common configuration's field at `offset`, 64-bit ones as two halves; 0 when none begins
/// there.
std::size_t field_bytes(std::uint64_t offset) {
  switch (offset) {
    case VIRTIO_PCI_COMMON_STATUS:
    case VIRTIO_PCI_COMMON_CFGGENERATION:
      return 1;
    case VIRTIO_PCI_COMMON_MSIX:
    case VIRTIO_PCI_COMMON_NUMQ:
    case VIRTIO_PCI_COMMON_Q_SELECT:
    case VIRTIO_PCI_COMMON_Q_SIZE:
    case VIRTIO_PCI_COMMON_Q_MSIX:
    case VIRTIO_PCI_COMMON_Q_ENABLE:
    case VIRTIO_PCI_COMMON_Q_NOFF:
    case VIRTIO_PCI_COMMON_Q_RESET:
      return 2;
    case VIRTIO_PCI_COMMON_DFSELECT:
    case VIRTIO_PCI_COMMON_DF:
    case VIRTIO_PCI_COMMON_GFSELECT:
    case VIRTIO_PCI_COMMON_GF:
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
      return 4;
    default:
      return 0;
  }
}

/// Whether this is a 64-bit access to one of the three addresses.
bool is_whole_address(std::uint64_t offset, std::size_t bytes) {
  return bytes == 8 && (offset == VIRTIO_PCI_COMMON_Q_DESCLO || offset == VIRTIO_PCI_COMMON_Q_AVAILLO ||
                        offset == VIRTIO_PCI_COMMON_Q_USEDLO);
}

/// The three addresses lie in the order of QueueArea.
QueueArea area_at(std::uint64_t offset) {
  return static_cast<QueueArea>((offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8);
}

}  // namespace

Result<std::unique_ptr<PciTransport>> PciTransport::create(PciTransportParts parts) {
  TAPIR_TRY_ASSIGN(std::vector<EventFd> kicks, TransportState::create_kicks(parts.device));
  return std::unique_ptr<PciTransport>(new PciTransport(std::move(parts), std::move(kicks)));
}

PciTransport::PciTransport(PciTransportParts parts, std::vector<EventFd> kicks)
    : PciFunction(identity_of(parts.device)),
      doorbell_(parts.doorbell),
      state_(parts.device, parts.memory, *this, std::move(kicks)) {
  // virtio 1.3, 4.1.5.1.2.1: at least two vectors, where there is MSI-X.
  CHECK(parts.vectors.size() != 1 && parts.vectors.size() <= kMaxVectors &&
        state_.queue_count() <= kMaxQueues);
  add_bar(kBar, kBarBytes);
  use_msix(std::move(parts.vectors), kBar, kMsixTableOffset, kMsixPbaOffset);
  use_intx(&parts.intx);
  add_virtio_capabilities();
}

void PciTransport::add_virtio_capabilities() {
  // Body of a capability: what follows the vendor id and the next pointer, so fields move up by two.
  constexpr std::size_t kHead = 2;
  const auto add = [this](std::uint8_t type, std::uint32_t offset, std::uint32_t length, std::size_t extra) {
    std::array<std::byte, sizeof(virtio_pci_notify_cap) - kHead> body{};
    std::array<std::byte, sizeof(virtio_pci_notify_cap) - kHead> writable{};
    const std::span<std::byte> fields(body);
    const std::size_t bytes = sizeof(virtio_pci_cap) + extra;  // cap_len counts from the vendor id (4.1.4.2)
    body[VIRTIO_PCI_CAP_LEN - kHead] = static_cast<std::byte>(bytes);
    body[VIRTIO_PCI_CAP_CFG_TYPE - kHead] = std::byte{type};
    body[VIRTIO_PCI_CAP_BAR - kHead] = std::byte{kBar};
    store_little_endian(offset, fields.subspan(VIRTIO_PCI_CAP_OFFSET - kHead, 4));
    store_little_endian(length, fields.subspan(VIRTIO_PCI_CAP_LENGTH - kHead, 4));
    if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
      store_little_endian(kNotifyMultiplier, fields.subspan(VIRTIO_PCI_NOTIFY_CAP_MULT - kHead, 4));
    }
    if (type == VIRTIO_PCI_CAP_PCI_CFG) {
      const std::span<std::byte> bits(writable);
      bits[VIRTIO_PCI_CAP_BAR - kHead] = std::byte{0xFF};
      for (std::byte& byte : bits.subspan(VIRTIO_PCI_CAP_OFFSET - kHead)) {
        byte = std::byte{0xFF};
      }
    }
    return add_capability(PCI_CAP_ID_VNDR, fields.first(bytes - kHead),
                          std::span(writable).first(bytes - kHead));
  };
  add(VIRTIO_PCI_CAP_COMMON_CFG, kCommonOffset, kCommonBytes, 0);
  add(VIRTIO_PCI_CAP_NOTIFY_CFG, kNotifyOffset, state_.queue_count() * kNotifyMultiplier, 4);
  add(VIRTIO_PCI_CAP_ISR_CFG, kIsrOffset, kIsrBytes, 0);
  add(VIRTIO_PCI_CAP_DEVICE_CFG, kDeviceOffset, kRegionBytes, 0);
  window_capability_ = add(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, kWindowDataBytes);
}

void PciTransport::read_bar(unsigned bar, std::uint64_t offset, std::span<std::byte> into) {
  store_little_endian(0, into);
  if (bar != kBar) {
    return;
  }
  if (msix() != nullptr && lies_within(offset, into.size(), kMsixTableOffset, kRegionBytes)) {
    msix()->read_table(offset - kMsixTableOffset, into);
  } else if (msix() != nullptr && lies_within(offset, into.size(), kMsixPbaOffset, kRegionBytes)) {
    msix()->read_pba(offset - kMsixPbaOffset, into);
  } else if (offset == kIsrOffset) {
    store_little_endian(take_isr(), into);
  } else if (lies_within(offset, into.size(), kDeviceOffset, kRegionBytes)) {
    const auto guard = state_.lock();
    state_.device().read_config(offset - kDeviceOffset, into);
  } else if (lies_within(offset, into.size(), kCommonOffset, kCommonBytes)) {
    const auto guard = state_.lock();
    store_little_endian(read_common(offset - kCommonOffset, into.size()), into);
  }
}

void PciTransport::write_bar(unsigned bar, std::uint64_t offset, std::span<const std::byte> from) {
  if (bar != kBar) {
    return;
  }
  if (lies_within(offset, from.size(), kNotifyOffset, kRegionBytes)) {
    // No lock: a kick does not wait for another vCPU's activation or reset. As through the Doorbell, the
    // address says which queue it is.
    if (offset % kNotifyMultiplier == 0) {
      state_.kick(static_cast<std::uint32_t>((offset - kNotifyOffset) / kNotifyMultiplier));
    }
  } else if (msix() != nullptr && lies_within(offset, from.size(), kMsixTableOffset, kRegionBytes)) {
    msix()->write_table(offset - kMsixTableOffset, from);
  } else if (lies_within(offset, from.size(), kDeviceOffset, kRegionBytes)) {
    const auto guard = state_.lock();
    state_.device().write_config(offset - kDeviceOffset, from);
  } else if (lies_within(offset, from.size(), kCommonOffset, kCommonBytes)) {
    const auto guard = state_.lock();
    write_common(offset - kCommonOffset, from.size(), load_little_endian(from));
  }
}

void PciTransport::reset() {
  {
    const auto guard = state_.lock();
    write_common(VIRTIO_PCI_COMMON_STATUS, 1, 0);
  }
  PciFunction::reset();
}

std::uint64_t PciTransport::read_common(std::uint64_t offset, std::size_t bytes) const {
  if (bytes != field_bytes(offset)) {
    return is_whole_address(offset, bytes) ? read_queue_field(offset, bytes) : 0;
  }
  switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
      return state_.device_features_select();
    case VIRTIO_PCI_COMMON_DF:
      return state_.device_features();
    case VIRTIO_PCI_COMMON_GFSELECT:
      return state_.driver_features_select();
    case VIRTIO_PCI_COMMON_GF:
      return state_.driver_features();
    case VIRTIO_PCI_COMMON_MSIX:
      return config_vector_.load();
    case VIRTIO_PCI_COMMON_NUMQ:
      return state_.queue_count();
    case VIRTIO_PCI_COMMON_STATUS:
      return state_.status();
    case VIRTIO_PCI_COMMON_CFGGENERATION:
      return state_.config_generation() & 0xFFU;
    case VIRTIO_PCI_COMMON_Q_SELECT:
      return state_.queue_select();
    default:
      return read_queue_field(offset, bytes);
  }
}

std::uint64_t PciTransport::read_queue_field(std::uint64_t offset, std::size_t bytes) const {
  const TransportState::Queue* queue = state_.selected_queue();
  if (queue == nullptr) {
    return 0;
  }
  switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
      return queue->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
      return queue->vector.load();
    case VIRTIO_PCI_COMMON_Q_ENABLE:
      return queue->enabled ? 1 : 0;
    case VIRTIO_PCI_COMMON_Q_NOFF:
      return state_.queue_select();
    case VIRTIO_PCI_COMMON_Q_RESET:  // no driver sees that a reset goes on
      return 0;
    default:
      break;
  }
  const std::uint64_t address = queue->areas[static_cast<std::size_t>(area_at(offset))];
  if (bytes == 8) {
    return address;
  }
  return offset % 8 == 0 ? address & 0xFFFF'FFFFU : address >> 32U;
}

void PciTransport::write_common(std::uint64_t offset, std::size_t bytes, std::uint64_t value) {
  if (bytes != field_bytes(offset)) {
    if (is_whole_address(offset, bytes)) {
      write_queue_field(offset, 4, value & 0xFFFF'FFFFU);
      write_queue_field(offset + 4, 4, value >> 32U);
    }
    return;
  }
  const auto word = static_cast<std::uint32_t>(value);
  switch (offset) {
    case VIRTIO_PCI_COMMON_DFSELECT:
      return state_.select_device_features(word);
    case VIRTIO_PCI_COMMON_GFSELECT:
      return state_.select_driver_features(word);
    case VIRTIO_PCI_COMMON_GF:
      return state_.write_driver_features(word);
    case VIRTIO_PCI_COMMON_MSIX:
      return config_vector_.store(checked_vector(value));
    case VIRTIO_PCI_COMMON_STATUS:
      state_.write_status(word);
      if (word == 0) {
        config_vector_.store(TransportState::kNoVector);
        refresh_intx();
      }
      return;
    case VIRTIO_PCI_COMMON_Q_SELECT:
      return state_.select_queue(word);
    default:
      return write_queue_field(offset, bytes, value);
  }
}

void PciTransport::write_queue_field(std::uint64_t offset, std::size_t bytes, std::uint64_t value) {
  const auto word = static_cast<std::uint32_t>(value);
  switch (offset) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
      return state_.set_queue_size(word);
    case VIRTIO_PCI_COMMON_Q_MSIX:
      return state_.set_queue_vector(checked_vector(value));
    case VIRTIO_PCI_COMMON_Q_ENABLE:
    case VIRTIO_PCI_COMMON_Q_RESET:
      // virtio 1.3, 4.1.4.3.2: the driver must not write 0.
      if (word == 1) {
        offset == VIRTIO_PCI_COMMON_Q_RESET ? state_.reset_queue() : state_.set_queue_enabled(true);
      }
      return;
    default:
      return write_queue_address(offset, bytes, value);
  }
}

void PciTransport::write_queue_address(std::uint64_t offset, std::size_t bytes, std::uint64_t value) {
  if (offset < VIRTIO_PCI_COMMON_Q_DESCLO || bytes != 4) {
    return;  // a read-only field
  }
  const auto word = static_cast<std::uint32_t>(value);
  if (offset % 8 == 0) {
    state_.set_queue_address_low(area_at(offset), word);
  } else {
    state_.set_queue_address_high(area_at(offset), word);
  }
}

std::uint8_t PciTransport::take_isr() {
  const std::uint8_t isr = state_.clear_interrupt_status(0xFF);
  refresh_intx();
  return isr;
}

std::uint16_t PciTransport::checked_vector(std::uint64_t vector) const {
  // virtio 1.3, 4.1.5.1.2.1: a mapping that fails reads back as kNoVector.
  const bool exists = msix() != nullptr && vector < msix()->size();
  return exists ? static_cast<std::uint16_t>(vector) : TransportState::kNoVector;
}

bool PciTransport::intx_pending() const {
  return state_.interrupt_status() != 0;
}

bool PciTransport::touches_window_data(std::uint64_t offset, std::size_t bytes) const {
  const std::uint64_t data = std::uint64_t{window_capability_} + kWindowData;
  return offset < data + kWindowDataBytes && offset + bytes > data;
}

std::optional<PciTransport::WindowAccess> PciTransport::window_access() {
  const auto field = [this](unsigned at, std::size_t bytes) {
    return load_little_endian(config_bytes(std::uint64_t{window_capability_} + at, bytes));
  };
  const std::uint64_t bar = field(VIRTIO_PCI_CAP_BAR, 1);
  const std::uint64_t offset = field(VIRTIO_PCI_CAP_OFFSET, 4);
  const std::uint64_t length = field(VIRTIO_PCI_CAP_LENGTH, 4);
  // virtio 1.3, 4.1.4.9.2: 1, 2 or 4 bytes, at a multiple of that.
  const bool valid = (length == 1 || length == 2 || length == 4) && offset % length == 0 && bar == kBar &&
                     lies_within(offset, length, 0, kBarBytes);
  if (!valid) {
    return std::nullopt;
  }
  return WindowAccess{static_cast<unsigned>(bar), offset, static_cast<std::size_t>(length)};
}

void PciTransport::before_config_read(std::uint64_t offset, std::size_t bytes) {
  if (!touches_window_data(offset, bytes)) {
    return;
  }
  if (const auto access = window_access()) {
    read_bar(access->bar, access->offset,
             config_bytes(std::uint64_t{window_capability_} + kWindowData, access->bytes));
  }
}

void PciTransport::after_config_write(std::uint64_t offset, std::size_t bytes) {
  if (!touches_window_data(offset, bytes)) {
    return;
  }
  if (const auto access = window_access()) {
    write_bar(access->bar, access->offset,
              config_bytes(std::uint64_t{window_capability_} + kWindowData, access->bytes));
  }
}

void PciTransport::bar_moved(unsigned bar, std::optional<GuestAddress> start) {
  doorbells_.clear();
  if (bar != kBar || !start) {
    return;
  }
  for (std::uint32_t i = 0; i < state_.queue_count(); ++i) {
    const GuestAddress address{to_integer(*start) + kNotifyOffset + std::uint64_t{i} * kNotifyMultiplier};
    // 2 bytes is what a driver writes; a binding without a value takes every width.
    auto binding = doorbell_.bind(address, 2, std::nullopt, state_.queue(i)->kick.fd());
    if (!binding) {
      log_guest(LogLevel::kWarning,
                "kicks of a virtqueue are slower than usual: " + binding.error().message());
      continue;  // write_bar() takes them
    }
    doorbells_.push_back(*std::move(binding));
  }
}

void PciTransport::interrupt_queue(std::uint16_t queue) {
  if (!msix_enabled()) {
    state_.add_interrupt_status(TransportState::kQueueInterrupt);
    refresh_intx();
  } else if (const TransportState::Queue* from = state_.queue(queue); from != nullptr) {
    // kNoVector is beyond every table, so nothing is sent then.
    msix()->notify(from->vector.load());
  }
}

void PciTransport::interrupt_config() {
  // virtio 1.3, 4.1.4.5.1: the ISR bit first, with MSI-X as well.
  state_.add_interrupt_status(TransportState::kConfigInterrupt);
  refresh_intx();
  if (msix() != nullptr) {
    msix()->notify(config_vector_.load());
  }
}

}  // namespace tapir::virtio
