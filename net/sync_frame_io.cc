// SPDX-License-Identifier: Apache-2.0
// Construction and the wait; see sync_receive.cc and sync_transmit.cc for the frames.
#include "net/sync_frame_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "net/frame_fault.h"

namespace tapir::net {
namespace {

timespec time_left(FrameIo::Clock::time_point deadline) {
  const auto left = std::max(FrameIo::Clock::duration::zero(), deadline - FrameIo::Clock::now());
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  return {seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
}

}  // namespace

SyncCalls SyncCalls::of_kernel() {
  return {::read, ::readv, ::write, ::writev};
}

Result<std::unique_ptr<SyncFrameIo>> SyncFrameIo::create(FramePort port, SyncCalls calls) {
  const int flags = ::fcntl(port.fd.get(), F_GETFL);
  if (flags < 0) {
    return fail_errno(fmt::format("descriptor {} of the backend", port.fd.get()));
  }
  if ((flags & O_NONBLOCK) == 0) {
    return fail(fmt::format("descriptor {} of the backend blocks; set O_NONBLOCK", port.fd.get()), EINVAL);
  }
  return std::unique_ptr<SyncFrameIo>(new SyncFrameIo(std::move(port), calls));
}

SyncFrameIo::SyncFrameIo(FramePort port, SyncCalls calls)
    : port_(std::move(port)), calls_(calls), bounce_(std::make_unique<std::byte[]>(kReadSpaceBytes)) {
  poll_set_.fill({-1, POLLIN, 0});
}

Status SyncFrameIo::set_offloads(unsigned tun_offloads) {
  if ((tun_offloads & ~port_.features.offloads) != 0) {
    return fail(fmt::format("offloads {:#x} are not among the backend's {:#x}", tun_offloads,
                            port_.features.offloads),
                EINVAL);
  }
  if (port_.is_tap && ::ioctl(port_.fd.get(), TUNSETOFFLOAD, tun_offloads) < 0) {
    return fail_errno(fmt::format("cannot set the tap's offloads to {:#x}", tun_offloads));
  }
  return {};
}

Status SyncFrameIo::start() {
  return {};
}

Result<unsigned> SyncFrameIo::watch(int event_fd) {
  const auto first = poll_set_.begin() + 1;
  const auto free = std::find_if(first, poll_set_.end(), [](const pollfd& entry) { return entry.fd < 0; });
  if (free == poll_set_.end()) {
    return fail(fmt::format("{} descriptors are watched already", kMaxWatched), ENOSPC);
  }
  free->fd = event_fd;
  const auto bit = static_cast<unsigned>(free - first);
  poll_count_ = std::max<std::size_t>(poll_count_, bit + 2);
  return bit;
}

void SyncFrameIo::unwatch(unsigned bit) {
  CHECK(bit < kMaxWatched);
  poll_set_[1 + bit].fd = -1;
  while (poll_count_ > 1 && poll_set_[poll_count_ - 1].fd < 0) {
    --poll_count_;
  }
}

void SyncFrameIo::want_receive(bool wanted) {
  receive_wanted_ = wanted;
  starved_ = false;
}

FrameIo::WaitResult SyncFrameIo::wait(std::optional<Clock::time_point> deadline) {
  ++counters_.waits;
  bool may_read = receive_wanted_ && !starved_;
  if (may_read && pause_end_) {
    // Whoever waits for frames is told when the pause is over; a new failure starts a new one.
    deadline = std::min(deadline.value_or(*pause_end_), *pause_end_);
    may_read = false;
  }
  if ((may_read && held_bytes_ > 0) || (gone_ && !gone_reported_)) {
    deadline = Clock::time_point{};
  }
  pollfd& backend = poll_set_[0];
  // A tap that was deleted reports POLLERR for ever, and poll(2) cannot be told not to look.
  backend.fd = gone_ ? -1 : port_.fd.get();
  // A deletion wakes those who wait for input of any kind (drivers/net/tun.c, tun_detach_all: sk_data_ready).
  // POLLPRI is one, and is never reported itself, so it does for a caller that wants no frames now.
  backend.events = static_cast<short>(POLLPRI | (may_read ? POLLIN : 0) | (transmit_full_ ? POLLOUT : 0));

  timespec timeout{};
  if (deadline) {
    timeout = time_left(*deadline);
  }
  ++counters_.syscalls;
  const int ready = ::ppoll(poll_set_.data(), poll_count_, deadline ? &timeout : nullptr, nullptr);
  if (ready < 0) {
    // EINTR or ENOMEM: a spurious wake-up, and the caller comes again.
    return {};
  }
  WaitResult result = collect(backend);
  if (ready > 0) {
    collect_watched(result);
  }
  return result;
}

FrameIo::WaitResult SyncFrameIo::collect(const pollfd& backend) {
  WaitResult result;
  if (backend.fd >= 0 && (backend.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
    mark_gone();
  }
  if (gone_) {
    result.receive = !std::exchange(gone_reported_, true);
    result.transmit = std::exchange(transmit_full_, false);
    return result;
  }
  if (receive_wanted_ && !starved_) {
    if (pause_end_ && Clock::now() >= *pause_end_) {
      pause_end_.reset();
      result.receive = true;
    }
    result.receive = result.receive || (!pause_end_ && held_bytes_ > 0) || (backend.revents & POLLIN) != 0;
  }
  if ((backend.revents & POLLOUT) != 0) {
    // Told once: a caller that has nothing to send any more must not be woken again and again.
    result.transmit = std::exchange(transmit_full_, false);
  }
  return result;
}

void SyncFrameIo::collect_watched(WaitResult& result) {
  for (std::size_t i = 1; i < poll_count_; ++i) {
    const pollfd& entry = poll_set_[i];
    if (entry.fd < 0 || entry.revents == 0) {
      continue;
    }
    // Closed before unwatch(): it would be ready for ever.
    CHECK((entry.revents & POLLNVAL) == 0);
    std::uint64_t count = 0;
    ++counters_.syscalls;
    if (::read(entry.fd, &count, sizeof count) == sizeof count) {
      result.watched |= std::uint64_t{1} << (i - 1);
    }
  }
}

bool SyncFrameIo::peer_hung_up() {
  pollfd entry{port_.fd.get(), 0, 0};
  ++counters_.syscalls;
  return ::poll(&entry, 1, 0) > 0;
}

void SyncFrameIo::log_unexpected(const char* direction, int error) {
  if (!is_expected_frame_error(error) && !std::exchange(logged_unexpected_, true)) {
    log(LogLevel::kWarning,
        fmt::format("{} a frame: {} (said once; counted from now on)", direction,
                    std::strerror(error)));  // NOLINT(concurrency-mt-unsafe): glibc's is safe
  }
}

}  // namespace tapir::net
