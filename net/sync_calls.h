// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>

#include "net/frame_calls.h"

namespace tapir::net {

/// One system call per frame, in order, up to the first that fails; counted in `counters`. Also what io_uring
/// is not worth its price for.
std::size_t read_each(int fd, std::span<FrameCall> calls, FrameIoCounters& counters);
std::size_t write_each(int fd, std::span<FrameCall> calls, FrameIoCounters& counters);

/// Whether the backend says that it is gone, whatever it was asked for (poll(2): POLLERR, POLLHUP, POLLNVAL);
/// one system call.
bool has_hung_up(int fd, FrameIoCounters& counters);

/// The calls of the `sync` engine: one system call per frame and one ppoll(2) per sleep. It needs nothing of
/// the kernel that is not always there, so it is also what `uring` is measured and tested against.
class SyncCalls final : public FrameCalls {
 public:
  SyncCalls();

  [[nodiscard]] Status bind(const Environment& environment) override;
  [[nodiscard]] Status start() override { return {}; }
  void stop() override {}
  [[nodiscard]] Result<unsigned> watch(int event_fd) override;
  /// Watches under a number that the caller has chosen, and that is free.
  void watch_as(unsigned bit, int event_fd);
  void unwatch(unsigned bit) override;
  Ready wait(const Interest& interest, std::optional<Clock::time_point> deadline) override;
  std::size_t max_reads() const override { return 1; }
  std::size_t read(std::span<FrameCall> calls) override;
  std::size_t write(std::span<FrameCall> calls) override;

 private:
  void collect_watched(Ready& ready);

  std::optional<Environment> environment_;
  /// Element 0 is the backend, 1 + N is bit N; free ones have descriptor -1, which poll(2) skips.
  std::array<pollfd, 1 + kMaxWatched> poll_set_;
  std::size_t poll_count_ = 1;
};

}  // namespace tapir::net
