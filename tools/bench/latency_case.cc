// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/latency_case.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace tapir::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kReplyMilliseconds = 1000;
constexpr unsigned kVerifiedTrips = 32;

/// The guest's answer, on the device's thread: every frame goes back.
class Echo {
 public:
  void operator()(GuestDriver& driver, std::uint16_t queue) {
    if (queue != GuestDriver::kReceiveQueue) {
      return;
    }
    do {
      driver.reclaim();
      const unsigned frames = driver.forget_received();
      driver.post_all();
      if (frames != 0) {
        driver.send(next_, frames);
        next_ += frames;
      }
    } while (driver.enable_interrupts(GuestDriver::kReceiveQueue));
  }

 private:
  std::uint64_t next_ = 0;
};

}  // namespace

Result<std::unique_ptr<LatencyCase>> LatencyCase::create_on(const std::string& tap, const FrameMix& mix) {
  TAPIR_TRY_ASSIGN(PacketEnd sender, PacketEnd::open(tap, PacketEnd::Use::kSend));
  TAPIR_TRY_ASSIGN(PacketEnd listener, PacketEnd::open(tap, PacketEnd::Use::kBoth));
  return std::unique_ptr<LatencyCase>(new LatencyCase(std::move(sender), std::move(listener), mix));
}

Result<std::unique_ptr<Case>> LatencyCase::create_raw(const FrameMix& mix, Loop loop) {
  TAPIR_TRY_ASSIGN(TapEnd tap, TapEnd::create());
  TAPIR_TRY_ASSIGN(auto made, create_on(tap.name(), mix));
  made->tap_.emplace(std::move(tap));
  TAPIR_TRY(made->start_loop(loop));
  return made;
}

Result<std::unique_ptr<Case>> LatencyCase::create_device(const FrameMix& mix, const DeviceSetup& setup) {
  TAPIR_TRY_ASSIGN(TapEnd tap, TapEnd::create());
  TAPIR_TRY_ASSIGN(auto made, create_on(tap.name(), mix));
  TAPIR_TRY_ASSIGN(made->device_, ThreadedDevice::create(tap.take_port(), mix, setup, Echo()));
  return made;
}

Result<std::unique_ptr<Case>> LatencyCase::create_guest(const FrameMix& mix, const GuestSetup& setup) {
  TAPIR_TRY_ASSIGN(auto machine, GuestMachine::start(setup));
  TAPIR_TRY_ASSIGN(auto made, create_on(machine->tap(), mix));
  made->guest_ = std::move(machine);
  return made;
}

LatencyCase::~LatencyCase() {
  stop_loop();
}

Status LatencyCase::start_loop(Loop loop) {
  if (loop == Loop::kBlocking) {
    const int flags = ::fcntl(tap_->fd(), F_GETFL);
    if (::fcntl(tap_->fd(), F_SETFL, flags & ~O_NONBLOCK) < 0) {
      return fail_errno("fcntl on the tap");
    }
  }
  loop_ = std::thread([this, loop] { echo(loop); });
  return {};
}

void LatencyCase::echo(Loop loop) {
  std::array<std::byte, 2048> frame;
  while (!stop_.load(std::memory_order_relaxed)) {
    const ssize_t bytes = ::read(tap_->fd(), frame.data(), frame.size());
    if (bytes > 0 && ::write(tap_->fd(), frame.data(), static_cast<std::size_t>(bytes)) != bytes) {
      return;  // the answer that does not come is noticed
    }
    if (bytes < 0 && loop == Loop::kBlocking) {
      return;
    }
  }
}

void LatencyCase::stop_loop() {
  if (!loop_.joinable()) {
    return;
  }
  stop_.store(true, std::memory_order_relaxed);
  // A frame for the read that sleeps. When it cannot be sent, neither could the loop have run.
  static_cast<void>(host_.send(1));
  loop_.join();
}

Result<std::uint32_t> LatencyCase::round_trip() {
  const auto start = Clock::now();
  TAPIR_TRY(host_.send(1));
  if (!listener_.wait(kReplyMilliseconds)) {
    return fail("a frame did not come back within a second");
  }
  static_cast<void>(listener_.receive(replies_));
  return static_cast<std::uint32_t>((Clock::now() - start).count());
}

Result<Tally> LatencyCase::run(std::chrono::nanoseconds time) {
  Tally tally;
  const auto damage = replies_.disordered() + replies_.damaged();
  const auto interrupts = device_ ? device_->driver().interrupts() : 0;
  const auto end = Clock::now() + time;
  do {
    TAPIR_TRY_ASSIGN(const std::uint32_t nanoseconds, round_trip());
    tally.latencies.push_back(nanoseconds);
    tally.nanoseconds += nanoseconds;
    ++tally.frames;
  } while (Clock::now() < end);
  tally.disordered = replies_.disordered() + replies_.damaged() - damage;
  tally.lost = replies_.missing(host_.sent());
  tally.interrupts = (device_ ? device_->driver().interrupts() : 0) - interrupts;
  return tally;
}

Result<Tally> LatencyCase::verify() {
  Tally tally;
  for (unsigned trip = 0; trip < kVerifiedTrips; ++trip) {
    TAPIR_TRY(round_trip());
    ++tally.frames;
  }
  tally.disordered = replies_.disordered() + replies_.damaged();
  return tally;
}

}  // namespace tapir::bench
