// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "virtio/device.h"
#include "virtio/guest_memory.h"

namespace tapir::virtio {

/// What the device status becomes when the driver writes `written` over `current` and the device agrees;
/// `current` itself when the write is ignored. 0 always resets and FAILED is always taken; otherwise only the
/// steps of virtio 1.3, 3.1.1 Driver Requirements: Device Initialization are, in their order, so that no bit
/// is ever cleared or skipped (2.1.1). DEVICE_NEEDS_RESET is the device's own and never set by a write.
std::uint8_t next_device_status(std::uint8_t current, std::uint32_t written);

/// What virtio-mmio and virtio-pci have in common behind their registers: the status machine, feature pages,
/// queue registers, kicks, configuration generation, interrupt status, activation and reset.
///
/// Locks and threads. Register accesses come from every vCPU thread and take lock() around each access; it
/// stays held through Device::activate() and Device::reset(), which wait for the device's I/O thread. That
/// thread may be inside the Notifier functions just then, so these take no lock of this class: what they
/// touch is atomic, and Interrupts (the transport) may take leaf locks only, whose holders wait for nobody.
/// For the same reason kick() takes no lock: a vCPU that kicks never waits for another one's activation.
///
/// Ownership: the device, the memory and the Interrupts outlive it. The kick eventfds are its own; they are
/// never cleared between a reset and DRIVER_OK, so a kick that comes before the device listens is still seen
/// then.
class TransportState final : public Notifier {
 public:
  /// The transport's way to interrupt. Any thread; see the lock rule above.
  class Interrupts {
   public:
    Interrupts() = default;
    Interrupts(const Interrupts&) = delete;
    Interrupts& operator=(const Interrupts&) = delete;
    virtual ~Interrupts() = default;
    /// The queue's used buffer notification.
    virtual void interrupt_queue(std::uint16_t queue) = 0;
    /// A configuration change notification.
    virtual void interrupt_config() = 0;
  };

  /// "Not mapped to any MSI-X vector" (virtio 1.3, 4.1.5.1.2).
  static constexpr std::uint16_t kNoVector = 0xFFFF;

  /// Bits of the interrupt status (virtio 1.3, 4.1.4.5 ISR status capability, 4.2.2 InterruptStatus).
  static constexpr std::uint8_t kQueueInterrupt = 1;
  static constexpr std::uint8_t kConfigInterrupt = 2;

  /// The three areas of a virtqueue, in the words of virtio 1.3, 2.6 Virtqueues.
  enum class QueueArea : std::uint8_t { kDescriptor, kDriver, kDevice };

  /// The registers of one virtqueue.
  struct Queue {
    Queue(std::uint16_t max, EventFd event) : max_size(max), size(max), kick(std::move(event)) {}
    const std::uint16_t max_size;
    std::uint16_t size;
    bool enabled = false;
    bool was_reset = false;       ///< alone, and not enabled since
    std::uint64_t areas[3] = {};  ///< guest-physical addresses, by QueueArea
    /// PCI only. Atomic because the I/O thread reads it for each interrupt, without lock().
    std::atomic<std::uint16_t> vector{kNoVector};
    const EventFd kick;
  };

  /// One kick eventfd per virtqueue of the device; what the constructor wants.
  [[nodiscard]] static Result<std::vector<EventFd>> create_kicks(const Device& device);
  TransportState(Device& device, const GuestMemory& memory, Interrupts& interrupts,
                 std::vector<EventFd> kicks);
  TransportState(const TransportState&) = delete;
  TransportState& operator=(const TransportState&) = delete;
  /// Resets the device.
  ~TransportState() override;

  /// To be held around one register access; not for kick(), status(), interrupt status and the Notifier.
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }

  Device& device() const { return device_; }

  // Device status (virtio 1.3, 2.1). Writing 0 resets and the last step, DRIVER_OK, activates; both wait for
  // the I/O thread. Bits above the eighth make a write void.
  std::uint8_t status() const { return status_.load(); }
  void write_status(std::uint32_t value);
  /// Back to power-on: the same as the driver's reset. Takes no lock: the caller holds it.
  void reset();

