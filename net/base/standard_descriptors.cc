// SPDX-License-Identifier: Apache-2.0
#include "net/base/standard_descriptors.h"

#include <fcntl.h>
#include <unistd.h>

namespace tapir {

Status fill_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    // In this order, so that the lowest free number, which open(2) takes, is `fd`.
    // NOLINTNEXTLINE(android-cloexec-open): standard descriptors are inherited
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != fd) {
      return fail_errno("/dev/null");
    }
  }
  return {};
}

}  // namespace tapir
