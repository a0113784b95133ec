// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "tools/bench/case.h"
#include "tools/bench/guest_machine.h"
#include "tools/bench/host_frames.h"
#include "tools/bench/path_case.h"

namespace tapir::bench {

/// A guest in a real machine that sends, receives, or does both: with kicks that leave the guest and
/// interrupts that come into it. The host gives it frames a backlog at a time, two at most under way, and
/// waits for the guest's word that it has them. Time is that of the clock on the wall, until the last frame
/// is there.
class GuestCase final : public Case {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Case>> create(const Traffic& traffic, const GuestSetup& setup);

  [[nodiscard]] Result<Tally> verify() override;
  [[nodiscard]] Result<Tally> run(std::chrono::nanoseconds time) override;

 private:
  /// What is under way.
  struct Progress {
    bool sending = false;  ///< the guest is
    unsigned asked = 0;    ///< reports that the guest owes for frames to it
    guest::Report last{};
  };

  GuestCase(std::unique_ptr<GuestMachine> machine, PacketEnd sender, const Traffic& traffic);

  /// At least `frames` from the guest, and to it until `end` or as many, whichever is later.
  [[nodiscard]] Result<Tally> exchange(std::uint64_t frames, std::chrono::steady_clock::time_point end);
  [[nodiscard]] Status give_backlog(Progress& progress);
  [[nodiscard]] Status wait(Progress& progress);
  /// `dropped`: frames to the guest that did not fit into the tap.
  [[nodiscard]] Tally count(const guest::Report& report, std::uint64_t dropped);

  std::unique_ptr<GuestMachine> machine_;
  HostFrames host_;
  const Traffic traffic_;
  guest::Report seen_{};        ///< at the end of the last exchange
  std::uint64_t given_ = 0;     ///< number of the guest's next frame
  std::uint64_t missing_ = 0;   ///< frames to the guest that never came
  std::uint64_t round_ = 1000;  ///< frames that the guest sends in about one turn
  SequenceChecker at_host_;
};

}  // namespace tapir::bench
