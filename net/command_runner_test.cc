// SPDX-License-Identifier: Apache-2.0
#include "net/command_runner.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "net/base/scope_exit.h"
#include "net/testing/helper_directory.h"

namespace tapir::net {
namespace {

using namespace std::chrono_literals;
using net::testing::has_no_children;
using net::testing::HelperDirectory;
using net::testing::open_descriptors;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Clock = ChildProcess::Clock;
using Wake = ChildProcess::Wake;

std::vector<std::string> split(std::string_view command) {
  auto words = split_command(command);
  return words ? *words : std::vector<std::string>{"error: " + words.error().message()};
}

TEST(SplitCommand, BlanksSeparateWords) {
  EXPECT_THAT(split("/bin/helper"), ElementsAre("/bin/helper"));
  EXPECT_THAT(split("  sudo -n\t/bin/helper\n "), ElementsAre("sudo", "-n", "/bin/helper"));
}

TEST(SplitCommand, QuotesKeepBlanksTogether) {
  EXPECT_THAT(split(R"('/my helpers/h' --br=br1)"), ElementsAre("/my helpers/h", "--br=br1"));
  EXPECT_THAT(split(R"("/my helpers/h" --br=br1)"), ElementsAre("/my helpers/h", "--br=br1"));
  EXPECT_THAT(split(R"(/my' 'helpers/"h i")"), ElementsAre("/my helpers/h i"));
  EXPECT_THAT(split(R"(h '' "")"), ElementsAre("h", "", ""));
  EXPECT_THAT(split(R"(h "it's" 'say "x"')"), ElementsAre("h", "it's", "say \"x\""));
}

TEST(SplitCommand, ABackslashTakesTheNextCharacterLiterally) {
  EXPECT_THAT(split(R"(/my\ helpers/h \" \' \\ \n)"), ElementsAre("/my helpers/h", "\"", "'", "\\", "n"));
}

TEST(SplitCommand, InDoubleQuotesABackslashEscapesOnlyItselfAndTheQuote) {
  EXPECT_THAT(split(R"(h "a\"b" "a\\b" "a\nb" "a\'b" "\$x")"),
              ElementsAre("h", "a\"b", "a\\b", "a\\nb", "a\\'b", "\\$x"));
}

TEST(SplitCommand, InSingleQuotesABackslashIsOrdinary) {
  EXPECT_THAT(split(R"(h 'a\' '\\')"), ElementsAre("h", "a\\", "\\\\"));
}

TEST(SplitCommand, NothingHasTheMeaningItHasInAShell) {
  EXPECT_THAT(split("h $(x) `x` $HOME ~ * ; & | > # {a,b}"),
              ElementsAre("h", "$(x)", "`x`", "$HOME", "~", "*", ";", "&", "|", ">", "#", "{a,b}"));
}

TEST(SplitCommand, WhatIsNoCommandIsNamed) {
  EXPECT_THAT(split("h 'a b"), ElementsAre("error: command 'h 'a b' has a ' without its other half"));
  EXPECT_THAT(split("h \"a b"), ElementsAre("error: command 'h \"a b' has a \" without its other half"));
  EXPECT_THAT(split("h \"a\\\""), ElementsAre(HasSubstr("has a \" without its other half")));
  EXPECT_THAT(split("h \"a\\"), ElementsAre(HasSubstr("has a \" without its other half")));
  EXPECT_THAT(split("h \\"), ElementsAre("error: command 'h \\' ends with a backslash; write \\\\ for one"));
  EXPECT_THAT(split(""), ElementsAre("error: command '' names no program"));
  EXPECT_THAT(split(" \t"), ElementsAre(HasSubstr("names no program")));
  EXPECT_THAT(split("'' x"), ElementsAre("error: command ''' x' names no program"));
}

TEST(OneLine, IsWhatAProgramWroteWithoutItsLineEnds) {
  EXPECT_EQ(one_line("plain text\n"), "plain text");
  EXPECT_EQ(one_line("one\ntwo\tthree\r\n\n"), "one; two three");
  EXPECT_EQ(one_line("\n \n"), "");
}

TEST(OneLine, IsHarmlessAndShort) {
  EXPECT_EQ(one_line("\x1B[31mred\a\rx\n"), "\\x1b[31mred\\x07\\x0dx");
  EXPECT_EQ(one_line(std::string(512, 'x')), std::string(512, 'x'));
  EXPECT_EQ(one_line(std::string(513, 'x')), std::string(512, 'x') + "...");
}

TEST(ExitStatus, HasASentence) {
  EXPECT_EQ((ExitStatus{.code = 3}).to_string(), "exited with status 3");
  EXPECT_EQ((ExitStatus{.signal = SIGKILL}).to_string(), "was killed by SIGKILL");
  EXPECT_EQ((ExitStatus{.signal = SIGRTMIN}).to_string(), "was killed by signal 34");
  EXPECT_TRUE(ExitStatus{}.success());
  EXPECT_FALSE((ExitStatus{.code = 1}).success());
  EXPECT_FALSE((ExitStatus{.signal = SIGTERM}).success());
}

class ChildProcessTest : public ::testing::Test {
 protected:
  void SetUp() override { before_ = open_descriptors(); }
  void TearDown() override {
    EXPECT_EQ(open_descriptors(), before_);
    EXPECT_TRUE(has_no_children());
  }

