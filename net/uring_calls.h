// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "net/frame_calls.h"
#include "net/sync_calls.h"
#include "net/uring.h"

namespace tapir::net {

/// The calls of the `uring` engine: batches of frames, and the whole sleep (kicks, messages, the backend), on
/// one io_uring that the I/O thread owns.
///
/// A write to a tap, and a read with RWF_NOWAIT, is done when io_uring_enter(2) returns: the ring saves
/// system calls and, by registered memory, the cost of looking at each buffer anew; it never leaves a frame
/// in flight. Batches that are too small to gain from it are made of ordinary calls. Nothing but multishot
/// polls is ever left in the ring, so no read waits for a frame there: several would all be woken by each
/// one, and could turn the order around.
///
/// The completion ring cannot overflow: a batch has at most 64 frames, and at most 66 polls each add one
/// completion for one io_uring_enter(2) with DEFER_TASKRUN, after which all are taken. Where the kernel lacks
/// that flag, it keeps what does not fit (IORING_FEAT_NODROP).
///
/// What the kernel lacks or refuses is done without: memory that cannot be registered (RLIMIT_MEMLOCK) is
/// used as it is; a backend that knows no RWF_NOWAIT (taps before 6.4) is read by ordinary calls. When the
/// ring itself is refused later, by a filter of system calls for example, everything goes on as in the `sync`
/// engine, with one line in the log, and no frame is lost for it.
class UringCalls final : public FrameCalls {
 public:
  /// Error: there is no io_uring for this process; see Uring::create().
  [[nodiscard]] static Result<std::unique_ptr<UringCalls>> create();

  [[nodiscard]] Status bind(const Environment& environment) override;
  [[nodiscard]] Status start() override;
  void stop() override;
  [[nodiscard]] Result<unsigned> watch(int event_fd) override;
  void unwatch(unsigned bit) override;
  Ready wait(const Interest& interest, std::optional<Clock::time_point> deadline) override;
  std::size_t max_reads() const override { return FrameArena::kReceiveSlots; }
  std::size_t read(std::span<FrameCall> calls) override;
  std::size_t write(std::span<FrameCall> calls) override;

 private:
  static constexpr unsigned kSubmissions = 256;
  static constexpr unsigned kCompletions = 512;
  /// From this many on a batch on the ring is faster than as many calls (measured on 6.18).
  static constexpr std::size_t kRingReads = 4;
  static constexpr std::size_t kRingWrites = 12;

  /// What a completion belongs to: the upper 32 bits of its user_data, with a number in the lower ones.
  enum class Kind : std::uint32_t { kNone, kWatched, kBackend, kRoom, kFrame };
  struct Watched {
    int fd = -1;
    std::uint32_t generation = 0;  ///< one more at each watch() and unwatch()
  };
  enum class Registration : std::uint8_t { kNotTried, kDone, kRefused };

  explicit UringCalls(Uring ring) : ring_(std::move(ring)) {}

  static std::uint64_t user_data(Kind kind, std::uint32_t number);
  std::uint32_t watched_number(unsigned bit) const;
  void arm_watched(unsigned bit);
  void arm_backend();
  void remove_poll(Kind kind, std::uint32_t number);

  /// How many were carried out: all, unless the ring fails.
  std::size_t run_batch(std::span<FrameCall> calls, std::uint8_t fixed_opcode);
  void prepare(io_uring_sqe& entry, const FrameCall& call, std::uint8_t fixed_opcode);
  bool is_registered(std::size_t part);
  /// `calls`: those of a batch under way.
  void take_completions(std::span<FrameCall> calls);
  void ask_if_gone(const Interest& interest);
  void take_watched(std::uint32_t number, const io_uring_cqe& completion);
  void take_backend(const io_uring_cqe& completion);

  /// The ring was refused: lets go of it and goes on without, for good.
  void give_up();

  std::optional<Uring> ring_;       ///< until it fails
  std::optional<SyncCalls> plain_;  ///< from then on
  std::optional<Environment> environment_;
  std::array<Watched, kMaxWatched> watched_;
  Ready ready_;                  ///< since the last wait()
  std::size_t frames_due_ = 0;   ///< of the batch under way
  std::size_t frames_done_ = 0;  ///< likewise, in order
  std::size_t removals_due_ = 0;
  bool started_ = false;
  bool backend_armed_ = false;
  bool backend_told_ = false;  ///< a completion of its poll came since the last look
  bool room_armed_ = false;
  bool knows_nowait_ = true;                      ///< the backend knows RWF_NOWAIT
  Registration table_ = Registration::kNotTried;  ///< which the registered buffers stand in
  std::array<Registration, FrameArena::kParts> parts_{};
};

}  // namespace tapir::net
