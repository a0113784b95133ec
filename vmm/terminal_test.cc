// SPDX-License-Identifier: Apache-2.0
#include "vmm/terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <string>

#include "vmm/testing/pty.h"

namespace tapir::vmm {
namespace {

using testing::Pty;
using testing::same_mode;

class TerminalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::create();
    ASSERT_TRUE(loop.has_value());
    loop_ = *std::move(loop);
    auto limit = LoopTimer::create(*loop_, [this] {
      ADD_FAILURE() << "nothing stopped the loop; input so far: " << input_;
      loop_->stop();
    });
    ASSERT_TRUE(limit.has_value());
    limit_ = *std::move(limit);
    limit_->start(std::chrono::seconds(30));
  }

  void open(int input_fd, int help_fd, TerminalOptions options = {}) {
    auto terminal = Terminal::create(*loop_, input_fd, help_fd, options,
                                     {[this](std::span<const std::byte> bytes) { return take(bytes); },
                                      [this] {
                                        quit_ = true;
                                        loop_->stop();
                                      }});
    ASSERT_TRUE(terminal.has_value()) << terminal.error().message();
    terminal_ = *std::move(terminal);
  }

  std::size_t take(std::span<const std::byte> bytes) {
    const std::size_t count = std::min(bytes.size(), room_);
    room_ -= count;
    input_.append(reinterpret_cast<const char*>(bytes.data()), count);
    if (input_.size() >= wanted_ || count < bytes.size()) {
      loop_->stop();
    }
    return count;
  }

  void type(int fd, std::string_view text) {
    ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<LoopTimer> limit_;
  Pty pty_ = Pty::open();
  std::string input_;
  std::size_t wanted_ = SIZE_MAX;
  std::size_t room_ = SIZE_MAX;
  bool quit_ = false;
  std::unique_ptr<Terminal> terminal_;
};

TEST_F(TerminalTest, PassesKeysAsTheyAreTyped) {
  const termios before = pty_.mode();
  open(pty_.program_side.get(), pty_.program_side.get());
  EXPECT_TRUE(pty_.raw());
  wanted_ = 5;
  type(pty_.operator_side.get(), "a\r\x03\x1a\x04");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "a\r\x03\x1a\x04");
  terminal_.reset();
  EXPECT_TRUE(same_mode(pty_.mode(), before));
}

TEST_F(TerminalTest, NeverMakesTheSharedDescriptorNonBlocking) {
  open(pty_.program_side.get(), pty_.program_side.get());
  EXPECT_EQ(::fcntl(pty_.program_side.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(TerminalTest, QuitsOnCtrlAX) {
  open(pty_.program_side.get(), pty_.program_side.get());
  type(pty_.operator_side.get(), "b\x01x");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_TRUE(quit_);
  EXPECT_EQ(input_, "b");
}

TEST_F(TerminalTest, PrintsHelpOnCtrlAH) {
  open(pty_.program_side.get(), pty_.program_side.get());
  wanted_ = 1;
  type(pty_.operator_side.get(), "\x01hz");
  ASSERT_TRUE(loop_->run().has_value());
  std::array<char, 512> shown{};
  const ssize_t count = ::read(pty_.operator_side.get(), shown.data(), shown.size());
  ASSERT_GT(count, 0);
  EXPECT_THAT(std::string(shown.data(), static_cast<std::size_t>(count)), ::testing::HasSubstr("Ctrl-A x"));
  EXPECT_EQ(input_, "z");
}

TEST_F(TerminalTest, LeavesCtrlAToTheGuestWithoutEscapes) {
  open(pty_.program_side.get(), pty_.program_side.get(), {false, false});
  wanted_ = 2;
  type(pty_.operator_side.get(), "\x01x");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "\x01x");
  EXPECT_FALSE(quit_);
}

TEST_F(TerminalTest, HoldsWhatTheGuestHasNoRoomFor) {
  open(pty_.program_side.get(), pty_.program_side.get());
  room_ = 2;
  type(pty_.operator_side.get(), "abcd");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "ab");
  room_ = SIZE_MAX;
  wanted_ = 4;
  terminal_->input_possible();
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "abcd");
}

