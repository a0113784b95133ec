// SPDX-License-Identifier: Apache-2.0
#include "virtio/mmio_transport.h"

#include <linux/virtio_mmio.h>

#include <utility>

#include "virtio/register_access.h"

namespace tapir::virtio {
namespace {

constexpr std::uint32_t kMagic = 0x7472'6976;   // "virt"
constexpr std::uint32_t kVersion = 2;           // modern
constexpr std::uint32_t kVendor = 0x5250'4154;  // "TAPR"; the specification leaves the choice to us
constexpr std::uint32_t kNoSharedMemory = 0xFFFF'FFFF;
constexpr std::uint32_t kRegisterBytes = 4;
/// <linux/virtio_mmio.h> does not know it (virtio 1.3, 4.2.2 MMIO Device Register Layout).
constexpr std::uint64_t kQueueReset = 0x0C0;

using QueueArea = TransportState::QueueArea;

}  // namespace

Result<std::unique_ptr<MmioTransport>> MmioTransport::create(Device& device, const GuestMemory& memory,
                                                             Interrupt& interrupt, Doorbell& doorbell,
                                                             GuestAddress base) {
  TAPIR_TRY_ASSIGN(std::vector<EventFd> kicks, TransportState::create_kicks(device));
  std::unique_ptr<MmioTransport> transport(new MmioTransport(device, memory, interrupt, std::move(kicks)));
  const GuestAddress notify{to_integer(base) + kQueueNotifyOffset};
  for (std::uint32_t i = 0; i < transport->state_.queue_count(); ++i) {
    const int kick = transport->state_.queue(i)->kick.fd();
    TAPIR_TRY_ASSIGN(auto binding, doorbell.bind(notify, kRegisterBytes, i, kick));
    transport->doorbells_.push_back(std::move(binding));
  }
  return transport;
}

MmioTransport::MmioTransport(Device& device, const GuestMemory& memory, Interrupt& interrupt,
                             std::vector<EventFd> kicks)
    : interrupt_(interrupt), state_(device, memory, *this, std::move(kicks)) {}

void MmioTransport::read(std::uint64_t offset, std::span<std::byte> into) {
  const auto guard = state_.lock();
  std::uint32_t value = 0;
  if (offset >= VIRTIO_MMIO_CONFIG) {
    if (lies_within(offset, into.size(), VIRTIO_MMIO_CONFIG, kBytes - VIRTIO_MMIO_CONFIG)) {
      state_.device().read_config(offset - VIRTIO_MMIO_CONFIG, into);
      return;
    }
  } else if (into.size() == kRegisterBytes && offset % kRegisterBytes == 0) {
    value = read_register(offset);
  }
  store_little_endian(value, into);
}

void MmioTransport::write(std::uint64_t offset, std::span<const std::byte> from) {
  const bool is_register = from.size() == kRegisterBytes && offset % kRegisterBytes == 0;
  if (offset == kQueueNotifyOffset && is_register) {
    // Before the lock: a kick does not wait for another vCPU's activation or reset.
    state_.kick(static_cast<std::uint32_t>(load_little_endian(from)));
    return;
  }
  const auto guard = state_.lock();
  if (offset >= VIRTIO_MMIO_CONFIG) {
    if (lies_within(offset, from.size(), VIRTIO_MMIO_CONFIG, kBytes - VIRTIO_MMIO_CONFIG)) {
      state_.device().write_config(offset - VIRTIO_MMIO_CONFIG, from);
    }
  } else if (is_register) {
    write_register(offset, static_cast<std::uint32_t>(load_little_endian(from)));
  }
}

void MmioTransport::reset() {
  const auto guard = state_.lock();
  state_.reset();
}

std::uint32_t MmioTransport::read_register(std::uint64_t offset) const {
  switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
      return kMagic;
    case VIRTIO_MMIO_VERSION:
      return kVersion;
    case VIRTIO_MMIO_DEVICE_ID:
      return state_.device().type();
    case VIRTIO_MMIO_VENDOR_ID:
      return kVendor;
    case VIRTIO_MMIO_DEVICE_FEATURES:
      return state_.device_features();
    case VIRTIO_MMIO_INTERRUPT_STATUS:
      return state_.interrupt_status();
    case VIRTIO_MMIO_STATUS:
      return state_.status();
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
      // No shared memory region exists, whichever is selected: length and base are all ones.
      return kNoSharedMemory;
    case VIRTIO_MMIO_CONFIG_GENERATION:
      return state_.config_generation();
    default:
      return read_queue_register(offset);
  }
}

std::uint32_t MmioTransport::read_queue_register(std::uint64_t offset) const {
  const TransportState::Queue* queue = state_.selected_queue();
  if (queue == nullptr) {
    return 0;
  }
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
      return queue->max_size;
    case VIRTIO_MMIO_QUEUE_READY:
      return queue->enabled ? 1 : 0;
    default:
      // Write-only, undefined, or QueueReset, of which no driver sees that a reset goes on.
      return 0;
  }
}

void MmioTransport::write_register(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
      return state_.select_device_features(value);
    case VIRTIO_MMIO_DRIVER_FEATURES:
      return state_.write_driver_features(value);
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
      return state_.select_driver_features(value);
    case VIRTIO_MMIO_QUEUE_SEL:
      return state_.select_queue(value);
    case VIRTIO_MMIO_INTERRUPT_ACK:
      return acknowledge(value);
    case VIRTIO_MMIO_STATUS:
      return state_.write_status(value);
    default:
      return write_queue_register(offset, value);
  }
}

void MmioTransport::write_queue_register(std::uint64_t offset, std::uint32_t value) {
  switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
      return state_.set_queue_size(value);
    case VIRTIO_MMIO_QUEUE_READY:
      if (value <= 1) {
        state_.set_queue_enabled(value == 1);
      }
      return;
    case kQueueReset:
      if (value == 1) {
        state_.reset_queue();
      }
      return;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
      return state_.set_queue_address_low(QueueArea::kDescriptor, value);
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
      return state_.set_queue_address_high(QueueArea::kDescriptor, value);
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
      return state_.set_queue_address_low(QueueArea::kDriver, value);
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
      return state_.set_queue_address_high(QueueArea::kDriver, value);
    case VIRTIO_MMIO_QUEUE_USED_LOW:
      return state_.set_queue_address_low(QueueArea::kDevice, value);
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
      return state_.set_queue_address_high(QueueArea::kDevice, value);
    default:
      return;
  }
}

void MmioTransport::acknowledge(std::uint32_t bits) {
  const unsigned before = state_.clear_interrupt_status(static_cast<std::uint8_t>(bits));
  if ((before & ~bits) != 0) {
    // A cause is left. The line is an edge, so it is raised again: a driver (or a sharer of the line) that
    // acknowledges one cause at a time must not wait for ever for the other.
    interrupt_.trigger();
  }
}

void MmioTransport::interrupt_queue(std::uint16_t /*queue*/) {
  state_.add_interrupt_status(TransportState::kQueueInterrupt);
  interrupt_.trigger();
}

void MmioTransport::interrupt_config() {
  state_.add_interrupt_status(TransportState::kConfigInterrupt);
  interrupt_.trigger();
}

}  // namespace tapir::virtio
