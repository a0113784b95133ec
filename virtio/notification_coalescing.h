// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

namespace tapir::virtio {

/// How long a driver lets its interrupts wait for more packets (virtio 1.3, 5.1.6.5.9 Notifications
/// Coalescing). With either of them 0 nothing waits.
struct CoalescingParameters {
  std::uint32_t max_packets = 0;
  std::uint32_t max_usecs = 0;

  bool off() const { return max_packets == 0 || max_usecs == 0; }
};

/// The parameters of all queues of one direction, set by the I/O thread that serves the control virtqueue and
/// read by those of all queue pairs. Any thread.
class SharedCoalescing {
 public:
  CoalescingParameters get() const {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    return {static_cast<std::uint32_t>(word >> 32U), static_cast<std::uint32_t>(word)};
  }
  void set(const CoalescingParameters& parameters) {
    word_.store(std::uint64_t{parameters.max_packets} << 32U | parameters.max_usecs,
                std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> word_{0};
};

/// Those of a network device.
struct NetCoalescing {
  SharedCoalescing receive;
  SharedCoalescing transmit;

  void reset() {
    receive.set({});
    transmit.set({});
  }
};

/// Decides for one virtqueue when what it was asked to tell is told. Its I/O thread only.
class NotificationDelay {
 public:
  using Clock = std::chrono::steady_clock;

  /// `packets`: as over() takes it.
  explicit NotificationDelay(std::uint64_t packets) : told_packets_(packets) {}

  /// Whether the time has come, now that the queue's counter of packets is at `packets`. Once per batch; when
  /// true, counting begins anew.
  bool over(const CoalescingParameters& parameters, std::uint64_t packets) {
    if (parameters.off() || packets - told_packets_ >= parameters.max_packets || packets == told_packets_) {
      end(packets);
      return true;
    }
    const Clock::time_point now = Clock::now();
    if (!since_) {
      since_ = now;
    }
    until_ = *since_ + std::chrono::microseconds(parameters.max_usecs);
    if (now < *until_) {
      return false;
    }
    end(packets);
    return true;
  }
  /// When over() has to be asked again; nothing while nothing waits.
  std::optional<Clock::time_point> deadline() const { return until_; }

 private:
  void end(std::uint64_t packets) {
    told_packets_ = packets;
    since_.reset();
    until_.reset();
  }

  std::uint64_t told_packets_;
  std::optional<Clock::time_point> since_;  ///< the first packet of those that wait
  std::optional<Clock::time_point> until_;
};

}  // namespace tapir::virtio
