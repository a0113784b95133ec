// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::net {

/// The words of a command as an operator writes it. Blanks (space, tab, newline) separate words; '…' and "…"
/// keep them together; a backslash takes the next character literally, inside "…" only before \ and ", inside
/// '…' never. Nothing else has a meaning: no variable, no substitution, no pattern. Error: a quote or
/// backslash without its other half, or no program at all; it names the command. Any thread.
[[nodiscard]] Result<std::vector<std::string>> split_command(std::string_view command);

/// What a program wrote, as a part of one line of a message: its lines are joined by "; ", its tabs are
/// blanks, the rest is as by printable(), which cuts it at 512 bytes. Empty if there are only blanks.
std::string one_line(std::string_view text);

/// What a program gets from the descriptors here; all others are closed to it. Borrowed until start()
/// returns.
struct ChildDescriptors {
  std::optional<int> input = std::nullopt;  ///< its standard input; unset: /dev/null
  std::vector<int> kept = {};               ///< become its descriptors 3, 4, … in this order
  bool capture_output = false;              ///< keep its standard output; else that goes to /dev/null
};

/// How a program ended.
struct ExitStatus {
  int code = 0;    ///< of exit(3), when no signal ended it
  int signal = 0;  ///< that killed it, or 0

  bool success() const { return code == 0 && signal == 0; }
  /// "exited with status 1", "was killed by SIGKILL".
  std::string to_string() const;
};

/// A program that runs beside us: started without a shell, heard, waited for with a deadline. Whatever this
/// process does with signals and whichever descriptors it has, the program starts with default signal
/// actions, an empty signal mask, only the descriptors of ChildDescriptors, and a process group of its own.
/// One thread.
///
/// The destructor ends a program that still runs: SIGKILL to its process group, then it is reaped. One that
/// has become another user's (sudo) cannot be killed and is left to end by itself. A program that ended
/// leaves alone what it started in the background, but nothing hears that any more.
///
///     TAPIR_TRY_ASSIGN(ChildProcess child, ChildProcess::start({"/etc/tapir-ifup", "tap0"}, {}));
///     const auto status = child.wait(ChildProcess::Clock::now() + 5s);
///     if (!status) … it still runs
///     if (!status->success()) … status->to_string(), one_line(child.errors())
///
/// Source: posix_spawn(3), pidfd_open(2).
class ChildProcess {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Wake : std::uint8_t { kReadable, kEnded, kDeadline };

  /// `words`: the program, searched for in PATH if it has no slash, and its arguments. Error: "cannot start
  /// 'PROGRAM': No such file or directory" with the errno of execve(2) or of what comes before it.
  [[nodiscard]] static Result<ChildProcess> start(const std::vector<std::string>& words,
                                                  const ChildDescriptors& descriptors);

  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)),
        pidfd_(std::move(other.pidfd_)),
        output_(std::move(other.output_)),
        errors_(std::move(other.errors_)),
        status_(other.status_) {}
  ChildProcess& operator=(ChildProcess&&) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  /// How the program ended, or nothing if it still runs at the deadline (time_point::max(): there is none).
  std::optional<ExitStatus> wait(Clock::time_point deadline);

  /// Waits until `fd` (ignored if negative) can be read or has lost its other end, the program has ended, or
  /// the deadline has passed; the first of these that holds is returned.
  Wake wait_for(int fd, Clock::time_point deadline);

  /// What it has written so far: the first 4 KiB of each, the rest is read and forgotten.
  const std::string& output() const { return output_.text; }
  const std::string& errors() const { return errors_.text; }

  pid_t pid() const { return pid_; }

 private:
  // One of its output streams. Read without blocking, so that the program never waits for us.
  struct Capture {
    UniqueFd pipe;  // none: not captured, or ended
    std::string text;

    // Whether there may be more at once.
    bool read_some();
  };

  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  void reap();

  pid_t pid_;  // 0: moved away
  UniqueFd pidfd_;
  Capture output_;
  Capture errors_;
  std::optional<ExitStatus> status_;  // set once it is reaped
};

}  // namespace tapir::net
