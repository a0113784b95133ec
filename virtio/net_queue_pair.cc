// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_queue_pair.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "net/base/log.h"
#include "net/offload.h"
#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

/// Turns that receive what is left of a host end: enough for a tap's ring of 1000 frames, and under a flood
/// not without end.
constexpr unsigned kLastTurns = 4;

}  // namespace

NetQueuePair::NetQueuePair(const Environment& environment, std::uint64_t features)
    : environment_(environment), features_(features), receiving_(environment.first) {}

void NetQueuePair::set_receive_queue(ActiveQueue queue) {
  receive_.kick_fd = queue.kick_fd;
  receive_index_ = queue.index;
  receiver_.emplace(NetQueue{std::move(queue.queue), queue.index, environment_.notifier,
                             environment_.counters.receive, &environment_.coalescing.receive},
                    features_, environment_.host.mtu, environment_.host.vnet_header, environment_.rules);
}

void NetQueuePair::set_transmit_queue(ActiveQueue queue) {
  transmit_.kick_fd = queue.kick_fd;
  transmit_index_ = queue.index;
  transmitter_.emplace(NetQueue{std::move(queue.queue), queue.index, environment_.notifier,
                                environment_.counters.transmit, &environment_.coalescing.transmit},
                       features_, environment_.host.vnet_header);
}

void NetQueuePair::set_control_queue(ActiveQueue queue, NetControl::UsePairs use_pairs) {
  control_.kick_fd = queue.kick_fd;
  control_index_ = queue.index;
  commands_.emplace(
      NetQueue{std::move(queue.queue), queue.index, environment_.notifier, environment_.counters.control},
      features_, environment_.configuration, environment_.rules, environment_.coalescing,
      std::move(use_pairs));
}

Status NetQueuePair::watch(net::FrameIo& io, Direction& direction) {
  if (direction.kick_fd >= 0 && !direction.kick_bit) {
    TAPIR_TRY_ASSIGN(direction.kick_bit, io.watch(direction.kick_fd));
  }
  return {};
}

void NetQueuePair::unwatch(net::FrameIo& io, Direction& direction) {
  if (direction.kick_bit) {
    io.unwatch(*std::exchange(direction.kick_bit, std::nullopt));
  }
}

void NetQueuePair::unwatch_all(net::FrameIo& io) {
  for (Direction* direction : {&receive_, &transmit_, &control_}) {
    unwatch(io, *direction);
  }
}

bool NetQueuePair::take_kick(const Direction& direction, const net::FrameIo::WaitResult& ready,
                             NetQueueCounters& counters) {
  const bool kicked = direction.kick_bit && (ready.watched >> *direction.kick_bit & 1U) != 0;
  counters.kicks.add(kicked ? 1 : 0);
  return kicked;
}

Status NetQueuePair::start(net::FrameIo& io) {
  if (environment_.host.vnet_header) {
    TAPIR_TRY(io.set_offloads(net::tun_offloads_for(features_)));
  }
  // Frames that the backend made for an earlier driver may need what this one did not accept.
  io.discard_received();
  return resume(io);
}

Status NetQueuePair::resume(net::FrameIo& io) {
  if (halted_) {
    return {};  // until the device is reset
  }
  for (Direction* direction : {&receive_, &transmit_, &control_}) {
    if (auto watched = watch(io, *direction); !watched) {
      unwatch_all(io);
      return watched;
    }
  }
  io.want_receive(receiver_ && receiving_);
  return {};
}

void NetQueuePair::remove_queue(net::FrameIo& io, std::uint16_t index) {
  const auto forget = [&io](Direction& direction) {
    unwatch(io, direction);
    direction = {};
  };
  if (receiver_ && index == receive_index_) {
    io.want_receive(false);
    receiver_->stop();
    receiver_.reset();
    forget(receive_);
  } else if (transmitter_ && index == transmit_index_) {
    transmitter_->stop();
    transmitter_.reset();
    forget(transmit_);
  } else if (commands_ && index == control_index_) {
    commands_.reset();
    forget(control_);
  }
}