  // Feature bits in pages of 32 (virtio 1.3, 2.2). Pages that do not exist read 0. Writes after FEATURES_OK
  // are ignored; accepting a bit that was not offered is found out when FEATURES_OK is written.
  std::uint32_t device_features_select() const { return device_features_select_; }
  std::uint32_t driver_features_select() const { return driver_features_select_; }
  void select_device_features(std::uint32_t page) { device_features_select_ = page; }
  void select_driver_features(std::uint32_t page) { driver_features_select_ = page; }
  std::uint32_t device_features() const;
  std::uint32_t driver_features() const;
  void write_driver_features(std::uint32_t bits);

  // Queue registers act on the selected virtqueue; when there is none, reads give 0 and writes do nothing.
  // From DRIVER_OK (or FAILED) on, and for the size and addresses of a queue that is enabled, they are frozen
  // until reset: a device that was activated never sees its queues change under it. A queue that was reset
  // alone is set up and enabled as before DRIVER_OK.
  std::uint32_t queue_count() const { return static_cast<std::uint32_t>(queues_.size()); }
  std::uint32_t queue_select() const { return queue_select_; }
  void select_queue(std::uint32_t index) { queue_select_ = index; }
  /// The selected queue, or nullptr.
  const Queue* selected_queue() const { return queue(queue_select_); }
  /// The one place where a virtqueue number from outside becomes a virtqueue; nullptr when there is none
  /// such.
  const Queue* queue(std::uint32_t index) const { return index < queues_.size() ? &queues_[index] : nullptr; }
  /// Ignored unless at most the queue's largest size and, without RING_PACKED accepted, a power of two.
  void set_queue_size(std::uint32_t size);
  void set_queue_enabled(bool enabled);
  /// Only with RING_RESET accepted, under DRIVER_OK, and of an enabled queue (virtio 1.3, 2.6.1 Virtqueue
  /// Reset). Returns when the queue has all its defaults, so that no driver ever sees a reset going on.
  void reset_queue();
  void set_queue_address_low(QueueArea area, std::uint32_t value);
  void set_queue_address_high(QueueArea area, std::uint32_t value);
  /// Not frozen: a driver may map vectors at any time. The transport has checked `vector`.
  void set_queue_vector(std::uint16_t vector);

  /// The driver's available buffer notification that reached user space, any 32-bit value. Without lock().
  void kick(std::uint32_t index) const;

  /// Counts the configuration changes (virtio 1.3, 2.5 Device Configuration Space). Not reset, so that a
  /// reader whose reads span a reset sees a difference.
  std::uint32_t config_generation() const { return config_generation_.load(); }

  // Interrupt status: bits that Interrupts sets and the driver clears. Atomic, without lock().
  std::uint8_t interrupt_status() const { return interrupt_status_.load(); }
  void add_interrupt_status(std::uint8_t bits) { interrupt_status_.fetch_or(bits); }
  /// Clears these bits; returns what was set before.
  std::uint8_t clear_interrupt_status(std::uint8_t bits);

  // Notifier: without lock(). Nothing is sent unless DRIVER_OK is set.
  void notify_queue(std::uint16_t queue) override;
  void notify_config() override;
  void set_needs_reset() override;

 private:
  Queue* mutable_queue(std::uint32_t index) { return const_cast<Queue*>(std::as_const(*this).queue(index)); }
  static void set_power_on_values(Queue& queue);
  /// The selected queue when `frozen_when_enabled` and the status allow to change it, else nullptr.
  Queue* writable_queue(bool frozen_when_enabled);
  bool features_acceptable() const;
  void activate();
  [[nodiscard]] Result<Activation> build_activation();
  [[nodiscard]] Result<ActiveQueue> build_queue(std::uint16_t index);
  /// Hands a queue to the active device.
  void enable_again(std::uint16_t index);
  /// The driver's fault, or the host's: the device needs a reset.
  void give_up(const Error& error);

  Device& device_;
  const GuestMemory& memory_;
  Interrupts& interrupts_;
  std::mutex mutex_;

  std::atomic<std::uint8_t> status_{0};
  std::atomic<std::uint8_t> interrupt_status_{0};
  std::atomic<std::uint32_t> config_generation_{0};

  std::uint64_t driver_features_ = 0;
  bool driver_features_beyond_ = false;  ///< a bit of a page that does not exist was accepted
  std::uint32_t device_features_select_ = 0;
  std::uint32_t driver_features_select_ = 0;
  std::uint32_t queue_select_ = 0;
  std::deque<Queue> queues_;  ///< as many as the device has, for good; reached through queue() only
};

}  // namespace tapir::virtio
