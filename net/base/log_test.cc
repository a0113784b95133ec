// SPDX-License-Identifier: Apache-2.0
#include "net/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "net/base/scope_exit.h"
#include "net/base/unique_fd.h"

namespace tapir {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

// Every test starts and ends with the default level.
class LogTest : public testing::Test {
 protected:
  void TearDown() override { set_log_level(LogLevel::kWarning); }
};

// Puts `fd` in the place of stderr until the end of the scope.
class StderrReplaced {
 public:
  explicit StderrReplaced(int fd) : saved_(::dup(STDERR_FILENO)) { ::dup2(fd, STDERR_FILENO); }
  StderrReplaced(const StderrReplaced&) = delete;
  StderrReplaced& operator=(const StderrReplaced&) = delete;
  ~StderrReplaced() { ::dup2(saved_.get(), STDERR_FILENO); }

 private:
  UniqueFd saved_;
};

TEST_F(LogTest, PrefixesTheLevel) {
  set_log_level(LogLevel::kDebug);
  CaptureStderr();
  log(LogLevel::kError, "one");
  log(LogLevel::kWarning, "two");
  log(LogLevel::kInfo, "three");
  log(LogLevel::kDebug, "four");
  EXPECT_EQ(GetCapturedStderr(), "tapir: one\ntapir: warning: two\ntapir: three\ntapir: debug: four\n");
}

TEST_F(LogTest, PrintsWarningsButNoInformationAtFirst) {
  CaptureStderr();
  log(LogLevel::kInfo, "hidden");
  log(LogLevel::kWarning, "shown");
  EXPECT_EQ(GetCapturedStderr(), "tapir: warning: shown\n");
  EXPECT_TRUE(log_enabled(LogLevel::kError));
  EXPECT_FALSE(log_enabled(LogLevel::kDebug));
}

TEST_F(LogTest, CutsALineThatAPipeDoesNotTakeWhole) {
  CaptureStderr();
  log(LogLevel::kError, std::string(10000, 'x'));
  const std::string line = GetCapturedStderr();
  EXPECT_EQ(line.size(), 4096U);
  EXPECT_EQ(line.back(), '\n');
}

TEST_F(LogTest, PrintsALineOfAnyLengthAsItIs) {
  const std::string text(10000, 'x');
  CaptureStderr();
  print_line(text);
  EXPECT_EQ(GetCapturedStderr(), text + '\n');
}

TEST_F(LogTest, DropsTheLineInsteadOfBlockingOnAFullPipe) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  // Filled through a non-blocking description of the same pipe; the one that is logged to blocks.
  const UniqueFd filler(::open(("/proc/self/fd/" + std::to_string(ends[1])).c_str(), O_WRONLY | O_NONBLOCK));
  const std::string filling(4096, 'x');
  while (::write(filler.get(), filling.data(), filling.size()) > 0) {
  }
  const StderrReplaced replaced(writer.get());
  log(LogLevel::kError, "nobody reads this");  // hangs here when wrong
  print_line("nor this");                      // or here
}

TEST_F(LogTest, DropsTheLineInsteadOfSigpipeWhenTheReaderIsGone) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd writer(ends[1]);
  ::close(ends[0]);
  const StderrReplaced replaced(writer.get());
  log(LogLevel::kError, "nobody reads this");  // dies here when wrong
}

TEST_F(LogTest, KeepsGuestMessagesToTenASecondAndSaysHowManyWereHeldBack) {
  // Other seconds may begin while this runs, so the count is a bound for as many seconds as passed.
  const auto start = RateLimit::Clock::now();
  CaptureStderr();
  constexpr unsigned kMessages = 1000;
  for (unsigned i = 0; i < kMessages; ++i) {
    log_guest(LogLevel::kWarning, "descriptor chain is a loop");
  }
  const auto passed = std::chrono::duration_cast<seconds>(RateLimit::Clock::now() - start).count();
  std::this_thread::sleep_for(milliseconds(1100));
  log_guest(LogLevel::kWarning, "and again");
  const std::string text = GetCapturedStderr();
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 11);
  EXPECT_LE(lines, (passed + 2) * 10 + 1);
  EXPECT_THAT(text, HasSubstr("tapir: warning: descriptor chain is a loop\n"));
  EXPECT_THAT(text, testing::ContainsRegex("and again \\([0-9]+ more like this were not shown\\)\n"));
}

TEST(RateLimit, GivesEachSecondItsLines) {
  RateLimit limit(2);
  const RateLimit::Clock::time_point start{seconds(100)};
  EXPECT_TRUE(limit.allow(start));
  EXPECT_TRUE(limit.allow(start + milliseconds(500)));
  EXPECT_FALSE(limit.allow(start + milliseconds(999)));
  EXPECT_TRUE(limit.allow(start + milliseconds(1000)));
  EXPECT_TRUE(limit.allow(start + milliseconds(5000)));
}

TEST(RateLimit, WorksFromTheFirstSecondOfTheClock) {
  RateLimit limit(1);
  EXPECT_TRUE(limit.allow(RateLimit::Clock::time_point{}));
  EXPECT_FALSE(limit.allow(RateLimit::Clock::time_point{}));
}

TEST(RateLimit, ALateClockReadingOpensNoOldSecond) {
  RateLimit limit(1);
  EXPECT_TRUE(limit.allow(RateLimit::Clock::time_point{seconds(10)}));
  EXPECT_FALSE(limit.allow(RateLimit::Clock::time_point{seconds(9)}));
}

TEST(RateLimit, CountsWhatItHeldBackOnce) {
  RateLimit limit(1);
  const RateLimit::Clock::time_point now{seconds(100)};
  EXPECT_EQ(limit.take_suppressed(), 0U);
  for (int i = 0; i < 4; ++i) {
    limit.allow(now);
  }
  EXPECT_EQ(limit.take_suppressed(), 3U);
  EXPECT_EQ(limit.take_suppressed(), 0U);
}

TEST(RateLimit, IsExactWithManyThreads) {
  RateLimit limit(10);
  const RateLimit::Clock::time_point now{seconds(100)};
  std::atomic<unsigned> allowed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        allowed += limit.allow(now) ? 1U : 0U;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(allowed, 10U);
  EXPECT_EQ(limit.take_suppressed(), 3990U);
}

}  // namespace
}  // namespace tapir
