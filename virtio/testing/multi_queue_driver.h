// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "net/virtio_net_uapi.h"
#include "virtio/testing/net_driver.h"

namespace tapir::virtio::testing {

/// A driver of a network device with several queue pairs. One thread, not the device's.
class MultiQueueDriver {
 public:
  /// `memory` has NetDriver::kMemoryBytes for each pair.
  MultiQueueDriver(const GuestMemory& memory, std::uint64_t features, std::uint16_t pairs) {
    for (std::uint16_t i = 0; i < pairs; ++i) {
      const NetDriver::Pair pair{i, pairs, i == 0 ? nullptr : &notifier()};
      drivers_.push_back(std::make_unique<NetDriver>(memory, features, std::uint16_t{256}, pair));
    }
  }

  Activation activation() {
    Activation all = drivers_.front()->activation();
    for (std::size_t i = 1; i < drivers_.size(); ++i) {
      for (ActiveQueue& queue : drivers_[i]->activation().queues) {
        all.queues.push_back(std::move(queue));
      }
    }
    return all;
  }

  std::size_t pairs() const { return drivers_.size(); }
  NetDriver& operator[](std::size_t pair) { return *drivers_[pair]; }
  RecordingNotifier& notifier() { return drivers_.front()->notifier(); }

  /// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET; the answer.
  std::optional<std::uint8_t> use_pairs(std::uint16_t pairs) {
    return drivers_.front()->command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                     std::as_bytes(std::span(&pairs, 1)));
  }

  /// The next frame on any pair, and on which; nothing if there is none now.
  std::optional<std::pair<std::size_t, NetDriver::Received>> receive() {
    for (std::size_t i = 0; i < drivers_.size(); ++i) {
      if (auto received = drivers_[i]->receive()) {
        return std::pair(i, *std::move(received));
      }
    }
    return std::nullopt;
  }

 private:
  std::vector<std::unique_ptr<NetDriver>> drivers_;
};

}  // namespace tapir::virtio::testing
