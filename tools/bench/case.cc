// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/case.h"

#include <ctime>

namespace tapir::bench {

void Tally::add(Tally other) {
  frames += other.frames;
  bytes += other.bytes;
  nanoseconds += other.nanoseconds;
  syscalls += other.syscalls;
  interrupts += other.interrupts;
  kicks += other.kicks;
  allocations += other.allocations;
  lost += other.lost;
  dropped += other.dropped;
  disordered += other.disordered;
  latencies.insert(latencies.end(), other.latencies.begin(), other.latencies.end());
}

std::uint64_t thread_cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace tapir::bench