bool NetQueuePair::turn(net::FrameIo& io, const net::FrameIo::WaitResult& ready) {
  if (halted_) {
    return false;
  }
  const bool commanded = take_kick(control_, ready, environment_.counters.control);
  const bool sent = take_kick(transmit_, ready, environment_.counters.transmit);
  const bool refilled = take_kick(receive_, ready, environment_.counters.receive);
  control_.due = commands_ && (control_.due || commanded);
  transmit_.due = transmitter_ && (transmit_.due || ready.transmit || sent);
  receive_.due = receiver_ && receiving_ && (receive_.due || ready.receive || refilled);
  if (control_.due) {
    control(io);
  }
  if (transmit_.due && !halted_) {
    transmit(io);
  }
  if (receive_.due && !halted_) {
    receive(io);
  }
  if (halted_) {
    return false;
  }
  // Behind the commands, which may have changed how long interrupts wait.
  if (transmitter_) {
    transmitter_->queue().flush_late();
  }
  if (receiver_) {
    receiver_->queue().flush_late();
  }
  return control_.due || transmit_.due || receive_.due;
}

std::optional<net::FrameIo::Clock::time_point> NetQueuePair::deadline() const {
  if (halted_) {
    return std::nullopt;
  }
  const auto receive = receiver_ ? receiver_->queue().delay.deadline() : std::nullopt;
  const auto transmit = transmitter_ ? transmitter_->queue().delay.deadline() : std::nullopt;
  return receive && transmit ? std::min(*receive, *transmit) : receive ? receive : transmit;
}

void NetQueuePair::transmit(net::FrameIo& io) {
  const TurnEnd end = transmitter_->run(io, kBudget);
  transmit_.due = end == TurnEnd::kMore;
  if (end == TurnEnd::kBroken) {
    halt(io, transmitter_->ring(), transmit_index_);
  }
}

void NetQueuePair::control(net::FrameIo& io) {
  const TurnEnd end = commands_->run(io);
  control_.due = end == TurnEnd::kMore;
  if (end == TurnEnd::kBroken) {
    halt(io, commands_->ring(), control_index_);
  }
}

void NetQueuePair::receive(net::FrameIo& io) {
  const TurnEnd end = receiver_->run(io, kBudget);
  receive_.due = end == TurnEnd::kMore;
  switch (end) {
    case TurnEnd::kIdle:
    case TurnEnd::kMore:
      io.want_receive(true);
      break;
    case TurnEnd::kBlocked:
      // The frames stay with the backend until the driver kicks; hearing of them would only wake us in vain.
      io.want_receive(false);
      break;
    case TurnEnd::kGone:
      lose_link(io);
      break;
    case TurnEnd::kBroken:
      halt(io, receiver_->ring(), receive_index_);
      break;
  }
}

void NetQueuePair::lose_link(net::FrameIo& io) {
  io.want_receive(false);
  if (!environment_.configuration.take_link_down()) {
    return;
  }
  log(LogLevel::kWarning, "virtio-net: the host interface is gone; the guest sees its link down");
  if (has_feature(features_, VIRTIO_NET_F_STATUS)) {
    environment_.notifier.notify_config();
  }
}

void NetQueuePair::halt(net::FrameIo& io, const Virtqueue& ring, std::uint16_t queue) {
  halted_ = true;
  io.want_receive(false);
  unwatch_all(io);
  log_guest(LogLevel::kWarning,
            fmt::format("virtio-net: the driver broke virtqueue {}: {}; the device needs a reset", queue,
                        ring.broken_because()));
  environment_.notifier.set_needs_reset();
}

Status NetQueuePair::begin_receiving(net::FrameIo& io) {
  if (!receiver_ || !transmitter_) {
    return fail("a virtqueue of the pair is not enabled");
  }
  TAPIR_TRY(io.attach_queue(true));
  receiving_ = true;
  receive_.due = true;
  io.want_receive(!halted_);
  return {};
}

void NetQueuePair::end_receiving(net::FrameIo& io) {
  receive_what_is_there(io);
  detach(io);
  receive_what_is_there(io);  // what the engine had already, and of a macvtap what came meanwhile
  io.discard_received();
  io.want_receive(false);
  receive_.due = false;
}

void NetQueuePair::receive_what_is_there(net::FrameIo& io) {
  receive_.due = true;
  for (unsigned turns = 0; turns < kLastTurns && receiver_ && receive_.due && !halted_; ++turns) {
    receive(io);
  }
}

void NetQueuePair::detach(net::FrameIo& io) {
  if (receiving_ && !environment_.first) {
    receiving_ = false;
    // Fails only when the interface is gone, and then there is nothing to detach from.
    static_cast<void>(io.attach_queue(false));
  }
}

void NetQueuePair::stop(net::FrameIo& io) {
  detach(io);
  io.want_receive(false);
  unwatch_all(io);
  if (receiver_) {
    receiver_->stop();
  }
  if (transmitter_) {
    transmitter_->stop();
  }
}

}  // namespace tapir::virtio