TEST_F(TerminalTest, QuitsEvenWhenTheGuestTakesNoInput) {
  open(pty_.program_side.get(), pty_.program_side.get());
  room_ = 0;
  type(pty_.operator_side.get(), "abc");
  ASSERT_TRUE(loop_->run().has_value());
  type(pty_.operator_side.get(), "\x01x");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_TRUE(quit_);
}

TEST_F(TerminalTest, ReadsAPipeToItsEndAndGoesOn) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  open(out.get(), pty_.program_side.get());
  wanted_ = 3;
  type(in.get(), "end");
  in.reset();
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "end");
  // Were the end reported again and again, this would never be reached in peace: count the loop's turns.
  int turns = 0;
  auto done = LoopTimer::create(*loop_, [&] {
    if (++turns == 3) {
      loop_->stop();
    }
  });
  ASSERT_TRUE(done.has_value());
  (*done)->start(std::chrono::milliseconds(1), std::chrono::milliseconds(1));
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "end");
}

// Files and pipes carry data, in which a byte 0x01 means nothing.
TEST_F(TerminalTest, TakesNoEscapesFromAPipe) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  const UniqueFd in(ends[1]);
  open(out.get(), pty_.program_side.get());
  wanted_ = 7;
  type(in.get(), "ab\x01xc\x01h");
  ASSERT_TRUE(loop_->run().has_value());
  EXPECT_EQ(input_, "ab\x01xc\x01h");
  EXPECT_FALSE(quit_);
}

TEST_F(TerminalTest, HoldsAPipeBackInsteadOfDroppingInput) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  std::string text;
  for (int i = 0; text.size() < 200'000; ++i) {
    text += std::to_string(i) + "\n";
  }
  ASSERT_EQ(::fcntl(in.get(), F_SETPIPE_SZ, 256 * 1024), 256 * 1024);
  type(in.get(), text);
  in.reset();
  open(out.get(), pty_.program_side.get());
  wanted_ = text.size();
  while (input_.size() < text.size()) {
    room_ = 10'000;
    terminal_->input_possible();
    ASSERT_TRUE(loop_->run().has_value());
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(input_, text);
}

TEST_F(TerminalTest, TakesAClosedInputForNone) {
  open(-1, pty_.program_side.get());
}

TEST_F(TerminalTest, StopsWithTheTerminalRestoredAndGoesOnRaw) {
  const termios before = pty_.mode();
  const pid_t child = ::fork();
  if (child == 0) {
    open(pty_.program_side.get(), pty_.program_side.get());
    terminal_->suspend();
    ::_exit(pty_.raw() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status)) << status;
  EXPECT_TRUE(same_mode(pty_.mode(), before));
  ASSERT_EQ(::kill(child, SIGCONT), 0);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(TerminalTest, WaitsInTheBackgroundUntilItIsInFront) {
  const pid_t shell = ::fork();
  if (shell == 0) {
    if (::setsid() < 0 || ::ioctl(pty_.program_side.get(), TIOCSCTTY, 0) < 0) {
      ::_exit(10);
    }
    sigset_t ready;
    sigemptyset(&ready);
    sigaddset(&ready, SIGUSR1);
    ::sigprocmask(SIG_BLOCK, &ready, nullptr);
    const pid_t job = ::fork();
    if (job == 0) {
      ::setpgid(0, 0);
      open(pty_.program_side.get(), pty_.program_side.get());
      if (pty_.raw()) {
        ::_exit(11);
      }
      ::kill(::getppid(), SIGUSR1);
      const bool ran = loop_->run().has_value();
      ::_exit(ran && quit_ && input_ == "k" && pty_.raw() ? 0 : 12);
    }
    int number = 0;
    ::sigwait(&ready, &number);
    // "fg": the terminal is the job's, which is not even sent SIGCONT, since it never stopped.
    ::signal(SIGTTOU, SIG_IGN);
    ::tcsetpgrp(pty_.program_side.get(), job);
    type(pty_.operator_side.get(), "k\x01x\n");
    int status = 0;
    if (::waitpid(job, &status, WUNTRACED) != job || !WIFEXITED(status)) {
      ::kill(job, SIGKILL);
      ::_exit(13);
    }
    ::_exit(WEXITSTATUS(status));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(shell, &status, 0), shell);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace tapir::vmm
