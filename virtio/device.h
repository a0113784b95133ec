// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/virtqueue.h"

namespace tapir::virtio {

/// The device's way to its driver, implemented by the transport. Any thread; never blocks on the guest.
class Notifier {
 public:
  Notifier() = default;
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  virtual ~Notifier() = default;
  /// Used buffer notification of virtqueue `queue`. The caller has asked the queue whether one is needed.
  virtual void notify_queue(std::uint16_t queue) = 0;
  /// Configuration change notification (virtio 1.3, 2.3 Notifications); the config generation changes with
  /// it.
  virtual void notify_config() = 0;
  /// Sets DEVICE_NEEDS_RESET and, under DRIVER_OK, sends a configuration change notification
  /// (virtio 1.3, 2.1.2 Device Requirements: Device Status Field).
  virtual void set_needs_reset() = 0;
};

/// A virtqueue that the driver enabled, handed to the device for as long as it is active.
struct ActiveQueue {
  std::uint16_t index = 0;
  Virtqueue queue;
  int kick_fd =
      -1;  ///< borrowed eventfd that the driver's kicks signal; already readable if a kick came early
};

/// What the driver agreed to at DRIVER_OK.
struct Activation {
  std::uint64_t features = 0;
  std::vector<ActiveQueue> queues;  ///< only the enabled ones, by ascending index
  Notifier* notifier = nullptr;     ///< outlives the activation
};

/// A virtio device as both transports see it. The transport keeps the status machine, feature negotiation and
/// queue registers; the device has features, a configuration space, and virtqueues between activate() and
/// reset(). vCPU threads call it, one at a time (the transport's lock); activate() and reset() hand over to
/// the device's own I/O thread and return when that is done.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  /// virtio 1.3, 5 Device Types: 1 for a network device.
  virtual std::uint32_t type() const = 0;
  /// Every bit offered, VIRTIO_F_VERSION_1 among them; the same until destruction.
  virtual std::uint64_t features() const = 0;
  /// Whether the device can work with this subset of features() (virtio 1.3, 2.2.2): no bit without those
  /// that it needs. When false the driver does not get FEATURES_OK.
  virtual bool accepts(std::uint64_t driver_features) const = 0;
  /// The largest size of each virtqueue, a power of two from 1 to 32768; as many entries as virtqueues.
  virtual std::span<const std::uint16_t> max_queue_sizes() const = 0;

  /// Copies from the configuration space; bytes beyond its end read as 0.
  virtual void read_config(std::uint64_t offset, std::span<std::byte> into) const = 0;
  /// Bytes that are read-only or beyond the end are ignored.
  virtual void write_config(std::uint64_t offset, std::span<const std::byte> from) = 0;

  /// DRIVER_OK: the device owns the queues from here on. On an error the transport sets DEVICE_NEEDS_RESET.
  [[nodiscard]] virtual Status activate(Activation activation) = 0;
  /// Status 0 was written, or the machine goes away. When it returns no virtqueue is touched, no notification
  /// is sent and nothing of the guest's memory is in flight any more. Harmless when not active.
  virtual void reset() = 0;

  /// While active, with RING_RESET accepted: lets go of one virtqueue (virtio 1.3, 2.6.1.1 Virtqueue Reset).
  /// When it returns the queue is not touched nor notified of any more, and the others go on.
  virtual void reset_queue(std::uint16_t index) = 0;
  /// While active: takes a virtqueue over that was reset (2.6.1.2 Virtqueue Re-enable). On an error the
  /// transport sets DEVICE_NEEDS_RESET.
  [[nodiscard]] virtual Status enable_queue(ActiveQueue queue) = 0;
};

}  // namespace tapir::virtio
