// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace tapir {

/// A number that one thread counts and any thread may read at any time, without asking that thread: so a look
/// at a busy data path costs it nothing, and one at a sleeping data path does not wake it. Numbers that are
/// read one after the other were not all true at one moment.
class Counter {
 public:
  /// Of the one thread that counts.
  void add(std::uint64_t amount) {
    // One writer: a plain load and store, no locked instruction.
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace tapir
