// SPDX-License-Identifier: Apache-2.0
// What becomes of the frames that a driver sends. NET-nn, VQ-nn and Cnn are the rows of the list of known
// bugs and of the conformance list.
#include "virtio/net_transmitter.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <cerrno>
#include <thread>

#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverEnd;
using testing::kHostOffloads;
using testing::make_header;
using testing::pattern;
using testing::with_header;

constexpr std::uint8_t kNeedsCsum = VIRTIO_NET_HDR_F_NEEDS_CSUM;

class NetTransmitterTest : public testing::NetDeviceTest {};

TEST_F(NetTransmitterTest, SendsFramesInOrderBehindTheirHeaders) {
  activate();
  for (unsigned i = 0; i < 2000; ++i) {
    while (!driver_->send({}, pattern(60 + i, i))) {
      ASSERT_TRUE(driver_->wait_until_sent());
    }
  }
  ASSERT_TRUE(driver_->wait_until_sent());
  const auto frames = io_->take_sent();
  ASSERT_EQ(frames.size(), 2000U);
  std::uint64_t bytes = 0;
  for (unsigned i = 0; i < 2000; ++i) {
    ASSERT_EQ(frames[i], with_header({}, pattern(60 + i, i)));
    bytes += 60 + i;
  }
  EXPECT_EQ(sent().frames.get(), 2000U);
  EXPECT_EQ(sent().bytes.get(), bytes);
  EXPECT_EQ(sent().dropped.get(), 0U);
}

// NET-07, NET-12, C14: the header in one piece with the frame, apart, byte by byte, and in an indirect table.
TEST_F(NetTransmitterTest, HeaderMayBeCutAnywhere) {
  activate();
  const net::VnetHeader header = make_header(kNeedsCsum, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 16, 54);
  const auto frame = pattern(4000);
  std::vector<std::vector<std::uint32_t>> all_cuts = {{}, {12}, {11}, {13}, {1}, {5, 7}, {5, 8}, {0, 12, 0}};
  all_cuts.push_back(std::vector<std::uint32_t>(12, 1));
  all_cuts.push_back(std::vector<std::uint32_t>(60, 1));
  for (const auto& cuts : all_cuts) {
    ASSERT_TRUE(driver_->send(header, frame, cuts));
    ASSERT_TRUE(driver_->wait_until_sent());
    const auto frames = io_->take_sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0], with_header(header, frame));
  }

  ASSERT_TRUE(memory_.write(GuestAddress{0x3800000}, with_header(header, frame)));
  ChainBuilder chain;
  for (std::uint64_t i = 0; i < 20; ++i) {
    chain.readable(0x3800000 + i, 1);
  }
  chain.readable(0x3800014, 4012 - 20);
  driver_->transmit_queue().add_indirect(chain, 0x3900004);
  driver_->kick_transmit();
  ASSERT_TRUE(io_->wait_for_sent(1));
  EXPECT_EQ(io_->take_sent()[0], with_header(header, frame));
}

// NET-07, VQ-16: fewer bytes than a header, and than an Ethernet header behind it.
TEST_F(NetTransmitterTest, ShortFramesAreDroppedAndCounted) {
  activate();
  for (std::size_t bytes = 0; bytes < 26; ++bytes) {
    ASSERT_TRUE(driver_->send_raw(pattern(bytes)));
  }
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(sent().dropped.get(), 26U);
  ASSERT_TRUE(driver_->send({}, pattern(14)));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(io_->take_sent().size(), 1U);
}

