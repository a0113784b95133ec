// SPDX-License-Identifier: Apache-2.0
// What every engine does on a tap and could not do on anything else: links that go down, offloads on the
// wire, frames that the kernel refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "net/base/event_fd.h"
#include "net/frame_io.h"
#include "net/offload.h"
#include "net/tap.h"
#include "net/testing/engines.h"
#include "net/testing/frame_link.h"
#include "net/testing/network_namespace.h"
#include "net/testing/uring_workers.h"
#include "net/vnet_header.h"

namespace tapir::net {
namespace {

using net::testing::Engine;
using net::testing::Frame;
using net::testing::kEngines;
using net::testing::make_frame;
using net::testing::PacketSocket;
using net::testing::RecordingSink;
using net::testing::set_link_up;
using net::testing::transmit_frames;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::Ne;

constexpr std::size_t kTcpHeadersBytes = 14 + 20 + 20;

// A TCP segment over IPv4 that is to be cut: `segments` times 1000 bytes of payload.
Frame make_tso_frame(std::size_t segments) {
  Frame frame = make_frame(kVnetHeaderBytes + kTcpHeadersBytes + 1000 * segments, 1);
  VnetHeader header{};
  header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
  header.hdr_len = kTcpHeadersBytes;
  header.gso_size = 1000;
  header.csum_start = 14 + 20;
  header.csum_offset = 16;
  std::memcpy(frame.data(), &header, sizeof header);
  const auto ip_bytes = static_cast<unsigned>(frame.size() - kVnetHeaderBytes - 14);
  const std::array<unsigned, 42> headers{
      0x08,
      0x00,  // EtherType IPv4
      0x45,
      0,
      ip_bytes >> 8,
      ip_bytes & 0xFF,
      0,
      1,
      0,
      0,
      64,
      6,
      0,
      0,  // IPv4, TCP inside
      10,
      0,
      0,
      1,
      10,
      0,
      0,
      2,  //
      0x12,
      0x34,
      0x56,
      0x78,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      0,  // TCP
      0x50,
      0x10,
      0xFF,
      0xFF,
      0,
      0,
      0,
      0,
  };
  for (std::size_t i = 0; i < headers.size(); ++i) {
    frame[kVnetHeaderBytes + 12 + i] = static_cast<std::byte>(headers[i]);
  }
  return frame;
}

VnetHeader header_of(const Frame& frame) {
  VnetHeader header{};
  std::memcpy(&header, frame.data(), sizeof header);
  return header;
}

class TapFrameIoTest : public ::testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    TAPIR_NEEDS_ENGINE(GetParam());
    TAPIR_ENTER_NETWORK_NAMESPACE();
    open({});
  }

  void open(const TapOptions& options) {
    auto tap = Tap::open("t0", options);
    ASSERT_TRUE(tap) << tap.error().message();
    auto io = GetParam().create(std::move(*tap).into_port());
    ASSERT_TRUE(io) << io.error().message();
    io_ = *std::move(io);
    ASSERT_TRUE(io_->start());
    auto host = PacketSocket::open("t0");
    ASSERT_TRUE(host) << host.error().message();
    host_.emplace(*std::move(host));
  }
  void close() {
    host_.reset();
    io_.reset();
  }

  std::unique_ptr<FrameIo> io_;
  std::optional<PacketSocket> host_;
  RecordingSink sink_{1536, 60};
};

INSTANTIATE_TEST_SUITE_P(Engines, TapFrameIoTest, ::testing::ValuesIn(kEngines),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_P(TapFrameIoTest, DropsFramesWhileTheLinkIsDownAndComesBackByItself) {
  const std::array<Frame, 2> frames{make_frame(100, 1), make_frame(1000, 2)};
  io_->want_receive(true);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(set_link_up("t0", false));
    EXPECT_THAT(transmit_frames(*io_, frames), ElementsAre(EIO, EIO));
    EXPECT_EQ(io_->receive(sink_, {}), ReceiveEnd::kDrained);
    EXPECT_FALSE(io_->wait(FrameIo::Clock::now() + milliseconds(5)).receive);
    ASSERT_TRUE(set_link_up("t0", true));
    EXPECT_THAT(transmit_frames(*io_, frames), ElementsAre(0, 0));
    // A packet socket remembers that the link was down and says so once.
    host_.emplace(PacketSocket::open("t0").value());
    ASSERT_TRUE(host_->send(frames[0]));
    EXPECT_TRUE(io_->wait(std::nullopt).receive);
    sink_.received.clear();
    EXPECT_EQ(io_->receive(sink_, {}), ReceiveEnd::kDrained);
    EXPECT_THAT(sink_.received, ElementsAre(frames[0]));
  }
  EXPECT_EQ(io_->counters().transmit_dropped.get(), 6U);
}

