// SPDX-License-Identifier: Apache-2.0
// What the driver finds in its receive buffers. NET-nn and Cnn are the rows of the list of known bugs and of
// the conformance list.
#include "virtio/net_receiver.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::feature;
using testing::kGuestOffloads;
using testing::make_header;
using testing::pattern;
using testing::with_header;

constexpr std::uint64_t kMrg = feature(VIRTIO_NET_F_MRG_RXBUF);
constexpr std::uint64_t kMtu = feature(VIRTIO_NET_F_MTU);
constexpr std::size_t kLargest = net::kMaxReceiveBytes - net::kVnetHeaderBytes;

class NetReceiverTest : public testing::NetDeviceTest {
 protected:
  void inject(const std::vector<std::byte>& frame, const net::VnetHeader& header = {}) {
    io_->inject(io_->features().vnet_header ? with_header(header, frame) : frame);
  }
};

TEST_F(NetReceiverTest, DeliversFramesInOrder) {
  activate();
  driver_->post(256, 2048);
  for (unsigned i = 0; i < 400; ++i) {
    inject(pattern(60 + i, i));
  }
  for (unsigned i = 0; i < 400; ++i) {
    const auto frame = driver_->wait_for_frame();
    ASSERT_TRUE(frame) << i;
    EXPECT_EQ(frame->frame, pattern(60 + i, i));
    driver_->post(256, 2048);
  }
}

// NET-17, C99, C100, C101: the host end left the field 0, the buffer held 0xAA.
TEST_F(NetReceiverTest, NumBuffersIsOneWithoutMergeableBuffers) {
  activate(kMrg);
  driver_->post(4, 65562);
  inject(pattern(1514));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->header.num_buffers, 1);
  EXPECT_EQ(frame->used_bytes, (std::vector<std::uint32_t>{12 + 1514}));
  EXPECT_EQ(frame->frame, pattern(1514));
}

// NET-01, NET-17, C102-C104, VQ-21: all buffers full but the last, all used in one step (NetDriver checks
// that).
TEST_F(NetReceiverTest, LargeFrameIsSpreadOverMergeableBuffers) {
  activate(kMtu);
  for (const std::uint32_t bytes : {257U, 1536U, 4096U, 65562U}) {
    driver_->post(256, bytes);
    for (const std::size_t frame_bytes :
         {std::size_t{60}, std::size_t{bytes - 12}, std::size_t{bytes - 11}, kLargest}) {
      const auto sent = pattern(frame_bytes, bytes);
      inject(sent);
      const auto frame = driver_->wait_for_frame();
      ASSERT_TRUE(frame) << frame_bytes << " in buffers of " << bytes;
      const std::size_t buffers = (12 + frame_bytes + bytes - 1) / bytes;
      EXPECT_EQ(frame->header.num_buffers, buffers);
      ASSERT_EQ(frame->used_bytes.size(), buffers);
      for (std::size_t i = 0; i + 1 < buffers; ++i) {
        EXPECT_EQ(frame->used_bytes[i], bytes);
      }
      EXPECT_EQ(frame->frame, sent);
      driver_->post(256, bytes);
    }
    device_->reset();
    activate(kMtu);
  }
}

// NET-01: buffers of a few bytes, at odd addresses, the header over several descriptors.
TEST_F(NetReceiverTest, HeaderMayLieAcrossManyDescriptors) {
  activate();
  ChainBuilder chain;
  for (std::uint64_t i = 0; i < 40; ++i) {
    chain.writable(0x3000001 + i * 5, i % 3 == 0 ? 1 : 3);
  }
  chain.writable(0x3001001, 1501);
  driver_->receive_queue().add(chain);
  driver_->kick_receive();
  inject(pattern(1400));
  ASSERT_EQ(take_used(driver_->receive_queue(), 1), std::vector<std::uint32_t>{1412});
  std::vector<std::byte> bytes;
  for (const ChainBuilder::Element& element : chain.elements()) {
    std::vector<std::byte> part(element.bytes);
    ASSERT_TRUE(memory_.read(GuestAddress{element.address}, part));
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  EXPECT_EQ(bytes[10], std::byte{1});
  EXPECT_EQ(bytes[11], std::byte{0});
  bytes.resize(1412);
  EXPECT_EQ(std::vector<std::byte>(bytes.begin() + 12, bytes.end()), pattern(1400));
}

// NET-14, C90, C100: what does not fit is dropped whole and counted; what fits comes after it.
TEST_F(NetReceiverTest, FrameThatDoesNotFitIsDroppedNeverCut) {
  activate(kMrg | kMtu);
  driver_->post(2, 1526);
  inject(pattern(1515));
  inject(pattern(9014));
  inject(pattern(1514, 3));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->frame, pattern(1514, 3));
  EXPECT_FALSE(driver_->receive());
}

