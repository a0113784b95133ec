// SPDX-License-Identifier: Apache-2.0
#include "net/base/standard_descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tapir {
namespace {

bool is_null_device(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == ::makedev(1, 3);
}

// In a child, since the descriptors are those of the whole process: those in `closed` (a bit each) become
// /dev/null, the others stay what they are, and no other descriptor appears.
bool fills(unsigned closed) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int zero = ::open("/dev/zero", O_RDWR | O_CLOEXEC);
    bool right = zero > STDERR_FILENO;
    for (int fd = 0; fd < 3; ++fd) {
      right = right && ::dup2(zero, fd) == fd;
    }
    ::close(zero);
    for (int fd = 0; fd < 3; ++fd) {
      if ((closed >> static_cast<unsigned>(fd) & 1U) != 0) {
        ::close(fd);
      }
    }
    right = right && fill_standard_descriptors().has_value();
    for (int fd = 0; fd < 3; ++fd) {
      right = right && ::fcntl(fd, F_GETFD) == 0 &&
              is_null_device(fd) == ((closed >> static_cast<unsigned>(fd) & 1U) != 0);
    }
    right = right && ::fcntl(zero, F_GETFD) < 0;
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(StandardDescriptors, MissingOnesBecomeTheNullDevice) {
  for (unsigned closed = 0; closed < 8; ++closed) {
    EXPECT_TRUE(fills(closed)) << "closed: " << closed;
  }
}

}  // namespace
}  // namespace tapir
