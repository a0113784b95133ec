// SPDX-License-Identifier: Apache-2.0
#include "net/fd_passing.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include "net/base/scope_exit.h"

namespace tapir::net {
namespace {

struct Pair {
  UniqueFd sender;
  UniqueFd receiver;
};

Pair socket_pair(int type) {
  std::array<int, 2> ends{-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// The reading ends of pipes, each of which has its own number waiting to be read.
std::vector<UniqueFd> numbered_pipes(std::size_t count) {
  std::vector<UniqueFd> readers;
  for (std::size_t i = 0; i < count; ++i) {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    readers.emplace_back(ends[0]);
    const UniqueFd writer(ends[1]);
    EXPECT_EQ(::write(writer.get(), &i, sizeof i), static_cast<ssize_t>(sizeof i));
  }
  return readers;
}

std::size_t read_number(const UniqueFd& reader) {
  std::size_t number = SIZE_MAX;
  EXPECT_EQ(::read(reader.get(), &number, sizeof number), static_cast<ssize_t>(sizeof number));
  return number;
}

std::size_t count_open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  }
  return count;
}

class FdPassing : public ::testing::TestWithParam<int> {
 protected:
  Pair pair_ = socket_pair(GetParam());
};

TEST_P(FdPassing, DescriptorsArriveInOrderAndCloseOnExec) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{2}, kMaxPassedFds}) {
    ASSERT_TRUE(send_fds(pair_.sender.get(), numbered_pipes(count)));
    const auto received = receive_fds(pair_.receiver.get());
    ASSERT_TRUE(received) << received.error().message();
    EXPECT_EQ(received->data_bytes, 1U);
    ASSERT_EQ(received->fds.size(), count);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_EQ(read_number(received->fds[i]), i);
      EXPECT_EQ(::fcntl(received->fds[i].get(), F_GETFD), FD_CLOEXEC);
    }
  }
}

TEST_P(FdPassing, TheSenderKeepsItsOwn) {
  const auto pipes = numbered_pipes(1);
  ASSERT_TRUE(send_fds(pair_.sender.get(), pipes));
  EXPECT_EQ(read_number(pipes[0]), 0U);
}

TEST_P(FdPassing, AByteWithoutDescriptorsIsToldFromTheEnd) {
  ASSERT_EQ(::send(pair_.sender.get(), "", 1, 0), 1);
  pair_.sender.reset();
  const auto bare = receive_fds(pair_.receiver.get());
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->fds.empty());
  EXPECT_EQ(bare->data_bytes, 1U);
  const auto end = receive_fds(pair_.receiver.get());
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->fds.empty());
  EXPECT_EQ(end->data_bytes, 0U);
}

TEST_P(FdPassing, MoreDataThanAByteIsVisible) {
  const std::string data(5000, 'x');
  ASSERT_EQ(::send(pair_.sender.get(), data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
  const auto received = receive_fds(pair_.receiver.get());
  ASSERT_TRUE(received);
  EXPECT_EQ(received->data_bytes, 64U);
}

TEST_P(FdPassing, AReceiverWithoutRoomKeepsNone) {
  ASSERT_TRUE(send_fds(pair_.sender.get(), numbered_pipes(8)));
  const std::size_t open_before = count_open_descriptors();
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const ScopeExit restore([&limit] { ::setrlimit(RLIMIT_NOFILE, &limit); });
  // The lowest free number is this process's last.
  const UniqueFd lowest(::dup(pair_.sender.get()));
  const rlimit tight{static_cast<rlim_t>(lowest.get()) + 3, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const auto received = receive_fds(pair_.receiver.get());
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), EMFILE);
  EXPECT_EQ(count_open_descriptors(), open_before + 1);
}

TEST_P(FdPassing, AReceiverThatIsGoneIsAnErrorAndNoSignal) {
  pair_.receiver.reset();
  const auto sent = send_fds(pair_.sender.get(), numbered_pipes(1));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code(), EPIPE);
}

TEST_P(FdPassing, AReceiverThatDoesNotReadNeverBlocksTheSender) {
  const auto pipes = numbered_pipes(1);
  Status sent;
  for (int i = 0; i < 100'000 && sent; ++i) {
    sent = send_fds(pair_.sender.get(), pipes);
  }
  ASSERT_FALSE(sent);
  // ETOOMANYREFS: an ordinary user may have only so many descriptors on the way.
  EXPECT_TRUE(sent.error().code() == EAGAIN || sent.error().code() == ETOOMANYREFS) << sent.error().message();
}

TEST_P(FdPassing, ASocketThatDoesNotWaitSaysSo) {
  ASSERT_EQ(::fcntl(pair_.receiver.get(), F_SETFL, O_NONBLOCK), 0);
  const auto received = receive_fds(pair_.receiver.get());
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code(), EAGAIN);
}

INSTANTIATE_TEST_SUITE_P(SocketTypes, FdPassing, ::testing::Values(SOCK_STREAM, SOCK_SEQPACKET),
                         [](const auto& type) { return type.param == SOCK_STREAM ? "stream" : "seqpacket"; });

TEST(FdPassingErrors, WhatIsNoSocketIsNamed) {
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto sent = send_fds(null.get(), numbered_pipes(1));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code(), ENOTSOCK);
  EXPECT_EQ(receive_fds(null.get()).error().code(), ENOTSOCK);
}

}  // namespace
}  // namespace tapir::net
