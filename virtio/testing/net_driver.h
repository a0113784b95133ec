// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/base/event_fd.h"
#include "net/vnet_header.h"
#include "virtio/device.h"
#include "virtio/guest_memory.h"
#include "virtio/testing/driver_end.h"

namespace tapir::virtio::testing {

/// A Notifier that counts. Any thread.
class RecordingNotifier final : public Notifier {
 public:
  void notify_queue(std::uint16_t queue) override;
  void notify_config() override;
  void set_needs_reset() override;

  unsigned queue_notifications(std::uint16_t queue) const { return queues_[queue]; }
  unsigned config_notifications() const { return config_; }
  bool needs_reset() const { return needs_reset_; }

  /// Sleeps from one notification to the next until `done`; false when that takes more than 10 s.
  bool wait_until(const std::function<bool()>& done) const;

 private:
  EventFd event_ = *EventFd::create();
  std::array<std::atomic<unsigned>, 64> queues_{};
  std::atomic<unsigned> config_{0};
  std::atomic<bool> needs_reset_{false};
};

/// A driver of a network device in this process: its virtqueues, packed if RING_PACKED is accepted, buffers
/// in guest memory, no transport in between. One thread, not the device's.
///
///     NetDriver driver(memory, features);
///     device.activate(driver.activation());
///     driver.post(256, 2048);
///     driver.send(header, frame);
class NetDriver {
 public:
  /// A frame as the device delivered it.
  struct Received {
    net::VnetHeader header{};
    std::vector<std::byte> frame;
    std::vector<std::uint32_t> used_bytes;  ///< of each buffer, in order
  };

  static constexpr std::uint64_t kMemoryBytes = std::uint64_t{64} << 20;
  /// The largest buffer, and the distance from one to the next.
  static constexpr std::uint32_t kBufferBytes = 0x11000;
  static constexpr std::uint16_t kControlQueueSize = 16;
  /// Where commands and their answers are, and how much room they have.
  static constexpr std::uint64_t kCommandBuffer = 0x40000;
  static constexpr std::uint64_t kCommandBytes = 0x10000;
  static constexpr std::uint64_t kAnswerBuffer = kCommandBuffer + kCommandBytes;

  /// Which of a device's queue pairs it drives. The control queue is the first one's.
  struct Pair {
    std::uint16_t number = 0;
    std::uint16_t count = 1;
    RecordingNotifier* notifier = nullptr;  ///< that of the first pair's driver; null: its own
  };

  /// `memory` has kMemoryBytes for each pair and outlives the driver.
  NetDriver(const GuestMemory& memory, std::uint64_t features, std::uint16_t queue_size = 256)
      : NetDriver(memory, features, queue_size, Pair{}) {}
  NetDriver(const GuestMemory& memory, std::uint64_t features, std::uint16_t queue_size, const Pair& pair);

  /// What a transport hands to the device at DRIVER_OK. The rings begin anew; buffers posted before are
  /// forgotten.
  Activation activation();
  /// What a transport hands to the device when queue `index` is enabled again after its reset, with this size
  /// from now on. Its rings begin anew, and its buffers are forgotten.
  ActiveQueue renew_queue(std::uint16_t index, std::uint16_t size);
  RecordingNotifier& notifier() const { return notifier_; }
  DriverEnd& receive_queue() { return *receive_; }
  DriverEnd& transmit_queue() { return *transmit_; }
  /// Only if CTRL_VQ was accepted.
  DriverEnd& control_queue() { return *control_; }

  /// Makes up to `count` receive buffers of `bytes` available, filled with 0xAA, and kicks; how many there
  /// was room for.
  unsigned post(unsigned count, std::uint32_t bytes);
  /// The next frame if there is one. Its buffers are free again.
  std::optional<Received> receive();
  /// Waits for a frame at most 10 s.
  std::optional<Received> wait_for_frame();

  /// Sends header and frame in one buffer, cut into descriptors of these lengths (the last takes the rest).
  bool send(const net::VnetHeader& header, std::span<const std::byte> frame,
            std::span<const std::uint32_t> cuts = {});
  /// The same with any bytes, too few for a header even.
  bool send_raw(std::span<const std::byte> bytes, std::span<const std::uint32_t> cuts = {});
  /// Makes everything added to the transmitq available, and kicks if the device asks for it.
  void kick_transmit();
  void kick_receive();
  /// Sends a command (virtio 1.3, 5.1.6.5) in one buffer for the class and the command, one for the data
  /// (none if empty) and one for the answer, which is returned; nothing when there is none in 10 s.
  std::optional<std::uint8_t> command(std::uint8_t command_class, std::uint8_t command,
                                      std::span<const std::byte> data = {});
  /// The same with the chain as it is; nothing when it is used with another length than 1. `ack` is where the
  /// chain's answer would be.
  std::optional<std::uint8_t> command_raw(const ChainBuilder& chain, std::uint64_t ack);
  /// Kicks all queues whether or not there is a reason.
  void force_kicks();
  /// Takes back what the device used; false when not all in 10 s.
  bool wait_until_sent();
  unsigned frames_in_flight() const { return in_flight_; }

 private:
  struct Buffer {
    std::uint64_t address;
    std::uint32_t bytes;
  };

  std::unique_ptr<DriverEnd> make_queue(std::uint64_t rings, std::uint16_t size) const;

  const GuestMemory& memory_;
  const std::uint64_t features_;
  const std::uint16_t queue_size_;  ///< at first
  const Pair pair_;
  const std::uint64_t memory_start_;
  RecordingNotifier own_notifier_;
  RecordingNotifier& notifier_;
  EventFd receive_kick_ = *EventFd::create();
  EventFd transmit_kick_ = *EventFd::create();
  EventFd control_kick_ = *EventFd::create();
  std::unique_ptr<DriverEnd> receive_;
  std::unique_ptr<DriverEnd> transmit_;
  std::unique_ptr<DriverEnd> control_;
  std::vector<Buffer> posted_;               ///< by head
  std::vector<std::uint64_t> free_receive_;  ///< addresses
  unsigned next_transmit_ = 0;
  unsigned in_flight_ = 0;
};

}  // namespace tapir::virtio::testing