  static ChildProcess start(const std::vector<std::string>& words, const ChildDescriptors& descriptors = {}) {
    auto child = ChildProcess::start(words, descriptors);
    EXPECT_TRUE(child) << child.error().message();
    return *std::move(child);
  }
  // What /bin/sh is told is of the test; nothing else here knows a shell.
  static ChildProcess start_script(const std::string& script, const ChildDescriptors& descriptors = {}) {
    return start({"/bin/sh", "-c", script}, descriptors);
  }
  static Clock::time_point soon() { return Clock::now() + 10s; }
  static std::string output_of(const std::string& script, ChildDescriptors descriptors = {}) {
    descriptors.capture_output = true;
    ChildProcess child = start_script(script, descriptors);
    EXPECT_TRUE(child.wait(soon()).value().success()) << child.errors();
    return child.output();
  }

  HelperDirectory directory_;

 private:
  std::vector<std::string> before_;
};

TEST_F(ChildProcessTest, TellsHowAProgramEnded) {
  EXPECT_EQ(start_script("exit 0").wait(soon()).value().to_string(), "exited with status 0");
  EXPECT_EQ(start_script("exit 7").wait(soon()).value().to_string(), "exited with status 7");
  EXPECT_EQ(start_script("kill -TERM $$").wait(soon()).value().to_string(), "was killed by SIGTERM");
}

TEST_F(ChildProcessTest, TellsItAgain) {
  ChildProcess child = start_script("exit 7");
  EXPECT_EQ(child.wait(Clock::time_point::max()).value().code, 7);
  EXPECT_EQ(child.wait(Clock::time_point::min()).value().code, 7);
}

TEST_F(ChildProcessTest, TellsItWhenSigchldWasIgnored) {
  struct sigaction before {};
  struct sigaction ignored {};
  ignored.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGCHLD, &ignored, &before), 0);
  const ScopeExit restore([&] { ::sigaction(SIGCHLD, &before, nullptr); });
  EXPECT_EQ(start_script("exit 7").wait(soon()).value().code, 7);
}

TEST_F(ChildProcessTest, KeepsWhatAProgramWrites) {
  ChildProcess child = start_script("echo out; echo err >&2", {.capture_output = true});
  ASSERT_TRUE(child.wait(soon()));
  EXPECT_EQ(child.output(), "out\n");
  EXPECT_EQ(child.errors(), "err\n");
}

TEST_F(ChildProcessTest, DiscardsOutputThatNobodyAskedFor) {
  ChildProcess child = start_script("echo out; exec 3>&1; readlink /proc/self/fd/3 >&2");
  ASSERT_TRUE(child.wait(soon()));
  EXPECT_EQ(child.output(), "");
  EXPECT_EQ(child.errors(), "/dev/null\n");
}

TEST_F(ChildProcessTest, KeepsTheFirst4KiBAndReadsTheRest) {
  ChildProcess child =
      start_script("dd if=/dev/zero bs=1M count=1 2>/dev/null; dd if=/dev/zero bs=1M count=1 >&2 2>/dev/null",
                   {.capture_output = true});
  EXPECT_TRUE(child.wait(soon()).value().success());
  EXPECT_EQ(child.output().size(), 4096U);
  EXPECT_EQ(child.errors().size(), 4096U);
}

TEST_F(ChildProcessTest, AProgramThatClosedItsStreamsIsWaitedFor) {
  const auto begin = Clock::now();
  EXPECT_EQ(start_script("exec >&- 2>&-; sleep 0.2; exit 3").wait(soon()).value().code, 3);
  EXPECT_GE(Clock::now() - begin, 200ms);
}

