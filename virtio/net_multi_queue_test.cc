// SPDX-License-Identifier: Apache-2.0
// The network device with several queue pairs, over host ends in memory.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <memory>
#include <optional>
#include <vector>

#include "virtio/testing/multi_queue_driver.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using testing::feature;
using testing::kTestMac;
using testing::MultiQueueDriver;
using testing::NetDriver;
using testing::pattern;
using testing::with_header;

constexpr std::uint16_t kPairs = 4;
constexpr std::uint64_t kMq = feature(VIRTIO_NET_F_MQ);

class NetMultiQueue : public ::testing::Test {
 protected:
  void SetUp() override { make_device(kPairs, {.multi_queue = true}); }
  void TearDown() override {
    device_.reset();
    io_threads_.clear();
  }

  void make_device(std::uint16_t host_ends, const NetDeviceOptions& options) {
    TearDown();
    ios_.clear();
    std::vector<IoThread*> borrowed;
    for (std::uint16_t i = 0; i < host_ends; ++i) {
      auto io = std::make_unique<net::testing::FakeFrameIo>();
      if (i != 0) {
        ASSERT_TRUE(io->attach_queue(false));
      }
      ios_.push_back(io.get());
      auto io_thread = IoThread::start(std::move(io), "io-test");
      ASSERT_TRUE(io_thread) << io_thread.error().message();
      borrowed.push_back(io_thread->get());
      io_threads_.push_back(*std::move(io_thread));
    }
    device_ = std::make_unique<NetDevice>(kTestMac, std::move(borrowed), options);
  }

  void activate(std::uint64_t without = 0, std::uint16_t pairs = kPairs) {
    const std::uint64_t features = device_->features() & ~without;
    ASSERT_TRUE(device_->accepts(features));
    driver_.emplace(memory_, features, pairs);
    const Status status = device_->activate(driver_->activation());
    ASSERT_TRUE(status) << status.error().message();
    for (std::uint16_t i = 0; i < pairs; ++i) {
      (*driver_)[i].post(64, 2048);
    }
  }

  std::uint16_t max_pairs_field() const {
    std::uint16_t field = 0;
    device_->read_config(offsetof(virtio_net_config, max_virtqueue_pairs),
                         std::as_writable_bytes(std::span(&field, 1)));
    return field;
  }
  /// Which host ends are attached, as bits.
  unsigned attached() const {
    unsigned bits = 0;
    for (std::size_t i = 0; i < ios_.size(); ++i) {
      bits |= ios_[i]->queue_attached() ? 1U << i : 0U;
    }
    return bits;
  }

  /// A frame of the host arrives at this pair.
  void expect_received(std::size_t pair, unsigned seed) {
    ios_[pair]->inject(with_header({}, pattern(300, seed)));
    const auto received = (*driver_)[pair].wait_for_frame();
    ASSERT_TRUE(received) << pair;
    EXPECT_EQ(received->frame, pattern(300, seed));
  }
  /// A frame of the driver arrives at the host end of its pair.
  void expect_sent(std::size_t pair, unsigned seed) {
    ASSERT_TRUE((*driver_)[pair].send({}, pattern(200, seed)));
    ASSERT_TRUE(ios_[pair]->wait_for_sent(1)) << pair;
    EXPECT_EQ(ios_[pair]->take_sent().front(), with_header({}, pattern(200, seed)));
    EXPECT_TRUE((*driver_)[pair].wait_until_sent());
  }

  GuestMemory memory_ = *GuestMemory::create(NetDriver::kMemoryBytes * kPairs);
  std::vector<net::testing::FakeFrameIo*> ios_;
  std::vector<std::unique_ptr<IoThread>> io_threads_;
  std::unique_ptr<NetDevice> device_;
  std::optional<MultiQueueDriver> driver_;
};

// C87
TEST_F(NetMultiQueue, ConfigurationTellsHowManyPairsThereAre) {
  EXPECT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_MQ));
  EXPECT_EQ(max_pairs_field(), kPairs);
  const std::vector<std::uint16_t> sizes(device_->max_queue_sizes().begin(),
                                         device_->max_queue_sizes().end());
  EXPECT_EQ(sizes, (std::vector<std::uint16_t>{256, 256, 256, 256, 256, 256, 256, 256, 64}));
}

TEST_F(NetMultiQueue, OnePairIsOfferedToo) {
  make_device(1, {.multi_queue = true});
  EXPECT_TRUE(has_feature(device_->features(), VIRTIO_NET_F_MQ));
  EXPECT_EQ(max_pairs_field(), 1);
  EXPECT_EQ(device_->max_queue_sizes().size(), 3U);
  activate(0, 1);
  EXPECT_EQ(driver_->use_pairs(1), VIRTIO_NET_OK);
  EXPECT_EQ(driver_->use_pairs(2), VIRTIO_NET_ERR);
}

