// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "net/base/result.h"

namespace tapir::bench {

/// What was counted and measured while a case ran for some time. All are sums.
struct Tally {
  std::uint64_t frames = 0;
  std::uint64_t bytes = 0;  ///< of those, vnet headers included
  /// Time for these frames. Of the thread's own CPU where the path runs alone, so that what else the machine
  /// does is left out; of the clock on the wall where threads wait for each other.
  std::uint64_t nanoseconds = 0;
  std::uint64_t syscalls = 0;
  std::uint64_t interrupts = 0;          ///< the device's to its driver, irqfd writes in a machine
  std::uint64_t kicks = 0;               ///< the driver's to its device
  std::uint64_t allocations = 0;         ///< from the heap, in the measured code
  std::uint64_t lost = 0;                ///< frames that are missing, and that nobody counted as dropped
  std::uint64_t dropped = 0;             ///< frames that the kernel counted as dropped: its ring was full
  std::uint64_t disordered = 0;          ///< frames out of order, twice, or damaged
  std::vector<std::uint32_t> latencies;  ///< nanoseconds, one for each round trip

  void add(Tally other);
};

/// One way of moving frames, on a tap of its own. One thread.
class Case {
 public:
  Case() = default;
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
  virtual ~Case() = default;

  /// Sends frames with all of them looked at on the other side; not measured.
  [[nodiscard]] virtual Result<Tally> verify() = 0;
  /// Moves frames for about this long.
  [[nodiscard]] virtual Result<Tally> run(std::chrono::nanoseconds time) = 0;
};

/// The CPU time of the calling thread, in nanoseconds.
std::uint64_t thread_cpu_time();

}  // namespace tapir::bench
