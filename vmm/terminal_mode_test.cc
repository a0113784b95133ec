// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal_mode.h"

#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>

#include "net/base/check.h"
#include "vmm/testing/pty.h"

namespace tapir::vmm {
namespace {

using testing::Pty;
using testing::same_mode;

/// Runs `act` in a child after the child has made the terminal raw; returns the child's wait status.
int in_raw_child(const Pty& pty, const std::function<void()>& act) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    auto raw = RawMode::prepare(pty.program_side.get(), false);
    if (!raw) {
      ::_exit(99);
    }
    raw->enter();
    if (!pty.raw()) {
      ::_exit(98);
    }
    act();
    ::_exit(97);  // without destructors: what `act` ends by must have restored the mode itself
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

class RawModeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Not what a new terminal has, so that "restored" is more than "reset".
    termios mode = pty_.mode();
    mode.c_lflag &= ~static_cast<tcflag_t>(ECHOE);
    mode.c_cc[VMIN] = 7;
    ASSERT_EQ(::tcsetattr(pty_.program_side.get(), TCSANOW, &mode), 0);
    before_ = pty_.mode();
  }
  void expect_restored() { EXPECT_TRUE(same_mode(pty_.mode(), before_)); }

  Pty pty_ = Pty::open();
  termios before_{};
};

TEST_F(RawModeTest, PassesKeysAndRestoresOnDestruction) {
  {
    const auto raw = RawMode::prepare(pty_.program_side.get(), false);
    ASSERT_TRUE(raw.has_value()) << raw.error().message();
    expect_restored();
    raw->enter();
    const termios mode = pty_.mode();
    EXPECT_EQ(mode.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0U);
    EXPECT_EQ(mode.c_iflag & (ICRNL | IXON), 0U);
    EXPECT_NE(mode.c_oflag & OPOST, 0U);
    EXPECT_EQ(mode.c_cc[VMIN], 1);
  }
  expect_restored();
}

TEST_F(RawModeTest, KeepsTheSignalKeysWhenAsked) {
  const auto raw = RawMode::prepare(pty_.program_side.get(), true);
  ASSERT_TRUE(raw.has_value());
  raw->enter();
  EXPECT_NE(pty_.mode().c_lflag & ISIG, 0U);
  EXPECT_TRUE(pty_.raw());
}

TEST_F(RawModeTest, LeavesAndEntersAgain) {
  const auto raw = RawMode::prepare(pty_.program_side.get(), false);
  ASSERT_TRUE(raw.has_value());
  raw->enter();
  raw->leave();
  expect_restored();
  raw->leave();
  raw->enter();
  EXPECT_TRUE(pty_.raw());
}

TEST_F(RawModeTest, RefusesWhatIsNoTerminal) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(RawMode::prepare(null.get(), false).has_value());
}

TEST_F(RawModeTest, RestoresAtExit) {
  const int status = in_raw_child(pty_, [] { std::quick_exit(3); });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
  expect_restored();
}

TEST_F(RawModeTest, RestoresBeforeUnderscoreExitWhenAsked) {
  const int status = in_raw_child(pty_, [] {
    restore_terminal();
    ::_exit(4);
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 4) << status;
  expect_restored();
}

TEST_F(RawModeTest, RestoresWhenACheckFails) {
  const int status = in_raw_child(pty_, [] { CHECK(1 > 2); });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
  expect_restored();
}

class RawModeSignalTest : public RawModeTest, public ::testing::WithParamInterface<int> {};

TEST_P(RawModeSignalTest, RestoresAndDiesOfTheSignal) {
  const int status = in_raw_child(pty_, [] { ::raise(GetParam()); });
  // A sanitizer's handler for faults runs after ours and exits.
  EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == GetParam() : WEXITSTATUS(status) < 97) << status;
  expect_restored();
}

INSTANTIATE_TEST_SUITE_P(Fatal, RawModeSignalTest,
                         ::testing::Values(SIGSEGV, SIGBUS, SIGILL, SIGABRT, SIGFPE, SIGSYS, SIGTRAP, SIGQUIT,
                                           SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU));

TEST_F(RawModeTest, LeavesTheTerminalAloneInTheBackground) {
  // A session of its own, whose terminal this is, with a job in front and one behind.
  const pid_t shell = ::fork();
  if (shell == 0) {
    if (::setsid() < 0 || ::ioctl(pty_.program_side.get(), TIOCSCTTY, 0) < 0) {
      ::_exit(10);
    }
    const pid_t job = ::fork();
    if (job == 0) {
      if (::setpgid(0, 0) < 0) {  // never in front: the shell's group has the terminal
        ::_exit(11);
      }
      auto raw = RawMode::prepare(pty_.program_side.get(), false);
      if (!raw) {
        ::_exit(12);
      }
      raw->enter();
      ::_exit(raw->in_foreground() || pty_.raw() ? 13 : 0);
    }
    int status = 0;
    // WUNTRACED: a job that touches the terminal is stopped, and must not hang the test.
    if (::waitpid(job, &status, WUNTRACED) != job) {
      ::_exit(14);
    }
    if (WIFSTOPPED(status)) {
      ::kill(job, SIGKILL);
      ::_exit(15);
    }
    ::_exit(WEXITSTATUS(status));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(shell, &status, 0), shell);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace tapir::vmm
