// SPDX-License-Identifier: Apache-2.0
// Answers of the kernel that cannot be had from one, in both engines.
#include "net/frame_engine.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/frame_fault.h"
#include "net/testing/engines.h"
#include "net/testing/frame_link.h"

namespace tapir::net {
namespace {

using net::testing::Engine;
using net::testing::Frame;
using net::testing::FrameLink;
using net::testing::kEngines;
using net::testing::make_frame;
using net::testing::RecordingSink;
using net::testing::transmit_frames;
using ::testing::ElementsAre;

std::uint64_t count_of(const FrameErrorCounters& counters, FrameErrorClass error_class) {
  return counters[static_cast<std::size_t>(error_class)].get();
}

/// An engine's calls, of which the next ones answer what the test says: a count of bytes, or a negated errno.
/// Afterwards, the kernel answers.
class AnsweringCalls final : public FrameCalls {
 public:
  AnsweringCalls(std::unique_ptr<FrameCalls> calls, std::deque<ssize_t>& answers, bool reads_stop_at_failure)
      : calls_(std::move(calls)), answers_(answers), reads_stop_at_failure_(reads_stop_at_failure) {}

  Status bind(const Environment& environment) override { return calls_->bind(environment); }
  Status start() override { return calls_->start(); }
  void stop() override { calls_->stop(); }
  Result<unsigned> watch(int event_fd) override { return calls_->watch(event_fd); }
  void unwatch(unsigned bit) override { calls_->unwatch(bit); }
  Ready wait(const Interest& interest, std::optional<Clock::time_point> deadline) override {
    return calls_->wait(interest, deadline);
  }
  std::size_t max_reads() const override { return calls_->max_reads(); }
  std::size_t read(std::span<FrameCall> calls) override {
    const std::size_t answered = answer(calls, reads_stop_at_failure_);
    const bool stop = reads_stop_at_failure_ && answered > 0 && calls[answered - 1].result < 0;
    return stop || answered == calls.size() ? answered : answered + calls_->read(calls.subspan(answered));
  }
  std::size_t write(std::span<FrameCall> calls) override {
    const std::size_t answered = answer(calls, true);
    const bool stop = answered > 0 && calls[answered - 1].result < 0;
    return stop || answered == calls.size() ? answered : answered + calls_->write(calls.subspan(answered));
  }

 private:
  std::size_t answer(std::span<FrameCall> calls, bool stop_at_failure) {
    std::size_t answered = 0;
    while (answered < calls.size() && !answers_.empty()) {
      calls[answered].result = answers_.front();
      answers_.pop_front();
      ++answered;
      if (stop_at_failure && calls[answered - 1].result < 0) {
        break;
      }
    }
    return answered;
  }

  const std::unique_ptr<FrameCalls> calls_;
  std::deque<ssize_t>& answers_;
  const bool reads_stop_at_failure_;
};

class FrameEngineTest : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    TAPIR_NEEDS_ENGINE(GetParam());
    link_ = net::testing::make_socket_link().value();
    io_ = FrameEngine::create(link_->take_port(),
                              std::make_unique<AnsweringCalls>(GetParam().calls().value(), answers_,
                                                               GetParam().choice == EngineChoice::kSync))
              .value();
    ASSERT_TRUE(io_->start());
    io_->want_receive(true);
  }

  std::vector<int> send_with(std::initializer_list<ssize_t> answers, std::size_t frames) {
    answers_ = answers;
    const std::vector<Frame> batch(frames, frame_);
    return transmit_frames(*io_, batch);
  }
  ReceiveEnd receive_with(std::initializer_list<ssize_t> answers, Budget budget = {}) {
    answers_ = answers;
    return io_->receive(sink_, budget);
  }

  const Frame frame_ = make_frame(100, 1);
  RecordingSink sink_{1536, 60};
  std::unique_ptr<FrameLink> link_;
  std::deque<ssize_t> answers_;
  std::unique_ptr<FrameEngine> io_;
};