TEST_F(ChildProcessTest, WaitsNoLongerThanTheDeadline) {
  ChildProcess child = start({"/bin/sleep", "100"});
  EXPECT_FALSE(child.wait(Clock::time_point::min()));
  const auto begin = Clock::now();
  EXPECT_FALSE(child.wait(begin + 50ms));
  EXPECT_GE(Clock::now() - begin, 50ms);
  EXPECT_LT(Clock::now() - begin, 10s);
}

TEST_F(ChildProcessTest, AProgramThatNeverStopsWritingDoesNotHoldTheDeadlineUp) {
  ChildProcess child = start({"/usr/bin/yes"}, {.capture_output = true});
  EXPECT_FALSE(child.wait(Clock::now() + 50ms));
}

TEST_F(ChildProcessTest, IsKilledWithItsGroupAndReapedByTheDestructor) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  {
    // Both the shell and its child ignore all signals that can be ignored.
    const ChildProcess child = start_script("trap '' TERM HUP INT; sleep 100 & echo x >&3; wait; sleep 100",
                                            {.kept = {writer.get()}});
    writer.reset();
    std::array<char, 2> line;
    ASSERT_EQ(::read(reader.get(), line.data(), line.size()), 2);
  }
  pollfd writers{reader.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&writers, 1, 10000), 1) << "somebody lives and has it open";
  EXPECT_EQ(writers.revents, POLLHUP);
}

TEST_F(ChildProcessTest, WhatAnEndedProgramLeftBehindLivesOnAndIsNotWaitedFor) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const auto begin = Clock::now();
  {
    ChildProcess child = start_script("(sleep 0.5; echo alive >&3) & exit 0", {.kept = {writer.get()}});
    EXPECT_TRUE(child.wait(soon()).value().success());
    EXPECT_LT(Clock::now() - begin, 400ms);
  }
  writer.reset();
  std::array<char, 8> text;
  EXPECT_EQ(::read(reader.get(), text.data(), text.size()), 6);
}

TEST_F(ChildProcessTest, MovesWithItsProgram) {
  ChildProcess first = start_script("echo x >&2; exit 7");
  ChildProcess second = std::move(first);
  EXPECT_EQ(second.wait(soon()).value().code, 7);
  EXPECT_EQ(second.errors(), "x\n");
}

TEST_F(ChildProcessTest, WaitsForADescriptorBesides) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  ChildProcess child = start_script("echo x >&3", {.kept = {writer.get()}});
  EXPECT_EQ(child.wait_for(reader.get(), soon()), Wake::kReadable);
  std::array<char, 8> text;
  ASSERT_EQ(::read(reader.get(), text.data(), text.size()), 2);
  EXPECT_EQ(child.wait_for(reader.get(), soon()), Wake::kEnded);
  writer.reset();
  EXPECT_EQ(child.wait_for(reader.get(), soon()), Wake::kReadable) << "the end of the pipe";
  ChildProcess sleeper = start({"/bin/sleep", "100"});
  EXPECT_EQ(sleeper.wait_for(-1, Clock::now() + 1ms), Wake::kDeadline);
}

TEST_F(ChildProcessTest, WhatAProgramSentBeforeItEndedIsSeenFirst) {
  for (int i = 0; i < 200; ++i) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    ChildProcess child = start_script("echo >&3", {.kept = {writer.get()}});
    EXPECT_EQ(child.wait_for(reader.get(), soon()), Wake::kReadable);
  }
}

TEST_F(ChildProcessTest, AProgramHasOnlyTheDescriptorsItIsGiven) {
  const std::string fake = directory_.fake("nothing");
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);  // inherited by whoever is not told otherwise
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const UniqueFd high(::fcntl(reader.get(), F_DUPFD, 700));
  ASSERT_TRUE(start({fake}, {.kept = {high.get(), writer.get()}}).wait(soon()).value().success());
  EXPECT_THAT(HelperDirectory::report(fake, "descriptor"),
              ::testing::UnorderedElementsAre("0 /dev/null", "1 /dev/null", "2 pipe", "3 pipe", "4 pipe"));
}

TEST_F(ChildProcessTest, AProgramReadsNothingUnlessItIsGivenSomething) {
  EXPECT_EQ(output_of("cat"), "");
  const std::string text = directory_.script("text", "to read");
  const UniqueFd input(::open(text.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(output_of("cat", {.input = input.get()}), "to read");
}

TEST_F(ChildProcessTest, StartsWhenTheStandardDescriptorsAreClosed) {
  std::vector<UniqueFd> saved;
  for (int fd : {0, 1, 2}) {
    saved.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 100));
    ::close(fd);
  }
  std::array<int, 2> ends{};
  const bool has_pipe = ::pipe2(ends.data(), O_CLOEXEC) == 0;  // 0 and 1
  std::string text;
  if (has_pipe) {
    text = output_of("echo sent >&3; cat; readlink /proc/self/fd/0 /proc/self/fd/3",
                     {.input = saved[0].get(), .kept = {ends[1], ends[0]}});
    ::close(ends[0]);
    ::close(ends[1]);
  }
  for (int fd : {0, 1, 2}) {
    ::dup2(saved[static_cast<std::size_t>(fd)].get(), fd);
  }
  EXPECT_TRUE(has_pipe);
  EXPECT_THAT(text, HasSubstr("pipe:["));
}

