// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::vmm {

/// The control thread's wait: descriptors, timers and signals, level-triggered, one callback at a time.
/// Everything but stop() belongs to the thread that calls run(). Callbacks may add, modify and remove any
/// descriptor, their own too; a callback removed in the meantime is not called any more, even if its event
/// was found already.
class EventLoop {
 public:
  /// `events`: EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR.
  using Callback = std::function<void(std::uint32_t events)>;

  [[nodiscard]] static Result<std::unique_ptr<EventLoop>> create();

  /// Watches a borrowed descriptor until remove(), which comes before its close. Regular files and /dev/null,
  /// which epoll refuses, count as always ready. Error: already watched, or the host's limit.
  [[nodiscard]] Status add(int fd, std::uint32_t events, Callback callback);
  /// Other events from now on; 0 pauses (EPOLLHUP and EPOLLERR of a real descriptor are reported all the
  /// same).
  [[nodiscard]] Status modify(int fd, std::uint32_t events);
  /// Harmless when it is not watched.
  void remove(int fd);

  /// Calls back until stop(). May be called again afterwards. Error: epoll_wait failed.
  [[nodiscard]] Status run();
  /// Makes run() return after the callback that it is in, or the next one at once. Any thread, and signal
  /// handlers.
  void stop();

 private:
  struct Watch {
    int fd;
    std::uint32_t events;
    Callback callback;
    bool always_ready;
  };

  EventLoop(UniqueFd epoll, EventFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  std::shared_ptr<Watch> find(int fd) const;
  bool any_always_ready() const;
  void dispatch(std::uint64_t id, std::uint32_t events);
  void dispatch_always_ready();

  UniqueFd epoll_;
  EventFd wake_;
  std::atomic<bool> stop_{false};
  // Events carry a number that is never used again, so that one found for a removed descriptor cannot reach
  // whatever was added under the same descriptor since.
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, std::shared_ptr<Watch>> watches_;
  std::map<int, std::uint64_t> ids_;
};

/// A timer of a loop (timerfd, CLOCK_MONOTONIC). Borrows the loop.
class LoopTimer {
 public:
  [[nodiscard]] static Result<std::unique_ptr<LoopTimer>> create(EventLoop& loop,
                                                                 std::function<void()> callback);
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;
  ~LoopTimer();

  /// Calls back after `first` (1 ns if not above 0), then every `interval` if that is above 0. Replaces what
  /// was set.
  void start(std::chrono::nanoseconds first, std::chrono::nanoseconds interval = std::chrono::nanoseconds(0));
  void cancel();

 private:
  LoopTimer(EventLoop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}
  EventLoop& loop_;
  UniqueFd fd_;
};

/// Signals as events of a loop (signalfd). Borrows the loop.
class SignalWatch {
 public:
  /// Blocks the signals in the calling thread and watches for them. Call it before any other thread is
  /// started, since a thread that has them unblocked would take their default action; children that are
  /// executed later need them unblocked again. They stay blocked after destruction, so that one that is still
  /// pending does not kill.
  [[nodiscard]] static Result<std::unique_ptr<SignalWatch>> create(EventLoop& loop,
                                                                   std::span<const int> signals,
                                                                   std::function<void(int number)> callback);
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch();

 private:
  SignalWatch(EventLoop& loop, UniqueFd fd) : loop_(loop), fd_(std::move(fd)) {}
  EventLoop& loop_;
  UniqueFd fd_;
};

}  // namespace tapir::vmm
