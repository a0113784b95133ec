// SPDX-License-Identifier: Apache-2.0
#include "virtio/transport_state.h"

#include <linux/virtio_config.h>

#include <array>
#include <bit>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"

namespace tapir::virtio {
namespace {

constexpr unsigned kAcknowledge = VIRTIO_CONFIG_S_ACKNOWLEDGE;
constexpr unsigned kDriver = kAcknowledge | VIRTIO_CONFIG_S_DRIVER;
constexpr unsigned kFeaturesOk = kDriver | VIRTIO_CONFIG_S_FEATURES_OK;
constexpr unsigned kDriverOk = kFeaturesOk | VIRTIO_CONFIG_S_DRIVER_OK;

struct StatusStep {
  unsigned from;
  unsigned to;
};

/// The steps forward. The first two may be taken in one write, since nothing happens between them; the others
/// may not, since the driver has to read FEATURES_OK back before it goes on.
constexpr std::array<StatusStep, 5> kStatusSteps = {{
    {0, kAcknowledge},
    {0, kDriver},
    {kAcknowledge, kDriver},
    {kDriver, kFeaturesOk},
    {kFeaturesOk, kDriverOk},
}};

constexpr std::uint64_t kLowHalf = 0xFFFF'FFFFU;

}  // namespace

std::uint8_t next_device_status(std::uint8_t current, std::uint32_t written) {
  if (written == 0) {
    return 0;
  }
  if (written > 0xFF) {
    return current;
  }
  if ((written & VIRTIO_CONFIG_S_FAILED) != 0) {
    return current | VIRTIO_CONFIG_S_FAILED;
  }
  for (const StatusStep& step : kStatusSteps) {
    if (current == step.from && written == step.to) {
      return static_cast<std::uint8_t>(step.to);
    }
  }
  return current;
}

Result<std::vector<EventFd>> TransportState::create_kicks(const Device& device) {
  std::vector<EventFd> kicks;
  for (std::size_t i = 0; i < device.max_queue_sizes().size(); ++i) {
    TAPIR_TRY_ASSIGN(EventFd kick, EventFd::create());
    kicks.push_back(std::move(kick));
  }
  return kicks;
}

TransportState::TransportState(Device& device, const GuestMemory& memory, Interrupts& interrupts,
                               std::vector<EventFd> kicks)
    : device_(device), memory_(memory), interrupts_(interrupts) {
  const auto sizes = device.max_queue_sizes();
  CHECK(sizes.size() == kicks.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    queues_.emplace_back(sizes[i], std::move(kicks[i]));
  }
}

TransportState::~TransportState() {
  device_.reset();
}

void TransportState::write_status(std::uint32_t value) {
  if (value == 0) {
    reset();
    return;
  }
  const std::uint8_t current = status_.load();
  const unsigned added = next_device_status(current, value) & ~unsigned{current};
  if ((added & VIRTIO_CONFIG_S_FEATURES_OK) != 0 && !features_acceptable()) {
    // virtio 1.3, 2.2.2 Device Requirements: Feature Bits: the driver finds FEATURES_OK still clear.
    return;
  }
  // Bits are only ever added here, so a set_needs_reset() of another thread is not lost.
  status_.fetch_or(static_cast<std::uint8_t>(added));
  if ((added & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
    activate();
  }
}

void TransportState::reset() {
  device_.reset();
  // From here on no other thread calls the Notifier, so plain stores cannot lose anything.
  status_.store(0);
  interrupt_status_.store(0);
  driver_features_ = 0;
  driver_features_beyond_ = false;
  device_features_select_ = 0;
  driver_features_select_ = 0;
  queue_select_ = 0;
  for (Queue& each : queues_) {
    set_power_on_values(each);
  }
}

void TransportState::set_power_on_values(Queue& queue) {
  queue.size = queue.max_size;
  queue.enabled = false;
  queue.was_reset = false;
  queue.areas[0] = queue.areas[1] = queue.areas[2] = 0;
  queue.vector.store(kNoVector);
  queue.kick.clear();
}

std::uint32_t TransportState::device_features() const {
  if (device_features_select_ > 1) {
    return 0;
  }
  return static_cast<std::uint32_t>(device_.features() >> (32U * device_features_select_));
}

std::uint32_t TransportState::driver_features() const {
  if (driver_features_select_ > 1) {
    return 0;
  }
  // Only valid bits are presented (virtio 1.3, 4.1.4.3.1).
  return static_cast<std::uint32_t>((driver_features_ & device_.features()) >>
                                    (32U * driver_features_select_));
}

void TransportState::write_driver_features(std::uint32_t bits) {
  if ((status_.load() & (VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)) != 0) {
    return;
  }
  if (driver_features_select_ > 1) {
    driver_features_beyond_ = driver_features_beyond_ || bits != 0;
    return;
  }
  const unsigned shift = 32U * driver_features_select_;
  driver_features_ = (driver_features_ & ~(kLowHalf << shift)) | (std::uint64_t{bits} << shift);
}

bool TransportState::features_acceptable() const {
  return !driver_features_beyond_ && (driver_features_ & ~device_.features()) == 0 &&
         device_.accepts(driver_features_);
}

TransportState::Queue* TransportState::writable_queue(bool frozen_when_enabled) {
  const unsigned status = status_.load();
  Queue* found = mutable_queue(queue_select_);
  if (found == nullptr || (status & VIRTIO_CONFIG_S_FAILED) != 0 ||
      ((status & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && !found->was_reset)) {
    return nullptr;
  }
  return frozen_when_enabled && found->enabled ? nullptr : found;
}

void TransportState::set_queue_size(std::uint32_t size) {
  // A packed virtqueue may have any size (virtio 1.3, 2.8.10.1), a split one a power of two (2.7).
  const bool packed = (driver_features_ >> VIRTIO_F_RING_PACKED & 1U) != 0;
  Queue* target = writable_queue(true);
  if (target != nullptr && size != 0 && (packed || std::has_single_bit(size)) && size <= target->max_size) {
    target->size = static_cast<std::uint16_t>(size);
  }
}

void TransportState::set_queue_enabled(bool enabled) {
  Queue* target = writable_queue(false);
  if (target == nullptr) {
    return;
  }
  target->enabled = enabled;
  if (enabled && std::exchange(target->was_reset, false)) {
    enable_again(static_cast<std::uint16_t>(queue_select_));
  }
}

void TransportState::reset_queue() {
  const bool accepted = (driver_features_ >> VIRTIO_F_RING_RESET & 1U) != 0;
  const unsigned status = status_.load();
  Queue* target = mutable_queue(queue_select_);
  if (target == nullptr || !target->enabled || !accepted || (status & VIRTIO_CONFIG_S_DRIVER_OK) == 0 ||
      (status & VIRTIO_CONFIG_S_FAILED) != 0) {
    return;
  }
  device_.reset_queue(static_cast<std::uint16_t>(queue_select_));
  set_power_on_values(*target);
  target->was_reset = true;
}

void TransportState::set_queue_address_low(QueueArea area, std::uint32_t value) {
  if (Queue* target = writable_queue(true); target != nullptr) {
    std::uint64_t& address = target->areas[static_cast<std::size_t>(area)];
    address = (address & ~kLowHalf) | value;
  }
}

void TransportState::set_queue_address_high(QueueArea area, std::uint32_t value) {
  if (Queue* target = writable_queue(true); target != nullptr) {
    std::uint64_t& address = target->areas[static_cast<std::size_t>(area)];
    address = (address & kLowHalf) | (std::uint64_t{value} << 32U);
  }
}

void TransportState::set_queue_vector(std::uint16_t vector) {
  if (Queue* target = mutable_queue(queue_select_); target != nullptr) {
    target->vector.store(vector);
  }
}

void TransportState::kick(std::uint32_t index) const {
  if (const Queue* target = queue(index); target != nullptr) {
    target->kick.signal();
  }
}

std::uint8_t TransportState::clear_interrupt_status(std::uint8_t bits) {
  return interrupt_status_.fetch_and(static_cast<std::uint8_t>(~bits));
}

void TransportState::notify_queue(std::uint16_t queue) {
  // virtio 1.3, 2.1.2 and 2.4.1: none before DRIVER_OK, none after a reset.
  if ((status_.load() & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
    interrupts_.interrupt_queue(queue);
  }
}

void TransportState::notify_config() {
  config_generation_.fetch_add(1);
  if ((status_.load() & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
    interrupts_.interrupt_config();
  }
}

void TransportState::set_needs_reset() {
  const std::uint8_t before = status_.fetch_or(VIRTIO_CONFIG_S_NEEDS_RESET);
  if ((before & VIRTIO_CONFIG_S_NEEDS_RESET) == 0) {
    notify_config();
  }
}

Result<Activation> TransportState::build_activation() {
  Activation activation;
  activation.features = driver_features_;
  activation.notifier = this;
  for (std::uint32_t i = 0; i < queue_count(); ++i) {
    const auto index = static_cast<std::uint16_t>(i);
    if (queue(index)->enabled) {
      TAPIR_TRY_ASSIGN(ActiveQueue built, build_queue(index));
      activation.queues.push_back(std::move(built));
    }
  }
  return activation;
}

Result<ActiveQueue> TransportState::build_queue(std::uint16_t index) {
  const Queue& from = *queue(index);
  QueueLayout layout;
  layout.size = from.size;
  layout.descriptor_table = GuestAddress{from.areas[static_cast<std::size_t>(QueueArea::kDescriptor)]};
  layout.avail_ring = GuestAddress{from.areas[static_cast<std::size_t>(QueueArea::kDriver)]};
  layout.used_ring = GuestAddress{from.areas[static_cast<std::size_t>(QueueArea::kDevice)]};
  auto created = Virtqueue::create(memory_, layout, driver_features_);
  if (!created) {
    return tl::unexpected<Error>(
        std::move(created).error().with_context("virtqueue " + std::to_string(index)));
  }
  return ActiveQueue{index, *std::move(created), from.kick.fd()};
}

void TransportState::enable_again(std::uint16_t index) {
  const Status enabled = [this, index]() -> Status {
    TAPIR_TRY_ASSIGN(ActiveQueue built, build_queue(index));
    return device_.enable_queue(std::move(built));
  }();
  if (!enabled) {
    give_up(enabled.error());
  }
}

void TransportState::activate() {
  // DRIVER_OK is already set: the device may notify from its own thread before activate() returns.
  const Status activated = [this]() -> Status {
    TAPIR_TRY_ASSIGN(Activation activation, build_activation());
    return device_.activate(std::move(activation));
  }();
  if (!activated) {
    give_up(activated.error());
  }
}

void TransportState::give_up(const Error& error) {
  log_guest(LogLevel::kWarning, "virtio device of type " + std::to_string(device_.type()) +
                                    " was not activated and needs a reset by its driver: " + error.message());
  set_needs_reset();
}

}  // namespace tapir::virtio
