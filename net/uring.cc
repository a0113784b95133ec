// SPDX-License-Identifier: Apache-2.0
#include "net/uring.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace tapir::net {
namespace {

// Best first. An unknown flag is EINVAL. Newer than the headers of Debian 12 is none of them.
constexpr std::array<unsigned, 4> kFlags{
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_SUBMIT_ALL,
    0,
};

/// 0, or the errno for which this process may not use the ring that it could make: a filter of system calls
/// decides about each of the three by itself.
int refusal_of(io_uring& ring) {
  // A ring that is not enabled yet refuses this with EBADFD, and one without files the other with ENXIO; what
  // else they say is not the ring's word.
  if (::syscall(__NR_io_uring_enter, ring.ring_fd, 0, 0, 0, nullptr, 0) < 0 && errno != EBADFD) {
    return errno;
  }
  const int result = ::io_uring_unregister_files(&ring);
  return result < 0 && result != -ENXIO ? -result : 0;
}

Status status_of(int result, const char* what) {
  return result >= 0 ? Status{} : fail_errno(what, -result);
}

}  // namespace

void Uring::Exit::operator()(io_uring* ring) const {
  ::io_uring_queue_exit(ring);
  delete ring;
}

Result<Uring> Uring::create(unsigned submissions, unsigned completions) {
  int result = -EINVAL;
  for (const unsigned flags : kFlags) {
    auto memory = std::make_unique<io_uring>();
    io_uring_params parameters{};
    parameters.flags = flags | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE;
    parameters.cq_entries = completions;
    result = ::io_uring_queue_init_params(submissions, memory.get(), &parameters);
    if (result == 0) {
      Uring ring(std::unique_ptr<io_uring, Exit>(memory.release()));
      if (const int refusal = refusal_of(*ring.ring_); refusal != 0) {
        return fail_errno("io_uring", refusal);
      }
      return ring;
    }
    if (result != -EINVAL) {
      break;
    }
  }
  return fail_errno("io_uring", -result);
}

Status Uring::enable() {
  // By hand: the library of Debian 12 declares io_uring_enable_rings() and lacks it.
  if (::syscall(__NR_io_uring_register, ring_->ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) < 0) {
    return fail_errno("io_uring cannot be enabled");
  }
  return {};
}

Status Uring::register_file(int fd) {
  return status_of(::io_uring_register_files(ring_.get(), &fd, 1),
                   "io_uring cannot have the backend's descriptor");
}

void Uring::unregister_file() {
  ::io_uring_unregister_files(ring_.get());
}

Status Uring::reserve_buffers(unsigned count) {
  return status_of(::io_uring_register_buffers_sparse(ring_.get(), count), "io_uring cannot have buffers");
}

Status Uring::register_buffer(unsigned number, std::span<std::byte> memory) {
  const iovec buffer{memory.data(), memory.size()};
  const __u64 tag = 0;
  return status_of(::io_uring_register_buffers_update_tag(ring_.get(), number, &buffer, &tag, 1),
                   "io_uring cannot have a buffer");
}

io_uring_sqe& Uring::submission() {
  io_uring_sqe* entry = ::io_uring_get_sqe(ring_.get());
  while (entry == nullptr && failure_ == 0) {
    note(::io_uring_submit(ring_.get()));
    entry = ::io_uring_get_sqe(ring_.get());
  }
  return entry != nullptr ? *entry : *unseen_;
}

void Uring::note(int result) {
  switch (-result) {
    case EINTR:
    case ETIME:  // the deadline
      break;
    case EAGAIN:  // no memory for a request
    case EBUSY:   // completions have to be taken first
      ++refusals_;
      failure_ = refusals_ < kMaxRefusals ? failure_ : -result;
      break;
    default:
      refusals_ = 0;
      failure_ = result < 0 ? -result : failure_;
  }
}

void Uring::submit_and_wait(unsigned count) {
  note(::io_uring_submit_and_wait(ring_.get(), count));
}

void Uring::submit_and_wait_until(std::optional<Clock::time_point> deadline) {
  if (!deadline) {
    submit_and_wait(1);
    return;
  }
  const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(*deadline - Clock::now());
  if (*deadline == Clock::time_point{} || left.count() <= 0) {
    note(::io_uring_submit_and_get_events(ring_.get()));
    return;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  __kernel_timespec timeout{seconds.count(), (left - seconds).count()};
  io_uring_cqe* first = nullptr;
  note(::io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, &timeout, nullptr));
}

}  // namespace tapir::net
