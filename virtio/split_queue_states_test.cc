// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the ring indexes of small split virtqueues, in every state that there is. VQ-nn and Cnn
// are rows of the lists of known bugs and of the conformance list.
#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "virtio/split_queue.h"
#include "virtio/testing/driver_queue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverQueue;

constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::array<std::uint16_t, 4> kSizes{1, 2, 4, 8};

class SmallSplitQueue : public ::testing::TestWithParam<std::uint16_t> {
 protected:
  SplitQueue create(bool event_index) {
    return *SplitQueue::create(memory_, layout_,
                               std::uint64_t{event_index ? 1U : 0U} << VIRTIO_RING_F_EVENT_IDX);
  }
  const std::uint16_t size_ = GetParam();
  GuestMemory memory_ = *GuestMemory::create(std::uint64_t{1} << 20);
  QueueLayout layout_ = DriverQueue::place(kRings, size_);
  std::array<iovec, kMaxChainPieces> storage_{};
};

INSTANTIATE_TEST_SUITE_P(Sizes, SmallSplitQueue, ::testing::ValuesIn(kSizes));

// VQ-04, C132: from the start, every index that a driver can write: up to the queue size it is that many
// chains, beyond it breaks the queue, and nothing comes out.
TEST_P(SmallSplitQueue, EveryAvailIndexIsThatManyChainsOrBreaksTheQueue) {
  DriverQueue driver(memory_, layout_, true);
  for (std::uint16_t slot = 0; slot < size_; ++slot) {
    driver.write_descriptor(slot, {kBuffers, 16, 0, 0});
    driver.set_avail_entry(slot, slot);
  }
  for (std::uint32_t index = 0; index < 0x1'0000; ++index) {
    SplitQueue queue = create(true);
    driver.set_avail_index(static_cast<std::uint16_t>(index));
    std::vector<DescriptorChain> chains;
    while (auto chain = queue.pop(storage_)) {
      chains.push_back(*std::move(chain));
    }
    ASSERT_EQ(chains.size(), index <= size_ ? index : 0U) << index;
    ASSERT_EQ(queue.broken(), index > size_) << index;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      ASSERT_EQ(chains[i].head(), i);
      queue.abandon(std::move(chains[i]));
    }
  }
}

// VQ-03, VQ-21, C25, C26: at every value of the indexes, for every number of chains: heads come out in the
// driver's order, a rewind changes nothing, entries go where the index says, and an interrupt is due exactly
// when the used index has passed the driver's word.
TEST_P(SmallSplitQueue, EveryStateOfTheIndexesGivesTheChainsInOrder) {
  DriverQueue driver(memory_, layout_, true);
  SplitQueue queue = create(true);
  std::uint16_t index = 0;
  for (std::uint32_t turn = 0; turn < 0x1'0000U + 2U * size_; ++turn) {
    const auto count = static_cast<std::uint16_t>(1 + turn % size_);
    std::vector<std::uint16_t> heads;
    for (std::uint16_t i = 0; i < count; ++i) {
      heads.push_back(*driver.add(ChainBuilder().writable(kBuffers, 64)));
    }
    driver.publish();
    std::vector<DescriptorChain> chains;
    for (std::uint16_t i = 0; i < count; ++i) {
      auto once = queue.pop(storage_);
      ASSERT_TRUE(once && once->head() == heads[i]);
      queue.undo_pop(*std::move(once));
      auto again = queue.pop(storage_);
      ASSERT_TRUE(again && again->head() == heads[i]);
      chains.push_back(*std::move(again));
    }
    ASSERT_FALSE(queue.pop(storage_));
    ASSERT_EQ(queue.chains_in_flight(), count);
    // The event word, from one that was passed long ago to one far ahead.
    const auto event = static_cast<std::uint16_t>(index - size_ - 1 + turn % (3U * size_ + 3U));
    driver.set_used_event(event);
    for (std::uint16_t i = 0; i < count; ++i) {
      queue.add_used(std::move(chains[i]), i);
    }
    ASSERT_EQ(driver.used_index(), index);
    queue.publish_used();
    bool passed = false;
    for (std::uint16_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::uint16_t>(index + i);
      passed = passed || at == event;
      const DriverQueue::Used used = driver.used_entry(at % size_);
      ASSERT_EQ(used.head, heads[i]);
      ASSERT_EQ(used.bytes, i);
      ASSERT_TRUE(driver.take_used());
    }
    index = static_cast<std::uint16_t>(index + count);
    ASSERT_EQ(driver.used_index(), index);
    ASSERT_EQ(queue.needs_notification(), passed) << index << ", event " << event;
    ASSERT_EQ(queue.chains_in_flight(), 0);
    ASSERT_EQ(queue.free_descriptors(), size_);
  }
}

// C21, C22, C23: without EVENT_IDX the flags alone decide, whatever stands where the event word would be.
TEST_P(SmallSplitQueue, UsedEventMeansNothingWithoutItsFeature) {
  DriverQueue driver(memory_, layout_, false);
  SplitQueue queue = create(false);
  for (std::uint32_t event = 0; event < 4000; ++event) {
    const auto flags = static_cast<std::uint16_t>(event % 2);
    driver.set_used_event(static_cast<std::uint16_t>(event / 2 * 37));
    driver.set_avail_flags(flags);
    driver.add(ChainBuilder().writable(kBuffers, 64));
    driver.publish();
    queue.add_used(*queue.pop(storage_), 0);
    queue.publish_used();
    ASSERT_EQ(queue.needs_notification(), flags == 0) << event;
    driver.take_used();
  }
}

// C24, C25, C31: with it, the flags mean nothing in either direction.
TEST_P(SmallSplitQueue, FlagsMeanNothingWithEventIndex) {
  DriverQueue driver(memory_, layout_, true);
  SplitQueue queue = create(true);
  for (std::uint16_t turn = 0; turn < 1000; ++turn) {
    const bool wanted = turn % 3 == 0;
    driver.set_avail_flags(wanted ? 1 : 0);
    driver.set_used_event(static_cast<std::uint16_t>(wanted ? turn : turn + 100));
    driver.add(ChainBuilder().writable(kBuffers, 64));
    driver.publish();
    queue.disable_kicks();
    ASSERT_EQ(driver.used_flags(), 0);
    queue.add_used(*queue.pop(storage_), 0);
    queue.publish_used();
    ASSERT_EQ(queue.needs_notification(), wanted) << turn;
    driver.take_used();
    ASSERT_FALSE(queue.enable_kicks());
    ASSERT_EQ(driver.used_flags(), 0);
    ASSERT_EQ(driver.avail_event(), static_cast<std::uint16_t>(turn + 1));
  }
}

}  // namespace
}  // namespace tapir::virtio