// NET-02, NET-13: with too few buffers nothing is lost or delivered in part, and nothing accumulates.
TEST_F(NetReceiverTest, FrameWaitsUntilThereAreEnoughBuffers) {
  activate(kMtu);
  for (unsigned round = 0; round < 200; ++round) {
    inject(pattern(16000, round));
    driver_->post(3, 4096);
    driver_->force_kicks();
    EXPECT_FALSE(driver_->receive());
    driver_->post(1, 4096);
    const auto frame = driver_->wait_for_frame();
    ASSERT_TRUE(frame) << round;
    EXPECT_EQ(frame->frame, pattern(16000, round));
  }
  EXPECT_EQ(received().dropped.get(), 0U);
}

TEST_F(NetReceiverTest, FrameThatTheWholeRingCannotHoldIsDropped) {
  activate(kMtu, 16);
  EXPECT_EQ(driver_->post(256, 1526), 16U);
  inject(pattern(60000));
  inject(pattern(100));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->frame, pattern(100));
}

// NET-13: the driver stops refilling, the host end stays full, then it goes on.
TEST_F(NetReceiverTest, ReceivingGoesOnWhenTheDriverRefills) {
  activate();
  driver_->post(8, 2048);
  for (unsigned i = 0; i < 1000; ++i) {
    inject(pattern(60, i));
  }
  for (unsigned i = 0; i < 1000; ++i) {
    const auto frame = driver_->wait_for_frame();
    ASSERT_TRUE(frame) << i;
    ASSERT_EQ(frame->frame, pattern(60, i));
    if (i % 8 == 7) {
      driver_->post(8, 2048);
    }
  }
}

// C16, C138: buffers too small for the header, empty ones, read-only ones, and broken chains come back with
// length 0.
TEST_F(NetReceiverTest, UnusableBuffersComeBackWithLengthZero) {
  activate();
  testing::DriverEnd& queue = driver_->receive_queue();
  queue.add(ChainBuilder().writable(0x3000000, 11));
  queue.add(ChainBuilder().writable(0x3000000, 0));
  queue.add(ChainBuilder().readable(0x3000000, 2048));
  queue.add(ChainBuilder().writable(GuestMemory::kHoleStart, 2048));
  queue.add(ChainBuilder().writable(0x3000000, 2048).readable(0x3000000, 4));
  queue.add(ChainBuilder().readable(0x3000000, 16).writable(0x3001000, 2048));
  driver_->kick_receive();
  inject(pattern(60));
  EXPECT_EQ(take_used(queue, 6), (std::vector<std::uint32_t>{0, 0, 0, 0, 0, 72}));
  EXPECT_EQ(received().bad_chains.get(), 5U);
  EXPECT_FALSE(driver_->notifier().needs_reset());
  // A readable buffer is never written to.
  EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{0x3000000}), 0U);
  // The frame's bytes, behind the header.
  EXPECT_EQ(memory_.read_object<std::byte>(GuestAddress{0x300100D}), pattern(60)[1]);
}

// NET-15, C105, C106, C109: what was not accepted is not delivered, even if the host end would.
TEST_F(NetReceiverTest, NothingThatTheDriverDidNotAcceptIsDelivered) {
  activate(kGuestOffloads | kMtu);
  driver_->post(256, 4096);
  for (const int type : {VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP,
                         VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN}) {
    const auto gso_type = static_cast<std::uint8_t>(type);
    inject(pattern(3000), make_header(VIRTIO_NET_HDR_F_NEEDS_CSUM, gso_type, 1448, 34, 16, 54));
  }
  inject(pattern(100), make_header(VIRTIO_NET_HDR_F_DATA_VALID, 0));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->frame, pattern(100));
  EXPECT_EQ(frame->header.flags, 0);
  EXPECT_EQ(received().dropped.get(), 5U);
  EXPECT_EQ(received().bad_header.get(), 5U);
}

// C107, C108, C110-C113
TEST_F(NetReceiverTest, HeaderOfAcceptedOffloadsReachesTheDriver) {
  activate();
  driver_->post(256, 4096);
  const net::VnetHeader tso =
      make_header(VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_RSC_INFO,
                  VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 1448, 34, 16, 54);
  inject(pattern(30000), tso);
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->header.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
  EXPECT_EQ(frame->header.gso_type, tso.gso_type);
  EXPECT_EQ(frame->header.gso_size, 1448);
  EXPECT_EQ(frame->header.csum_start, 34);
  EXPECT_EQ(frame->header.csum_offset, 16);
  EXPECT_EQ(frame->header.hdr_len, 54);
  EXPECT_EQ(frame->frame, pattern(30000));
}

