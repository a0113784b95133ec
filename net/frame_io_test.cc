// SPDX-License-Identifier: Apache-2.0
// What every engine does on every kind of backend.
#include "net/frame_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "net/base/event_fd.h"
#include "net/testing/engines.h"
#include "net/testing/frame_link.h"
#include "net/testing/network_namespace.h"

namespace tapir::net {
namespace {

using net::testing::Engine;
using net::testing::Frame;
using net::testing::FrameLink;
using net::testing::kEngines;
using net::testing::make_frame;
using net::testing::RecordingSink;
using net::testing::transmit_frames;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ne;
using ::testing::SizeIs;

struct LinkKind {
  const char* name;
  bool needs_namespace;
  Result<std::unique_ptr<FrameLink>> (*create)();

  friend std::ostream& operator<<(std::ostream& out, const LinkKind& kind) { return out << kind.name; }
};

constexpr std::array<LinkKind, 2> kLinkKinds{{
    {"socketpair", false, net::testing::make_socket_link},
    {"tap", true, net::testing::make_tap_link},
}};

class FrameIoTest : public ::testing::TestWithParam<std::tuple<Engine, LinkKind>> {
 protected:
  void SetUp() override {
    const auto& [engine, kind] = GetParam();
    TAPIR_NEEDS_ENGINE(engine);
    if (kind.needs_namespace) {
      TAPIR_ENTER_NETWORK_NAMESPACE();
    }
    auto link = kind.create();
    ASSERT_TRUE(link) << link.error().message();
    link_ = *std::move(link);
    auto io = engine.create(link_->take_port());
    ASSERT_TRUE(io) << io.error().message();
    io_ = *std::move(io);
    ASSERT_TRUE(io_->start());
  }

  // Frames towards the engine, of these sizes and with their index as seed.
  std::vector<Frame> send(const std::vector<std::size_t>& sizes) {
    std::vector<Frame> frames;
    for (const std::size_t size : sizes) {
      frames.push_back(make_frame(size, static_cast<unsigned>(frames.size())));
      const auto status = link_->send(frames.back());
      EXPECT_TRUE(status) << status.error().message();
    }
    return frames;
  }
  FrameIo::WaitResult poll() { return io_->wait(FrameIo::Clock::now()); }
  // A hint may be stale; then there is nothing to receive, and the next one is not.
  bool reports_nothing() {
    RecordingSink sink(1536, 60);
    return !poll().receive ||
           (io_->receive(sink, {}) == ReceiveEnd::kDrained && sink.received.empty() && !poll().receive);
  }

