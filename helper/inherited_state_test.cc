// SPDX-License-Identifier: Apache-2.0
#include "helper/inherited_state.h"

#include <gtest/gtest.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace tapir::helper {
namespace {

// What is left of what a caller set up; run in a child, which all of it belongs to.
bool is_clean_after_reset() {
  ::setenv("LD_PRELOAD", "/tmp/evil.so", 1);  // NOLINT(concurrency-mt-unsafe): the child has one thread
  const itimerval soon{{}, {3600, 0}};
  sigset_t all;
  ::sigfillset(&all);
  if (::chdir("/tmp") < 0 || ::setitimer(ITIMER_REAL, &soon, nullptr) < 0 ||
      ::sigprocmask(SIG_SETMASK, &all, nullptr) < 0 || ::signal(SIGPIPE, SIG_DFL) == SIG_ERR ||
      !reset_inherited_state()) {
    return false;
  }
  std::array<char, 16> directory{};
  itimerval timer{};
  sigset_t blocked;
  ::sigprocmask(SIG_SETMASK, nullptr, &blocked);
  std::array<int, 2> ends{};
  return environ == nullptr && std::string_view(::getcwd(directory.data(), directory.size())) == "/" &&
         ::getitimer(ITIMER_REAL, &timer) == 0 && timer.it_value.tv_sec == 0 &&
         ::sigisemptyset(&blocked) == 1 && ::pipe(ends.data()) == 0 && ::close(ends[0]) == 0 &&
         ::write(ends[1], "", 1) < 0 && errno == EPIPE;
}

TEST(InheritedState, NothingOfTheCallersIsLeft) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(is_clean_after_reset() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tapir::helper
