// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tools/bench/case.h"
#include "tools/bench/frames.h"
#include "tools/bench/host_frames.h"
#include "tools/bench/sequence_checker.h"
#include "tools/bench/tap_end.h"

namespace tapir::bench {

/// What moves in a case.
struct Traffic {
  bool transmit = false;  ///< from the path to the host
  bool receive = false;   ///< from the host to the path
  FrameMix mix;
  unsigned backlog = 256;          ///< frames to send that wait when the path begins to work
  unsigned receive_backlog = 256;  ///< the same of frames to receive
};

/// A way of moving frames between memory and a tap, in steps of one thread. PathCase calls, for each round:
///
///     path.give(first, count)      frames to send, numbered, are ready in memory
///     until all is done:
///       path.replenish()           room to receive into
///       path.work()                the only part that is measured
///       path.collect(checker)      look at what was received
class Path {
 public:
  /// Since the path was made.
  struct Counts {
    std::uint64_t syscalls = 0;
    std::uint64_t interrupts = 0;
    std::uint64_t kicks = 0;
  };

  Path() = default;
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;
  virtual ~Path() = default;

  /// The most frames that give() can take at once.
  virtual unsigned room() const = 0;
  virtual void give(std::uint64_t first_number, unsigned frames) = 0;
  virtual void replenish() = 0;
  /// Error: the path does not work here, or has failed.
  [[nodiscard]] virtual Status work() = 0;
  /// Frames given that have been sent.
  virtual unsigned take_sent() = 0;
  /// Shows the checker the frames received; how many.
  virtual unsigned collect(SequenceChecker& checker) = 0;
  virtual Counts counts() const = 0;
};

/// Runs a path alone: one thread fills the tap's ring or the driver's, and then measures how long the path
/// takes to empty it, in CPU time of the thread. Frames to the host end in its IP layer, which drops what is
/// not for it; frames from the host are waiting before the path begins. Every frame received is looked at,
/// every frame sent is counted by the interface, and verify() looks at those sent.
class PathCase final : public Case {
 public:
  /// `tap`: of the path, which may own its descriptor.
  PathCase(TapEnd tap, PacketEnd sender, std::unique_ptr<Path> path, Traffic traffic);

  [[nodiscard]] Result<Tally> verify() override;
  [[nodiscard]] Result<Tally> run(std::chrono::nanoseconds time) override;

 private:
  /// One round: `backlog` frames in each direction. `reader`: looks at what is sent.
  [[nodiscard]] Status round(Tally& tally, PacketEnd* reader);
  [[nodiscard]] Status measured_work(Tally& tally);
  [[nodiscard]] Result<Tally> rounds(std::chrono::nanoseconds time, PacketEnd* reader);

  TapEnd tap_;
  HostFrames host_;
  std::unique_ptr<Path> path_;
  const Traffic traffic_;
  std::uint64_t given_ = 0;
  SequenceChecker at_path_;
  SequenceChecker at_host_;
};

}  // namespace tapir::bench