  std::unique_ptr<FrameLink> link_;
  std::unique_ptr<FrameIo> io_;
};

INSTANTIATE_TEST_SUITE_P(Engines, FrameIoTest,
                         ::testing::Combine(::testing::ValuesIn(kEngines), ::testing::ValuesIn(kLinkKinds)),
                         [](const auto& param_info) {
                           return std::string(std::get<0>(param_info.param).name) + "_" +
                                  std::get<1>(param_info.param).name;
                         });

TEST_P(FrameIoTest, SendsFramesInOrder) {
  std::vector<Frame> frames;
  for (unsigned i = 0; i < 50; ++i) {
    frames.push_back(make_frame(26 + 37 * i, i));
  }
  EXPECT_THAT(transmit_frames(*io_, frames), AllOf(SizeIs(50), Each(0)));
  for (const Frame& frame : frames) {
    EXPECT_EQ(link_->receive(), frame);
  }
  EXPECT_EQ(io_->counters().sent_frames.get(), 50U);
  EXPECT_EQ(io_->counters().sent_bytes.get(), 50 * 26 + 37 * (49 * 50 / 2));
}

TEST_P(FrameIoTest, SendsAFrameOfManyPieces) {
  for (const std::size_t piece_bytes : {1U, 11U, 100U, 1500U}) {
    const std::array<Frame, 2> frames{make_frame(500, 1), make_frame(1000, 2)};
    EXPECT_THAT(transmit_frames(*io_, frames, piece_bytes), ElementsAre(0, 0));
    EXPECT_EQ(link_->receive(), frames[0]);
    EXPECT_EQ(link_->receive(), frames[1]);
  }
}

TEST_P(FrameIoTest, SendsTheLargestFrame) {
  const std::array<Frame, 1> frames{make_frame(12 + 14 + 65521, 1)};
  EXPECT_THAT(transmit_frames(*io_, frames, 4096), ElementsAre(0));
  EXPECT_EQ(link_->receive(), frames[0]);
}

TEST_P(FrameIoTest, DropsAFrameOfTooManyPiecesAndGoesOn) {
  const std::array<Frame, 3> frames{make_frame(100, 1), make_frame(1025, 2), make_frame(1024, 3)};
  EXPECT_THAT(transmit_frames(*io_, frames, 1), ElementsAre(0, Ne(0), 0));
  EXPECT_EQ(link_->receive(), frames[0]);
  EXPECT_EQ(link_->receive(), frames[2]);
  EXPECT_EQ(io_->counters().transmit_dropped.get(), 1U);
}

TEST_P(FrameIoTest, DropsAnEmptyFrame) {
  std::array<TransmitFrame, 1> batch;
  EXPECT_EQ(io_->transmit(batch), 1U);
  EXPECT_NE(batch[0].error, 0);
}

TEST_P(FrameIoTest, StopsShortWhenFullAndGoesOnInOrder) {
  if (!link_->can_be_full()) {
    return;  // a tap never is, with its default send buffer
  }
  std::vector<Frame> frames;
  for (unsigned i = 0; i < 10000; ++i) {
    frames.push_back(make_frame(1000, i));
  }
  std::size_t sent = transmit_frames(*io_, frames).size();
  ASSERT_LT(sent, frames.size());
  EXPECT_FALSE(poll().transmit);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    ASSERT_EQ(link_->receive(), frames[i]) << i;
    if (sent < frames.size() && poll().transmit) {
      sent += transmit_frames(*io_, std::span(frames).subspan(sent)).size();
    }
  }
  EXPECT_EQ(io_->counters().sent_frames.get(), frames.size());
  // Told once for each time that it stopped short.
  EXPECT_FALSE(poll().transmit);
}

TEST_P(FrameIoTest, ReceivesFramesInOrderInto1536BytePieces) {
  // Small, large and small again: the engine may change its way of reading in between.
  std::vector<std::size_t> sizes(20, 100);
  sizes.insert(sizes.end(), {9000, 65000, 26, 1526, 40000, 27});
  sizes.insert(sizes.end(), 40, 200);
  sizes.push_back(5000);
  const auto frames = send(sizes);
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {1000, SIZE_MAX}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
  EXPECT_EQ(io_->counters().received_frames.get(), frames.size());
}

TEST_P(FrameIoTest, ReceivesTheLargestFrameWhole) {
  // Twice: first unexpectedly, then after a large one.
  const auto frames = send({12 + 14 + 65521, 12 + 14 + 65521});
  RecordingSink sink(4096, 17);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, ReceivesIntoMorePiecesThanOneCallTakes) {
  const auto frames = send({5000, 5000, 5000});
  RecordingSink sink(10, 7000);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, ReceivesIntoSpaceThatJustFits) {
  const auto frames = send({1500, 9000, 9000});
  RecordingSink sink(1500, 6);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, HoldsAFrameUntilThereIsSpaceForAllOfIt) {
  const auto frames = send({1501, 9000, 100});
  RecordingSink sink(1500, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_TRUE(sink.received.empty());
  sink.resize(2);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_THAT(sink.received, ElementsAre(frames[0]));
  sink.resize(6);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
  EXPECT_EQ(io_->counters().receive_dropped.get(), 0U);
}

TEST_P(FrameIoTest, HoldsAWholeBatchInOrder) {
  std::vector<std::size_t> sizes(20, 100);
  sizes.insert(sizes.end(), {9000, 200, 3000, 200});
  sizes.insert(sizes.end(), 20, 300);
  const auto frames = send(sizes);
  RecordingSink sink(1500, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_EQ(sink.received.size(), 20U);
  sink.resize(6);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
  EXPECT_EQ(io_->counters().receive_dropped.get(), 0U);
}

TEST_P(FrameIoTest, LosesNothingWhileThereIsNoSpaceAtAll) {
  const auto frames = send({100, 200, 300});
  RecordingSink sink(1500, 0);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  sink.resize(1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, DropsAFrameThatCanNeverFitAndCountsIt) {
  const auto frames = send({100, 1527, 9000, 1526});
  RecordingSink sink(1526, 1, false);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink.received, ElementsAre(frames[0], frames[3]));
  EXPECT_EQ(io_->counters().receive_dropped.get(), 2U);
}

TEST_P(FrameIoTest, EndsWithTheBudgetOfFrames) {
  const auto frames = send({100, 100, 100});
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {2, SIZE_MAX}), ReceiveEnd::kBudget);
  EXPECT_EQ(sink.received.size(), 2U);
  EXPECT_EQ(io_->receive(sink, {2, SIZE_MAX}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, EndsWithTheBudgetOfBytes) {
  const auto frames = send({9000, 9000, 9000});
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {100, 10000}), ReceiveEnd::kBudget);
  EXPECT_EQ(sink.received.size(), 2U);
  EXPECT_EQ(io_->receive(sink, {100, 10000}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, WaitReportsFramesOnlyWhenWanted) {
  send({100});
  EXPECT_FALSE(poll().receive);
  io_->want_receive(true);
  EXPECT_TRUE(poll().receive);
  EXPECT_TRUE(poll().receive);
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_TRUE(reports_nothing());
  send({100});
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  io_->want_receive(false);
  EXPECT_FALSE(poll().receive);
}

TEST_P(FrameIoTest, WaitReportsWhatTheBudgetLeftOver) {
  send({100, 100});
  io_->want_receive(true);
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {1, SIZE_MAX}), ReceiveEnd::kBudget);
  EXPECT_TRUE(poll().receive);
}

TEST_P(FrameIoTest, WaitSleepsWhileTheReceiverIsStarved) {
  // One frame held and one more in the backend, and the receiver has told nobody to stop.
  send({9000, 100});
  io_->want_receive(true);
  RecordingSink sink(1536, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now() + milliseconds(20)).receive);
  sink.resize(60);
  io_->want_receive(true);
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_THAT(sink.received, SizeIs(2));
}

