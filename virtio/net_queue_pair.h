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
///
/// The first pair of a device receives all the time. Another one's host end is a queue of the same tap, not
/// attached at start() and after stop(), and receives only from begin_receiving() to end_receiving(). It
/// sends all the time: a driver that goes down to fewer pairs still waits for what it has sent.
class NetQueuePair final : public IoClient {
 public:
  /// Frames and bytes that each direction may do in one turn.
  static constexpr net::Budget kBudget{256, std::size_t{512} << 10};

  /// On cache lines of its own, since each pair has its own thread to count.
  struct alignas(64) Counters {
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
    NetCoalescing& coalescing;
    net::FrameIoFeatures host;
    bool first = true;  ///< of the device's pairs
  };

  NetQueuePair(const Environment& environment, std::uint64_t features);

  // The queues that the driver enabled; before the pair is attached, or on the I/O thread before resume().
  void set_receive_queue(ActiveQueue queue);
  void set_transmit_queue(ActiveQueue queue);
  void set_control_queue(ActiveQueue queue, NetControl::UsePairs use_pairs);

  // While attached, on the I/O thread.
  /// Forgets a queue, with the chains that it holds; the others go on.
  void remove_queue(net::FrameIo& io, std::uint16_t index);
  /// Begins to serve what was set since.
  [[nodiscard]] Status resume(net::FrameIo& io);

  [[nodiscard]] Status start(net::FrameIo& io) override;
  [[nodiscard]] bool turn(net::FrameIo& io, const net::FrameIo::WaitResult& ready) override;
  std::optional<net::FrameIo::Clock::time_point> deadline() const override;
  void stop(net::FrameIo& io) override;

  /// Attaches the host end. On the I/O thread, as end_receiving(). Error: it cannot be, or a virtqueue of the
  /// pair is missing, which the driver has to set up first (5.1.6.5.6.1): frames would be lost. It does not
  /// receive then.
  [[nodiscard]] Status begin_receiving(net::FrameIo& io);
  /// Delivers what is there, as far as the driver has buffers and for a bounded time, and detaches the host
  /// end. No buffer is filled afterwards.
  void end_receiving(net::FrameIo& io);

 private:
  /// One virtqueue: where its kicks come from, and whether a turn of it is due.
  struct Direction {
    int kick_fd = -1;
    std::optional<unsigned> kick_bit;
    bool due = true;
  };

  static Status watch(net::FrameIo& io, Direction& direction);
  static void unwatch(net::FrameIo& io, Direction& direction);
  void unwatch_all(net::FrameIo& io);
  /// Whether the driver kicked; counts it.
  static bool take_kick(const Direction& direction, const net::FrameIo::WaitResult& ready,
                        NetQueueCounters& counters);
  void receive(net::FrameIo& io);
  void receive_what_is_there(net::FrameIo& io);
  void detach(net::FrameIo& io);
  void transmit(net::FrameIo& io);
  void control(net::FrameIo& io);
  /// The host end is gone: no carrier, nothing to receive any more. What is sent is dropped by the backend.
  void lose_link(net::FrameIo& io);
  /// Nothing is done any more until reset.
  void halt(net::FrameIo& io, const Virtqueue& ring, std::uint16_t queue);

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
  bool receiving_;
  bool halted_ = false;
};

}  // namespace tapir::virtio
