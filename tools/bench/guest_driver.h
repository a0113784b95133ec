// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "net/base/event_fd.h"
#include "tools/bench/frame_slots.h"
#include "tools/bench/sequence_checker.h"
#include "virtio/device.h"
#include "virtio/guest_memory.h"
#include "virtio/testing/driver_queue.h"

namespace tapir::bench {

/// A guest's network driver in this process, as fast as one in a guest: chains are written once and used
/// again and again, a small frame is one descriptor with its header in front, a large one has an indirect
/// table, and it takes part in the suppression of kicks and interrupts as Linux does.
///
/// One thread, not the device's; interrupts come on the device's.
///
///     GuestDriver driver(mix, shape, device.features());
///     device.activate(driver.activation());
///     driver.post_all();
///     driver.send(number, 64);   … driver.reclaim();
///     driver.receive(checker);   driver.post_all();
class GuestDriver final : public virtio::Notifier {
 public:
  static constexpr std::uint16_t kReceiveQueue = 0;
  static constexpr std::uint16_t kTransmitQueue = 1;

  [[nodiscard]] static Result<std::unique_ptr<GuestDriver>> create(const FrameMix& mix, const Shape& shape,
                                                                   std::uint64_t features);

  virtio::Activation activation();

  /// Makes `frames` frames available, numbered from `first_number`, and kicks once if the device asks for it.
  /// Not more than free_frames().
  void send(std::uint64_t first_number, unsigned frames);
  unsigned free_frames() const { return FrameSlots::kSlots - in_flight_; }
  /// Takes back the frames that the device has sent; how many.
  unsigned reclaim();

  /// Gives the device every receive buffer that it does not have, and kicks once if it asks for that.
  void post_all();
  /// Shows the checker the frames received; how many. Their buffers are free for post_all().
  unsigned receive(SequenceChecker& checker);
  /// A cheaper one for those who only echo: forgets what was received; how many frames.
  unsigned forget_received();

  /// Asks for an interrupt at the next used buffer of the queue. True: there is one already.
  bool enable_interrupts(std::uint16_t queue) { return ring(queue).enable_interrupts(); }
  /// Asks for an interrupt when three quarters of the frames under way are sent, as Linux does.
  void enable_sent_interrupt();
  void disable_interrupts(std::uint16_t queue) { ring(queue).disable_interrupts(); }
  /// Called on the device's thread with every interrupt, instead of nothing. Before activation().
  void on_interrupt(std::function<void(std::uint16_t queue)> handler) { handler_ = std::move(handler); }

  std::uint64_t kicks() const { return kicks_; }
  std::uint64_t interrupts() const { return interrupts_.load(std::memory_order_relaxed); }
  bool device_needs_reset() const { return needs_reset_.load(std::memory_order_relaxed); }

  void notify_queue(std::uint16_t queue) override;
  void notify_config() override {}
  void set_needs_reset() override { needs_reset_.store(true, std::memory_order_relaxed); }

 private:
  GuestDriver(virtio::GuestMemory memory, const FrameMix& mix, const Shape& shape, std::uint64_t features);

  void write_transmit_chains();
  void write_receive_buffers();
  void publish(virtio::testing::DriverQueue& queue, const EventFd& kick);
  virtio::testing::DriverQueue& ring(std::uint16_t queue) {
    return queue == kReceiveQueue ? receive_ : transmit_;
  }
  /// The next frame received, from its first buffer on; nothing if there is none.
  struct Arrival {
    std::uint16_t buffer;
    std::uint16_t buffers;
    std::size_t bytes;
    bool sound;  ///< its used entries are what the frame needs
  };
  std::optional<Arrival> next_arrival();

  const virtio::GuestMemory memory_;
  const std::uint64_t features_;
  FrameSlots slots_;
  virtio::testing::DriverQueue receive_;
  virtio::testing::DriverQueue transmit_;
  const EventFd receive_kick_ = *EventFd::create();
  const EventFd transmit_kick_ = *EventFd::create();
  std::function<void(std::uint16_t)> handler_;
  std::uint64_t next_slot_ = 0;    ///< to send from
  std::uint64_t next_buffer_ = 0;  ///< to post
  std::uint64_t next_used_ = 0;    ///< buffer that the device has to use next
  unsigned in_flight_ = 0;
  std::uint64_t reclaimed_ = 0;
  unsigned posted_ = 0;
  std::uint64_t kicks_ = 0;
  std::atomic<std::uint64_t> interrupts_{0};
  std::atomic<bool> needs_reset_{false};
};

}  // namespace tapir::bench
