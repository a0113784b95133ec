// SPDX-License-Identifier: Apache-2.0
// What only this engine can show: answers of the kernel that cannot be had from one.
#include "net/sync_frame_io.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <utility>

#include "net/frame_fault.h"
#include "net/testing/frame_link.h"

namespace tapir::net {
namespace {

using net::testing::Frame;
using net::testing::FrameLink;
using net::testing::make_frame;
using net::testing::RecordingSink;
using net::testing::transmit_frames;
using ::testing::ElementsAre;

// What the next calls answer: a count of bytes, or a negated errno. Afterwards, the kernel answers.
std::deque<ssize_t> g_answers;

template <typename Call>
ssize_t answer(Call call) {
  if (g_answers.empty()) {
    return call();
  }
  const ssize_t next = g_answers.front();
  g_answers.pop_front();
  if (next < 0) {
    errno = static_cast<int>(-next);
    return -1;
  }
  return next;
}

class SyncFrameIoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_answers.clear();
    link_ = net::testing::make_socket_link().value();
    const SyncCalls calls{
        [](int fd, void* into, std::size_t bytes) { return answer([=] { return ::read(fd, into, bytes); }); },
        [](int fd, const iovec* into, int pieces) {
          return answer([=] { return ::readv(fd, into, pieces); });
        },
        [](int fd, const void* from, std::size_t bytes) {
          return answer([=] { return ::write(fd, from, bytes); });
        },
        [](int fd, const iovec* from, int pieces) {
          return answer([=] { return ::writev(fd, from, pieces); });
        },
    };
    io_ = SyncFrameIo::create(link_->take_port(), calls).value();
    ASSERT_TRUE(io_->start());
    io_->want_receive(true);
  }

  std::vector<int> send_with(std::initializer_list<ssize_t> answers, std::size_t frames) {
    g_answers = answers;
    const std::vector<Frame> batch(frames, frame_);
    return transmit_frames(*io_, batch);
  }
  ReceiveEnd receive_with(std::initializer_list<ssize_t> answers, Budget budget = {}) {
    g_answers = answers;
    return io_->receive(sink_, budget);
  }

  const Frame frame_ = make_frame(100, 1);
  RecordingSink sink_{1536, 60};
  std::unique_ptr<FrameLink> link_;
  std::unique_ptr<SyncFrameIo> io_;
};

TEST_F(SyncFrameIoTest, RefusesADescriptorThatBlocks) {
  FramePort port{UniqueFd(::open("/dev/null", O_RDWR)), {}, false};
  EXPECT_FALSE(SyncFrameIo::create(std::move(port)));
  EXPECT_FALSE(SyncFrameIo::create(FramePort{}));
}

TEST_F(SyncFrameIoTest, AnErrorCostsOneFrameAndNotTheDevice) {
  for (const int error : {EINVAL, EIO, EFAULT, ENOBUFS, ENOMEM, EMSGSIZE, EPERM}) {
    EXPECT_THAT(send_with({-error}, 2), ElementsAre(error, 0)) << error;
    EXPECT_EQ(link_->receive(), frame_);
  }
  EXPECT_EQ(io_->counters().transmit_dropped, 7U);
  EXPECT_EQ(io_->counters().sent_frames, 7U);
}

TEST_F(SyncFrameIoTest, AnInterruptedWriteIsRepeated) {
  EXPECT_THAT(send_with({-EINTR, -EINTR}, 1), ElementsAre(0));
  EXPECT_EQ(link_->receive(), frame_);
}

TEST_F(SyncFrameIoTest, APartlyWrittenFrameIsDropped) {
  EXPECT_THAT(send_with({50, 0}, 3), ElementsAre(EIO, EIO, 0));
  EXPECT_EQ(link_->receive(), frame_);
}

TEST_F(SyncFrameIoTest, AFullBackendKeepsTheFrame) {
  EXPECT_THAT(send_with({100, -EAGAIN}, 3), ElementsAre(0));
  EXPECT_TRUE(io_->wait(std::nullopt).transmit);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).transmit);
  EXPECT_EQ(io_->counters().transmit_dropped, 0U);
}

TEST_F(SyncFrameIoTest, ADeletedTapDropsThisAndAllLaterFrames) {
  EXPECT_THAT(send_with({-EBADFD}, 2), ElementsAre(EBADFD, EBADFD));
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  EXPECT_EQ(receive_with({}), ReceiveEnd::kGone);
}

