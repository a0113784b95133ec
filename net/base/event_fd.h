// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir {

/// A non-blocking, close-on-exec eventfd(2) used as a level: signalled or not. Any thread may signal.
class EventFd {
 public:
  [[nodiscard]] static Result<EventFd> create();

  /// Makes the descriptor readable. Async-signal-safe. Signalling twice before a clear() is one event.
  void signal() const;
  /// Makes it unreadable again; returns whether it was signalled.
  bool clear() const;
  int fd() const { return fd_.get(); }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace tapir
