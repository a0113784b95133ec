// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "virtio/receive_filter.h"

namespace tapir::virtio {

/// What decides whether a frame from the host is delivered, as the driver's commands left it.
struct ReceiveRules {
  std::uint64_t features = 0;  ///< that the driver accepted, without the guest offloads switched off since
  ReceiveFilter filter;
};

/// The rules that are in force, made by the I/O thread that serves the control queue and obeyed by the I/O
/// threads of all queue pairs. Each of those works on a copy of its own and finds out with one load whether
/// it is still good, so a rule is obeyed from the first frame after publish() on.
class PublishedRules {
 public:
  void publish(const ReceiveRules& rules) {
    const std::lock_guard lock(mutex_);
    rules_ = rules;
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  friend class RulesInForce;

  std::atomic<std::uint64_t> version_{1};
  std::mutex mutex_;  ///< guards rules_
  ReceiveRules rules_;
};

/// One receiver's copy of the rules. The receiver's I/O thread only.
class RulesInForce {
 public:
  /// `published` is borrowed and outlives the copy.
  explicit RulesInForce(PublishedRules& published) : published_(published) {}

  const ReceiveRules& get() {
    if (published_.version_.load(std::memory_order_acquire) != version_) {
      const std::lock_guard lock(published_.mutex_);
      rules_ = published_.rules_;
      version_ = published_.version_.load(std::memory_order_relaxed);
    }
    return rules_;
  }

 private:
  PublishedRules& published_;
  std::uint64_t version_ = 0;
  ReceiveRules rules_;
};

}  // namespace tapir::virtio
