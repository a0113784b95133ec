// SPDX-License-Identifier: Apache-2.0
// Construction and the wait; see frame_engine_receive.cc and frame_engine_transmit.cc for the frames.
#include "net/frame_engine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "net/base/log.h"
#include "net/frame_fault.h"
#include "net/tap.h"

namespace tapir::net {
namespace {

// A tap whose send buffer nobody has limited takes every frame (drivers/net/tun.c, tun_alloc_skb).
bool is_never_full(const FramePort& port) {
  int bytes = 0;
  return port.is_tap && ::ioctl(port.fd.get(), TUNGETSNDBUF, &bytes) == 0 && bytes == INT_MAX;
}

}  // namespace

Result<std::unique_ptr<FrameEngine>> FrameEngine::create(FramePort port, std::unique_ptr<FrameCalls> calls,
                                                         const FrameEngineOptions& options) {
  const int flags = ::fcntl(port.fd.get(), F_GETFL);
  if (flags < 0) {
    return fail_errno(fmt::format("descriptor {} of the backend", port.fd.get()));
  }
  if ((flags & O_NONBLOCK) == 0) {
    return fail(fmt::format("descriptor {} of the backend blocks; set O_NONBLOCK", port.fd.get()), EINVAL);
  }
  TAPIR_TRY_ASSIGN(FrameArena arena, FrameArena::create());
  std::unique_ptr<FrameEngine> engine(
      new FrameEngine(std::move(port), std::move(calls), std::move(arena), options));
  TAPIR_TRY(engine->calls_->bind(
      {engine->port_.fd.get(), engine->arena_, engine->counters_, is_never_full(engine->port_)}));
  return engine;
}

FrameEngine::FrameEngine(FramePort port, std::unique_ptr<FrameCalls> calls, FrameArena arena,
                         const FrameEngineOptions& options)
    : port_(std::move(port)), calls_(std::move(calls)), arena_(std::move(arena)), options_(options) {
  for (std::size_t i = 0; i < receive_slots_.size(); ++i) {
    receive_slots_[i] = {arena_.receive_slot(i).data(), FrameArena::kReceiveBytes};
    reads_[i] = {std::span(&receive_slots_[i], 1), true};
  }
}

Status FrameEngine::set_offloads(unsigned tun_offloads) {
  if ((tun_offloads & ~port_.features.offloads) != 0) {
    return fail(fmt::format("offloads {:#x} are not among the backend's {:#x}", tun_offloads,
                            port_.features.offloads),
                EINVAL);
  }
  if (port_.is_tap && ::ioctl(port_.fd.get(), TUNSETOFFLOAD, tun_offloads) < 0) {
    // A tap or macvtap that was deleted has nobody to tell; receive() says so, and the driver may start all
    // the same.
    if (is_deleted_interface(errno)) {
      mark_gone();
      return {};
    }
    return fail_errno(fmt::format("cannot set the tap's offloads to {:#x}", tun_offloads));
  }
  return {};
}

Status FrameEngine::attach_queue(bool attached) {
  return attached ? Tap::attach_queue(port_.fd.get()) : Tap::detach_queue(port_.fd.get());
}

void FrameEngine::want_receive(bool wanted) {
  receive_wanted_ = wanted;
  starved_ = false;
}

FrameCalls::Ready FrameEngine::look(const FrameCalls::Interest& interest,
                                    std::optional<Clock::time_point> deadline) {
  if (options_.busy_poll.count() == 0 || deadline == Clock::time_point{}) {
    return calls_->wait(interest, deadline);
  }
  const Clock::time_point end =
      std::min(Clock::now() + options_.busy_poll, deadline.value_or(Clock::time_point::max()));
  do {
    const FrameCalls::Ready ready = calls_->wait(interest, Clock::time_point{});
    if (ready.watched != 0 || ready.readable || ready.writable || ready.gone) {
      return ready;
    }
  } while (Clock::now() < end);
  return calls_->wait(interest, deadline);
}

FrameIo::WaitResult FrameEngine::wait(std::optional<Clock::time_point> deadline) {
  counters_.waits.add(1);
  if (receive_wanted_ && !starved_ && pause_end_) {
    // Whoever waits for frames is told when the pause is over; a new failure starts a new one.
    deadline = std::min(deadline.value_or(*pause_end_), *pause_end_);
  }
  if (gone_ ? !gone_reported_ : may_receive() && has_frames()) {
    deadline = Clock::time_point{};
  }
  const FrameCalls::Ready ready =
      look({!gone_, !gone_ && may_receive() && !readable_, !gone_ && transmit_full_}, deadline);
  readable_ = readable_ || ready.readable;
  if (ready.gone) {
    mark_gone();
  }

  WaitResult result;
  result.watched = ready.watched;
  if (gone_) {
    result.receive = !std::exchange(gone_reported_, true);
    result.transmit = std::exchange(transmit_full_, false);
    return result;
  }
  if (receive_wanted_ && !starved_ && pause_end_ && Clock::now() >= *pause_end_) {
    pause_end_.reset();
    readable_ = true;  // or not: the next read tells
  }
  result.receive = may_receive() && has_frames();
  if (ready.writable) {
    // Told once: a caller that has nothing to send any more must not be woken again and again.
    result.transmit = std::exchange(transmit_full_, false);
  }
  return result;
}

void FrameEngine::log_unexpected(const char* direction, int error) {
  if (class_of_error(error) == FrameErrorClass::kOther && !std::exchange(logged_unexpected_, true)) {
    log(LogLevel::kWarning,
        fmt::format("{} a frame: {} (said once; counted from now on)", direction,
                    std::strerror(error)));  // NOLINT(concurrency-mt-unsafe): glibc's is safe
  }
}

}  // namespace tapir::net
