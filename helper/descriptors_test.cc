// SPDX-License-Identifier: Apache-2.0
#include "helper/descriptors.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "net/base/unique_fd.h"

namespace tapir::helper {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// In a child, whose descriptors are its own: opens 3 to 99 and whether exactly the standard ones and `kept`
// are left.
bool leaves_only(int kept) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);  // NOLINT(android-cloexec-open): nothing is executed
    for (int fd = 3; fd < 100; ++fd) {
      ::dup2(null, fd);
    }
    bool right = close_all_but(kept).has_value();
    for (int fd = 0; fd < 200; ++fd) {
      const bool is_open = ::fcntl(fd, F_GETFD) >= 0;
      right = right && is_open == (fd < 3 || (fd == kept && fd < 100));
    }
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  return ::waitpid(child, &status, 0) == child && status == 0;
}

TEST(CloseAllBut, KeepsTheStandardDescriptorsAndOneMore) {
  for (const int kept : {0, 1, 2, 3, 4, 50, 98, 99, 150, 2147483647}) {
    EXPECT_TRUE(leaves_only(kept)) << kept;
  }
}

std::string receiver_error(int fd) {
  const auto status = check_receiver(fd);
  return status ? "no error" : status.error().message();
}

TEST(CheckReceiver, TakesUnixSocketsWithOneOtherEnd) {
  for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()), 0);
    const UniqueFd first(ends[0]);
    const UniqueFd second(ends[1]);
    EXPECT_EQ(receiver_error(first.get()), "no error");
  }
}

TEST(CheckReceiver, RefusesEverythingElse) {
  const UniqueFd datagram(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd netlink(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
  const UniqueFd internet(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const UniqueFd* socket : {&datagram, &netlink, &internet}) {
    EXPECT_THAT(receiver_error(socket->get()), HasSubstr("no unix socket of type stream or seqpacket"));
  }
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(check_receiver(null.get()).error().code(), ENOTSOCK);
  EXPECT_THAT(receiver_error(9999), StartsWith("--fd=9999: Bad file descriptor"));
}

}  // namespace
}  // namespace tapir::helper
