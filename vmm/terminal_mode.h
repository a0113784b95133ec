// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"

namespace tapir::vmm {

/// Raw mode of the operator's terminal: bytes reach the guest as they are typed, without echo. Output
/// processing stays on, so that lines of tapir's own begin at the margin.
///
/// The mode outlives a process that does not put it back, and the shell is then hard to use. So it is put
/// back by the destructor, at exit() and quick_exit(), and by handlers of the signals that end a process
/// (among them SIGSEGV, SIGABRT and SIGSYS), which then let the signal have its way. Two ways out cannot be
/// caught: SIGKILL ("stty sane" helps), and _exit(), before which code of ours calls restore_terminal().
///
/// One object at a time in the process. Control thread, except for restore_terminal().
class RawMode {
 public:
  /// Remembers the mode of the borrowed `fd`, a terminal, without changing it yet. With `keep_signals`,
  /// Ctrl-C and its like still send signals instead of bytes.
  [[nodiscard]] static Result<RawMode> prepare(int fd, bool keep_signals);
  RawMode(RawMode&& other) noexcept;
  RawMode& operator=(RawMode&&) = delete;
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;
  ~RawMode();

  /// Raw mode on; not in the background, where the terminal is someone else's.
  void enter() const;
  /// The mode that was found; likewise. Harmless when it is off.
  void leave() const;
  /// Whether this process may use the terminal now: it is in its foreground process group, or the terminal is
  /// not the one that controls its session.
  bool in_foreground() const;

 private:
  RawMode(int fd, bool keep_signals) : fd_(fd), keep_signals_(keep_signals) {}
  int fd_;
  bool keep_signals_;
};

/// Puts the terminal back if it is raw. Async-signal-safe, any thread, harmless at any time.
void restore_terminal() noexcept;

/// Installs the handlers above; done by RawMode, and useful without a terminal for the line that they print.
/// Signals that are ignored stay so, and a handler that was there runs after ours.
void handle_fatal_signals();

}  // namespace tapir::vmm
