// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/base/result.h"
#include "net/frame_arena.h"
#include "net/frame_io.h"

namespace tapir::net {

/// One frame to move: where it lies or shall lie, and what came of that.
struct FrameCall {
  std::span<const iovec> iov;  ///< one piece or more, at most IOV_MAX
  bool in_arena = false;       ///< the only piece lies in the arena
  ssize_t result = 0;          ///< bytes moved, or a negated errno
};

/// How an engine reaches the kernel: everything in which `sync` and `uring` differ. FrameEngine does the
/// rest, so that the two behave alike. See FrameIo for the threads and for what watch() and wait() promise.
class FrameCalls {
 public:
  using Clock = FrameIo::Clock;

  /// What is asked for and outlives the calls.
  struct Environment {
    int fd = -1;  ///< of the backend, non-blocking
    const FrameArena& arena;
    FrameIoCounters& counters;  ///< `syscalls` and `ring_calls` are counted here
    /// A write never answers EAGAIN, so that several may be in one batch: what a later one overtakes would be
    /// out of order.
    bool never_full = false;
  };
  struct Interest {
    bool backend = true;    ///< false: it is gone, and would be ready for ever
    bool readable = false;  ///< wake for frames
    bool writable = false;  ///< wake for room
  };
  /// Hints. `readable` may be told although it was not asked for, and is told once for what came since the
  /// last read that found nothing.
  struct Ready {
    std::uint64_t watched = 0;
    bool readable = false;
    bool writable = false;
    bool gone = false;
  };

  FrameCalls() = default;
  FrameCalls(const FrameCalls&) = delete;
  FrameCalls& operator=(const FrameCalls&) = delete;
  virtual ~FrameCalls() = default;

  /// Before everything else.
  [[nodiscard]] virtual Status bind(const Environment& environment) = 0;
  /// Binds to the calling thread.
  [[nodiscard]] virtual Status start() = 0;
  /// Lets go of the backend. On the thread that called start(), else it may be held until a moment after
  /// destruction. Nothing may be called afterwards but this again.
  virtual void stop() = 0;

  [[nodiscard]] virtual Result<unsigned> watch(int event_fd) = 0;
  virtual void unwatch(unsigned bit) = 0;
  virtual Ready wait(const Interest& interest, std::optional<Clock::time_point> deadline) = 0;

  /// How many reads are worth one read(): at most FrameArena::kReceiveSlots.
  virtual std::size_t max_reads() const = 0;
  /// Carries the calls out in order, and returns how many: all, or up to the first that failed. What came
  /// before is in the results either way; a call behind a failed one may have been carried out too.
  virtual std::size_t read(std::span<FrameCall> calls) = 0;
  virtual std::size_t write(std::span<FrameCall> calls) = 0;
};

}  // namespace tapir::net