TEST_P(FrameIoTest, WaitReportsAHeldFrameAlthoughTheBackendIsEmpty) {
  send({9000});
  io_->want_receive(true);
  RecordingSink sink(1536, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  sink.resize(60);
  io_->want_receive(true);
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
}

TEST_P(FrameIoTest, WaitReportsAndClearsWatchedEvents) {
  std::vector<EventFd> events;
  for (unsigned i = 0; i < 64; ++i) {
    events.push_back(EventFd::create().value());
    EXPECT_EQ(io_->watch(events.back().fd()).value(), i);
  }
  EXPECT_EQ(io_->watch(events[0].fd()).error().code(), ENOSPC);
  EXPECT_EQ(poll().watched, 0U);
  events[0].signal();
  events[63].signal();
  EXPECT_EQ(io_->wait(std::nullopt).watched, (std::uint64_t{1} << 63) | 1U);
  EXPECT_EQ(poll().watched, 0U);
  EXPECT_FALSE(events[63].clear());
}

TEST_P(FrameIoTest, WaitIsSilentAboutWhatIsNotWatchedAnyMore) {
  const EventFd first = EventFd::create().value();
  const EventFd second = EventFd::create().value();
  const unsigned first_bit = io_->watch(first.fd()).value();
  const unsigned second_bit = io_->watch(second.fd()).value();
  io_->unwatch(first_bit);
  first.signal();
  second.signal();
  EXPECT_EQ(poll().watched, std::uint64_t{1} << second_bit);
  // The free bit is used again, and tells the signal that came before.
  EXPECT_EQ(io_->watch(first.fd()).value(), first_bit);
  EXPECT_EQ(poll().watched, std::uint64_t{1} << first_bit);
}

TEST_P(FrameIoTest, WaitEndsAtTheDeadline) {
  const auto deadline = FrameIo::Clock::now() + milliseconds(30);
  const auto result = io_->wait(deadline);
  EXPECT_GE(FrameIo::Clock::now(), deadline);
  EXPECT_EQ(result.watched, 0U);
  EXPECT_FALSE(result.receive);
}

TEST_P(FrameIoTest, DiscardForgetsWhatIsHeldAndWhatIsQueued) {
  send({9000, 100, 9000, 200});
  RecordingSink sink(1536, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  io_->discard_received();
  io_->want_receive(true);
  EXPECT_TRUE(reports_nothing());
  const auto frames = send({300});
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kDrained);
  EXPECT_EQ(sink.received, frames);
}

TEST_P(FrameIoTest, TellsOnceThatTheBackendIsGoneAndThenSleeps) {
  link_->remove();
  // Nobody asked for frames, but this must be known.
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  RecordingSink sink(1536, 60);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kGone);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kGone);
  io_->want_receive(true);
  const auto deadline = FrameIo::Clock::now() + milliseconds(30);
  EXPECT_FALSE(io_->wait(deadline).receive);
  EXPECT_GE(FrameIo::Clock::now(), deadline);
}

TEST_P(FrameIoTest, DropsAllFramesWhenTheBackendIsGone) {
  link_->remove();
  const std::array<Frame, 2> frames{make_frame(100, 1), make_frame(100, 2)};
  EXPECT_THAT(transmit_frames(*io_, frames), ElementsAre(Ne(0), Ne(0)));
  EXPECT_EQ(io_->counters().transmit_dropped.get(), 2U);
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
}

TEST_P(FrameIoTest, TellsAStarvedReceiverThatTheBackendIsGone) {
  send({9000});
  RecordingSink sink(1536, 1);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kStarved);
  link_->remove();
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  EXPECT_EQ(io_->receive(sink, {}), ReceiveEnd::kGone);
}

TEST_P(FrameIoTest, RefusesOffloadsThatTheBackendDoesNotHave) {
  EXPECT_TRUE(io_->set_offloads(0));
  EXPECT_TRUE(io_->set_offloads(io_->features().offloads));
  EXPECT_FALSE(io_->set_offloads(0x8000'0000));
}

}  // namespace
}  // namespace tapir::net