TEST_F(NetMultiQueue, ThereIsOnePairUnlessAskedForAndNoneWithoutControlQueue) {
  make_device(kPairs, {});
  EXPECT_FALSE(has_feature(device_->features(), VIRTIO_NET_F_MQ));
  EXPECT_EQ(max_pairs_field(), 1);
  EXPECT_EQ(device_->max_queue_sizes().size(), 3U);

  make_device(kPairs, {.features_off = feature(VIRTIO_NET_F_CTRL_VQ), .multi_queue = true});
  EXPECT_FALSE(has_feature(device_->features(), VIRTIO_NET_F_MQ));
  EXPECT_EQ(max_pairs_field(), 1);
  EXPECT_EQ(device_->max_queue_sizes().size(), 2U);
}

// C4
TEST_F(NetMultiQueue, IsNotAcceptedWithoutControlQueue) {
  EXPECT_FALSE(device_->accepts(feature(VIRTIO_F_VERSION_1) | kMq));
  EXPECT_TRUE(device_->accepts(feature(VIRTIO_F_VERSION_1) | kMq | feature(VIRTIO_NET_F_CTRL_VQ)));
}

// virtio 1.3, 5.1.2: the control queue is 2 N with MQ negotiated, else 2.
TEST_F(NetMultiQueue, ControlQueueComesBehindThePairsThatWereNegotiated) {
  activate();
  EXPECT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  device_->reset();
  activate(kMq, 1);
  expect_sent(0, 1);
  expect_received(0, 2);
  const std::byte on{1};
  EXPECT_EQ((*driver_)[0].command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, std::span(&on, 1)),
            VIRTIO_NET_OK);
  EXPECT_EQ(driver_->use_pairs(1), VIRTIO_NET_ERR);  // not negotiated
}

// C120: after DRIVER_OK only the first one receives.
TEST_F(NetMultiQueue, OnlyTheFirstPairReceivesAtFirstAndAllSend) {
  activate();
  EXPECT_EQ(attached(), 0b0001U);
  expect_received(0, 1);
  for (std::size_t pair = 0; pair < kPairs; ++pair) {
    EXPECT_EQ(ios_[pair]->receive_wanted(), pair == 0);
    expect_sent(pair, static_cast<unsigned>(pair));
  }
}

TEST_F(NetMultiQueue, CommandBringsPairsIntoUseAndOutOfIt) {
  activate();
  ASSERT_EQ(driver_->use_pairs(kPairs), VIRTIO_NET_OK);
  EXPECT_EQ(attached(), 0b1111U);
  for (std::size_t pair = 0; pair < kPairs; ++pair) {
    expect_received(pair, static_cast<unsigned>(pair));
    expect_sent(pair, static_cast<unsigned>(pair));
    EXPECT_EQ(device_->counters(pair).receive.frames.get(), 1U);
    EXPECT_EQ(device_->counters(pair).transmit.frames.get(), 1U);
  }
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  EXPECT_EQ(attached(), 0b0011U);
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  EXPECT_EQ(attached(), 0b0011U);
  expect_received(1, 9);
  expect_sent(3, 9);  // a driver still waits for what it has sent
  ASSERT_EQ(driver_->use_pairs(3), VIRTIO_NET_OK);
  expect_received(2, 10);
}

// C120: nothing is put on a receiveq from which the command took the pair away.
TEST_F(NetMultiQueue, FramesOfAPairTakenOutOfUseAreDeliveredBeforeTheAnswer) {
  activate();
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  for (unsigned i = 0; i < 40; ++i) {
    ios_[1]->inject(with_header({}, pattern(100, i)));
  }
  ASSERT_EQ(driver_->use_pairs(1), VIRTIO_NET_OK);
  unsigned got = 0;
  while (const auto received = (*driver_)[1].receive()) {
    EXPECT_EQ(received->frame, pattern(100, got++));
  }
  EXPECT_EQ(got, 40U);
  EXPECT_FALSE(ios_[1]->receive_wanted());
}

TEST_F(NetMultiQueue, PairThatHasNoBuffersIsTakenOutOfUseAllTheSame) {
  activate();
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  for (unsigned i = 0; i < 100; ++i) {  // there are 64 buffers
    ios_[1]->inject(with_header({}, pattern(100, i)));
  }
  ASSERT_EQ(driver_->use_pairs(1), VIRTIO_NET_OK);
  EXPECT_EQ(ios_[1]->queued(), 0U);
  while ((*driver_)[1].receive()) {
  }
  // And comes back.
  (*driver_)[1].post(64, 2048);
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  expect_received(1, 3);
}

