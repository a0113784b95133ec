// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "virtio/device.h"
#include "virtio/io_thread.h"
#include "virtio/net_configuration.h"
#include "virtio/net_control.h"
#include "virtio/net_queue.h"
#include "virtio/net_receiver.h"
#include "virtio/net_transmitter.h"
#include "virtio/receive_rules.h"

namespace tapir::virtio {

/// One receiveq and one transmitq between DRIVER_OK and reset, with the host end that serves both: what the
/// I/O thread runs. Receive and transmit share its turns; each does a bounded amount in one. The control
/// virtqueue, if there is one, is served first. A virtqueue that the driver broke stops the pair, and the
/// device asks for a reset.
class NetQueuePair final : public IoClient {
 public:
  /// Frames and bytes that each direction may do in one turn.
  static constexpr net::Budget kBudget{256, std::size_t{512} << 10};

  struct Counters {
    NetQueueCounters receive;
    NetQueueCounters transmit;
    NetQueueCounters control;  ///< frames are commands obeyed, dropped those answered with an error
  };

  /// What outlives the pair.
  struct Environment {
    Notifier& notifier;
    Counters& counters;
    NetConfiguration& configuration;
    PublishedRules& rules;
    net::FrameIoFeatures host;
  };

  NetQueuePair(const Environment& environment, std::uint64_t features);

  // The queues that the driver enabled; before the pair is attached.
  void set_receive_queue(ActiveQueue queue);
  void set_transmit_queue(ActiveQueue queue);
  void set_control_queue(ActiveQueue queue);

  [[nodiscard]] Status start(net::FrameIo& io) override;
  [[nodiscard]] bool turn(net::FrameIo& io, const net::FrameIo::WaitResult& ready) override;
  void stop(net::FrameIo& io) override;

 private:
  /// One virtqueue: where its kicks come from, and whether a turn of it is due.
  struct Direction {
    int kick_fd = -1;
    std::optional<unsigned> kick_bit;
    bool due = true;
    bool kicked(const net::FrameIo::WaitResult& ready) const {
      return kick_bit && (ready.watched >> *kick_bit & 1U) != 0;
    }
  };

  static Status watch(net::FrameIo& io, Direction& direction);
  static void unwatch(net::FrameIo& io, Direction& direction);
  void unwatch_all(net::FrameIo& io);
  void receive(net::FrameIo& io);
  void transmit(net::FrameIo& io);
  void control(net::FrameIo& io);
  /// The host end is gone: no carrier, nothing to receive any more. What is sent is dropped by the backend.
  void lose_link(net::FrameIo& io);
  /// Nothing is done any more until reset.
  void halt(net::FrameIo& io, const SplitQueue& ring, std::uint16_t queue);

  const Environment environment_;
  const std::uint64_t features_;
  std::optional<NetReceiver> receiver_;
  std::optional<NetTransmitter> transmitter_;
  std::optional<NetControl> commands_;
  Direction receive_;
  Direction transmit_;
  Direction control_;
  std::uint16_t receive_index_ = 0;
  std::uint16_t transmit_index_ = 0;
  std::uint16_t control_index_ = 0;
  bool halted_ = false;
};

}  // namespace tapir::virtio
