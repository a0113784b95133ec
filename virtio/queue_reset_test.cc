// SPDX-License-Identifier: Apache-2.0
// Reset of one virtqueue, VIRTIO_F_RING_RESET (virtio 1.3, 2.6.1 Virtqueue Reset): the registers of both
// transports, and the network device behind them. Ids in comments are rows of the conformance list.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <array>
#include <string>
#include <vector>

#include "virtio/testing/both_transports.h"
#include "virtio/testing/net_device_fixture.h"
#include "virtio/testing/transport_driver.h"

namespace tapir::virtio::testing {
namespace {

using Area = TransportDriver::Area;

constexpr std::uint64_t kVersion1 = feature(VIRTIO_F_VERSION_1);
constexpr std::uint64_t kRingReset = feature(VIRTIO_F_RING_RESET);

template <typename Driver>
class QueueResetTest : public ::testing::Test {
 protected:
  QueueResetTest() { parts.device.offered |= kRingReset; }
  /// The register by which the selected queue is reset.
  std::uint64_t queue_reset() {
    if constexpr (std::is_same_v<Driver, MmioDriver>) {
      return driver.read(0xC0);
    } else {
      return driver.read(0x3A, 2);
    }
  }

  TransportParts parts;
  Driver driver{parts};
};

TYPED_TEST_SUITE(QueueResetTest, TransportDrivers, TransportDriverNames);

// C12, C44, C45, C69
TYPED_TEST(QueueResetTest, GivesTheQueueItsPowerOnValuesAndLeavesTheOthers) {
  this->driver.start({0, 1}, kVersion1 | kRingReset);
  this->driver.select_queue(1);
  EXPECT_EQ(this->queue_reset(), 0U);
  this->driver.notify(1);
  const int kick = this->parts.device.active->queues[1].kick_fd;
  this->driver.reset_queue();
  EXPECT_EQ(this->parts.device.queue_resets, std::vector<std::uint16_t>{1});
  EXPECT_EQ(this->queue_reset(), 0U);
  EXPECT_FALSE(this->driver.queue_enabled());
  EXPECT_EQ(this->driver.queue_max_size(), 128U);
  EXPECT_FALSE(is_signalled(kick));
  this->driver.select_queue(0);
  EXPECT_TRUE(this->driver.queue_enabled());
  EXPECT_EQ(this->driver.status(), 0xFU);
}

// C13, C44, C69: with the size and the places that the driver chose anew.
TYPED_TEST(QueueResetTest, QueueIsEnabledAgainAsTheDriverThenWantsIt) {
  this->driver.start({0, 1}, kVersion1 | kRingReset);
  this->driver.select_queue(0);
  for (int round = 1; round <= 3; ++round) {
    this->driver.reset_queue();
    this->driver.set_queue_size(64);
    this->driver.set_queue_address(Area::kDescriptor, 0x4'0000);
    this->driver.set_queue_address(Area::kDriver, 0x4'1000);
    this->driver.set_queue_address(Area::kDevice, 0x4'2000);
    this->driver.enable_queue();
    EXPECT_TRUE(this->driver.queue_enabled());
    EXPECT_EQ(this->queue_reset(), 0U);
    ASSERT_EQ(this->parts.device.enabled_again.size(), static_cast<std::size_t>(round));
    EXPECT_EQ(this->parts.device.enabled_again.back().index, 0);
    EXPECT_EQ(this->parts.device.enabled_again.back().queue.size(), 64);
  }
  EXPECT_EQ(this->driver.status(), 0xFU);
}

// TR-01: enabled again, it is as frozen as before.
TYPED_TEST(QueueResetTest, QueueThatIsEnabledAgainIsFrozen) {
  this->driver.start({0}, kVersion1 | kRingReset);
  this->driver.reset_queue();
  this->driver.set_up_queue(0);
  const std::vector<std::uint32_t> registers = this->driver.dump();
  this->driver.set_queue_size(4);
  for (const Area area : {Area::kDescriptor, Area::kDriver, Area::kDevice}) {
    this->driver.set_queue_address(area, 0xDEAD'BEEF'0000);
  }
  this->driver.enable_queue();
  EXPECT_EQ(this->driver.dump(), registers);
  EXPECT_EQ(this->parts.device.enabled_again.size(), 1U);
}

// C12: without the feature, before DRIVER_OK, of a queue that is not enabled or not there, nothing happens.
TYPED_TEST(QueueResetTest, DoesNothingWhereADriverMayNotAskForIt) {
  this->driver.start({0});
  this->driver.reset_queue();
  EXPECT_TRUE(this->driver.queue_enabled());
  ASSERT_TRUE(this->driver.negotiate(kVersion1 | kRingReset));
  this->driver.set_up_queue(0);
  this->driver.reset_queue();
  EXPECT_TRUE(this->driver.queue_enabled());
  this->driver.write_status(0xF);
  for (const std::uint32_t index : {1U, 4U, 0xFFFFU}) {
    this->driver.select_queue(index);
    this->driver.reset_queue();
    this->driver.enable_queue();
    EXPECT_FALSE(this->driver.queue_enabled()) << index;
  }
  EXPECT_TRUE(this->parts.device.queue_resets.empty());
  EXPECT_TRUE(this->parts.device.enabled_again.empty());
  this->driver.write_status(0x8F);  // FAILED
  this->driver.select_queue(0);
  this->driver.reset_queue();
  EXPECT_TRUE(this->driver.queue_enabled());
}

// TR-10: rings outside of RAM, and a device that refuses.
TYPED_TEST(QueueResetTest, QueueThatCannotBeEnabledAgainNeedsADeviceReset) {
  this->driver.start({0}, kVersion1 | kRingReset);
  this->driver.reset_queue();
  this->driver.set_queue_address(Area::kDevice, 0xE100'0000);
  this->driver.enable_queue();
  EXPECT_EQ(this->driver.status(), 0x4FU);
  EXPECT_TRUE(this->parts.device.enabled_again.empty());
  this->driver.start({0}, kVersion1 | kRingReset);
  this->parts.device.refuse_activation = true;
  this->driver.reset_queue();
  this->driver.set_up_queue(0);
  EXPECT_EQ(this->driver.status(), 0x4FU);
  this->parts.device.refuse_activation = false;
  this->driver.start({0}, kVersion1 | kRingReset);
  EXPECT_EQ(this->driver.status(), 0xFU);
}

class NetQueueResetTest : public NetDeviceTest {
 protected:
  std::vector<std::byte> rings(const DriverEnd& queue) const {
    const auto bytes = memory_.slice(queue.layout().used_ring, 2054);
    return {bytes->begin(), bytes->end()};
  }
};

// C12: the buffers held are not filled, though frames come; sending goes on meanwhile.
TEST_F(NetQueueResetTest, ReceiveQueueIsLeftAloneAndSendingGoesOn) {
  activate();
  driver_->post(16, 2048);
  io_->inject(with_header({}, pattern(60)));
  ASSERT_TRUE(driver_->wait_for_frame());
  device_->reset_queue(0);
  const std::vector<std::byte> used = rings(driver_->receive_queue());
  const unsigned notified = driver_->notifier().queue_notifications(0);
  for (unsigned i = 0; i < 10; ++i) {
    io_->inject(with_header({}, pattern(60, i)));
    driver_->force_kicks();
    driver_->send({}, pattern(64, i));
    ASSERT_TRUE(driver_->wait_until_sent());
  }
  EXPECT_FALSE(io_->receive_wanted());
  EXPECT_EQ(rings(driver_->receive_queue()), used);
  EXPECT_EQ(driver_->notifier().queue_notifications(0), notified);
}

// C12, RST-01: frames that wait for the host end are forgotten with their queue.
TEST_F(NetQueueResetTest, TransmitQueueForgetsWhatIsParkedAndReceivingGoesOn) {
  activate();
  io_->set_transmit_room(3);
  for (unsigned i = 0; i < 20; ++i) {
    driver_->send({}, pattern(60, i));
  }
  ASSERT_TRUE(io_->wait_for_sent(3));
  device_->reset_queue(1);
  const std::vector<std::byte> used = rings(driver_->transmit_queue());
  io_->set_transmit_room(std::nullopt);
  driver_->post(4, 2048);
  io_->inject(with_header({}, pattern(70)));
  ASSERT_TRUE(driver_->wait_for_frame());
  EXPECT_EQ(rings(driver_->transmit_queue()), used);
  EXPECT_EQ(io_->take_sent().size(), 3U);
  ASSERT_TRUE(device_->enable_queue(driver_->renew_queue(1, 32)));
  driver_->send({}, pattern(90));
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_EQ(io_->take_sent().front(), with_header({}, pattern(90)));
}

// C13: other sizes each time, under traffic, every queue.
TEST_F(NetQueueResetTest, EachQueueWorksAfterEachReset) {
  activate();
  for (unsigned round = 0; round < 60; ++round) {
    driver_->post(4, 2048);
    io_->inject(with_header({}, pattern(60, round)));
    driver_->send({}, pattern(60, round));
    const auto index = static_cast<std::uint16_t>(round % 3);
    device_->reset_queue(index);
    ASSERT_TRUE(device_->enable_queue(
        driver_->renew_queue(index, static_cast<std::uint16_t>(std::uint16_t{4} << (round % 7)))));
    io_->inject(with_header({}, pattern(80, round)));
    std::optional<NetDriver::Received> frame;
    do {  // the first frame may be there still
      driver_->post(1, 2048);
      frame = driver_->wait_for_frame();
      ASSERT_TRUE(frame);
    } while (frame->frame != pattern(80, round));
    driver_->send({}, pattern(100, round));
    ASSERT_TRUE(driver_->wait_until_sent());
    const std::array<std::byte, 1> on{std::byte{1}};
    EXPECT_EQ(driver_->command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, on), VIRTIO_NET_OK);
  }
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

// virtio 1.3, 2.6.1: it is the queue that is reset; what its commands did stays.
TEST_F(NetQueueResetTest, FilterOutlivesTheControlQueue) {
  activate();
  const std::array<std::byte, 1> off{std::byte{0}};
  ASSERT_EQ(driver_->command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, off), VIRTIO_NET_OK);
  device_->reset_queue(2);
  ASSERT_TRUE(device_->enable_queue(driver_->renew_queue(2, 16)));
  ASSERT_EQ(driver_->command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, off), VIRTIO_NET_OK);
  driver_->post(4, 2048);
  io_->inject(with_header({}, pattern(60, 2)));  // to another address
  std::vector<std::byte> mine = pattern(60);
  std::copy(kTestMac.octets.begin(), kTestMac.octets.end(), reinterpret_cast<std::uint8_t*>(mine.data()));
  io_->inject(with_header({}, mine));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->frame, mine);
  EXPECT_EQ(received().filtered.get(), 1U);
}

// A broken device stays broken, whatever is done to its queues; a device reset heals it.
TEST_F(NetQueueResetTest, DoesNotHealABrokenDevice) {
  activate();
  driver_->transmit_queue().break_ring();
  driver_->force_kicks();
  ASSERT_TRUE(wait_for([this] { return driver_->notifier().needs_reset(); }));
  device_->reset_queue(1);
  ASSERT_TRUE(device_->enable_queue(driver_->renew_queue(1, 64)));
  driver_->send({}, pattern(60));
  device_->reset_queue(0);
  device_->reset();
  EXPECT_TRUE(io_->take_sent().empty());
  activate();
  driver_->send({}, pattern(60));
  EXPECT_TRUE(driver_->wait_until_sent());
}

// The host end goes away while nobody receives: the driver learns it when it does again.
TEST_F(NetQueueResetTest, LinkLossIsFoundWhenReceivingBeginsAgain) {
  activate();
  device_->reset_queue(0);
  io_->remove();
  ASSERT_TRUE(device_->enable_queue(driver_->renew_queue(0, 64)));
  driver_->post(1, 2048);
  EXPECT_TRUE(wait_for([this] { return !device_->link_up(); }));
}

}  // namespace
}  // namespace tapir::virtio::testing
