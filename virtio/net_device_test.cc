// SPDX-License-Identifier: Apache-2.0
// Life cycle and configuration of the network device over an in-memory host end. NET-nn, RST-nn, TR-nn and
// Cnn are the rows of the list of known bugs and of the conformance list.
#include "virtio/net_device.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>
#include <sys/mman.h>

#include <array>
#include <cstring>

#include "virtio/net_features.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::feature;
using testing::kGuestOffloads;
using testing::kHostOffloads;
using testing::NetDeviceTest;
using testing::pattern;
using testing::with_header;

virtio_net_config config_of(const NetDevice& device) {
  virtio_net_config config{};
  device.read_config(0, std::as_writable_bytes(std::span(&config, 1)));
  return config;
}

TEST_F(NetDeviceTest, IsANetworkDeviceWithAQueuePairAndAControlQueue) {
  EXPECT_EQ(device_->type(), 1U);
  ASSERT_EQ(device_->max_queue_sizes().size(), 3U);
  EXPECT_EQ(device_->max_queue_sizes()[0], 256);
  EXPECT_EQ(device_->max_queue_sizes()[1], 256);
  EXPECT_EQ(device_->max_queue_sizes()[2], 64);
}

// C11, C87
TEST_F(NetDeviceTest, ConfigurationIsReadableBeforeActivation) {
  const virtio_net_config config = config_of(*device_);
  EXPECT_EQ(std::memcmp(config.mac, testing::kTestMac.octets.data(), 6), 0);
  EXPECT_EQ(config.status, VIRTIO_NET_S_LINK_UP);
  EXPECT_EQ(config.max_virtqueue_pairs, 1);
  EXPECT_EQ(config.mtu, 1500);
  make_device({true, 0, 0});
  EXPECT_EQ(config_of(*device_).mtu, 0);
}

// TR-03: every offset and width; beyond the end are zeroes.
TEST_F(NetDeviceTest, ConfigurationReadsAsZeroBeyondItsEnd) {
  const virtio_net_config whole = config_of(*device_);
  std::array<std::byte, sizeof whole> expected{};
  std::memcpy(expected.data(), &whole, sizeof whole);
  for (std::uint64_t offset = 0; offset < 0x1000; ++offset) {
    for (const std::size_t width : {1U, 2U, 4U, 8U}) {
      std::array<std::byte, 8> bytes;
      bytes.fill(std::byte{0xAA});
      device_->read_config(offset, std::span(bytes).first(width));
      for (std::size_t i = 0; i < 8; ++i) {
        const std::byte inside = offset + i < expected.size() ? expected[offset + i] : std::byte{0};
        ASSERT_EQ(bytes[i], i < width ? inside : std::byte{0xAA}) << offset << "+" << i;
      }
    }
  }
  std::array<std::byte, 8> far{std::byte{1}};
  device_->read_config(UINT64_MAX - 3, far);
  EXPECT_EQ(far, (std::array<std::byte, 8>{}));
}

// NET-19, C94, C136
TEST_F(NetDeviceTest, ConfigurationIsReadOnly) {
  const virtio_net_config before = config_of(*device_);
  const std::array<std::byte, 64> ones = [] {
    std::array<std::byte, 64> bytes{};
    bytes.fill(std::byte{0xFF});
    return bytes;
  }();
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{6}, std::uint64_t{10}, UINT64_MAX}) {
    device_->write_config(offset, ones);
  }
  const virtio_net_config after = config_of(*device_);
  EXPECT_EQ(std::memcmp(&before, &after, sizeof before), 0);
}

// C6: an offered set only, and consistent.
TEST_F(NetDeviceTest, AcceptsOnlyConsistentSubsetsOfWhatItOffers) {
  EXPECT_TRUE(device_->accepts(device_->features()));
  EXPECT_TRUE(device_->accepts(feature(VIRTIO_F_VERSION_1)));
  EXPECT_FALSE(device_->accepts(0));
  EXPECT_FALSE(device_->accepts(device_->features() & ~feature(VIRTIO_NET_F_CSUM)));
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (!has_feature(device_->features(), bit)) {
      EXPECT_FALSE(device_->accepts(device_->features() | feature(bit))) << bit;
    }
  }
}

