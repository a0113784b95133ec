// SPDX-License-Identifier: Apache-2.0
#include "net/testing/fake_frame_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

namespace tapir::net::testing {
namespace {

using ::testing::ElementsAre;
using Frame = FakeFrameIo::Frame;

Frame frame_of(std::size_t size, int fill) {
  return Frame(size, static_cast<std::byte>(fill));
}

// Space in two pieces, and what was committed into it.
class TwoPieceSink : public ReceiveSink {
 public:
  explicit TwoPieceSink(std::size_t bytes, bool may_grow = true) : buffer_(bytes), may_grow_(may_grow) {}

  ReceiveSpace acquire(std::size_t /*bytes*/) override {
    const std::size_t cut = buffer_.size() / 3;
    iov_ = {iovec{buffer_.data(), cut}, iovec{buffer_.data() + cut, buffer_.size() - cut}};
    return {iov_, buffer_.size(), may_grow_};
  }
  void commit(std::size_t bytes) override {
    received.emplace_back(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(bytes));
  }
  void resize(std::size_t bytes) { buffer_.resize(bytes); }

  std::vector<Frame> received;

 private:
  Frame buffer_;
  bool may_grow_;
  std::array<iovec, 2> iov_{};
};

std::size_t send(FakeFrameIo& io, std::vector<Frame> frames, std::vector<int>* errors = nullptr) {
  std::vector<iovec> iov;
  iov.reserve(frames.size());
  std::vector<TransmitFrame> batch;
  for (Frame& frame : frames) {
    iov.push_back({frame.data(), frame.size()});
    batch.push_back({std::span(&iov.back(), 1), frame.size(), -1});
  }
  const std::size_t taken = io.transmit(batch);
  for (std::size_t i = 0; errors != nullptr && i < taken; ++i) {
    errors->push_back(batch[i].error);
  }
  return taken;
}

TEST(FakeFrameIo, DeliversInjectedFramesInOrder) {
  FakeFrameIo io;
  io.inject(frame_of(100, 1));
  io.inject(frame_of(60, 2));
  TwoPieceSink sink(200);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink.received, ElementsAre(frame_of(100, 1), frame_of(60, 2)));
  EXPECT_EQ(io.counters().received_bytes.get(), 160U);
}

TEST(FakeFrameIo, HoldsAFrameUntilThereIsSpace) {
  FakeFrameIo io;
  io.inject(frame_of(100, 1));
  TwoPieceSink sink(99);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_EQ(io.queued(), 1U);
  sink.resize(100);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink.received, ElementsAre(frame_of(100, 1)));
}

TEST(FakeFrameIo, DropsAFrameThatCanNeverFit) {
  FakeFrameIo io;
  io.inject(frame_of(100, 1));
  TwoPieceSink sink(99, false);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(io.counters().receive_dropped.get(), 1U);
}

TEST(FakeFrameIo, EndsWithTheBudget) {
  FakeFrameIo io;
  for (int i = 0; i < 3; ++i) {
    io.inject(frame_of(10, i));
  }
  TwoPieceSink sink(100);
  EXPECT_EQ(io.receive(sink, Budget{2, 1000}), ReceiveEnd::kBudget);
  EXPECT_EQ(sink.received.size(), 2U);
}

TEST(FakeFrameIo, RecordsSentFramesAndTheirErrors) {
  FakeFrameIo io;
  io.fail_transmits(EIO, 1);
  std::vector<int> errors;
  EXPECT_EQ(send(io, {frame_of(1, 1), frame_of(2, 2)}, &errors), 2U);
  EXPECT_THAT(errors, ElementsAre(EIO, 0));
  EXPECT_THAT(io.take_sent(), ElementsAre(frame_of(2, 2)));
  EXPECT_TRUE(io.take_sent().empty());
}

TEST(FakeFrameIo, StopsShortWithoutRoomAndReportsItsReturn) {
  FakeFrameIo io;
  io.set_transmit_room(1);
  EXPECT_EQ(send(io, {frame_of(1, 1), frame_of(1, 2)}), 1U);
  EXPECT_FALSE(io.wait(FrameIo::Clock::now()).transmit);
  io.set_transmit_room(std::nullopt);
  EXPECT_TRUE(io.wait(std::nullopt).transmit);
  EXPECT_EQ(send(io, {frame_of(1, 2)}), 1U);
  EXPECT_FALSE(io.wait(FrameIo::Clock::now()).transmit);
}

TEST(FakeFrameIo, WaitReportsReceiveOnlyWhenWanted) {
  FakeFrameIo io;
  io.inject(frame_of(1, 1));
  EXPECT_FALSE(io.wait(FrameIo::Clock::now()).receive);
  io.want_receive(true);
  EXPECT_TRUE(io.wait(std::nullopt).receive);
}

TEST(FakeFrameIo, WaitReportsAndClearsWatchedEvents) {
  FakeFrameIo io;
  auto first = EventFd::create();
  auto second = EventFd::create();
  const unsigned first_bit = io.watch(first->fd()).value();
  const unsigned second_bit = io.watch(second->fd()).value();
  second->signal();
  EXPECT_EQ(io.wait(std::nullopt).watched, std::uint64_t{1} << second_bit);
  EXPECT_EQ(io.wait(FrameIo::Clock::now()).watched, 0U);
  io.unwatch(first_bit);
  first->signal();
  EXPECT_EQ(io.wait(FrameIo::Clock::now()).watched, 0U);
}

TEST(FakeFrameIo, RemovalIsReportedOnceAndStopsEverything) {
  FakeFrameIo io;
  io.remove();
  EXPECT_TRUE(io.wait(std::nullopt).receive);
  EXPECT_FALSE(io.wait(FrameIo::Clock::now()).receive);
  TwoPieceSink sink(100);
  EXPECT_EQ(io.receive(sink, {}), ReceiveEnd::kGone);
  std::vector<int> errors;
  EXPECT_EQ(send(io, {frame_of(1, 1)}, &errors), 1U);
  EXPECT_THAT(errors, ElementsAre(EBADFD));
}

TEST(FakeFrameIo, RefusesOffloadsThatItDoesNotHave) {
  FakeFrameIo io(FrameIoFeatures{true, 1, 0});
  EXPECT_TRUE(io.set_offloads(1));
  EXPECT_FALSE(io.set_offloads(3));
  EXPECT_EQ(io.offloads(), 1U);
}

TEST(FakeFrameIo, WakesAnotherThread) {
  FakeFrameIo io;
  io.want_receive(true);
  TwoPieceSink sink(100);
  std::thread device([&] {
    ASSERT_TRUE(io.start());
    while (sink.received.empty()) {
      if (io.wait(std::nullopt).receive) {
        io.receive(sink, {});
      }
    }
    send(io, sink.received);
  });
  io.inject(frame_of(7, 7));
  EXPECT_TRUE(io.wait_for_sent(1));
  device.join();
  EXPECT_THAT(io.take_sent(), ElementsAre(frame_of(7, 7)));
}

}  // namespace
}  // namespace tapir::net::testing