TEST_F(ChildProcessTest, SignalsAreAsAProgramExpectsThem) {
  const std::string fake = directory_.fake("nothing");
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  const auto sigpipe = ::signal(SIGPIPE, SIG_IGN);
  const auto sighup = ::signal(SIGHUP, SIG_IGN);
  const ScopeExit restore([&] {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::signal(SIGPIPE, sigpipe);
    ::signal(SIGHUP, sighup);
  });
  ASSERT_TRUE(start({fake}).wait(soon()).value().success());
  EXPECT_THAT(HelperDirectory::report(fake, "SigBlk:"), ElementsAre("0"));
  EXPECT_THAT(HelperDirectory::report(fake, "SigIgn:"), ElementsAre("0"));
}

TEST_F(ChildProcessTest, ArgumentsArriveAsTheyAre) {
  const std::string fake = directory_.fake("nothing");
  ASSERT_TRUE(start({fake, "a b", "", "$(touch x)", "--fd=3"}).wait(soon()).value().success());
  EXPECT_THAT(HelperDirectory::report(fake, "argument"),
              ElementsAre(fake, "a b", "", "$(touch x)", "--fd=3"));
}

TEST_F(ChildProcessTest, OnlyAWordWithoutASlashIsSearchedForInPath) {
  directory_.script("tapir-test-program", "#!/bin/sh\nexit 5\n");
  const std::string path = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe): one thread
  ASSERT_EQ(::setenv("PATH", directory_.path().c_str(), 1), 0);
  const ScopeExit restore([&] { ::setenv("PATH", path.c_str(), 1); });
  EXPECT_EQ(ChildProcess::start({"tapir-no-such-program"}, {}).error().code(), ENOENT);
  EXPECT_EQ(start({"tapir-test-program"}).wait(soon()).value().code, 5);
  EXPECT_FALSE(ChildProcess::start({"./tapir-test-program"}, {}));
}

TEST_F(ChildProcessTest, WhatCannotBeStartedIsNamedWithTheCause) {
  const auto error = [](const std::string& program) {
    auto child = ChildProcess::start({program, "x"}, {});
    return child ? Error("no error") : std::move(child).error();
  };
  EXPECT_EQ(error("/no/such/program").message(),
            "cannot start '/no/such/program': No such file or directory");
  EXPECT_EQ(error("/no/such/program").code(), ENOENT);
  EXPECT_EQ(error(directory_.path()).code(), EACCES);
  const std::string script = directory_.script("script", "#!/bin/sh\n");
  ASSERT_EQ(::chmod(script.c_str(), 0644), 0);
  EXPECT_EQ(error(script).code(), EACCES);
}

TEST_F(ChildProcessTest, AFileThatIsNoProgramIsNotGivenToAShell) {
  const std::string made = directory_.path() + "/made";
  const std::string file = directory_.script("no-program", "touch " + made + "\n");
  const auto child = ChildProcess::start({file}, {});
  ASSERT_FALSE(child);
  EXPECT_EQ(child.error().code(), ENOEXEC);
  EXPECT_FALSE(std::filesystem::exists(made));
}

TEST_F(ChildProcessTest, WithoutRoomForDescriptorsNothingIsLeftRunning) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const ScopeExit restore([&] { ::setrlimit(RLIMIT_NOFILE, &before); });
  const int used = static_cast<int>(open_descriptors().size());
  unsigned failures = 0;
  for (int room = 0; room < 16; ++room) {
    const rlimit limit{.rlim_cur = static_cast<rlim_t>(used + room), .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    auto child = ChildProcess::start({"/bin/true"}, {.capture_output = true});
    if (!child) {
      ++failures;
      EXPECT_EQ(child.error().code(), EMFILE) << child.error().message();
    } else {
      EXPECT_TRUE(child->wait(soon()).value().success());
    }
  }
  EXPECT_GE(failures, 8U);
  EXPECT_LT(failures, 16U);
}

}  // namespace
}  // namespace tapir::net
