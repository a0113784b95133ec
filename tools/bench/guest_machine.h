// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/command_runner.h"
#include "tools/bench/engine.h"
#include "tools/bench/frames.h"
#include "tools/bench/guest/protocol.h"

namespace tapir::bench {

/// How the guest and its NIC are to be.
struct GuestSetup {
  EngineSetup engine;
  bool event_index = true;
  bool large_frames = false;  ///< there will be some of 64 KiB
  bool echoes = false;        ///< numbered frames go back to the host
  unsigned batch = 256;       ///< frames that its driver makes available at a time
  /// For tests: the frame of this number is lost on its way, in either direction.
  std::optional<std::uint64_t> lose = std::nullopt;
};

/// A real machine: the program tapir with the guest of tools/bench/guest, on a tap of its own in this network
/// namespace. One thread.
///
///     TAPIR_TRY_ASSIGN(auto guest, GuestMachine::start(setup));
///     TAPIR_TRY(guest->send(mix, first, 1000));
///     TAPIR_TRY_ASSIGN(const guest::Report report, guest->wait_for_report());
class GuestMachine {
 public:
  /// Returns when the guest's driver is ready, which takes some tenths of a second. Error: the program or the
  /// guest's image is not where this program's own place tells, or what tapir said.
  [[nodiscard]] static Result<std::unique_ptr<GuestMachine>> start(const GuestSetup& setup);
  GuestMachine(const GuestMachine&) = delete;
  GuestMachine& operator=(const GuestMachine&) = delete;
  /// Ends the machine and removes the tap.
  ~GuestMachine();

  /// The host's side of the NIC.
  const std::string& tap() const { return tap_; }

  /// Lets the guest send frames of the first size of `mix`; a report follows them.
  [[nodiscard]] Status send(const FrameMix& mix, std::uint64_t first, std::uint64_t frames);
  /// Lets it report when it has looked at all frames before this command.
  [[nodiscard]] Status ask();
  /// The next report, if there is one within `limit`.
  std::optional<guest::Report> take_report(std::chrono::milliseconds limit);
  /// Error: there is none within some seconds, or tapir has ended; then with what it said.
  [[nodiscard]] Result<guest::Report> wait_for_report();
  /// Frames so far that were reports, and so no numbered ones.
  std::uint64_t reports() const { return reports_; }

 private:
  explicit GuestMachine(std::string tap) : tap_(std::move(tap)) {}
  [[nodiscard]] Status open_control();
  [[nodiscard]] Status start_tapir(const GuestSetup& setup);
  [[nodiscard]] Status order(const guest::Command& command);

  std::string tap_;
  UniqueFd control_;
  std::optional<net::ChildProcess> tapir_;
  std::uint64_t reports_ = 0;
};

}  // namespace tapir::bench