// TR-12, TR-14, NET-15, C105: the host end is told what was accepted, before activate() returns, every time.
TEST_F(NetDeviceTest, HostEndIsToldWhatTheDriverAccepted) {
  EXPECT_EQ(io_->offloads(), std::nullopt);
  activate();
  EXPECT_EQ(io_->offloads(), net::kAllTunOffloads);
  device_->reset();
  activate(kGuestOffloads);
  EXPECT_EQ(io_->offloads(), 0U);
  device_->reset();
  activate(kGuestOffloads & ~feature(VIRTIO_NET_F_GUEST_CSUM) & ~feature(VIRTIO_NET_F_GUEST_TSO4));
  EXPECT_EQ(io_->offloads(), unsigned{TUN_F_CSUM} | TUN_F_TSO4);
  EXPECT_EQ(io_->discards(), 3U);
}

// TR-10: returns, with an error and nothing left behind.
TEST_F(NetDeviceTest, ActivationFailsWhenTheHostEndRefuses) {
  io_->refuse_offloads();
  testing::NetDriver driver(memory_, device_->features());
  EXPECT_FALSE(device_->activate(driver.activation()));
  EXPECT_FALSE(io_->receive_wanted());
  device_->reset();
}

// TR-09
TEST_F(NetDeviceTest, ActivatesWithoutAnyQueue) {
  testing::NetDriver driver(memory_, device_->features());
  for (unsigned i = 0; i < 1000; ++i) {
    Activation activation = driver.activation();
    activation.queues.clear();
    ASSERT_TRUE(device_->activate(std::move(activation)));
    EXPECT_FALSE(io_->receive_wanted());
    device_->reset();
  }
}

// TR-13, VQ-24: buffers that were made available before activation are found without a kick.
TEST_F(NetDeviceTest, FindsWhatWasMadeAvailableBeforeActivation) {
  driver_.emplace(memory_, device_->features());
  Activation activation = driver_->activation();
  driver_->send({}, pattern(60));
  io_->inject(with_header({}, pattern(99)));  // of a time before this driver: it must not arrive
  ASSERT_TRUE(io_->take_sent().empty());
  ASSERT_TRUE(device_->activate(std::move(activation)));
  EXPECT_TRUE(io_->wait_for_sent(1));
  EXPECT_TRUE(driver_->wait_until_sent());
  driver_->post(1, 2048);
  io_->inject(with_header({}, pattern(70)));
  const auto frame = driver_->wait_for_frame();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->frame, pattern(70));
}

// C18: the pages of both descriptor tables are read-only for this process while the device works on them. (A
// packed ring has no other place for what the device tells.)
TEST_F(NetDeviceTest, NeverWritesToADescriptorTable) {
  io_->set_transmit_room(0);
  activate(feature(VIRTIO_F_RING_PACKED));
  const auto protect = [this](int protection) {
    for (const testing::DriverEnd* queue : {&driver_->receive_queue(), &driver_->transmit_queue()}) {
      const auto table = memory_.slice(queue->layout().descriptor_table, 4096);
      ASSERT_EQ(::mprotect(table->data(), table->size(), protection), 0);
    }
  };
  driver_->post(8, 2048);
  for (unsigned i = 0; i < 8; ++i) {
    driver_->send({}, pattern(60, i));
  }
  protect(PROT_READ);
  io_->set_transmit_room(std::nullopt);
  for (unsigned i = 0; i < 8; ++i) {
    io_->inject(with_header({}, pattern(60, i)));
  }
  EXPECT_TRUE(io_->wait_for_sent(8));
  EXPECT_TRUE(wait_for([this] { return received().frames.get() == 8; }));
  protect(PROT_READ | PROT_WRITE);
}