INSTANTIATE_TEST_SUITE_P(Engines, FrameEngineTest, ::testing::ValuesIn(kEngines),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_P(FrameEngineTest, RefusesADescriptorThatBlocks) {
  FramePort port{UniqueFd(::open("/dev/null", O_RDWR)), {}, false};
  EXPECT_FALSE(FrameEngine::create(std::move(port), GetParam().calls().value()));
  EXPECT_FALSE(FrameEngine::create(FramePort{}, GetParam().calls().value()));
}

TEST_P(FrameEngineTest, AnErrorCostsOneFrameAndNotTheDevice) {
  for (const int error : {EINVAL, EIO, EFAULT, ENOBUFS, ENOMEM, EMSGSIZE, EPERM}) {
    EXPECT_THAT(send_with({-error}, 2), ElementsAre(error, 0)) << error;
    EXPECT_EQ(link_->receive(), frame_);
  }
  EXPECT_EQ(io_->counters().transmit_dropped.get(), 7U);
  const FrameErrorCounters& errors = io_->counters().write_errors;
  EXPECT_EQ(count_of(errors, FrameErrorClass::kInvalid), 1U);
  EXPECT_EQ(count_of(errors, FrameErrorClass::kLinkDown), 1U);
  EXPECT_EQ(count_of(errors, FrameErrorClass::kFault), 1U);
  EXPECT_EQ(count_of(errors, FrameErrorClass::kNoMemory), 2U);
  EXPECT_EQ(count_of(errors, FrameErrorClass::kTooLong), 1U);
  EXPECT_EQ(count_of(errors, FrameErrorClass::kOther), 1U);
  EXPECT_EQ(io_->counters().sent_frames.get(), 7U);
}

TEST_P(FrameEngineTest, AnInterruptedWriteIsRepeated) {
  EXPECT_THAT(send_with({-EINTR, -EINTR}, 1), ElementsAre(0));
  EXPECT_EQ(link_->receive(), frame_);
}

TEST_P(FrameEngineTest, APartlyWrittenFrameIsDropped) {
  EXPECT_THAT(send_with({50, 0}, 3), ElementsAre(EIO, EIO, 0));
  EXPECT_EQ(link_->receive(), frame_);
  EXPECT_EQ(count_of(io_->counters().write_errors, FrameErrorClass::kPartial), 2U);
}

TEST_P(FrameEngineTest, AFullBackendKeepsTheFrame) {
  EXPECT_THAT(send_with({100, -EAGAIN}, 3), ElementsAre(0));
  EXPECT_TRUE(io_->wait(std::nullopt).transmit);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).transmit);
  EXPECT_EQ(io_->counters().transmit_dropped.get(), 0U);
}

TEST_P(FrameEngineTest, ADeletedTapDropsThisAndAllLaterFrames) {
  EXPECT_THAT(send_with({-EBADFD}, 2), ElementsAre(EBADFD, EBADFD));
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  EXPECT_EQ(receive_with({}), ReceiveEnd::kGone);
}

TEST_P(FrameEngineTest, AReadErrorPausesInsteadOfSpinning) {
  ASSERT_TRUE(link_->send(frame_));
  for (const int error : {EIO, ENOBUFS, ENOMEM, EINVAL, EFAULT, EPERM}) {
    EXPECT_EQ(receive_with({-error}), ReceiveEnd::kDrained) << error;
    // The backend is readable all the while; the end of the pause is what wakes.
    const auto before = io_->counters().waits.get();
    EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive) << error;
    EXPECT_TRUE(io_->wait(std::nullopt).receive) << error;
    EXPECT_EQ(io_->counters().waits.get(), before + 2);
  }
  // Of these, the two after which a frame is lost.
  EXPECT_EQ(io_->counters().receive_dropped.get(), 2U);
  EXPECT_EQ(io_->counters().receive_unread.get(), 2U);
  EXPECT_EQ(count_of(io_->counters().read_errors, FrameErrorClass::kLinkDown), 1U);
  EXPECT_EQ(count_of(io_->counters().read_errors, FrameErrorClass::kBusy), 0U);
  EXPECT_EQ(receive_with({}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink_.received, ElementsAre(frame_));
}