TEST_P(TapFrameIoTest, DropsWhatTheKernelRefusesAndGoesOn) {
  Frame bad_gso_type = make_tso_frame(4);
  bad_gso_type[1] = std::byte{0x7F};
  Frame too_short = make_frame(26, 1);
  too_short.pop_back();
  const Frame good = make_frame(100, 2);
  const std::array<Frame, 4> frames{bad_gso_type, good, too_short, good};
  EXPECT_THAT(transmit_frames(*io_, frames), ElementsAre(EINVAL, 0, EINVAL, 0));
  EXPECT_EQ(host_->receive(), good);
  EXPECT_EQ(host_->receive(), good);
}

TEST_P(TapFrameIoTest, SendsABatchInOrder) {
  std::vector<Frame> frames;
  for (unsigned i = 0; i < 200; ++i) {
    frames.push_back(make_frame(i % 3 == 0 ? 1500 : 60 + i, i));
  }
  frames[70][1] = std::byte{0x7F};  // a gso_type that there is not
  const std::vector<int> errors = transmit_frames(*io_, frames, 700);
  ASSERT_EQ(errors.size(), frames.size());
  for (unsigned i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(errors[i], i == 70 ? EINVAL : 0) << i;
    if (i != 70) {
      EXPECT_EQ(host_->receive(), frames[i]) << i;
    }
  }
  EXPECT_EQ(io_->counters().sent_frames.get(), 199U);
  if (GetParam().choice == EngineChoice::kUring) {
    EXPECT_EQ(io_->counters().ring_calls.get(), 192U);  // three times 64; the last eight do not pay
    EXPECT_LT(io_->counters().syscalls.get(), 20U);
  }
}

TEST_P(TapFrameIoTest, SendsAFrameToBeCutAsOne) {
  const std::array<Frame, 1> frames{make_tso_frame(60)};
  EXPECT_THAT(transmit_frames(*io_, frames, 4096), ElementsAre(0));
  const auto seen = host_->receive();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->size(), frames[0].size());
  EXPECT_EQ(header_of(*seen).gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
  EXPECT_EQ(header_of(*seen).gso_size, 1000);
}

TEST_P(TapFrameIoTest, ReceivesAFrameToBeCutAsOneWhenTheDriverTakesIt) {
  ASSERT_TRUE(io_->set_offloads(TUN_F_CSUM | TUN_F_TSO4));
  // Larger than the MTU, so that it could not arrive otherwise.
  for (const std::size_t segments : {4U, 60U, 60U}) {
    const Frame frame = make_tso_frame(segments);
    ASSERT_TRUE(host_->send(frame));
    sink_.received.clear();
    EXPECT_EQ(io_->receive(sink_, {}), ReceiveEnd::kDrained);
    ASSERT_EQ(sink_.received.size(), 1U);
    EXPECT_EQ(sink_.received[0].size(), frame.size());
    EXPECT_EQ(header_of(sink_.received[0]).gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
    EXPECT_EQ(header_of(sink_.received[0]).gso_size, 1000);
    EXPECT_TRUE(std::equal(frame.begin() + kVnetHeaderBytes + kTcpHeadersBytes, frame.end(),
                           sink_.received[0].begin() + kVnetHeaderBytes + kTcpHeadersBytes));
  }
}

TEST_P(TapFrameIoTest, ReceivesSegmentsWhenTheDriverTakesNoOffload) {
  // Off at the start, and off again after a driver that had them.
  for (int i = 0; i < 2; ++i) {
    sink_.received.clear();
    ASSERT_TRUE(host_->send(make_tso_frame(4)));
    EXPECT_EQ(io_->receive(sink_, {}), ReceiveEnd::kDrained);
    EXPECT_EQ(sink_.received.size(), 4U);
    for (const Frame& frame : sink_.received) {
      EXPECT_EQ(frame.size(), kVnetHeaderBytes + kTcpHeadersBytes + 1000);
      EXPECT_EQ(header_of(frame).gso_type, VIRTIO_NET_HDR_GSO_NONE);
      EXPECT_EQ(header_of(frame).flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
    }
    ASSERT_TRUE(io_->set_offloads(kTunOffloadsBeforeUso));
    ASSERT_TRUE(io_->set_offloads(0));
  }
}

TEST_P(TapFrameIoTest, CarriesBareFramesWithoutAVnetHeader) {
  close();
  open({.vnet_header = false});
  const Frame frame = make_frame(kMinFrameBytes + 100, 1);
  const Frame bare(frame.begin() + kVnetHeaderBytes, frame.end());
  ASSERT_TRUE(host_->send(frame));
  EXPECT_EQ(io_->receive(sink_, {}), ReceiveEnd::kDrained);
  ASSERT_EQ(sink_.received.size(), 1U);
  EXPECT_EQ(sink_.received[0].size(), bare.size());
  EXPECT_THAT(transmit_frames(*io_, std::array<Frame, 1>{bare}), ElementsAre(0));
  EXPECT_EQ(host_->receive(), frame);
}

TEST_P(TapFrameIoTest, KeepsTheOrderWhileFramesStreamIn) {
  constexpr unsigned kFrames = 20000;
  const EventFd sent_all = EventFd::create().value();
  const unsigned bit = io_->watch(sent_all.fd()).value();
  io_->want_receive(true);
  std::thread sender([&] {
    for (unsigned i = 0; i < kFrames; ++i) {
      // Every eighth is large, so that both ways of reading take turns.
      Frame frame = make_frame(i % 64 < 8 ? 1500 : 64, 1);
      std::memcpy(frame.data() + kMinFrameBytes, &i, sizeof i);
      EXPECT_TRUE(host_->send(frame));
    }
    sent_all.signal();
  });
  std::optional<unsigned> last;
  unsigned received = 0;
  for (bool done = false; !done;) {
    done = (io_->wait(std::nullopt).watched >> bit & 1U) != 0;
    while (io_->receive(sink_, {}) == ReceiveEnd::kBudget) {
    }
    for (const Frame& frame : sink_.received) {
      unsigned number = 0;
      std::memcpy(&number, frame.data() + kMinFrameBytes, sizeof number);
      // The tap drops when its ring is full, but never turns around.
      EXPECT_TRUE(!last || number > *last) << number;
      last = number;
      ++received;
    }
    sink_.received.clear();
  }
  EXPECT_EQ(net::testing::count_uring_workers(), 0U);
  sender.join();
  EXPECT_GT(received, 0U);
  EXPECT_EQ(io_->counters().received_frames.get(), received);
}

// F23: a resource, not a speed, so it is the thread's own time that counts. What comes until the tap's queue
// is full may wake the thread; a flood goes on much longer.
TEST_P(TapFrameIoTest, AFloodThatNobodyReadsCostsAlmostNoTime) {
  constexpr milliseconds kFlood(500);
  const auto own_time = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  io_->want_receive(false);
  std::atomic<unsigned> sent{0};
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    const Frame frame = make_frame(100, 1);
    for (; !stop; ++sent) {
      static_cast<void>(host_->send(frame));
    }
  });
  while (sent < 2000) {
    EXPECT_FALSE(io_->wait(FrameIo::Clock::now() + milliseconds(1)).receive);
  }
  const auto before = own_time();
  const auto end = FrameIo::Clock::now() + kFlood;
  while (FrameIo::Clock::now() < end) {
    EXPECT_FALSE(io_->wait(end).receive);
  }
  EXPECT_LT(own_time() - before, kFlood / 20);
  stop = true;
  sender.join();
}

