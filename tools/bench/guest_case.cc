// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/guest_case.h"

#include <algorithm>
#include <utility>

namespace tapir::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kMaxBacklogsUnderWay = 2;
/// So many frames the socket that looks at them holds.
constexpr std::uint64_t kVerifiedFrames = 5000;
constexpr std::uint64_t kVerifiedBytes = std::uint64_t{8} << 20U;
/// As many bytes as the sender's socket holds while the guest has not taken them.
constexpr std::size_t kMaxBacklogBytes = std::size_t{1} << 20U;
constexpr std::uint64_t kMaxRound = 10'000'000;

}  // namespace

GuestCase::GuestCase(std::unique_ptr<GuestMachine> machine, PacketEnd sender, const Traffic& traffic)
    : machine_(std::move(machine)), host_(std::move(sender), traffic.mix), traffic_(traffic) {}

Result<std::unique_ptr<Case>> GuestCase::create(const Traffic& traffic, const GuestSetup& setup) {
  TAPIR_TRY_ASSIGN(auto machine, GuestMachine::start(setup));
  TAPIR_TRY_ASSIGN(PacketEnd sender, PacketEnd::open(machine->tap(), PacketEnd::Use::kSend));
  return std::unique_ptr<Case>(new GuestCase(std::move(machine), std::move(sender), traffic));
}

Status GuestCase::give_backlog(Progress& progress) {
  const auto fit = std::max<std::size_t>(1, kMaxBacklogBytes / traffic_.mix.largest());
  TAPIR_TRY(host_.send(static_cast<unsigned>(std::min<std::size_t>(traffic_.backlog, fit))));
  TAPIR_TRY(machine_->ask());
  ++progress.asked;
  return {};
}

Status GuestCase::wait(Progress& progress) {
  TAPIR_TRY_ASSIGN(progress.last, machine_->wait_for_report());
  if (progress.last.kind == guest::Kind::kSend) {
    progress.sending = false;
  } else {
    --progress.asked;
  }
  return {};
}

Result<Tally> GuestCase::exchange(std::uint64_t frames, Clock::time_point end) {
  TAPIR_TRY_ASSIGN(const TapCounts before, tap_counts(machine_->tap()));
  const std::uint64_t reports = machine_->reports();
  const std::uint64_t sent = host_.sent();
  Progress progress;
  const auto start = Clock::now();
  if (traffic_.transmit) {
    progress.sending = true;
    TAPIR_TRY(machine_->send(traffic_.mix, given_, frames));
    given_ += frames;
  }
  const auto go_on = [&] {
    return traffic_.receive && (progress.sending || host_.sent() - sent < frames || Clock::now() < end);
  };
  while (go_on()) {
    TAPIR_TRY(give_backlog(progress));
    while (progress.asked >= kMaxBacklogsUnderWay) {
      TAPIR_TRY(wait(progress));
    }
  }
  while (progress.sending || progress.asked != 0) {
    TAPIR_TRY(wait(progress));
  }
  const auto time = static_cast<std::uint64_t>((Clock::now() - start).count());
  TAPIR_TRY_ASSIGN(const TapCounts after, tap_counts(machine_->tap()));
  Tally tally = count(progress.last, after.read_dropped - before.read_dropped);
  tally.nanoseconds = time;
  // The interface counts the reports, too.
  const std::uint64_t written = after.written - before.written - (machine_->reports() - reports);
  const std::uint64_t ordered = traffic_.transmit ? frames : 0;
  tally.lost += ordered - std::min(ordered, written);
  tally.frames = ordered + (host_.sent() - sent) - std::min(host_.sent() - sent, tally.dropped);
  tally.bytes = static_cast<std::uint64_t>(static_cast<double>(tally.frames) * traffic_.mix.mean());
  return tally;
}

Tally GuestCase::count(const guest::Report& report, std::uint64_t dropped) {
  Tally tally;
  const std::uint64_t missing = host_.sent() - std::min(host_.sent(), report.received);
  tally.dropped = dropped;
  tally.lost = missing - std::min(missing, missing_ + dropped);
  missing_ = missing;
  tally.disordered = report.disordered + report.damaged - seen_.disordered - seen_.damaged;
  tally.kicks = report.kicks - seen_.kicks;
  tally.interrupts = report.interrupts - seen_.interrupts;
  seen_ = report;
  return tally;
}

Result<Tally> GuestCase::verify() {
  TAPIR_TRY_ASSIGN(PacketEnd reader, PacketEnd::open(machine_->tap(), PacketEnd::Use::kBoth));
  at_host_ = SequenceChecker(given_);
  const std::uint64_t frames =
      std::min<std::uint64_t>(kVerifiedFrames, kVerifiedBytes / traffic_.mix.largest());
  TAPIR_TRY_ASSIGN(Tally tally, exchange(frames, Clock::now()));
  static_cast<void>(reader.receive(at_host_));
  tally.disordered += at_host_.disordered() + at_host_.damaged();
  tally.lost = std::max(tally.lost, at_host_.missing(given_));
  return tally;
}

Result<Tally> GuestCase::run(std::chrono::nanoseconds time) {
  const auto end = Clock::now() + time;
  TAPIR_TRY_ASSIGN(Tally tally, exchange(traffic_.transmit ? round_ : 0, end));
  if (traffic_.transmit) {
    // The next round takes the time that was asked for.
    const double factor = static_cast<double>(time.count()) / static_cast<double>(tally.nanoseconds);
    round_ = std::clamp<std::uint64_t>(
        static_cast<std::uint64_t>(static_cast<double>(round_) * std::min(factor, 10.0)), 100, kMaxRound);
  }
  return tally;
}

}  // namespace tapir::bench
