// SPDX-License-Identifier: Apache-2.0
#include "net/uring_calls.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/base/check.h"
#include "net/base/log.h"
#include "net/sync_calls.h"

namespace tapir::net {
namespace {

constexpr int kBackendFile = 0;
constexpr int kStopRounds = 8;

// A bit's number in the lowest bits, its generation above.
constexpr std::uint32_t kBitMask = kMaxWatched - 1;
constexpr std::uint32_t kGenerationStep = kMaxWatched;

}  // namespace

Result<std::unique_ptr<UringCalls>> UringCalls::create() {
  TAPIR_TRY_ASSIGN(Uring ring, Uring::create(kSubmissions, kCompletions));
  return std::unique_ptr<UringCalls>(new UringCalls(std::move(ring)));
}

Status UringCalls::bind(const Environment& environment) {
  environment_.emplace(environment);
  return ring_->register_file(environment.fd);
}

Status UringCalls::start() {
  TAPIR_TRY(ring_->enable());
  started_ = true;
  arm_backend();
  return {};
}

// The kernel takes a ring apart some time after its descriptor is closed, and until then its polls and fixed
// files keep the backend open.
void UringCalls::stop() {
  if (!std::exchange(started_, false) || plain_) {
    return;
  }
  for (unsigned bit = 0; bit < kMaxWatched; ++bit) {
    if (watched_[bit].fd >= 0) {
      unwatch(bit);
    }
  }
  remove_poll(Kind::kBackend, 0);
  if (room_armed_) {
    remove_poll(Kind::kRoom, 0);
  }
  // Each is answered at once; what cannot be submitted, from another thread, is not.
  for (int i = 0; i < kStopRounds && removals_due_ > 0 && ring_->failure() == 0; ++i) {
    ring_->submit_and_wait_until(Clock::time_point{});
    take_completions({});
  }
  ring_->unregister_file();
}

void UringCalls::give_up() {
  log(LogLevel::kWarning,
      fmt::format("io_uring fails ({}); frames move by plain system calls from now on",
                  std::strerror(ring_->failure())));  // NOLINT(concurrency-mt-unsafe): glibc's is safe
  plain_.emplace();
  static_cast<void>(plain_->bind(*environment_));
  for (unsigned bit = 0; bit < kMaxWatched; ++bit) {
    if (watched_[bit].fd >= 0) {
      plain_->watch_as(bit, watched_[bit].fd);
    }
  }
  ring_.reset();
}

void UringCalls::remove_poll(Kind kind, std::uint32_t number) {
  io_uring_sqe& entry = ring_->submission();
  io_uring_prep_poll_remove(&entry, user_data(kind, number));
  entry.user_data = user_data(Kind::kNone, 0);
  ++removals_due_;
}

std::uint64_t UringCalls::user_data(Kind kind, std::uint32_t number) {
  return std::uint64_t{static_cast<std::uint32_t>(kind)} << 32 | number;
}

std::uint32_t UringCalls::watched_number(unsigned bit) const {
  return watched_[bit].generation * kGenerationStep + bit;
}

Result<unsigned> UringCalls::watch(int event_fd) {
  if (plain_) {
    return plain_->watch(event_fd);
  }
  const auto free =
      std::find_if(watched_.begin(), watched_.end(), [](const Watched& entry) { return entry.fd < 0; });
  if (free == watched_.end()) {
    return fail(fmt::format("{} descriptors are watched already", kMaxWatched), ENOSPC);
  }
  free->fd = event_fd;
  ++free->generation;
  const auto bit = static_cast<unsigned>(free - watched_.begin());
  arm_watched(bit);
  return bit;
}

void UringCalls::unwatch(unsigned bit) {
  if (plain_) {
    plain_->unwatch(bit);
    return;
  }
  CHECK(bit < kMaxWatched);
  remove_poll(Kind::kWatched, watched_number(bit));
  // What was told of it until it is removed belongs to another generation.
  watched_[bit].fd = -1;
  ++watched_[bit].generation;
  ready_.watched &= ~(std::uint64_t{1} << bit);
}

void UringCalls::arm_watched(unsigned bit) {
  io_uring_sqe& entry = ring_->submission();
  io_uring_prep_poll_multishot(&entry, watched_[bit].fd, POLLIN);
  entry.user_data = user_data(Kind::kWatched, watched_number(bit));
}

// Readiness once for every frame that comes while this thread does not look, so that nothing is missed
// between a read that finds nothing and the next sleep. A tap whose ring is full wakes nobody
// (drivers/net/tun.c, tun_net_xmit), which bounds what frames that nobody wants can cost.
void UringCalls::arm_backend() {
  io_uring_sqe& entry = ring_->submission();
  io_uring_prep_poll_multishot(&entry, kBackendFile, POLLIN);
  entry.flags |= IOSQE_FIXED_FILE;
  entry.user_data = user_data(Kind::kBackend, 0);
  backend_armed_ = true;
}

FrameCalls::Ready UringCalls::wait(const Interest& interest, std::optional<Clock::time_point> deadline) {
  if (plain_) {
    return plain_->wait(interest, deadline);
  }
  if (interest.backend && !backend_armed_) {
    arm_backend();
  }
  if (interest.backend && interest.writable && !room_armed_) {
    io_uring_sqe& entry = ring_->submission();
    io_uring_prep_poll_add(&entry, kBackendFile, POLLOUT);
    entry.flags |= IOSQE_FIXED_FILE;
    entry.user_data = user_data(Kind::kRoom, 0);
    room_armed_ = true;
  }
  const auto is_told = [&] {
    return ready_.watched != 0 || (ready_.gone && interest.backend) ||
           (ready_.readable && interest.readable) || (ready_.writable && interest.writable);
  };
  ask_if_gone(interest);  // of what was told since the last time, which may be all that ever is
  if (is_told()) {
    deadline = Clock::time_point{};
  }
  do {
    environment_->counters.syscalls.add(1);
    ring_->submit_and_wait_until(deadline);
    take_completions({});
    if (ring_->failure() != 0) {
      give_up();
      // What was told already counts once more; what comes is told by the other calls.
      return is_told() ? std::exchange(ready_, {}) : plain_->wait(interest, deadline);
    }
    ask_if_gone(interest);
  } while (!is_told() && (!deadline || Clock::now() < *deadline));
  return std::exchange(ready_, {});
}

// A wake-up tells what woke and not what is: that of a tap that is deleted looks like one for a frame.
// Whoever is told of frames reads and so finds out, most of the time; so it is asked before the next sleep.
void UringCalls::ask_if_gone(const Interest& interest) {
  if (!interest.backend || (interest.readable && ready_.readable) || !std::exchange(backend_told_, false)) {
    return;
  }
  ready_.gone = ready_.gone || has_hung_up(environment_->fd, environment_->counters);
}

void UringCalls::take_completions(std::span<FrameCall> calls) {
  ring_->take_completions([&](const io_uring_cqe& completion) {
    const auto number = static_cast<std::uint32_t>(completion.user_data);
    switch (static_cast<Kind>(completion.user_data >> 32)) {
      case Kind::kNone:  // a poll was removed
        --removals_due_;
        break;
      case Kind::kWatched:
        take_watched(number, completion);
        break;
      case Kind::kBackend:
        take_backend(completion);
        break;
      case Kind::kRoom:
        room_armed_ = false;
        ready_.writable = true;
        break;
      case Kind::kFrame:
        CHECK(number < calls.size() && frames_due_ > 0);
        calls[number].result = completion.res;
        --frames_due_;
        ++frames_done_;
        break;
    }
  });
}

void UringCalls::take_watched(std::uint32_t number, const io_uring_cqe& completion) {
  const unsigned bit = number & kBitMask;
  if (watched_[bit].fd < 0 || watched_number(bit) != number) {
    return;
  }
  std::uint64_t count = 0;
  environment_->counters.syscalls.add(1);
  if (::read(watched_[bit].fd, &count, sizeof count) == sizeof count) {
    ready_.watched |= std::uint64_t{1} << bit;
  }
  if ((completion.flags & IORING_CQE_F_MORE) == 0) {
    arm_watched(bit);
  }
}

void UringCalls::take_backend(const io_uring_cqe& completion) {
  backend_told_ = true;
  if (completion.res >= 0) {
    const auto events = static_cast<unsigned>(completion.res);
    ready_.gone = ready_.gone || (events & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    ready_.readable = ready_.readable || (events & POLLIN) != 0;
  }
  if ((completion.flags & IORING_CQE_F_MORE) == 0) {
    backend_armed_ = false;
  }
}

std::size_t UringCalls::read(std::span<FrameCall> calls) {
  if (plain_ || calls.size() < kRingReads || !knows_nowait_) {
    return read_each(environment_->fd, calls, environment_->counters);
  }
  const std::size_t done = run_batch(calls, IORING_OP_READ_FIXED);
  if (done == 0 || calls[0].result == -EOPNOTSUPP) {
    knows_nowait_ = done == 0;
    return read_each(environment_->fd, calls, environment_->counters);
  }
  return done;
}

std::size_t UringCalls::write(std::span<FrameCall> calls) {
  if (plain_ || calls.size() < kRingWrites || !environment_->never_full) {
    return write_each(environment_->fd, calls, environment_->counters);
  }
  std::size_t done = run_batch(calls, IORING_OP_WRITE_FIXED);
  if (done != 0 && calls[0].result == -EOPNOTSUPP) {
    knows_nowait_ = false;  // nothing was written, and all of it is without asking for that
    done = run_batch(calls, IORING_OP_WRITE_FIXED);
  }
  return done == 0 ? write_each(environment_->fd, calls, environment_->counters) : done;
}

std::size_t UringCalls::run_batch(std::span<FrameCall> calls, std::uint8_t fixed_opcode) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    io_uring_sqe& entry = ring_->submission();
    prepare(entry, calls[i], fixed_opcode);
    entry.user_data = user_data(Kind::kFrame, static_cast<std::uint32_t>(i));
  }
  environment_->counters.ring_calls.add(calls.size());
  frames_due_ = calls.size();
  frames_done_ = 0;
  while (frames_due_ > 0) {
    environment_->counters.syscalls.add(1);
    ring_->submit_and_wait(static_cast<unsigned>(frames_due_));
    take_completions(calls);
    if (ring_->failure() != 0) {
      // Whatever was submitted is done, in order, and the rest never is.
      give_up();
      break;
    }
  }
  return frames_done_;
}

