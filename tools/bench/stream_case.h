// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tools/bench/case.h"
#include "tools/bench/threaded_device.h"

namespace tapir::bench {

/// The device with its own I/O thread under a steady stream: this thread is the driver and the host at once,
/// and gives both bursts of changing lengths. Time is that of the clock on the wall, until the last frame is
/// there; so it is the slower of two threads that is measured, and the numbers are for order and loss, and
/// for system calls and interrupts per frame, more than for speed.
class StreamCase final : public Case {
 public:
  /// `verified_frames`: how many, each way, verify() sends.
  [[nodiscard]] static Result<std::unique_ptr<Case>> create(const Traffic& traffic, const DeviceSetup& setup,
                                                            std::uint64_t verified_frames);

  [[nodiscard]] Result<Tally> verify() override;
  [[nodiscard]] Result<Tally> run(std::chrono::nanoseconds time) override;

 private:
  /// One burst and what is there of earlier ones.
  struct Progress {
    std::uint64_t to_host = 0;
    std::uint64_t sent = 0;
    std::uint64_t to_path = 0;
    std::uint64_t received = 0;
  };

  StreamCase(TapEnd tap, PacketEnd sender, std::unique_ptr<ThreadedDevice> device, const Traffic& traffic,
             std::uint64_t verified_frames);

  [[nodiscard]] Status burst(Progress& progress);
  void drive(Progress& progress, PacketEnd* reader);
  /// Waits until nothing is under way any more, or nothing moves.
  void settle(Progress& progress, PacketEnd* reader);
  template <typename GoOn>
  [[nodiscard]] Result<Tally> stream(GoOn go_on, PacketEnd* reader);

  TapEnd tap_;
  HostFrames host_;
  std::unique_ptr<ThreadedDevice> device_;
  const Traffic traffic_;
  const std::uint64_t verified_frames_;
  std::uint64_t given_ = 0;
  std::uint64_t bursts_ = 0;
  SequenceChecker at_path_;
  SequenceChecker at_host_;
};

}  // namespace tapir::bench