// C90: only while MTU was negotiated, only without segmentation. Two VLAN tags (802.1ad) are no part of the
// MTU.
TEST_F(NetReceiverTest, FramesAboveTheMtuAreDropped) {
  activate();
  driver_->post(256, 4096);
  inject(pattern(1500 + 22 + 1));
  inject(pattern(1500 + 22));
  inject(pattern(1500 + 14));
  EXPECT_EQ(driver_->wait_for_frame()->frame.size(), 1522U);
  EXPECT_EQ(driver_->wait_for_frame()->frame.size(), 1514U);
  EXPECT_EQ(received().dropped.get(), 1U);
  EXPECT_EQ(received().bad_length.get(), 1U);
}

// A host end without a vnet header: the device supplies one.
TEST_F(NetReceiverTest, SuppliesTheHeaderThatTheHostEndLacks) {
  for (const std::uint64_t without : {std::uint64_t{0}, kMrg}) {
    make_device({false, 0, 0});
    activate(without);
    driver_->post(64, without == 0 ? 256 : 2048);
    for (unsigned i = 0; i < 3; ++i) {
      inject(pattern(1514, i));
      const auto frame = driver_->wait_for_frame();
      ASSERT_TRUE(frame);
      EXPECT_EQ(frame->frame, pattern(1514, i));
      EXPECT_EQ(frame->header.num_buffers, without == 0 ? 6 : 1);
      EXPECT_EQ(frame->header.flags, 0);
      EXPECT_EQ(frame->header.gso_type, 0);
      EXPECT_EQ(frame->header.hdr_len, 0);
    }
    // The header alone in a descriptor of its own, and cut in two.
    driver_->receive_queue().add(
        ChainBuilder().writable(0x3000000, 5).writable(0x3000010, 7).writable(0x3000020, 600));
  }
}

// NET-08, NET-18: however short the host end's frame is.
TEST_F(NetReceiverTest, ShortFramesAreDroppedUpToAnEthernetHeader) {
  activate();
  driver_->post(16, 2048);
  for (const std::size_t bytes : {0U, 1U, 11U, 12U, 25U}) {
    io_->inject(pattern(bytes));
  }
  for (std::size_t bytes = 14; bytes < 60; ++bytes) {
    inject(pattern(bytes));
  }
  for (std::size_t bytes = 14; bytes < 60; ++bytes) {
    const auto frame = driver_->wait_for_frame();
    ASSERT_TRUE(frame) << bytes;
    EXPECT_EQ(frame->frame, pattern(bytes));
    driver_->post(16, 2048);
  }
  EXPECT_EQ(received().dropped.get(), 5U);
}

// C36: a buffer that cannot be used goes back between those before and those behind it.
TEST_F(NetReceiverTest, BuffersComeBackInTheDriversOrderWithInOrder) {
  NetDeviceOptions options = testing::options_of_ring();
  options.features_off &= ~feature(VIRTIO_F_IN_ORDER);
  make_device({true, net::kAllTunOffloads, 1500}, options);
  activate();
  testing::DriverEnd& queue = driver_->receive_queue();
  std::vector<std::uint16_t> order;
  for (unsigned i = 0; i < 5; ++i) {
    const std::uint64_t buffer = 0x3000000 + i * std::uint64_t{0x1000};
    order.push_back(*queue.add(ChainBuilder().writable(buffer, 1024)));
    order.push_back(*queue.add(ChainBuilder().writable(GuestMemory::kHoleStart, 2048)));
  }
  driver_->kick_receive();
  std::vector<std::uint16_t> used_heads;
  std::vector<std::uint32_t> used_bytes;
  for (unsigned i = 0; i < 6; ++i) {
    inject(pattern(60 + i));
  }
  EXPECT_TRUE(wait_for([&] {
    while (const auto used = queue.take_used()) {
      used_heads.push_back(used->head);
      used_bytes.push_back(used->bytes);
    }
    return used_heads.size() >= order.size();
  }));
  EXPECT_EQ(used_heads, order);
  EXPECT_EQ(used_bytes, (std::vector<std::uint32_t>{72, 0, 73, 0, 74, 0, 75, 0, 76, 0}));
  EXPECT_EQ(received().bad_chains.get(), 5U);
}

// C26: a burst brings far fewer interrupts than frames.
TEST_F(NetReceiverTest, BurstIsOneInterruptPerBatch) {
  driver_.emplace(memory_, device_->features());
  Activation activation = driver_->activation();
  driver_->post(256, 2048);
  driver_->receive_queue().enable_interrupts();
  ASSERT_TRUE(device_->activate(std::move(activation)));
  io_->set_transmit_room(0);
  for (unsigned i = 0; i < 200; ++i) {
    inject(pattern(60, i));
  }
  ASSERT_EQ(take_used(driver_->receive_queue(), 200).size(), 200U);
  EXPECT_LE(driver_->notifier().queue_notifications(0), 1U);
}

}  // namespace
}  // namespace tapir::virtio
