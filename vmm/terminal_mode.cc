// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal_mode.h"

#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <utility>

#include "net/base/check.h"

namespace tapir::vmm {
namespace {

// What the handlers need. Written by the control thread only while `fd` is -1; that store publishes it.
struct Saved {
  std::atomic<int> fd{-1};
  std::atomic<bool> raw{false};
  termios mode{};
};
Saved saved;

// Faults of ours first, then whatever else would end the process and can be caught. SIGINT, SIGTERM and
// SIGHUP are not here: the control thread takes them as events.
constexpr std::array kFatalSignals{SIGSEGV, SIGBUS,  SIGILL,  SIGABRT, SIGFPE,  SIGSYS,
                                   SIGTRAP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM,
                                   SIGPROF, SIGXCPU, SIGXFSZ, SIGPOLL, SIGPWR};
std::array<struct sigaction, kFatalSignals.size()> previous_actions;

bool is_foreground(int fd) noexcept {
  const pid_t group = ::tcgetpgrp(fd);
  return group < 0 || group == ::getpgrp();
}

/// tcsetattr(3) without being stopped: a process that the shell just moved to the background is sent SIGTTOU
/// for it.
void set_mode(int fd, const termios& mode) noexcept {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  // TCSANOW never waits; TCSADRAIN would, for a terminal that takes no output.
  ::tcsetattr(fd, TCSANOW, &mode);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// "tapir: ended by signal 11" without anything that a signal handler must not call.
void print_signal(int number) noexcept {
  constexpr char kText[] = "tapir: ended by signal ";
  std::array<char, sizeof kText + 3> line{};
  std::size_t length = 0;
  for (; length + 1 < sizeof kText; ++length) {
    line[length] = kText[length];
  }
  if (number >= 10) {
    line[length++] = static_cast<char>('0' + number / 10 % 10);
  }
  line[length++] = static_cast<char>('0' + number % 10);
  line[length++] = '\n';
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), length);
}

void on_fatal_signal(int number) {
  const int saved_errno = errno;
  restore_terminal();
  if (number != SIGABRT) {  // whoever aborts has said why
    print_signal(number);
  }
  for (std::size_t i = 0; i < kFatalSignals.size(); ++i) {
    if (kFatalSignals[i] == number) {
      ::sigaction(number, &previous_actions[i], nullptr);
    }
  }
  // Blocked while this handler runs, so it arrives on return, at the very instruction that failed: a core
  // dump shows that place and not this one.
  ::raise(number);
  errno = saved_errno;
}

}  // namespace

void restore_terminal() noexcept {
  const int fd = saved.fd.load(std::memory_order_acquire);
  if (fd < 0 || !saved.raw.exchange(false)) {
    return;
  }
  const int saved_errno = errno;
  if (is_foreground(fd)) {
    set_mode(fd, saved.mode);
  }
  errno = saved_errno;
}

void handle_fatal_signals() {
  static std::atomic<bool> done{false};
  if (done.exchange(true)) {
    return;
  }
  struct sigaction action {};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < kFatalSignals.size(); ++i) {
    const int number = kFatalSignals.at(i);
    if (::sigaction(number, nullptr, &previous_actions.at(i)) == 0 &&
        previous_actions.at(i).sa_handler != SIG_IGN) {
      ::sigaction(number, &action, nullptr);
    }
  }
}

Result<RawMode> RawMode::prepare(int fd, bool keep_signals) {
  CHECK(saved.fd.load() < 0);
  if (::tcgetattr(fd, &saved.mode) < 0) {
    return fail_errno("read the mode of the terminal");
  }
  static std::atomic<bool> registered{false};
  if (!registered.exchange(true)) {
    std::atexit([] { restore_terminal(); });
    std::at_quick_exit([] { restore_terminal(); });
  }
  handle_fatal_signals();
  saved.fd.store(fd, std::memory_order_release);
  return RawMode(fd, keep_signals);
}

RawMode::RawMode(RawMode&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), keep_signals_(other.keep_signals_) {}

RawMode::~RawMode() {
  if (fd_ >= 0) {
    leave();
    saved.fd.store(-1);
  }
}

void RawMode::enter() const {
  if (!in_foreground()) {
    // Whoever took the terminal, the shell, has put its mode right.
    saved.raw.store(false);
    return;
  }
  termios mode = saved.mode;
  mode.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  mode.c_oflag |= OPOST;
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | IEXTEN);
  if (!keep_signals_) {
    mode.c_lflag &= ~static_cast<tcflag_t>(ISIG);
  }
  mode.c_cflag = (mode.c_cflag & ~static_cast<tcflag_t>(CSIZE | PARENB)) | CS8;
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  saved.raw.store(true);  // before the change: a signal in between restores once too often, not too seldom
  set_mode(fd_, mode);
}

void RawMode::leave() const {
  restore_terminal();
}

bool RawMode::in_foreground() const {
  return is_foreground(fd_);
}

}  // namespace tapir::vmm
