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
/// Source: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
class Uring {
 public:
  using Clock = std::chrono::steady_clock;

  /// Error: the kernel has no io_uring (ENOSYS), or does not let this process have one (EPERM: the sysctl
  /// kernel.io_uring_disabled, or a filter of system calls; ENOMEM: RLIMIT_MEMLOCK of an old kernel).
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

  /// A free submission, with nothing filled in; submits what there is if all are taken.
  io_uring_sqe& submission();
  /// Submits, and waits until `count` completions can be taken. May return early (EINTR).
  void submit_and_wait(unsigned count);
  /// The same for one completion, up to a deadline; one that has passed only collects what is there.
  void submit_and_wait_until(std::optional<Clock::time_point> deadline);

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
  explicit Uring(std::unique_ptr<io_uring, Exit> ring) : ring_(std::move(ring)) {}

  std::unique_ptr<io_uring, Exit> ring_;
};

}  // namespace tapir::net
