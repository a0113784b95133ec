// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/path_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tools/bench/allocation_counter.h"

namespace tapir::bench {
namespace {

/// Frames that are looked at on the host's side.
constexpr unsigned kVerifiedRounds = 8;
/// A path that does nothing so many times will do nothing ever.
constexpr unsigned kMaxIdleSteps = 1000;

}  // namespace

PathCase::PathCase(TapEnd tap, PacketEnd sender, std::unique_ptr<Path> path, Traffic traffic)
    : tap_(std::move(tap)),
      host_(std::move(sender), traffic.mix),
      path_(std::move(path)),
      traffic_(std::move(traffic)) {}

Status PathCase::measured_work(Tally& tally) {
  const std::uint64_t allocations = thread_allocations();
  const std::uint64_t start = thread_cpu_time();
  TAPIR_TRY(path_->work());
  tally.nanoseconds += thread_cpu_time() - start;
  tally.allocations += thread_allocations() - allocations;
  return {};
}

Status PathCase::round(Tally& tally, PacketEnd* reader) {
  const unsigned to_path = traffic_.receive ? traffic_.receive_backlog : 0;
  const unsigned to_host = traffic_.transmit ? std::min(traffic_.backlog, path_->room()) : 0;
  TAPIR_TRY(host_.send(to_path));
  if (to_host != 0) {
    path_->give(given_, to_host);
  }
  unsigned received = 0;
  unsigned sent = 0;
  unsigned idle = 0;
  while (received < to_path || sent < to_host) {
    path_->replenish();
    TAPIR_TRY(measured_work(tally));
    const unsigned sent_now = path_->take_sent();
    const unsigned received_now = path_->collect(at_path_);
    sent += sent_now;
    received += received_now;
    idle = sent_now + received_now == 0 ? idle + 1 : 0;
    if (idle == kMaxIdleSteps) {
      return fail(fmt::format("frames are lost: {} of {} that were given were sent, and {} of {} received",
                              sent, to_host, received, to_path));
    }
    if (reader != nullptr) {
      static_cast<void>(reader->receive(at_host_));
    }
  }
  for (unsigned i = 0; i < sent; ++i) {
    tally.bytes += traffic_.mix.size_of(given_ + i);
  }
  for (unsigned i = 0; i < received; ++i) {
    tally.bytes += traffic_.mix.size_of(host_.sent() - to_path + i);
  }
  tally.frames += sent + received;
  given_ += to_host;
  return {};
}

Result<Tally> PathCase::rounds(std::chrono::nanoseconds time, PacketEnd* reader) {
  Tally tally;
  const std::uint64_t damage = at_path_.disordered() + at_path_.damaged();
  const std::uint64_t given = given_;
  const auto counts = path_->counts();
  TAPIR_TRY_ASSIGN(const TapCounts before, tap_.counts());
  const auto limit = static_cast<std::uint64_t>(time.count());
  unsigned done = 0;
  do {
    TAPIR_TRY(round(tally, reader));
    ++done;
  } while (reader == nullptr ? tally.nanoseconds < limit : done < kVerifiedRounds);
  TAPIR_TRY_ASSIGN(const TapCounts after, tap_.counts());
  const std::uint64_t written = after.written - before.written;
  const std::uint64_t to_host = given_ - given;
  // The path says that it sent them; the interface says how many came.
  tally.lost += to_host > written ? to_host - written : 0;
  tally.disordered += at_path_.disordered() + at_path_.damaged() - damage;
  const auto counts_after = path_->counts();
  tally.syscalls = counts_after.syscalls - counts.syscalls;
  tally.interrupts = counts_after.interrupts - counts.interrupts;
  tally.kicks = counts_after.kicks - counts.kicks;
  return tally;
}

Result<Tally> PathCase::verify() {
  TAPIR_TRY_ASSIGN(PacketEnd reader, PacketEnd::open(tap_.name(), PacketEnd::Use::kBoth));
  at_host_ = SequenceChecker(given_);
  TAPIR_TRY_ASSIGN(Tally tally, rounds(std::chrono::nanoseconds(0), &reader));
  static_cast<void>(reader.receive(at_host_));
  tally.disordered += at_host_.disordered() + at_host_.damaged();
  const std::uint64_t missing = at_host_.missing(given_);
  const std::uint64_t overflow = reader.take_dropped();
  tally.lost += missing > overflow ? missing - overflow : 0;
  return tally;
}

Result<Tally> PathCase::run(std::chrono::nanoseconds time) {
  return rounds(time, nullptr);
}

}  // namespace tapir::bench