// NET-16
TEST_F(NetTransmitterTest, FramesAreSentUpToTheLimitAndDroppedBeyond) {
  activate();
  ASSERT_TRUE(driver_->send({}, pattern(65562 - 12)));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(io_->take_sent().size(), 1U);
  ASSERT_TRUE(driver_->send({}, pattern(65563 - 12)));
  // 2^31 and nearly 2^32 bytes of the same memory over and over.
  const std::uint32_t piece = 32U << 20;
  for (const unsigned pieces : {64U, 127U}) {
    ChainBuilder chain;
    for (unsigned i = 0; i < pieces; ++i) {
      chain.readable(0, piece);
    }
    driver_->transmit_queue().add(chain);
    driver_->kick_transmit();
  }
  ASSERT_TRUE(wait_for([this] { return sent().dropped.get() == 3; }));
  EXPECT_TRUE(io_->take_sent().empty());
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

// VQ-20: as many pieces as a system call takes, and more; the device lives.
TEST_F(NetTransmitterTest, ChainsOfTooManyPiecesAreDropped) {
  activate();
  std::uint64_t table = 0x3400000;
  for (const unsigned pieces : {1024U, 1025U, 4096U, 32768U}) {
    ChainBuilder chain;
    for (unsigned i = 0; i < pieces; ++i) {
      chain.readable(0x3000000 + std::uint64_t{2} * i, 1);
    }
    driver_->transmit_queue().add_indirect(chain, table);
    driver_->kick_transmit();
    table += 0x100000;
  }
  ASSERT_EQ(take_used(driver_->transmit_queue(), 4).size(), 4U);
  ASSERT_TRUE(driver_->send({}, pattern(60)));
  ASSERT_TRUE(io_->wait_for_sent(2));
  const auto frames = io_->take_sent();
  EXPECT_EQ(frames[0].size(), 1024U);
  EXPECT_EQ(frames[1].size(), 72U);
  EXPECT_EQ(sent().bad_chains.get(), 3U);
}

TEST_F(NetTransmitterTest, HeaderThatSharesAPieceWithALongChainIsOnePieceTooMuch) {
  activate();
  ChainBuilder chain;
  chain.readable(0x3000000, 20);
  for (unsigned i = 0; i < 1023; ++i) {
    chain.readable(0x3001000 + std::uint64_t{2} * i, 1);
  }
  driver_->transmit_queue().add_indirect(chain, 0x3800000);
  driver_->kick_transmit();
  ASSERT_TRUE(wait_for([this] { return sent().dropped.get() == 1; }));
  EXPECT_TRUE(io_->take_sent().empty());
}

// NET-10, C95-C97
TEST_F(NetTransmitterTest, HostEndGetsACleanHeader) {
  activate();
  net::VnetHeader dirty = make_header(0xFE, 0, 7777, 0xFFFF, 0xFFFF, 0xFFFF);
  dirty.num_buffers = 7;
  ASSERT_TRUE(driver_->send(dirty, pattern(60)));
  ASSERT_TRUE(driver_->send(make_header(0, VIRTIO_NET_HDR_GSO_TCPV4, 1448), pattern(60)));
  ASSERT_TRUE(driver_->wait_until_sent());
  const auto frames = io_->take_sent();
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0], with_header({}, pattern(60)));
  EXPECT_EQ(sent().dropped.get(), 1U);
}

// C137
TEST_F(NetTransmitterTest, OffloadsThatWereNotAcceptedAreRefused) {
  activate(kHostOffloads);
  ASSERT_TRUE(driver_->send(make_header(kNeedsCsum, 0, 0, 34, 6), pattern(100)));
  ASSERT_TRUE(driver_->send(make_header(kNeedsCsum, VIRTIO_NET_HDR_GSO_TCPV4, 1448, 34, 16), pattern(4000)));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_TRUE(io_->take_sent().empty());
  EXPECT_EQ(sent().dropped.get(), 2U);
}

TEST_F(NetTransmitterTest, HeaderIsLeftOutForAHostEndWithoutIt) {
  make_device({false, 0, 0});
  activate();
  for (const auto& cuts : {std::vector<std::uint32_t>{}, {12}, {5, 7}, {5, 20}}) {
    ASSERT_TRUE(driver_->send({}, pattern(100), cuts));
    ASSERT_TRUE(driver_->wait_until_sent());
    const auto frames = io_->take_sent();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0], pattern(100));
  }
}

