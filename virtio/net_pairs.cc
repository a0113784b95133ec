// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_pairs.h"

#include <cstddef>
#include <utility>

#include "net/virtio_net_uapi.h"
#include "virtio/net_features.h"

namespace tapir::virtio {

NetPairs::NetPairs(const Environment& environment, std::uint64_t features)
    : environment_(environment), has_control_queue_(has_feature(features, VIRTIO_NET_F_CTRL_VQ)) {
  const std::size_t count = has_feature(features, VIRTIO_NET_F_MQ) ? environment.counters.size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    pairs_.push_back(std::make_unique<NetQueuePair>(
        NetQueuePair::Environment{environment.notifier, environment.counters[i], environment.configuration,
                                  environment.rules, environment.coalescing,
                                  environment.io_threads[i]->features(), i == 0},
        features));
  }
}

NetPairs::~NetPairs() {
  // The first pair first, for it calls the others. These from the last on, so that the queues that stay
  // attached keep their numbers in the tap.
  environment_.io_threads[0]->detach();
  for (std::size_t i = pairs_.size(); i-- > 1;) {
    environment_.io_threads[i]->detach();
  }
}

std::optional<std::size_t> NetPairs::pair_of(std::uint16_t index) const {
  if (index < 2 * pairs_.size()) {
    return index / 2;
  }
  return index == 2 * pairs_.size() && has_control_queue_ ? std::optional<std::size_t>(0) : std::nullopt;
}

void NetPairs::place(ActiveQueue queue) {
  const auto pair = pair_of(queue.index);
  if (!pair) {
    return;
  }
  if (queue.index == 2 * pairs_.size()) {
    pairs_[0]->set_control_queue(std::move(queue), [this](std::uint16_t pairs) { return use(pairs); });
  } else if (queue.index % 2 == 0) {
    pairs_[*pair]->set_receive_queue(std::move(queue));
  } else {
    pairs_[*pair]->set_transmit_queue(std::move(queue));
  }
}

Status NetPairs::start(std::vector<ActiveQueue> queues) {
  for (ActiveQueue& queue : queues) {
    place(std::move(queue));
  }
  // The first pair last: its driver's commands find all of the others started.
  for (std::size_t i = pairs_.size(); i-- > 0;) {
    TAPIR_TRY(environment_.io_threads[i]->attach(*pairs_[i]));
  }
  return {};
}

void NetPairs::reset_queue(std::uint16_t index) {
  if (const auto pair = pair_of(index)) {
    static_cast<void>(environment_.io_threads[*pair]->call([&](net::FrameIo& io) -> Status {
      pairs_[*pair]->remove_queue(io, index);
      return {};
    }));
  }
}

Status NetPairs::enable_queue(ActiveQueue queue) {
  const auto pair = pair_of(queue.index);
  if (!pair) {
    return {};  // no pair serves it, as at the start
  }
  return environment_.io_threads[*pair]->call([&](net::FrameIo& io) -> Status {
    place(std::move(queue));
    return pairs_[*pair]->resume(io);
  });
}

bool NetPairs::use(std::uint16_t pairs) {
  if (pairs > pairs_.size()) {
    return false;
  }
  const std::size_t before = in_use_;
  for (; in_use_ < pairs; ++in_use_) {
    NetQueuePair& pair = *pairs_[in_use_];
    const auto begin = [&pair](net::FrameIo& io) { return pair.begin_receiving(io); };
    if (!environment_.io_threads[in_use_]->call(begin)) {
      use_fewer(before);
      return false;
    }
  }
  use_fewer(pairs);
  return true;
}

void NetPairs::use_fewer(std::size_t pairs) {
  while (in_use_ > pairs) {
    --in_use_;
    NetQueuePair& pair = *pairs_[in_use_];
    static_cast<void>(environment_.io_threads[in_use_]->call([&pair](net::FrameIo& io) -> Status {
      pair.end_receiving(io);
      return {};
    }));
  }
}

}  // namespace tapir::virtio
