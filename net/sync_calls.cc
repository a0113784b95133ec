// SPDX-License-Identifier: Apache-2.0
#include "net/sync_calls.h"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include "net/base/check.h"

namespace tapir::net {
namespace {

// Of a single piece the kernel need not be told as of several.
ssize_t read_one(int fd, std::span<const iovec> iov) {
  return iov.size() == 1 ? ::read(fd, iov[0].iov_base, iov[0].iov_len)
                         : ::readv(fd, iov.data(), static_cast<int>(iov.size()));
}

ssize_t write_one(int fd, std::span<const iovec> iov) {
  return iov.size() == 1 ? ::write(fd, iov[0].iov_base, iov[0].iov_len)
                         : ::writev(fd, iov.data(), static_cast<int>(iov.size()));
}

template <typename Call>
std::size_t each(int fd, std::span<FrameCall> calls, FrameIoCounters& counters, Call move) {
  std::size_t done = 0;
  while (done < calls.size()) {
    FrameCall& call = calls[done];
    call.result = move(fd, call.iov);
    if (call.result < 0) {
      call.result = -errno;
    }
    ++done;
    if (call.result < 0) {
      break;
    }
  }
  counters.syscalls.add(done);
  return done;
}

timespec time_left(FrameIo::Clock::time_point deadline) {
  const auto left = std::max(FrameIo::Clock::duration::zero(), deadline - FrameIo::Clock::now());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
}

}  // namespace

std::size_t read_each(int fd, std::span<FrameCall> calls, FrameIoCounters& counters) {
  return each(fd, calls, counters, read_one);
}

std::size_t write_each(int fd, std::span<FrameCall> calls, FrameIoCounters& counters) {
  return each(fd, calls, counters, write_one);
}

bool has_hung_up(int fd, FrameIoCounters& counters) {
  pollfd entry{fd, 0, 0};
  counters.syscalls.add(1);
  return ::poll(&entry, 1, 0) > 0;
}

SyncCalls::SyncCalls() {
  poll_set_.fill({-1, POLLIN, 0});
}

Status SyncCalls::bind(const Environment& environment) {
  environment_.emplace(environment);
  return {};
}

Result<unsigned> SyncCalls::watch(int event_fd) {
  const auto first = poll_set_.begin() + 1;
  const auto free = std::find_if(first, poll_set_.end(), [](const pollfd& entry) { return entry.fd < 0; });
  if (free == poll_set_.end()) {
    return fail(fmt::format("{} descriptors are watched already", kMaxWatched), ENOSPC);
  }
  const auto bit = static_cast<unsigned>(free - first);
  watch_as(bit, event_fd);
  return bit;
}

void SyncCalls::watch_as(unsigned bit, int event_fd) {
  CHECK(bit < kMaxWatched && poll_set_[1 + bit].fd < 0);
  poll_set_[1 + bit].fd = event_fd;
  poll_count_ = std::max<std::size_t>(poll_count_, bit + 2);
}

void SyncCalls::unwatch(unsigned bit) {
  CHECK(bit < kMaxWatched);
  poll_set_[1 + bit].fd = -1;
  while (poll_count_ > 1 && poll_set_[poll_count_ - 1].fd < 0) {
    --poll_count_;
  }
}

FrameCalls::Ready SyncCalls::wait(const Interest& interest, std::optional<Clock::time_point> deadline) {
  pollfd& backend = poll_set_[0];
  // A tap that was deleted reports POLLERR for ever, and poll(2) cannot be told not to look.
  backend.fd = interest.backend ? environment_->fd : -1;
  // A deletion wakes those who wait for input of any kind (drivers/net/tun.c, tun_detach_all: sk_data_ready).
  // POLLPRI is one, and is never reported itself, so it does for a caller that wants no frames now.
  backend.events =
      static_cast<short>(POLLPRI | (interest.readable ? POLLIN : 0) | (interest.writable ? POLLOUT : 0));
  timespec timeout{};
  if (deadline) {
    timeout = time_left(*deadline);
  }
  environment_->counters.syscalls.add(1);
  const int count = ::ppoll(poll_set_.data(), poll_count_, deadline ? &timeout : nullptr, nullptr);
  if (count <= 0) {
    // EINTR or ENOMEM: a spurious wake-up, and the caller comes again.
    return {};
  }
  Ready ready;
  if (backend.fd >= 0) {
    ready.gone = (backend.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    ready.readable = (backend.revents & POLLIN) != 0;
    ready.writable = (backend.revents & POLLOUT) != 0;
  }
  collect_watched(ready);
  return ready;
}

void SyncCalls::collect_watched(Ready& ready) {
  for (std::size_t i = 1; i < poll_count_; ++i) {
    const pollfd& entry = poll_set_[i];
    if (entry.fd < 0 || entry.revents == 0) {
      continue;
    }
    // Closed before unwatch(): it would be ready for ever.
    CHECK((entry.revents & POLLNVAL) == 0);
    std::uint64_t count = 0;
    environment_->counters.syscalls.add(1);
    if (::read(entry.fd, &count, sizeof count) == sizeof count) {
      ready.watched |= std::uint64_t{1} << (i - 1);
    }
  }
}

std::size_t SyncCalls::read(std::span<FrameCall> calls) {
  return read_each(environment_->fd, calls, environment_->counters);
}

std::size_t SyncCalls::write(std::span<FrameCall> calls) {
  return write_each(environment_->fd, calls, environment_->counters);
}

}  // namespace tapir::net