// N0062
TEST_F(NetMultiQueue, CountsOutOfRangeChangeNothing) {
  activate();
  ASSERT_EQ(driver_->use_pairs(3), VIRTIO_NET_OK);
  for (const unsigned pairs : {0U, kPairs + 1U, 0x8000U, 0x8001U, 0xFFFFU}) {
    EXPECT_EQ(driver_->use_pairs(static_cast<std::uint16_t>(pairs)), VIRTIO_NET_ERR) << pairs;
  }
  const std::array<std::byte, 3> longer{std::byte{1}};
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, longer.size()}) {
    EXPECT_EQ((*driver_)[0].command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
                                    std::span(longer).first(bytes)),
              VIRTIO_NET_ERR)
        << bytes;
  }
  for (const int command : {VIRTIO_NET_CTRL_MQ_RSS_CONFIG, VIRTIO_NET_CTRL_MQ_HASH_CONFIG}) {
    EXPECT_EQ((*driver_)[0].command(VIRTIO_NET_CTRL_MQ, static_cast<std::uint8_t>(command),
                                    std::span(longer).first(2)),
              VIRTIO_NET_ERR);
  }
  EXPECT_EQ(attached(), 0b0111U);
}

TEST_F(NetMultiQueue, PairWithoutItsVirtqueuesIsNotBroughtIntoUse) {
  const std::uint64_t features = device_->features();
  driver_.emplace(memory_, features, kPairs);
  Activation activation = driver_->activation();
  std::erase_if(activation.queues, [](const ActiveQueue& queue) { return queue.index == 4; });
  ASSERT_TRUE(device_->activate(std::move(activation)));
  EXPECT_EQ(driver_->use_pairs(3), VIRTIO_NET_ERR);
  EXPECT_EQ(attached(), 0b0001U);
  EXPECT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
}

TEST_F(NetMultiQueue, QueueThatTheHostRefusesLeavesThePairsAsTheyWere) {
  ios_[3]->refuse_queue();
  activate();
  ASSERT_EQ(driver_->use_pairs(2), VIRTIO_NET_OK);
  EXPECT_EQ(driver_->use_pairs(4), VIRTIO_NET_ERR);
  EXPECT_EQ(attached(), 0b0011U);
  expect_received(1, 1);
}

// RST-01
TEST_F(NetMultiQueue, ResetLeavesOnePair) {
  for (unsigned round = 0; round < 10; ++round) {
    activate();
    EXPECT_EQ(attached(), 0b0001U);
    ASSERT_EQ(driver_->use_pairs(kPairs), VIRTIO_NET_OK);
    for (std::size_t pair = 0; pair < kPairs; ++pair) {
      ios_[pair]->inject(with_header({}, pattern(100, round)));
      (*driver_)[pair].send({}, pattern(100, round));
    }
    device_->reset();
    EXPECT_EQ(attached(), 0b0001U);
  }
  activate();
  expect_received(0, 77);
}

// C120, CTRL_RX: there is one filter for all pairs.
TEST_F(NetMultiQueue, EveryPairObeysTheReceiveFilter) {
  activate();
  ASSERT_EQ(driver_->use_pairs(kPairs), VIRTIO_NET_OK);
  const std::byte off{0};
  ASSERT_EQ((*driver_)[0].command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, std::span(&off, 1)),
            VIRTIO_NET_OK);
  auto own = pattern(100);
  std::copy(kTestMac.octets.begin(), kTestMac.octets.end(), reinterpret_cast<std::uint8_t*>(own.data()));
  for (std::size_t pair = 0; pair < kPairs; ++pair) {
    ios_[pair]->inject(with_header({}, pattern(100, 2)));  // for somebody else
    ios_[pair]->inject(with_header({}, own));
    const auto received = (*driver_)[pair].wait_for_frame();
    ASSERT_TRUE(received);
    EXPECT_EQ(received->frame, own);
    EXPECT_EQ(device_->counters(pair).receive.filtered.get(), 1U);
  }
}

TEST_F(NetMultiQueue, BrokenPairAsksForAResetAndTheOthersGoOn) {
  activate();
  ASSERT_EQ(driver_->use_pairs(kPairs), VIRTIO_NET_OK);
  const auto layout = (*driver_)[2].transmit_queue().layout();
  ASSERT_TRUE(memory_.write_object(GuestAddress{to_integer(layout.avail_ring) + 2}, std::uint16_t{9999}));
  (*driver_)[2].force_kicks();
  ASSERT_TRUE(driver_->notifier().wait_until([this] { return driver_->notifier().needs_reset(); }));
  expect_sent(1, 1);
  expect_received(3, 1);
  EXPECT_EQ(driver_->use_pairs(1), VIRTIO_NET_OK);
  EXPECT_EQ(attached(), 0b0001U);
}

}  // namespace
}  // namespace tapir::virtio