void UringCalls::prepare(io_uring_sqe& entry, const FrameCall& call, std::uint8_t fixed_opcode) {
  const bool reads = fixed_opcode == IORING_OP_READ_FIXED;
  const iovec& first = call.iov[0];
  const auto bytes = static_cast<unsigned>(first.iov_len);
  if (call.in_arena) {
    const std::size_t part = environment_->arena.part_of(first.iov_base);
    const bool fixed = is_registered(part);
    const std::uint8_t plain = reads ? IORING_OP_READ : IORING_OP_WRITE;
    io_uring_prep_rw(fixed ? fixed_opcode : plain, &entry, kBackendFile, first.iov_base, bytes, 0);
    entry.buf_index = fixed ? static_cast<std::uint16_t>(part) : std::uint16_t{0};
  } else if (call.iov.size() == 1) {
    io_uring_prep_rw(reads ? IORING_OP_READ : IORING_OP_WRITE, &entry, kBackendFile, first.iov_base, bytes,
                     0);
  } else {
    io_uring_prep_rw(reads ? IORING_OP_READV : IORING_OP_WRITEV, &entry, kBackendFile, call.iov.data(),
                     static_cast<unsigned>(call.iov.size()), 0);
  }
  entry.flags |= IOSQE_FIXED_FILE;
  // What cannot be done at once says so, in place of waiting in the ring. A write always can, but for that
  // nothing depends on it.
  entry.rw_flags = knows_nowait_ ? RWF_NOWAIT : 0;
}

// At the first use, which is after the driver has begun: only active devices pin memory.
bool UringCalls::is_registered(std::size_t part) {
  const auto ended = [](const Status& status) {
    return status ? Registration::kDone : Registration::kRefused;
  };
  if (table_ == Registration::kNotTried) {
    table_ = ended(ring_->reserve_buffers(FrameArena::kParts));
  }
  if (parts_[part] == Registration::kNotTried && table_ == Registration::kDone) {
    parts_[part] = ended(ring_->register_buffer(static_cast<unsigned>(part), environment_->arena.part(part)));
  }
  return parts_[part] == Registration::kDone;
}

}  // namespace tapir::net
