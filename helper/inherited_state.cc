// SPDX-License-Identifier: Apache-2.0
#include "helper/inherited_state.h"

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

namespace tapir::helper {

Status reset_inherited_state() {
  if (::clearenv() != 0) {
    return fail("cannot empty the environment");
  }
  if (::chdir("/") < 0) {
    return fail_errno("/");
  }
  // Before the mask: what is pending then ends the process as it would any other, and at any point that
  // leaves nothing behind.
  const itimerval off{};
  for (const __itimer_which timer : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) {
    if (::setitimer(timer, &off, nullptr) < 0) {
      return fail_errno("setitimer");
    }
  }
  sigset_t none;
  ::sigemptyset(&none);
  if (::sigprocmask(SIG_SETMASK, &none, nullptr) < 0 || ::signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
    return fail_errno("signals");
  }
  return {};
}

}  // namespace tapir::helper