TEST_F(SyncFrameIoTest, AReadErrorPausesInsteadOfSpinning) {
  ASSERT_TRUE(link_->send(frame_));
  for (const int error : {EIO, ENOBUFS, ENOMEM, EINVAL, EFAULT, EPERM}) {
    EXPECT_EQ(receive_with({-error}), ReceiveEnd::kDrained) << error;
    // The backend is readable all the while; the end of the pause is what wakes.
    const auto before = io_->counters().waits;
    EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive) << error;
    EXPECT_TRUE(io_->wait(std::nullopt).receive) << error;
    EXPECT_EQ(io_->counters().waits, before + 2);
  }
  // Of these, the two after which a frame is lost.
  EXPECT_EQ(io_->counters().receive_dropped, 2U);
  EXPECT_EQ(receive_with({}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink_.received, ElementsAre(frame_));
}

TEST_F(SyncFrameIoTest, TheDeadlineCountsDuringAPause) {
  EXPECT_EQ(receive_with({-ENOMEM}), ReceiveEnd::kDrained);
  io_->want_receive(false);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now() + std::chrono::milliseconds(5)).receive);
}

TEST_F(SyncFrameIoTest, AnInterruptedReadIsRepeated) {
  ASSERT_TRUE(link_->send(frame_));
  EXPECT_EQ(receive_with({-EINTR, -EINTR}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink_.received, ElementsAre(frame_));
}

TEST_F(SyncFrameIoTest, AFrameShorterThanItsHeadersIsDropped) {
  EXPECT_EQ(receive_with({1, 11, 12, 25, 0, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_TRUE(sink_.received.empty());
  EXPECT_EQ(io_->counters().receive_dropped, 5U);
  EXPECT_EQ(receive_with({26, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink_.received.size(), 1U);
}

TEST_F(SyncFrameIoTest, AFrameThatFillsAllSpaceMayBeCutAndIsDropped) {
  EXPECT_EQ(receive_with({static_cast<ssize_t>(kMaxReceiveBytes + 1), -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(io_->counters().receive_dropped, 1U);
  // In place the space is what the pieces have, here 43 of 1536 bytes.
  constexpr ssize_t kPieces = ssize_t{43} * 1536;
  EXPECT_EQ(receive_with({5000, kPieces, kPieces - 1, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(io_->counters().receive_dropped, 2U);
  EXPECT_EQ(sink_.received.size(), 2U);
}

TEST_F(SyncFrameIoTest, ADeletedTapEndsReceiving) {
  EXPECT_EQ(receive_with({-EBADFD}), ReceiveEnd::kGone);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive);
}

TEST_F(SyncFrameIoTest, DiscardEndsUnderAFlood) {
  g_answers.assign(100000, 100);
  io_->discard_received();
  EXPECT_GE(g_answers.size(), 100000U - 2000U);
  EXPECT_LE(g_answers.size(), 100000U - 1000U);
}

TEST_F(SyncFrameIoTest, InterruptedReadsUseUpTheBudget) {
  g_answers.assign(1000, -EINTR);
  EXPECT_EQ(io_->receive(sink_, {10, SIZE_MAX}), ReceiveEnd::kBudget);
  EXPECT_EQ(g_answers.size(), 990U);
}

TEST(FrameFault, EveryErrnoHasItsAction) {
  EXPECT_EQ(classify_receive_error(EAGAIN), ReceiveFault::kWait);
  EXPECT_EQ(classify_receive_error(EINTR), ReceiveFault::kRetry);
  EXPECT_EQ(classify_transmit_error(EAGAIN), TransmitFault::kWait);
  EXPECT_EQ(classify_transmit_error(EINTR), TransmitFault::kRetry);
  for (const int error : {EBADFD, EBADF, EPIPE, ECONNRESET}) {
    EXPECT_EQ(classify_receive_error(error), ReceiveFault::kGone) << error;
    EXPECT_EQ(classify_transmit_error(error), TransmitFault::kGone) << error;
  }
  for (const int error : {EINVAL, EFAULT}) {
    EXPECT_EQ(classify_receive_error(error), ReceiveFault::kDropAndPause) << error;
    EXPECT_EQ(classify_transmit_error(error), TransmitFault::kDrop) << error;
  }
  for (const int error : {EIO, ENOBUFS, ENOMEM, E2BIG}) {
    EXPECT_EQ(classify_receive_error(error), ReceiveFault::kPause) << error;
    EXPECT_EQ(classify_transmit_error(error), TransmitFault::kDrop) << error;
  }
  EXPECT_TRUE(is_expected_frame_error(EIO));
  EXPECT_FALSE(is_expected_frame_error(E2BIG));
}

}  // namespace
}  // namespace tapir::net
