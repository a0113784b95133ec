// SPDX-License-Identifier: Apache-2.0
#include "vmm/broker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include "net/testing/helper_directory.h"

namespace tapir::vmm {
namespace {

using net::testing::HelperDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kRecord = "#!/bin/sh\necho \"$@\" >> \"$0.log\"\n";

class BrokerTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Broker> start() {
    auto broker = Broker::start();
    EXPECT_TRUE(broker) << broker.error().message();
    return broker ? *std::move(broker) : nullptr;
  }

  /// A command that writes its arguments down, and what was written.
  BrokerCommand record(const std::string& arguments) const { return {"-net x", {recorder_, arguments}}; }
  std::vector<std::string> recorded() const {
    std::ifstream file(recorder_ + ".log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
      lines.push_back(line);
    }
    return lines;
  }

  std::string script(const std::string& name, const std::string& text) const {
    return directory_.script(name, "#!/bin/sh\n" + text);
  }

 private:
  HelperDirectory directory_;
  const std::string recorder_ = directory_.script("record", std::string(kRecord));
};

/// Waits for a broker whose owner is gone, and which is this process's child since then; its wait status.
int wait_for_orphan(pid_t broker) {
  int status = -1;
  EXPECT_EQ(::waitpid(broker, &status, 0), broker);
  return status;
}

/// A process that has a broker with one command.
struct Owner {
  pid_t pid = 0;
  pid_t broker = 0;
};

/// Forks an owner in a process group of its own, which does `then` when all is ready.
Owner start_owner(const BrokerCommand& command, const std::function<void()>& then) {
  EXPECT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  Owner owner;
  owner.pid = ::fork();
  if (owner.pid == 0) {
    ::setpgid(0, 0);
    const auto broker = Broker::start();
    const bool ready = broker && (*broker)->add(command) && (*broker)->seal();
    const pid_t pid = ready ? (*broker)->pid() : -1;
    static_cast<void>(::write(ends[1], &pid, sizeof pid));
    then();
    ::_exit(0);
  }
  EXPECT_EQ(::read(ends[0], &owner.broker, sizeof owner.broker), ssize_t{sizeof owner.broker});
  EXPECT_GT(owner.broker, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  return owner;
}

void wait_for_ever() {
  for (;;) {
    ::pause();
  }
}

TEST_F(BrokerTest, RunsItsCommandsOnceAndInOrderWhenFinished) {
  const auto broker = start();
  ASSERT_TRUE(broker->add(record("first  one")));
  ASSERT_TRUE(broker->add(record("second '$HOME'")));
  ASSERT_TRUE(broker->seal());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_THAT(recorded(), IsEmpty());
  broker->finish();
  EXPECT_THAT(recorded(), ElementsAre("first  one", "second '$HOME'"));
  broker->finish();
  EXPECT_EQ(recorded().size(), 2U);
  EXPECT_TRUE(net::testing::has_no_children());
}

TEST_F(BrokerTest, RunsThemWhenTheObjectGoes) {
  { ASSERT_TRUE(start()->add(record("x"))); }
  EXPECT_THAT(recorded(), ElementsAre("x"));
}

TEST_F(BrokerTest, EndsWithoutCommands) {
  start()->finish();
  EXPECT_TRUE(net::testing::has_no_children());
}

TEST_F(BrokerTest, RunsThemWhenItsOwnerExits) {
  const Owner owner = start_owner(record("x"), [] {});
  EXPECT_EQ(::waitpid(owner.pid, nullptr, 0), owner.pid);
  EXPECT_EQ(wait_for_orphan(owner.broker), 0);
  EXPECT_THAT(recorded(), ElementsAre("x"));
}

TEST_F(BrokerTest, RunsThemWhenItsOwnerIsKilled) {
  const Owner owner = start_owner(record("x"), wait_for_ever);
  ASSERT_EQ(::kill(owner.pid, SIGKILL), 0);
  EXPECT_EQ(::waitpid(owner.pid, nullptr, 0), owner.pid);
  EXPECT_EQ(wait_for_orphan(owner.broker), 0);
  EXPECT_THAT(recorded(), ElementsAre("x"));
}

TEST_F(BrokerTest, SignalsToTheWholeGroupLeaveItToItsWork) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    const Owner owner = start_owner(record(std::to_string(number)), wait_for_ever);
    EXPECT_EQ(::kill(owner.broker, number), 0);
    ASSERT_EQ(::kill(-owner.pid, number), 0);
    int status = 0;
    EXPECT_EQ(::waitpid(owner.pid, &status, 0), owner.pid);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == number);
    EXPECT_EQ(wait_for_orphan(owner.broker), 0);
  }
  EXPECT_THAT(recorded(), ElementsAre(std::to_string(SIGINT), std::to_string(SIGTERM), std::to_string(SIGHUP),
                                      std::to_string(SIGQUIT)));
}

TEST_F(BrokerTest, HasASessionAndANameOfItsOwn) {
  const auto broker = start();
  EXPECT_EQ(::getsid(broker->pid()), broker->pid());
  std::string name;
  std::ifstream("/proc/" + std::to_string(broker->pid()) + "/comm") >> name;
  EXPECT_EQ(name, "tapir-broker");
}

