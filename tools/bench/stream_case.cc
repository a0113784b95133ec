// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/stream_case.h"

#include <sched.h>

#include <algorithm>
#include <utility>

namespace tapir::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Frames that may be under way to the path, so that the tap's ring (1000 frames) holds them all.
constexpr std::uint64_t kMaxUnderWay = 512;
/// The same of large frames: what the socket may hold.
constexpr std::uint64_t kMaxBytesUnderWay = std::uint64_t{4} << 20U;
/// When nothing has moved for so long, what is missing is lost.
constexpr std::chrono::seconds kSettleTime{1};

}  // namespace

StreamCase::StreamCase(TapEnd tap, PacketEnd sender, std::unique_ptr<ThreadedDevice> device,
                       const Traffic& traffic, std::uint64_t verified_frames)
    : tap_(std::move(tap)),
      host_(std::move(sender), traffic.mix),
      device_(std::move(device)),
      traffic_(traffic),
      verified_frames_(verified_frames) {}

Result<std::unique_ptr<Case>> StreamCase::create(const Traffic& traffic, const DeviceSetup& setup,
                                                 std::uint64_t verified_frames) {
  TAPIR_TRY_ASSIGN(TapEnd tap, TapEnd::create());
  TAPIR_TRY_ASSIGN(PacketEnd sender, PacketEnd::open(tap.name(), PacketEnd::Use::kSend));
  TAPIR_TRY_ASSIGN(auto device, ThreadedDevice::create(tap.take_port(), traffic.mix, setup, {}));
  return std::unique_ptr<Case>(
      new StreamCase(std::move(tap), std::move(sender), std::move(device), traffic, verified_frames));
}

Status StreamCase::burst(Progress& progress) {
  GuestDriver& driver = device_->driver();
  ++bursts_;
  // From single frames to full batches, so that every way to begin and end one occurs.
  const auto length = static_cast<unsigned>(bursts_ * 7 % traffic_.backlog + 1);
  if (traffic_.transmit) {
    const unsigned frames = std::min(length, driver.free_frames());
    driver.send(given_, frames);
    driver.enable_sent_interrupt();
    given_ += frames;
    progress.to_host += frames;
  }
  if (traffic_.receive) {
    const std::uint64_t limit = std::min(kMaxUnderWay, kMaxBytesUnderWay / traffic_.mix.largest());
    const std::uint64_t under_way = progress.to_path - progress.received;
    const auto frames =
        static_cast<unsigned>(std::min<std::uint64_t>(length, limit > under_way ? limit - under_way : 0));
    TAPIR_TRY(host_.send(frames));
    progress.to_path += frames;
  }
  return {};
}

void StreamCase::drive(Progress& progress, PacketEnd* reader) {
  GuestDriver& driver = device_->driver();
  const unsigned sent = driver.reclaim();
  const unsigned received = traffic_.receive ? driver.receive(at_path_) : 0;
  progress.sent += sent;
  progress.received += received;
  if (received != 0) {
    driver.post_all();
  }
  static_cast<void>(driver.enable_interrupts(GuestDriver::kReceiveQueue));
  const bool heard = reader != nullptr && reader->receive(at_host_);
  if (sent == 0 && received == 0 && !heard) {
    ::sched_yield();
  }
}

void StreamCase::settle(Progress& progress, PacketEnd* reader) {
  auto last_move = Clock::now();
  while ((progress.sent < progress.to_host || progress.received < progress.to_path) &&
         Clock::now() - last_move < kSettleTime) {
    const auto before = progress.sent + progress.received;
    drive(progress, reader);
    if (progress.sent + progress.received != before) {
      last_move = Clock::now();
    }
  }
  while (reader != nullptr && reader->wait(0)) {
    static_cast<void>(reader->receive(at_host_));
  }
}

template <typename GoOn>
Result<Tally> StreamCase::stream(GoOn go_on, PacketEnd* reader) {
  TAPIR_TRY_ASSIGN(const TapCounts before, tap_.counts());
  GuestDriver& driver = device_->driver();
  const auto interrupts = driver.interrupts();
  const auto kicks = driver.kicks();
  const auto damage = at_path_.disordered() + at_path_.damaged();
  const auto given = given_;
  const auto start = Clock::now();
  Progress progress;
  while (go_on(progress)) {
    TAPIR_TRY(burst(progress));
    drive(progress, reader);
  }
  settle(progress, reader);
  Tally tally;
  tally.nanoseconds = static_cast<std::uint64_t>((Clock::now() - start).count());
  TAPIR_TRY_ASSIGN(const TapCounts after, tap_.counts());
  const std::uint64_t written = after.written - before.written;
  const std::uint64_t missing = progress.to_path - std::min(progress.to_path, progress.received);
  tally.dropped = after.read_dropped - before.read_dropped;
  tally.frames = progress.sent + progress.received;
  tally.bytes = static_cast<std::uint64_t>(static_cast<double>(tally.frames) * traffic_.mix.mean());
  tally.lost =
      (given_ - given - std::min(given_ - given, written)) + missing - std::min(missing, tally.dropped);
  tally.disordered = at_path_.disordered() + at_path_.damaged() - damage;
  tally.interrupts = driver.interrupts() - interrupts;
  tally.kicks = driver.kicks() - kicks;
  return tally;
}

Result<Tally> StreamCase::verify() {
  TAPIR_TRY_ASSIGN(PacketEnd reader, PacketEnd::open(tap_.name(), PacketEnd::Use::kBoth));
  at_host_ = SequenceChecker(given_);
  const std::uint64_t wanted = verified_frames_;
  TAPIR_TRY_ASSIGN(
      Tally tally,
      stream([&](const Progress& progress) { return std::max(progress.to_host, progress.to_path) < wanted; },
             &reader));
  tally.disordered += at_host_.disordered() + at_host_.damaged();
  const std::uint64_t missing = at_host_.missing(given_);
  const std::uint64_t overflow = reader.take_dropped();
  tally.dropped += std::min(missing, overflow);
  tally.lost += missing - std::min(missing, overflow);
  return tally;
}

Result<Tally> StreamCase::run(std::chrono::nanoseconds time) {
  const auto end = Clock::now() + time;
  return stream([end](const Progress&) { return Clock::now() < end; }, nullptr);
}

}  // namespace tapir::bench
