// SPDX-License-Identifier: Apache-2.0
// The network device with several queue pairs on both engines, over a tap of several queues in a network
// namespace of its own. The driver is in this process.
#include <gtest/gtest.h>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "net/frame_io_factory.h"
#include "net/tap.h"
#include "net/testing/engines.h"
#include "net/testing/network_namespace.h"
#include "net/testing/private_network.h"
#include "virtio/net_device.h"
#include "virtio/testing/multi_queue_driver.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::feature;
using testing::MultiQueueDriver;
using testing::NetDriver;

/// A UDP datagram of the flow `number`, with a vnet header; nobody checks its sums.
std::vector<std::byte> datagram(unsigned number) {
  constexpr std::size_t kIp = net::kVnetHeaderBytes + 14;
  std::vector<std::byte> frame(kIp + 20 + 8 + 18);
  const auto put = [&frame](std::size_t at, std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) {
      frame[at++] = static_cast<std::byte>(byte);
    }
  };
  put(net::kVnetHeaderBytes, {0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0, 0, 2, 0x08, 0x00});
  put(kIp, {0x45, 0, 0, 20 + 8 + 18, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
  put(kIp + 20, {number >> 8U, number & 0xFFU, 0, 9, 0, 8 + 18});
  return frame;
}

class NetMultiQueueOnTap : public ::testing::TestWithParam<net::testing::Engine> {
 protected:
  void SetUp() override {
    TAPIR_NEEDS_ENGINE(GetParam());
    TAPIR_ENTER_NETWORK_NAMESPACE();
  }
  void TearDown() override {
    device_.reset();
    io_threads_.clear();
  }

  void make_device(std::uint16_t pairs) {
    auto tap = net::Tap::open("mq0", {.multi_queue = true});
    ASSERT_TRUE(tap) << tap.error().message();
    const net::FrameIoFeatures features = tap->features();
    std::vector<net::FramePort> ports;
    for (std::uint16_t i = 1; i < pairs; ++i) {
      auto queue = tap->open_queue();
      ASSERT_TRUE(queue) << queue.error().message();
      ports.push_back({*std::move(queue), features, true});
    }
    for (auto port = ports.rbegin(); port != ports.rend(); ++port) {
      ASSERT_TRUE(net::Tap::detach_queue(port->fd.get()));
    }
    ports.insert(ports.begin(), std::move(*tap).into_port());
    std::vector<IoThread*> borrowed;
    for (net::FramePort& port : ports) {
      auto io = GetParam().create(std::move(port));
      ASSERT_TRUE(io) << io.error().message();
      auto io_thread = IoThread::start(*std::move(io), "io-test");
      ASSERT_TRUE(io_thread) << io_thread.error().message();
      borrowed.push_back(io_thread->get());
      io_threads_.push_back(*std::move(io_thread));
    }
    device_ = std::make_unique<NetDevice>(testing::kTestMac, std::move(borrowed),
                                          NetDeviceOptions{.multi_queue = true});
    memory_.emplace(*GuestMemory::create(NetDriver::kMemoryBytes * pairs));
    auto socket = net::testing::PacketSocket::open("mq0");
    ASSERT_TRUE(socket) << socket.error().message();
    socket_.emplace(*std::move(socket));
  }

  void activate() {
    const auto pairs = static_cast<std::uint16_t>(device_->pairs());
    driver_.emplace(*memory_, device_->features(), pairs);
    const Status status = device_->activate(driver_->activation());
    ASSERT_TRUE(status) << status.error().message();
    for (std::size_t i = 0; i < pairs; ++i) {
      (*driver_)[i].post(256, 2048);
    }
  }

  void forget_received() {
    while (const auto received = driver_->receive()) {
      (*driver_)[received->first].post(1, 2048);
    }
  }

  /// Sends datagrams of 64 flows; of each pair, how many it got. All of them arrive.
  std::vector<unsigned> spread() {
    constexpr unsigned kFrames = 64;
    std::vector<unsigned> got(driver_->pairs());
    for (unsigned number = 1; number <= kFrames; ++number) {
      EXPECT_TRUE(socket_->send(datagram(number)));
    }
    unsigned count = 0;
    EXPECT_TRUE(driver_->notifier().wait_until([&] {
      while (const auto received = driver_->receive()) {
        ++got[received->first];
        ++count;
        (*driver_)[received->first].post(1, 2048);
      }
      return count >= kFrames;
    }));
    return got;
  }

  std::vector<std::unique_ptr<IoThread>> io_threads_;
  std::optional<GuestMemory> memory_;
  std::unique_ptr<NetDevice> device_;
  std::optional<MultiQueueDriver> driver_;
  std::optional<net::testing::PacketSocket> socket_;
};

TEST_P(NetMultiQueueOnTap, KernelSpreadsFramesOverThePairsInUse) {
  make_device(4);
  activate();
  EXPECT_EQ(spread(), (std::vector<unsigned>{64, 0, 0, 0}));
  ASSERT_EQ(driver_->use_pairs(4), VIRTIO_NET_OK);
  for (const unsigned got : spread()) {
    EXPECT_NE(got, 0U);
  }
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  const auto got = spread();
  EXPECT_EQ(got[0] + got[1], 64U);
  ASSERT_EQ(driver_->use_pairs(1), VIRTIO_NET_OK);
  EXPECT_EQ(spread(), (std::vector<unsigned>{64, 0, 0, 0}));
}

// C121
TEST_P(NetMultiQueueOnTap, FramesOfAFlowComeBackOnThePairThatSendsIt) {
  make_device(4);
  activate();
  ASSERT_EQ(driver_->use_pairs(4), VIRTIO_NET_OK);
  for (std::size_t pair = 0; pair < 4; ++pair) {
    const auto frame = datagram(1000 + static_cast<unsigned>(pair));
    ASSERT_TRUE((*driver_)[pair].send_raw(frame));
    ASSERT_TRUE((*driver_)[pair].wait_until_sent());
    ASSERT_TRUE(socket_->send(frame));
    ASSERT_TRUE((*driver_)[pair].wait_for_frame()) << pair;
  }
}

// RST-01: the number of pairs changes, and the device is reset, while frames come and go on all of them.
TEST_P(NetMultiQueueOnTap, PairsChangeUnderTraffic) {
  make_device(4);
  std::atomic<bool> stop{false};
  std::thread host([&] {
    for (unsigned number = 1; !stop; number = number % 999 + 1) {
      static_cast<void>(socket_->send(datagram(number)));
      if (number % 16 == 0) {
        std::this_thread::yield();
      }
    }
  });
  for (unsigned round = 0; round < 12; ++round) {
    if (round % 4 == 0) {
      device_->reset();
      activate();
    }
    for (const std::uint16_t pairs :
         {std::uint16_t{4}, std::uint16_t{2}, std::uint16_t{3}, std::uint16_t{1}}) {
      EXPECT_EQ(driver_->use_pairs(pairs), VIRTIO_NET_OK);
      for (std::size_t pair = 0; pair < 4; ++pair) {
        (*driver_)[pair].send_raw(datagram(2000 + round));
      }
      forget_received();
    }
    // The answer was the last word; what comes now comes on the first.
    forget_received();
    for (std::size_t pair = 1; pair < 4; ++pair) {
      EXPECT_FALSE((*driver_)[pair].receive()) << pair;
    }
    for (std::size_t pair = 0; pair < 4; ++pair) {
      EXPECT_TRUE((*driver_)[pair].wait_until_sent());
    }
  }
  EXPECT_EQ(driver_->use_pairs(4), VIRTIO_NET_OK);
  EXPECT_TRUE(
      driver_->notifier().wait_until([this] { return device_->counters(3).receive.frames.get() != 0; }));
  stop = true;
  host.join();
  device_->reset();
  activate();
  EXPECT_EQ(spread(), (std::vector<unsigned>{64, 0, 0, 0}));
  EXPECT_FALSE(driver_->notifier().needs_reset());
}

TEST_P(NetMultiQueueOnTap, EveryNumberOfPairsStarts) {
  for (const std::uint16_t pairs : {std::uint16_t{1}, std::uint16_t{2}, std::uint16_t{16}}) {
    make_device(pairs);
    activate();
    ASSERT_EQ(driver_->use_pairs(pairs), VIRTIO_NET_OK) << pairs;
    spread();
    TearDown();
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, NetMultiQueueOnTap, ::testing::ValuesIn(net::testing::kEngines),
                         [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace tapir::virtio