TEST_F(BrokerTest, HoldsItsSocketAndStandardErrorOnly) {
  // As whoever starts us may leave them open: without close-on-exec, and with gaps.
  const UniqueFd low(::open("/dev/zero", O_RDWR));
  const UniqueFd high(::dup2(low.get(), 700));
  ASSERT_EQ(high.get(), 700);
  const auto broker = start();
  std::map<int, std::string> held;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(broker->pid()) + "/fd")) {
    held[std::stoi(entry.path().filename())] = std::filesystem::read_symlink(entry.path());
  }
  ASSERT_EQ(held.size(), 4U);
  EXPECT_EQ(held[STDIN_FILENO], "/dev/null");
  EXPECT_EQ(held[STDOUT_FILENO], "/dev/null");
  EXPECT_EQ(held[STDERR_FILENO], std::filesystem::read_symlink("/proc/self/fd/2"));
  EXPECT_THAT(held.rbegin()->second, HasSubstr("socket:"));
}

TEST_F(BrokerTest, CommandsStartCleanly) {
  const std::string look = script("look",
                                  "ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> .*/\\1/p' > $0.fds\n"
                                  "sed -n 's/SigBlk:\t//p' /proc/self/status > $0.blocked\n"
                                  "sed -n 's/SigIgn:\t//p' /proc/self/status > $0.ignored\n"
                                  "pwd > $0.pwd\n");
  const auto broker = start();
  ASSERT_TRUE(broker->add({"-net x", {look}}));
  broker->finish();
  const auto content = [&look](const std::string& suffix) {
    std::ifstream file(look + suffix);
    return (std::stringstream() << file.rdbuf()).str();
  };
  EXPECT_EQ(content(".fds"), "0\n1\n2\n3\n");  // the last is the listing itself
  EXPECT_EQ(content(".blocked"), "0000000000000000\n");
  // The C library's own signals, 32 and 33, come ignored.
  EXPECT_EQ(std::stoull(content(".ignored"), nullptr, 16) & 0x7FFF'FFFFU, 0U);
  EXPECT_EQ(content(".pwd"), std::filesystem::current_path().string() + "\n");
}

TEST_F(BrokerTest, ASealedBrokerTakesNoCommand) {
  const auto broker = start();
  ASSERT_TRUE(broker->add(record("before")));
  ASSERT_TRUE(broker->seal());
  EXPECT_TRUE(broker->add(record("after")));  // which is the end for it
  broker->finish();
  EXPECT_THAT(recorded(), ElementsAre("before"));
}

TEST_F(BrokerTest, ACommandThatHangsIsStoppedWithWhatItStarted) {
  const std::string hang = script("hang", "sleep 77 & echo $! > $0.pid\necho not now >&2\nwait\n");
  ::testing::internal::CaptureStderr();
  const auto broker = start();
  ASSERT_TRUE(broker->add({"-net x", {hang}}));
  ASSERT_TRUE(broker->add(record("next")));
  const auto begin = std::chrono::steady_clock::now();
  broker->finish();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, Broker::kCommandLimit + std::chrono::seconds(3));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tapir: warning: -net x: '" + hang + "' did not end in 5 s and was stopped and says: not now\n");
  EXPECT_THAT(recorded(), ElementsAre("next"));
  pid_t sleeper = 0;
  std::ifstream(hang + ".pid") >> sleeper;
  ASSERT_GT(sleeper, 0);
  std::string command;
  std::ifstream("/proc/" + std::to_string(sleeper) + "/cmdline") >> command;
  EXPECT_EQ(command, "");  // gone, or a zombie
}

TEST_F(BrokerTest, FailuresAreWarningsWithTheCommandsWords) {
  const std::string bad = script("bad", "echo no such table >&2\nexit 3\n");
  ::testing::internal::CaptureStderr();
  const auto broker = start();
  ASSERT_TRUE(broker->add({"-net x", {bad}}));
  ASSERT_TRUE(broker->add({"-net y", {"/nonexistent/program"}}));
  ASSERT_TRUE(broker->add(record("next")));
  broker->finish();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tapir: warning: -net x: '" + bad +
                "' exited with status 3 and says: no such table\n"
                "tapir: warning: -net y: cannot start '/nonexistent/program': No such file or directory\n");
  EXPECT_THAT(recorded(), ElementsAre("next"));
}

TEST_F(BrokerTest, ABrokerThatWasKilledIsToldOf) {
  const auto broker = start();
  ASSERT_TRUE(broker->add(record("x")));
  ASSERT_EQ(::kill(broker->pid(), SIGKILL), 0);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(broker->pid()), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_THAT(broker->seal().error().message(), HasSubstr("cannot be reached"));
  ::testing::internal::CaptureStderr();
  broker->finish();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tapir: warning: the broker was killed by SIGKILL before all down-scripts were done; "
            "the rules of these taps may be left\n");
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_F(BrokerTest, ACommandThatIsTooLongIsRefused) {
  const auto broker = start();
  EXPECT_TRUE(broker->add(record(std::string(Broker::kMaxCommandBytes - 1024, 'x'))));
  EXPECT_THAT(broker->add(record(std::string(Broker::kMaxCommandBytes, 'x'))).error().message(),
              HasSubstr("65536 is the most"));
  broker->finish();
  EXPECT_EQ(recorded().size(), 1U);
}

}  // namespace
}  // namespace tapir::vmm
