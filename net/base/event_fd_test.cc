// SPDX-License-Identifier: Apache-2.0
#include "net/base/event_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdint>

namespace tapir {
namespace {

bool readable(int fd) {
  pollfd poll_fd{fd, POLLIN, 0};
  return ::poll(&poll_fd, 1, 0) == 1;
}

TEST(EventFd, IsReadableFromSignalToClear) {
  auto event = EventFd::create();
  ASSERT_TRUE(event) << event.error().message();
  EXPECT_FALSE(readable(event->fd()));
  event->signal();
  event->signal();
  EXPECT_TRUE(readable(event->fd()));
  EXPECT_TRUE(event->clear());
  EXPECT_FALSE(readable(event->fd()));
}

TEST(EventFd, ClearSaysWhenThereWasNoSignal) {
  auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_FALSE(event->clear());
}

TEST(EventFd, SignalDoesNotBlockAtTheEndOfTheCounter) {
  auto event = EventFd::create();
  ASSERT_TRUE(event);
  const std::uint64_t almost_full = UINT64_MAX - 1;
  ASSERT_EQ(::write(event->fd(), &almost_full, sizeof almost_full), 8);
  event->signal();  // hangs here when wrong
  EXPECT_TRUE(event->clear());
}

TEST(EventFd, IsClosedOnExec) {
  auto event = EventFd::create();
  ASSERT_TRUE(event);
  EXPECT_EQ(::fcntl(event->fd(), F_GETFD), FD_CLOEXEC);
}

}  // namespace
}  // namespace tapir
