// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "tools/bench/case.h"
#include "tools/bench/frame_slots.h"
#include "tools/bench/guest_machine.h"
#include "tools/bench/host_frames.h"
#include "tools/bench/threaded_device.h"

namespace tapir::bench {

/// Round trips, one at a time: this thread sends a frame into the tap and sleeps until it comes back. What
/// sends it back is a raw loop, or the device with a driver that answers inside the interrupt; so both have
/// one thread that has to wake up, and the difference is the device. Or it is a guest, whose CPU has to wake
/// up besides.
class LatencyCase final : public Case {
 public:
  enum class Loop : std::uint8_t {
    kBlocking,  ///< read(2) that sleeps, write(2)
    kSpinning,  ///< read(2) again and again, write(2)
  };

  [[nodiscard]] static Result<std::unique_ptr<Case>> create_raw(const FrameMix& mix, Loop loop);
  [[nodiscard]] static Result<std::unique_ptr<Case>> create_device(const FrameMix& mix,
                                                                   const DeviceSetup& setup);
  /// `setup`: with echoes.
  [[nodiscard]] static Result<std::unique_ptr<Case>> create_guest(const FrameMix& mix,
                                                                  const GuestSetup& setup);
  LatencyCase(const LatencyCase&) = delete;
  LatencyCase& operator=(const LatencyCase&) = delete;
  ~LatencyCase() override;

  [[nodiscard]] Result<Tally> verify() override;
  [[nodiscard]] Result<Tally> run(std::chrono::nanoseconds time) override;

 private:
  LatencyCase(PacketEnd sender, PacketEnd listener, const FrameMix& mix)
      : host_(std::move(sender), mix), listener_(std::move(listener)) {}
  [[nodiscard]] static Result<std::unique_ptr<LatencyCase>> create_on(const std::string& tap,
                                                                      const FrameMix& mix);
  [[nodiscard]] Status start_loop(Loop loop);
  /// One round trip; whether it came back in a second.
  [[nodiscard]] Result<std::uint32_t> round_trip();
  void echo(Loop loop);
  void stop_loop();

  std::optional<TapEnd> tap_;  ///< of raw and device
  HostFrames host_;
  PacketEnd listener_;
  SequenceChecker replies_;
  std::unique_ptr<ThreadedDevice> device_;
  std::unique_ptr<GuestMachine> guest_;
  std::atomic<bool> stop_{false};
  std::thread loop_;
};

}  // namespace tapir::bench
