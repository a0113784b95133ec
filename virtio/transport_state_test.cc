// SPDX-License-Identifier: Apache-2.0
#include "virtio/transport_state.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "virtio/testing/fake_transport_parts.h"

namespace tapir::virtio {
namespace {

using testing::FakeDevice;
using QueueArea = TransportState::QueueArea;

/// The same rules as the table in the code, written as conditions from the text of virtio 1.3, 2.1 and 3.1.1.
unsigned model_status(unsigned current, unsigned written) {
  constexpr unsigned kAcknowledge = 0x01;
  constexpr unsigned kDriver = 0x02;
  constexpr unsigned kDriverOk = 0x04;
  constexpr unsigned kFeaturesOk = 0x08;
  constexpr unsigned kFailed = 0x80;
  if (written == 0) {
    return 0;
  }
  if ((written & kFailed) != 0) {
    return current | kFailed;
  }
  const unsigned added = written & ~current;
  const bool clears = (current & ~written) != 0;
  // FAILED or NEEDS_RESET end the initialisation: they are bits that such a write would have to clear, or
  // repeat.
  const bool known = (written & ~(kAcknowledge | kDriver | kDriverOk | kFeaturesOk)) == 0;
  if (clears || !known || added == 0) {
    return current;
  }
  const bool forward = (added == kAcknowledge && current == 0) ||
                       (added == (kAcknowledge | kDriver) && current == 0) ||
                       (added == kDriver && current == kAcknowledge) ||
                       (added == kFeaturesOk && current == (kAcknowledge | kDriver)) ||
                       (added == kDriverOk && current == (kAcknowledge | kDriver | kFeaturesOk));
  return forward ? written : current;
}

// TR-11, C50, C126
TEST(DeviceStatusTest, EveryTransitionIsAsTheModelSays) {
  for (unsigned current = 0; current < 256; ++current) {
    for (unsigned written = 0; written < 256; ++written) {
      ASSERT_EQ(next_device_status(static_cast<std::uint8_t>(current), written),
                model_status(current, written))
          << "current " << current << " written " << written;
    }
  }
}

TEST(DeviceStatusTest, OnlyResetClearsABit) {
  for (unsigned current = 0; current < 256; ++current) {
    for (unsigned written = 1; written < 256; ++written) {
      const unsigned next = next_device_status(static_cast<std::uint8_t>(current), written);
      ASSERT_EQ(next & current, current) << "current " << current << " written " << written;
    }
  }
}

TEST(DeviceStatusTest, ValueBeyondEightBitsIsIgnored) {
  for (const std::uint32_t written : {0x100U, 0x101U, 0x180U, 0x8000'0000U, 0xFFFF'FFFFU, 0xFFFF'FF00U}) {
    EXPECT_EQ(next_device_status(0, written), 0);
    EXPECT_EQ(next_device_status(3, written), 3);
  }
}

class CountingInterrupts final : public TransportState::Interrupts {
 public:
  void interrupt_queue(std::uint16_t queue) override { ++queues[queue]; }
  void interrupt_config() override { ++configs; }
  std::map<std::uint16_t, int> queues;
  int configs = 0;
};

class TransportStateTest : public ::testing::Test {
 protected:
  TransportStateTest()
      : state_(std::make_unique<TransportState>(device_, memory_, interrupts_,
                                                TransportState::create_kicks(device_).value())) {}

  void negotiate() {
    state_->write_status(1);
    state_->write_status(3);
    state_->select_driver_features(1);
    state_->write_driver_features(1);
    state_->write_status(0xB);
    ASSERT_EQ(state_->status(), 0xB);
  }
  void place_queue(std::uint32_t index) {
    state_->select_queue(index);
    state_->set_queue_size(8);
    state_->set_queue_address_low(QueueArea::kDescriptor, 0x1'0000 + index * 0x1000);
    state_->set_queue_address_low(QueueArea::kDriver, 0x1'0400 + index * 0x1000);
    state_->set_queue_address_low(QueueArea::kDevice, 0x1'0800 + index * 0x1000);
  }
  void poison(std::uint32_t index) {
    state_->select_queue(index);
    state_->set_queue_size(4);
    for (const QueueArea area : {QueueArea::kDescriptor, QueueArea::kDriver, QueueArea::kDevice}) {
      state_->set_queue_address_low(area, 0xDEAD'BEEF);
      state_->set_queue_address_high(area, 0xDEAD'BEEF);
    }
  }

  GuestMemory memory_ = GuestMemory::create(0x10'0000).value();
  FakeDevice device_{{256, 128, 64}};
  CountingInterrupts interrupts_;
  std::unique_ptr<TransportState> state_;
};

// TR-01, C134, CVE-2026-5747
TEST_F(TransportStateTest, QueueRegistersAreFrozenOnceTheQueueIsEnabled) {
  negotiate();
  place_queue(1);
  state_->set_queue_enabled(true);
  poison(1);
  const TransportState::Queue* queue = state_->queue(1);
  EXPECT_EQ(queue->size, 8);
  EXPECT_EQ(queue->areas[0], 0x1'1000U);
  EXPECT_EQ(queue->areas[1], 0x1'1400U);
  EXPECT_EQ(queue->areas[2], 0x1'1800U);
}

// TR-01
TEST_F(TransportStateTest, NoQueueRegisterChangesAfterDriverOk) {
  negotiate();
  place_queue(1);
  state_->set_queue_enabled(true);
  place_queue(2);
  state_->write_status(0xF);
  ASSERT_EQ(state_->status(), 0xF);
  for (const std::uint32_t index : {1U, 2U}) {
    poison(index);
    state_->set_queue_enabled(index == 2);
    const TransportState::Queue* queue = state_->queue(index);
    EXPECT_EQ(queue->size, 8) << index;
    EXPECT_EQ(queue->areas[0], 0x1'0000U + index * 0x1000) << index;
    EXPECT_EQ(queue->areas[2], 0x1'0800U + index * 0x1000) << index;
    EXPECT_EQ(queue->enabled, index == 1) << index;
  }
}

// TR-04: the one way to a virtqueue is bounds-checked
TEST_F(TransportStateTest, FindsNoQueueBeyondTheLast) {
  EXPECT_NE(state_->queue(2), nullptr);
  for (const std::uint32_t index : {3U, 4U, 0xFFU, 0xFFFFU, 0x1'0000U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    EXPECT_EQ(state_->queue(index), nullptr) << index;
    state_->select_queue(index);
    EXPECT_EQ(state_->selected_queue(), nullptr) << index;
    poison(index);
    state_->set_queue_enabled(true);
    state_->set_queue_vector(1);
    state_->kick(index);
  }
  for (const std::uint32_t index : {0U, 1U, 2U}) {
    EXPECT_EQ(state_->queue(index)->areas[0], 0U);
    EXPECT_FALSE(state_->queue(index)->enabled);
    EXPECT_EQ(state_->queue(index)->vector.load(), TransportState::kNoVector);
  }
}

// C54, C71
TEST_F(TransportStateTest, TakesOnlyQueueSizesThatArePowersOfTwoUpToTheLargest) {
  state_->select_queue(1);
  const std::set<std::uint32_t> valid = {1, 2, 4, 8, 16, 32, 64, 128};
  for (std::uint32_t size = 0; size < 0x1'0010; ++size) {
    state_->set_queue_size(32);
    state_->set_queue_size(size);
    ASSERT_EQ(state_->queue(1)->size, valid.count(size) != 0 ? size : 32U) << size;
  }
  for (const std::uint32_t size : {0x1'0020U, 0x8000'0000U, 0xFFFF'FFFFU}) {
    state_->set_queue_size(size);
    EXPECT_EQ(state_->queue(1)->size, 32) << size;
  }
}

// C43, VQ-24: a queue that is not enabled never reaches the device.
TEST_F(TransportStateTest, HandsTheDeviceOnlyTheEnabledQueuesWithTheirNumbersAndKicks) {
  negotiate();
  for (const std::uint32_t index : {2U, 0U}) {
    place_queue(index);
    state_->set_queue_enabled(true);
  }
  state_->write_status(0xF);
  ASSERT_TRUE(device_.active);
  ASSERT_EQ(device_.active->queues.size(), 2U);
  EXPECT_EQ(device_.active->queues[0].index, 0);
  EXPECT_EQ(device_.active->queues[1].index, 2);
  EXPECT_EQ(device_.active->queues[1].kick_fd, state_->queue(2)->kick.fd());
  EXPECT_EQ(device_.active->features, std::uint64_t{1} << 32U);
}

// C2, C3
TEST_F(TransportStateTest, NeedsResetIsFollowedByAConfigNotificationOnlyUnderDriverOk) {
  state_->set_needs_reset();
  EXPECT_EQ(state_->status(), 0x40);
  EXPECT_EQ(interrupts_.configs, 0);
  state_->write_status(0);
  negotiate();
  state_->write_status(0xF);
  state_->set_needs_reset();
  EXPECT_EQ(state_->status(), 0x4F);
  EXPECT_EQ(interrupts_.configs, 1);
  state_->set_needs_reset();  // already known
  EXPECT_EQ(interrupts_.configs, 1);
}

// C1, C10
TEST_F(TransportStateTest, SendsNothingBeforeDriverOkNorAfterReset) {
  negotiate();
  state_->notify_queue(0);
  state_->notify_config();
  EXPECT_TRUE(interrupts_.queues.empty());
  EXPECT_EQ(interrupts_.configs, 0);
  state_->write_status(0xF);
  state_->notify_queue(0);
  state_->notify_config();
  EXPECT_EQ(interrupts_.queues[0], 1);
  EXPECT_EQ(interrupts_.configs, 1);
  state_->write_status(0);
  state_->notify_queue(0);
  state_->notify_config();
  EXPECT_EQ(interrupts_.queues[0], 1);
  EXPECT_EQ(interrupts_.configs, 1);
}

TEST_F(TransportStateTest, DestructionResetsTheDevice) {
  negotiate();
  state_->write_status(0xF);
  const int before = device_.resets;
  state_.reset();
  EXPECT_EQ(device_.resets, before + 1);
  EXPECT_FALSE(device_.active);
}

}  // namespace
}  // namespace tapir::virtio
