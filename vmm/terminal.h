// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "vmm/event_loop.h"
#include "vmm/terminal_escape.h"
#include "vmm/terminal_mode.h"

namespace tapir::vmm {

struct TerminalOptions {
  bool keep_signals = false;  ///< Ctrl-C ends tapir instead of reaching the guest
  bool escapes = true;        ///< Ctrl-A is tapir's, on a terminal; elsewhere it is a byte like any other
};

/// The operator's keyboard as the guest's serial input: standard input, in raw mode if it is a terminal, read
/// by the event loop. Never makes a descriptor that others share non-blocking (O_NONBLOCK would be the
/// shell's as well).
///
/// In the background it neither reads nor changes the terminal, which would stop the process; it looks once a
/// second whether it is in the foreground again. End of input is no end of the guest.
///
/// Control thread, except for input_possible(). Borrows the loop and the descriptors. The owner routes
/// SIGTSTP to suspend() and SIGCONT to resume() (SignalWatch).
class Terminal {
 public:
  struct Handlers {
    /// Takes input for the guest and returns how many bytes it took; the rest is offered again after
    /// input_possible().
    std::function<std::size_t(std::span<const std::byte>)> input;
    std::function<void()> quit;  ///< Ctrl-A x
  };

  /// Begins to read `input_fd`; help is written to `help_fd`. Error: the loop or the terminal refuses.
  [[nodiscard]] static Result<std::unique_ptr<Terminal>> create(EventLoop& loop, int input_fd, int help_fd,
                                                                TerminalOptions options, Handlers handlers);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  /// The guest has room for input again. Any thread.
  void input_possible() { retry_.signal(); }

  /// Ctrl-Z: the terminal as it was found, then the process stops; on SIGCONT it goes on as resume() does.
  void suspend();
  /// After SIGCONT: raw again, if in the foreground.
  void resume();

 private:
  enum class Reading : std::uint8_t { kNever, kYes, kFull, kBackground, kEnded };
  /// More than this is not held for a guest that does not read. A pipe then waits; from a terminal the rest
  /// is dropped, because Ctrl-A x must get through.
  static constexpr std::size_t kMaxPending = std::size_t{64} * 1024;

  Terminal(EventLoop& loop, int input_fd, int help_fd, TerminalOptions options, Handlers handlers,
           EventFd retry);
  Status start();
  void set_reading(Reading reading);
  void on_readable();
  void on_bytes(std::span<const std::byte> bytes);
  void deliver();
  void print_help() const;

  EventLoop& loop_;
  const int input_fd_;
  const int help_fd_;
  const TerminalOptions options_;
  Handlers handlers_;
  EventFd retry_;
  std::optional<RawMode> raw_;  ///< only of a terminal
  std::unique_ptr<LoopTimer> foreground_timer_;
  EscapeParser parser_;
  std::vector<std::byte> pending_;
  Reading reading_ = Reading::kNever;
};

}  // namespace tapir::vmm