// F25: neither ring can be overrun, however often something is watched and let go.
TEST_P(TapFrameIoTest, WorksAfterMoreRequestsThanItsRingsHold) {
  const EventFd event = EventFd::create().value();
  event.signal();
  for (int round = 0; round < 20; ++round) {
    for (unsigned i = 0; i < kMaxWatched; ++i) {
      ASSERT_TRUE(io_->watch(event.fd()));
    }
    EXPECT_FALSE(io_->watch(event.fd()));
    for (unsigned bit = 0; bit < kMaxWatched; ++bit) {
      io_->unwatch(bit);
    }
  }
  const unsigned bit = io_->watch(event.fd()).value();
  EXPECT_EQ(io_->wait(std::nullopt).watched, std::uint64_t{1} << bit);
  const std::vector<Frame> frames(64, make_frame(100, 1));
  EXPECT_THAT(transmit_frames(*io_, frames), ::testing::Each(0));
  for (const Frame& frame : frames) {
    EXPECT_EQ(host_->receive(), frame);
  }
}

TEST_P(TapFrameIoTest, ADeletedTapWakesASleepingThread) {
  std::thread remover([] {
    // The other thread is likely to sleep by now; if not, the test is easier.
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_TRUE(net::testing::delete_link("t0"));
  });
  for (bool gone = false; !gone;) {
    if (io_->wait(std::nullopt).receive) {
      gone = io_->receive(sink_, {}) == ReceiveEnd::kGone;
    }
  }
  remover.join();
  EXPECT_THAT(transmit_frames(*io_, std::array<Frame, 1>{make_frame(100, 1)}), ElementsAre(Ne(0)));
  EXPECT_TRUE(io_->set_offloads(0));  // there is nobody to tell
}

TEST_P(TapFrameIoTest, TellsWhoWasWokenAndCouldNotReadThatTheTapIsDeleted) {
  io_->want_receive(true);
  EXPECT_FALSE(io_->wait(FrameIo::Clock::now()).receive);
  EXPECT_TRUE(net::testing::delete_link("t0"));
  EXPECT_TRUE(io_->wait(std::nullopt).receive);
  RecordingSink full(1536, 0);
  if (io_->receive(full, {}) == ReceiveEnd::kStarved) {
    io_->want_receive(false);
    EXPECT_TRUE(io_->wait(FrameIo::Clock::now() + milliseconds(5000)).receive);
    EXPECT_EQ(io_->receive(full, {}), ReceiveEnd::kGone);
  }
}

}  // namespace
}  // namespace tapir::net