// FLT-06: order kept, none lost, none twice, used only when sent.
TEST_F(NetTransmitterTest, FramesWaitInOrderWhileTheHostEndIsFull) {
  io_->set_transmit_room(0);
  activate();
  unsigned queued = 0;
  while (driver_->send({}, pattern(60, queued))) {
    ++queued;
  }
  EXPECT_EQ(queued, 256U);
  EXPECT_FALSE(driver_->transmit_queue().take_used());
  for (unsigned i = 0; i < queued; ++i) {
    io_->set_transmit_room(1);
    ASSERT_TRUE(io_->wait_for_sent(1));
    const auto frames = io_->take_sent();
    ASSERT_EQ(frames.size(), 1U);
    ASSERT_EQ(frames[0], with_header({}, pattern(60, i)));
  }
  EXPECT_TRUE(driver_->wait_until_sent());
}

// NET-09, FLT-07: a refused frame is a lost frame and nothing else.
TEST_F(NetTransmitterTest, FramesThatTheHostEndRefusesAreDroppedAndCounted) {
  activate();
  io_->fail_transmits(EIO, 3);
  for (unsigned i = 0; i < 5; ++i) {
    ASSERT_TRUE(driver_->send({}, pattern(60, i)));
  }
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(sent().dropped.get(), 3U);
  EXPECT_EQ(sent().frames.get(), 2U);
  EXPECT_EQ(io_->take_sent()[1], with_header({}, pattern(60, 4)));
}

// VQ-11: the head of a parked frame again.
TEST_F(NetTransmitterTest, HeadOfAParkedFrameMadeAvailableAgainBreaksTheQueue) {
  io_->set_transmit_room(0);
  activate();
  const auto head = driver_->transmit_queue().add(ChainBuilder().readable(0x3000000, 100));
  driver_->transmit_queue().add_again(*head);
  driver_->kick_transmit();
  io_->set_transmit_room(std::nullopt);
  ASSERT_TRUE(wait_for([this] { return driver_->notifier().needs_reset(); }));
  device_->reset();
  EXPECT_EQ(io_->take_sent().size(), 1U);
}

// C36: what cannot be sent waits for its turn behind frames that the backend has no room for.
TEST_F(NetTransmitterTest, ChainsComeBackInTheDriversOrderWhateverBecomesOfThem) {
  io_->set_transmit_room(1);
  activate();
  DriverEnd& queue = driver_->transmit_queue();
  std::vector<std::uint16_t> order;
  for (unsigned i = 0; i < 4; ++i) {
    order.push_back(*queue.add(ChainBuilder().readable(0x3000000, 100)));
    order.push_back(*queue.add(ChainBuilder().readable(UINT64_MAX, 100)));
    order.push_back(*queue.add(ChainBuilder().readable(0x3000000, 13)));
  }
  driver_->kick_transmit();
  EXPECT_TRUE(io_->wait_for_sent(1));
  io_->set_transmit_room(std::nullopt);
  std::vector<std::uint16_t> used_heads;
  EXPECT_TRUE(wait_for([&] {
    while (const auto used = queue.take_used()) {
      used_heads.push_back(used->head);
    }
    return used_heads.size() >= order.size();
  }));
  EXPECT_EQ(used_heads, order);
  EXPECT_EQ(sent().frames.get(), 4U);
  EXPECT_EQ(sent().bad_chains.get(), 4U);
  EXPECT_EQ(sent().dropped.get(), 4U);
}

// VQ-10, VQ-12: a driver that floods one queue does not keep the other from its turn.
TEST_F(NetTransmitterTest, FloodOfBadChainsLeavesReceivingItsTurn) {
  activate();
  driver_->post(64, 2048);
  std::atomic<bool> stop{false};
  std::thread flood([&] {
    DriverEnd& queue = driver_->transmit_queue();
    while (!stop.load()) {
      while (queue.add(ChainBuilder().readable(UINT64_MAX, 100))) {
      }
      queue.publish();
      driver_->force_kicks();
      while (queue.take_used()) {
      }
    }
  });
  for (unsigned i = 0; i < 64; ++i) {
    io_->inject(with_header({}, pattern(60, i)));
    EXPECT_TRUE(driver_->notifier().wait_until([this] { return driver_->receive().has_value(); })) << i;
  }
  stop = true;
  flood.join();
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

}  // namespace
}  // namespace tapir::virtio