// virtio 1.3, 5.1.2 Virtqueues: the control queue exists only with its feature, whatever the driver enables.
TEST_F(NetDeviceTest, ControlQueueIsLeftAloneWithoutItsFeature) {
  driver_.emplace(memory_, device_->features());
  Activation activation = driver_->activation();
  activation.features = feature(VIRTIO_F_VERSION_1) | feature(VIRTIO_RING_F_EVENT_IDX);
  ASSERT_EQ(activation.queues.size(), 3U);
  ASSERT_TRUE(device_->accepts(activation.features));
  ASSERT_TRUE(device_->activate(std::move(activation)));
  driver_->control_queue().break_ring();  // would break a queue that is looked at
  driver_->force_kicks();
  driver_->send({}, pattern(60));
  EXPECT_TRUE(driver_->wait_until_sent());
  device_->reset();
  EXPECT_FALSE(driver_->notifier().needs_reset());
  EXPECT_FALSE(driver_->control_queue().take_used());
}

// RST-01, C10: with frames parked in the device and buffers held, reset returns, and nothing is touched
// afterwards.
TEST_F(NetDeviceTest, TouchesNothingAfterReset) {
  for (unsigned round = 0; round < 50; ++round) {
    io_->set_transmit_room(5);
    activate();
    driver_->post(256, 2048);
    for (unsigned i = 0; i < 100; ++i) {
      driver_->send({}, pattern(60, i));
      io_->inject(with_header({}, pattern(60, i)));
    }
    device_->reset();
    const unsigned notifications =
        driver_->notifier().queue_notifications(0) + driver_->notifier().queue_notifications(1);
    const auto ram = memory_.regions()[0].host;
    const std::vector<std::byte> before(ram.begin(), ram.begin() + 0x40000);
    for (unsigned i = 0; i < 20; ++i) {
      io_->inject(with_header({}, pattern(60)));
      driver_->send({}, pattern(60));
      driver_->kick_receive();
    }
    io_->set_transmit_room(std::nullopt);
    device_->reset();
    EXPECT_EQ(driver_->notifier().queue_notifications(0) + driver_->notifier().queue_notifications(1),
              notifications);
    EXPECT_FALSE(io_->receive_wanted());
    // The used rings; the driver itself wrote the others.
    for (testing::DriverEnd* queue : {&driver_->receive_queue(), &driver_->transmit_queue()}) {
      const auto at = to_integer(queue->layout().used_ring);
      EXPECT_TRUE(std::equal(ram.begin() + static_cast<std::ptrdiff_t>(at),
                             ram.begin() + static_cast<std::ptrdiff_t>(at + 2054),
                             before.begin() + static_cast<std::ptrdiff_t>(at)));
    }
    io_->take_sent();
  }
}

// TR-14, C8: unbind and bind, with other features each time, and traffic after each.
TEST_F(NetDeviceTest, WorksAgainAfterEachReset) {
  const std::uint64_t sets[] = {0,
                                kGuestOffloads,
                                kHostOffloads,
                                feature(VIRTIO_NET_F_MRG_RXBUF),
                                feature(VIRTIO_RING_F_EVENT_IDX),
                                kGuestOffloads | kHostOffloads};
  for (unsigned round = 0; round < 120; ++round) {
    activate(sets[round % 6], round % 2 == 0 ? 256 : 16);
    driver_->post(8, 2048);
    driver_->send({}, pattern(64, round));
    ASSERT_TRUE(io_->wait_for_sent(1));
    EXPECT_EQ(io_->take_sent().front(), with_header({}, pattern(64, round)));
    io_->inject(with_header({}, pattern(80, round)));
    const auto frame = driver_->wait_for_frame();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->frame, pattern(80, round));
    device_->reset();
  }
}