TEST_P(FrameEngineTest, TheDeadlineCountsDuringAPause) {
  EXPECT_EQ(receive_with({-ENOMEM}), ReceiveEnd::kDrained);
  io_->want_receive(false);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now() + std::chrono::milliseconds(5)).receive);
}

TEST_P(FrameEngineTest, AnInterruptedReadIsRepeated) {
  ASSERT_TRUE(link_->send(frame_));
  EXPECT_EQ(receive_with({-EINTR, -EINTR}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink_.received, ElementsAre(frame_));
}

TEST_P(FrameEngineTest, AFrameShorterThanItsHeadersIsDropped) {
  EXPECT_EQ(receive_with({1, 11, 12, 25, 0, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_TRUE(sink_.received.empty());
  EXPECT_EQ(io_->counters().receive_dropped.get(), 5U);
  EXPECT_EQ(io_->counters().receive_short.get(), 5U);
  EXPECT_EQ(receive_with({26, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink_.received.size(), 1U);
}

TEST_P(FrameEngineTest, AFrameThatFillsAllSpaceMayBeCutAndIsDropped) {
  EXPECT_EQ(receive_with({static_cast<ssize_t>(kMaxReceiveBytes + 1), -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(io_->counters().receive_dropped.get(), 1U);
  // In place the space is what the pieces have, here 43 of 1536 bytes.
  constexpr ssize_t kPieces = ssize_t{43} * 1536;
  EXPECT_EQ(receive_with({5000, kPieces, kPieces - 1, -EAGAIN}), ReceiveEnd::kDrained);
  EXPECT_EQ(io_->counters().receive_dropped.get(), 2U);
  EXPECT_EQ(io_->counters().receive_too_long.get(), 2U);
  EXPECT_EQ(sink_.received.size(), 2U);
}

TEST_P(FrameEngineTest, ADeletedTapEndsReceiving) {
  EXPECT_EQ(receive_with({-EBADFD}), ReceiveEnd::kGone);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive);
}

TEST_P(FrameEngineTest, DiscardEndsUnderAFlood) {
  answers_.assign(100000, 100);
  io_->discard_received();
  EXPECT_GE(answers_.size(), 100000U - 2000U);
  EXPECT_LE(answers_.size(), 100000U - 1000U);
}

TEST_P(FrameEngineTest, InterruptedReadsUseUpTheBudget) {
  answers_.assign(1000, -EINTR);
  EXPECT_EQ(io_->receive(sink_, {10, SIZE_MAX}), ReceiveEnd::kBudget);
  EXPECT_EQ(answers_.size(), 990U);
}

// Where one batch reads on after a read that found nothing.
TEST_P(FrameEngineTest, WhatComesWithinABatchIsNotLost) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(link_->send(frame_));
  }
  // Batches of 1, 2, 4 and 8, and then one in which frames come late.
  EXPECT_EQ(io_->receive(sink_, {15, SIZE_MAX}), ReceiveEnd::kBudget);
  EXPECT_EQ(receive_with({-EAGAIN, -EAGAIN, -EINTR}), ReceiveEnd::kDrained);
  EXPECT_EQ(receive_with({}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink_.received.size(), 20U);
}

TEST_P(FrameEngineTest, TellsOfFramesThatCameWhileOneWasHeld) {
  // The second is held, with a read behind it that found nothing.
  std::vector<Frame> frames{make_frame(100, 1), make_frame(2000, 2), make_frame(200, 3)};
  ASSERT_TRUE(link_->send(frames[0]) && link_->send(frames[1]));
  RecordingSink sink(1500, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_EQ(io_->counters().held_frames.get(), 1U);
  io_->want_receive(false);
  ASSERT_TRUE(link_->send(frames[2]));
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive);
  sink.resize(2);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  io_->want_receive(true);
  if (sink.received.size() < frames.size()) {
    EXPECT_TRUE(io_->wait(FrameIo::Clock::now() + std::chrono::seconds(5)).receive);
    EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  }
  EXPECT_EQ(sink.received, frames);
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
  EXPECT_EQ(class_of_error(EIO), FrameErrorClass::kLinkDown);
  EXPECT_EQ(class_of_error(E2BIG), FrameErrorClass::kOther);
}

}  // namespace
}  // namespace tapir::net
