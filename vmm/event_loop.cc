// SPDX-License-Identifier: Apache-2.0
#include "vmm/event_loop.h"

#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>
#include <vector>

#include "net/base/check.h"

namespace tapir::vmm {
namespace {

constexpr std::uint64_t kWakeId = 0;

timespec to_timespec(std::chrono::nanoseconds duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  timespec result{};
  result.tv_sec = seconds.count();
  result.tv_nsec = (duration - seconds).count();
  return result;
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) {
    return fail_errno("epoll_create1");
  }
  TAPIR_TRY_ASSIGN(EventFd wake, EventFd::create());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.fd(), &event) < 0) {
    return fail_errno("epoll_ctl");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

Status EventLoop::add(int fd, std::uint32_t events, Callback callback) {
  if (ids_.count(fd) != 0) {
    return fail("a descriptor is watched twice", EEXIST);
  }
  const std::uint64_t id = next_id_++;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  const bool always_ready = ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0;
  if (always_ready && errno != EPERM) {
    return fail_errno("epoll_ctl");
  }
  watches_.emplace(id, std::make_shared<Watch>(Watch{fd, events, std::move(callback), always_ready}));
  ids_.emplace(fd, id);
  return {};
}

Status EventLoop::modify(int fd, std::uint32_t events) {
  const auto watch = find(fd);
  if (!watch) {
    return fail("a descriptor is not watched", ENOENT);
  }
  if (!watch->always_ready) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = ids_.at(fd);
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) < 0) {
      return fail_errno("epoll_ctl");
    }
  }
  watch->events = events;
  return {};
}

void EventLoop::remove(int fd) {
  const auto watch = find(fd);
  if (!watch) {
    return;
  }
  if (!watch->always_ready) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
  watches_.erase(ids_.at(fd));
  ids_.erase(fd);
}

Status EventLoop::run() {
  std::array<epoll_event, 32> events{};
  while (!stop_.exchange(false)) {
    const int timeout = any_always_ready() ? 0 : -1;
    const int found = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
    if (found < 0 && errno != EINTR) {
      return fail_errno("epoll_wait");
    }
    for (int i = 0; i < found && !stop_.load(); ++i) {
      dispatch(events.at(static_cast<std::size_t>(i)).data.u64,
               events.at(static_cast<std::size_t>(i)).events);
    }
    dispatch_always_ready();
  }
  return {};
}

void EventLoop::stop() {
  stop_.store(true);
  wake_.signal();
}

std::shared_ptr<EventLoop::Watch> EventLoop::find(int fd) const {
  const auto id = ids_.find(fd);
  return id == ids_.end() ? nullptr : watches_.at(id->second);
}

bool EventLoop::any_always_ready() const {
  return std::any_of(watches_.begin(), watches_.end(), [](const auto& entry) {
    return entry.second->always_ready && entry.second->events != 0;
  });
}

void EventLoop::dispatch(std::uint64_t id, std::uint32_t events) {
  if (id == kWakeId) {
    wake_.clear();
    return;
  }
  if (const auto found = watches_.find(id); found != watches_.end()) {
    const auto watch = found->second;  // stays whole if its callback removes it
    watch->callback(events);
  }
}

void EventLoop::dispatch_always_ready() {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> ready;
  for (const auto& [id, watch] : watches_) {
    if (watch->always_ready && watch->events != 0) {
      ready.emplace_back(id, watch->events & (EPOLLIN | EPOLLOUT));
    }
  }
  for (const auto& [id, events] : ready) {
    if (!stop_.load()) {
      dispatch(id, events);
    }
  }
}

Result<std::unique_ptr<LoopTimer>> LoopTimer::create(EventLoop& loop, std::function<void()> callback) {
  UniqueFd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) {
    return fail_errno("timerfd_create");
  }
  const int descriptor = fd.get();
  TAPIR_TRY(loop.add(descriptor, EPOLLIN, [descriptor, callback = std::move(callback)](std::uint32_t) {
    std::uint64_t expirations = 0;
    // Nothing to read when the timer was cancelled or set anew by a callback before this one.
    if (::read(descriptor, &expirations, sizeof expirations) == sizeof expirations) {
      callback();
    }
  }));
  return std::unique_ptr<LoopTimer>(new LoopTimer(loop, std::move(fd)));
}

LoopTimer::~LoopTimer() {
  loop_.remove(fd_.get());
}

void LoopTimer::start(std::chrono::nanoseconds first, std::chrono::nanoseconds interval) {
  itimerspec setting{};
  // Zero would disarm it.
  setting.it_value = to_timespec(std::max(first, std::chrono::nanoseconds(1)));
  setting.it_interval = to_timespec(std::max(interval, std::chrono::nanoseconds(0)));
  CHECK(::timerfd_settime(fd_.get(), 0, &setting, nullptr) == 0);
}

void LoopTimer::cancel() {
  const itimerspec never{};
  CHECK(::timerfd_settime(fd_.get(), 0, &never, nullptr) == 0);
}

Result<std::unique_ptr<SignalWatch>> SignalWatch::create(EventLoop& loop, std::span<const int> signals,
                                                         std::function<void(int)> callback) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : signals) {
    sigaddset(&set, number);
  }
  if (const int code = ::pthread_sigmask(SIG_BLOCK, &set, nullptr); code != 0) {
    return fail_errno("pthread_sigmask", code);
  }
  UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) {
    return fail_errno("signalfd");
  }
  const int descriptor = fd.get();
  TAPIR_TRY(loop.add(descriptor, EPOLLIN, [descriptor, callback = std::move(callback)](std::uint32_t) {
    signalfd_siginfo info{};
    if (::read(descriptor, &info, sizeof info) == sizeof info) {
      callback(static_cast<int>(info.ssi_signo));
    }
  }));
  return std::unique_ptr<SignalWatch>(new SignalWatch(loop, std::move(fd)));
}

SignalWatch::~SignalWatch() {
  loop_.remove(fd_.get());
}

}  // namespace tapir::vmm