// C88, C92
TEST_F(NetDeviceTest, OperatorsChoicesAreWhatTheDriverSees) {
  NetDeviceOptions options;
  options.features_off = feature(VIRTIO_NET_F_MRG_RXBUF) | feature(VIRTIO_NET_F_CSUM);
  options.queue_sizes = {1024, 512};
  options.mtu = 1400;
  options.speed = 10000;
  options.duplex = 1;
  device_ = std::make_unique<NetDevice>(testing::kTestMac, std::vector{io_thread_.get()}, options);
  EXPECT_EQ(device_->features() & (options.features_off | kHostOffloads), 0U);
  EXPECT_NE(device_->features() & kGuestOffloads, 0U);
  EXPECT_EQ(device_->max_queue_sizes()[0], 1024);
  EXPECT_EQ(device_->max_queue_sizes()[1], 512);
  const virtio_net_config config = config_of(*device_);
  EXPECT_EQ(config.mtu, 1400);
  EXPECT_EQ(config.speed, 10000U);
  EXPECT_EQ(config.duplex, 1);
  EXPECT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_SPEED_DUPLEX));
}

TEST_F(NetDeviceTest, SpeedAndDuplexAreNotOfferedWhenNobodyGaveThem) {
  EXPECT_FALSE(has_feature(device_->features(), VIRTIO_NET_F_SPEED_DUPLEX));
  NetDeviceOptions options;
  options.duplex = 0;
  device_ = std::make_unique<NetDevice>(testing::kTestMac, std::vector{io_thread_.get()}, options);
  EXPECT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_SPEED_DUPLEX));
  EXPECT_EQ(config_of(*device_).speed, 0xFFFF'FFFFU);
  EXPECT_EQ(config_of(*device_).duplex, 0);
}

// The machine is made anew on a reboot; the host end and its thread stay.
TEST_F(NetDeviceTest, HostEndOutlivesTheDevice) {
  for (unsigned round = 0; round < 5; ++round) {
    activate();
    driver_->send({}, pattern(64, round));
    ASSERT_TRUE(io_->wait_for_sent(1));
    io_->take_sent();
    device_ = std::make_unique<NetDevice>(testing::kTestMac, std::vector{io_thread_.get()});
  }
}

// FLT-01: the link goes down once, with a configuration notification; frames sent are consumed.
TEST_F(NetDeviceTest, LinkGoesDownWhenTheHostEndIsGone) {
  activate();
  driver_->post(16, 2048);
  io_->remove();
  ASSERT_TRUE(wait_for([this] { return driver_->notifier().config_notifications() != 0; }));
  EXPECT_EQ(config_of(*device_).status, 0);
  for (unsigned i = 0; i < 300; ++i) {
    if (!driver_->send({}, pattern(60))) {
      ASSERT_TRUE(driver_->wait_until_sent());
    }
  }
  ASSERT_TRUE(driver_->wait_until_sent());
  EXPECT_GE(sent().dropped.get(), 200U);
  EXPECT_EQ(driver_->notifier().config_notifications(), 1U);
  EXPECT_FALSE(driver_->notifier().needs_reset());
  device_->reset();
  activate();
  EXPECT_EQ(config_of(*device_).status, 0);
}

// O6, C2: a broken ring asks for a reset, stops both directions, and a reset heals it.
TEST_F(NetDeviceTest, BrokenQueueAsksForAResetAndStopsThePair) {
  for (const bool transmit : {true, false}) {
    activate();
    testing::DriverEnd& queue = transmit ? driver_->transmit_queue() : driver_->receive_queue();
    queue.break_ring();
    io_->inject(with_header({}, pattern(60)));
    driver_->force_kicks();
    ASSERT_TRUE(wait_for([this] { return driver_->notifier().needs_reset(); })) << transmit;
    EXPECT_FALSE(io_->receive_wanted());
    device_->reset();
    activate();
    driver_->send({}, pattern(60));
    EXPECT_TRUE(driver_->wait_until_sent());
    device_->reset();
    io_->take_sent();
  }
}

}  // namespace
}  // namespace tapir::virtio
