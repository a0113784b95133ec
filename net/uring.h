// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <liburing.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "net/base/result.h"

namespace tapir::net {

/// One io_uring, made without starting it: the thread that enables it is the one that uses it from then on.
/// With the flags that this kernel has of SINGLE_ISSUER and DEFER_TASKRUN (6.1; completions are only handled
/// when this thread asks), COOP_TASKRUN (5.19) and SUBMIT_ALL (5.18); works down to 5.15, with none of them.
/// One thread.
///
/// A submission that the kernel refuses for good, as it does when a filter of system calls was closed over
/// this process in the meantime, is remembered: failure() says so from then on, and the ring is of no more
/// use.
///
/// Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
class Uring {
 public:
  using Clock = std::chrono::steady_clock;

  /// Error: the kernel has no io_uring (ENOSYS), or does not let this process have one (EPERM: the sysctl
  /// kernel.io_uring_disabled, or a filter of system calls, be it only of io_uring_enter(2) or
  /// io_uring_register(2); ENOMEM: RLIMIT_MEMLOCK of an old kernel).
  [[nodiscard]] static Result<Uring> create(unsigned submissions, unsigned completions);

  Uring(Uring&&) noexcept = default;
  Uring& operator=(Uring&&) noexcept = default;
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring() = default;

  /// Makes the calling thread the ring's.
  [[nodiscard]] Status enable();
  /// The file becomes number 0 of the fixed files. Its O_NONBLOCK is remembered as it is now.
  [[nodiscard]] Status register_file(int fd);
  void unregister_file();
  /// Makes room for `count` fixed buffers, none of which is there yet (5.19). Error: also where locked memory
  /// is limited.
  [[nodiscard]] Status reserve_buffers(unsigned count);
  [[nodiscard]] Status register_buffer(unsigned number, std::span<std::byte> memory);

  /// A free submission, with nothing filled in; submits what there is if all are taken. After a failure it is
  /// one that nobody will see.
  io_uring_sqe& submission();
  /// Submits, and waits until `count` completions can be taken. May return early (EINTR).
  void submit_and_wait(unsigned count);
  /// The same for one completion, up to a deadline; one that has passed only collects what is there.
  void submit_and_wait_until(std::optional<Clock::time_point> deadline);
  /// 0, or the errno for which the kernel takes no submissions any more.
  int failure() const { return failure_; }

  /// Takes all completions: calls `take(const io_uring_cqe&)` for each.
  template <typename Take>
  void take_completions(Take take) {
    unsigned head = 0;
    unsigned count = 0;
    io_uring_cqe* completion = nullptr;
    io_uring_for_each_cqe(ring_.get(), head, completion) {
      take(*completion);
      ++count;
    }
    io_uring_cq_advance(ring_.get(), count);
  }

 private:
  struct Exit {
    void operator()(io_uring* ring) const;
  };
  /// So often in a row the kernel may be short of something (EAGAIN, EBUSY) before that counts as a failure.
  static constexpr unsigned kMaxRefusals = 1000;

  explicit Uring(std::unique_ptr<io_uring, Exit> ring) : ring_(std::move(ring)) {}
  /// Takes what a submission returned: a count, or a negated errno.
  void note(int result);

  std::unique_ptr<io_uring, Exit> ring_;
  std::unique_ptr<io_uring_sqe> unseen_ = std::make_unique<io_uring_sqe>();  ///< given out after a failure
  unsigned refusals_ = 0;  ///< since the last submission that succeeded
  int failure_ = 0;
};

}  // namespace tapir::net
