// SPDX-License-Identifier: Apache-2.0
// Interrupts that wait for each other (virtio 1.3, 5.1.6.5.9 Notifications Coalescing), without
// EVENT_IDX: the driver wants each of them, so their number is the device's doing alone.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "virtio/ring_layout.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::feature;
using testing::pattern;
using testing::with_header;

constexpr std::uint32_t kMinute = 60'000'000;  // µs: longer than any test may take

class NetCoalescingTest : public testing::NetDeviceTest {
 protected:
  void start(unsigned buffers = 200) {
    activate(feature(VIRTIO_RING_F_EVENT_IDX));
    driver_->post(buffers, 2048);
  }
  std::optional<std::uint8_t> set(std::uint8_t command, std::uint32_t max_packets, std::uint32_t max_usecs) {
    const std::uint32_t words[] = {max_packets, max_usecs};
    return driver_->command(VIRTIO_NET_CTRL_NOTF_COAL, command, std::as_bytes(std::span(words)));
  }
  bool set_receive(std::uint32_t max_packets, std::uint32_t max_usecs) {
    return set(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, max_packets, max_usecs) == std::uint8_t{VIRTIO_NET_OK};
  }
  /// Injects frames and waits until the device has delivered all of them.
  void receive(unsigned count) {
    const std::uint64_t before = received().frames.get();
    for (unsigned i = 0; i < count; ++i) {
      io_->inject(with_header({}, pattern(60, i)));
    }
    EXPECT_TRUE(wait_for([&] { return received().frames.get() == before + count; }));
  }
  unsigned interrupts(std::uint16_t queue = 0) const {
    return driver_->notifier().queue_notifications(queue);
  }
  bool interrupted(unsigned times, std::uint16_t queue = 0) const {
    return wait_for([&] { return interrupts(queue) == times; });
  }
};

// C123
TEST_F(NetCoalescingTest, OneInterruptComesWithTheLastOfThePackets) {
  start();
  ASSERT_TRUE(set_receive(8, kMinute));
  for (unsigned round = 1; round <= 3; ++round) {
    receive(7);
    EXPECT_EQ(interrupts(), round - 1);
    receive(1);
    EXPECT_TRUE(interrupted(round));
  }
}

// C123
TEST_F(NetCoalescingTest, InterruptComesAtTheDeadlineWithoutFurtherPackets) {
  start();
  ASSERT_TRUE(set_receive(100, 2000));
  receive(1);
  EXPECT_TRUE(interrupted(1));
  receive(1);
  EXPECT_TRUE(interrupted(2));
}

// C123
TEST_F(NetCoalescingTest, TransmitHasItsOwnParameters) {
  start();
  ASSERT_EQ(set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 4, kMinute), std::uint8_t{VIRTIO_NET_OK});
  for (unsigned i = 0; i < 3; ++i) {
    driver_->send({}, pattern(60));
  }
  EXPECT_TRUE(io_->wait_for_sent(3));
  EXPECT_EQ(interrupts(1), 0U);
  driver_->send({}, pattern(60));
  EXPECT_TRUE(interrupted(1, 1));
  receive(1);
  EXPECT_TRUE(interrupted(1));
}

// C123
TEST_F(NetCoalescingTest, NewParametersCountForWhatWaitsAlready) {
  start();
  ASSERT_TRUE(set_receive(100, kMinute));
  receive(5);
  EXPECT_EQ(interrupts(), 0U);
  ASSERT_TRUE(set_receive(5, kMinute));
  EXPECT_TRUE(interrupted(1));
  // With either of them 0, nothing waits.
  ASSERT_TRUE(set_receive(100, kMinute));
  receive(1);
  ASSERT_TRUE(set_receive(0, kMinute));
  EXPECT_TRUE(interrupted(2));
  ASSERT_TRUE(set_receive(100, kMinute));
  receive(1);
  ASSERT_TRUE(set_receive(100, 0));
  EXPECT_TRUE(interrupted(3));
}

// C123: more packets than the ring has buffers can never come before the driver hears of them.
TEST_F(NetCoalescingTest, DriverWithoutBuffersIsInterruptedAtOnce) {
  start(2);
  ASSERT_TRUE(set_receive(100'000, kMinute));
  for (unsigned i = 0; i < 3; ++i) {
    io_->inject(with_header({}, pattern(60, i)));
  }
  EXPECT_TRUE(wait_for([this] { return interrupts() != 0; }));
  EXPECT_EQ(received().frames.get(), 2U);
}

// C123, RST-01: what waits is dropped, and the next driver begins with nothing that waits.
TEST_F(NetCoalescingTest, ResetDropsWhatWaitsAndTheParameters) {
  start();
  ASSERT_TRUE(set_receive(100, kMinute));
  receive(3);
  device_->reset();
  EXPECT_EQ(interrupts(), 0U);
  start();
  receive(1);
  EXPECT_TRUE(interrupted(1));
  device_->reset();
  start();
  ASSERT_TRUE(set_receive(4, kMinute));
  receive(3);
  EXPECT_EQ(interrupts(), 0U);
}

// C123
TEST_F(NetCoalescingTest, WrongCommandsAreRefused) {
  start();
  EXPECT_EQ(set(2, 1, 1), std::uint8_t{VIRTIO_NET_ERR});
  EXPECT_EQ(driver_->command(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, pattern(7)),
            std::uint8_t{VIRTIO_NET_ERR});
  EXPECT_EQ(driver_->command(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, pattern(9)),
            std::uint8_t{VIRTIO_NET_ERR});
  device_->reset();
  activate(feature(VIRTIO_NET_F_NOTF_COAL));
  EXPECT_FALSE(set_receive(1, 1));
}

}  // namespace
}  // namespace tapir::virtio
