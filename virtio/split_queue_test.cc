// SPDX-License-Identifier: Apache-2.0
// What a hostile driver can do to the rings of a split virtqueue. VQ-nn are the rows of the list of known
// bugs.
#include "virtio/split_queue.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "virtio/testing/chain_check.h"
#include "virtio/testing/driver_queue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;
using testing::DriverQueue;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::uint64_t kTable = 0x80008;  // not a multiple of 16: legal for an indirect table
constexpr std::uint64_t kFeatures =
    (std::uint64_t{1} << VIRTIO_RING_F_INDIRECT_DESC) | (std::uint64_t{1} << VIRTIO_RING_F_EVENT_IDX);

class SplitQueueTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kSize = 16;

  bool creates(const QueueLayout& layout) {
    return SplitQueue::create(memory_, layout, kFeatures).has_value();
  }
  std::optional<DescriptorChain> pop() { return queue_.pop(storage_); }
  ChainFault fault_of_raw_head(std::uint16_t head) {
    driver_.add_raw_head(head);
    driver_.publish();
    auto chain = pop();
    EXPECT_TRUE(chain);
    const ChainFault fault = chain->fault();
    EXPECT_EQ(chain->head(), head);
    queue_.add_used(*std::move(chain), 0);
    queue_.publish_used();
    return fault;
  }

  GuestMemory memory_ = *GuestMemory::create(kMemoryBytes);
  QueueLayout layout_ = DriverQueue::place(kRings, kSize);
  DriverQueue driver_{memory_, layout_, true};
  SplitQueue queue_ = *SplitQueue::create(memory_, layout_, kFeatures);
  std::array<iovec, kMaxChainPieces> storage_{};
};

// VQ-25
TEST_F(SplitQueueTest, SizeIsAPowerOfTwoUpTo32768) {
  memory_ = *GuestMemory::create(16 * kMemoryBytes);
  for (const std::uint16_t size : std::to_array<std::uint16_t>({0, 3, 255, 257, 32769, 65535})) {
    EXPECT_FALSE(creates({size, GuestAddress{0x1000}, GuestAddress{0x200000}, GuestAddress{0x300000}}))
        << size;
  }
  for (const std::uint16_t size : std::to_array<std::uint16_t>({1, 2, 256, 32768})) {
    EXPECT_TRUE(creates({size, GuestAddress{0x1000}, GuestAddress{0x200000}, GuestAddress{0x300000}}))
        << size;
  }
}

// C128
TEST_F(SplitQueueTest, RefusesMisalignedRings) {
  EXPECT_FALSE(creates({16, GuestAddress{0x1008}, GuestAddress{0x2000}, GuestAddress{0x3000}}));
  EXPECT_FALSE(creates({16, GuestAddress{0x1000}, GuestAddress{0x2001}, GuestAddress{0x3000}}));
  EXPECT_FALSE(creates({16, GuestAddress{0x1000}, GuestAddress{0x2000}, GuestAddress{0x3002}}));
  EXPECT_TRUE(creates({16, GuestAddress{0x1010}, GuestAddress{0x2002}, GuestAddress{0x3004}}));
}

// VQ-22: each ring just inside RAM, and in each way not wholly inside.
TEST_F(SplitQueueTest, RefusesRingsThatAreNotWhollyInRam) {
  const std::uint64_t table_bytes = 256;
  const std::uint64_t avail_bytes = 38;
  const std::uint64_t used_bytes = 136;  // rounded up to its alignment
  const auto with_table = [](std::uint64_t at) {
    return QueueLayout{16, GuestAddress{at}, GuestAddress{0x2000}, GuestAddress{0x3000}};
  };
  const auto with_avail = [](std::uint64_t at) {
    return QueueLayout{16, GuestAddress{0x1000}, GuestAddress{at}, GuestAddress{0x3000}};
  };
  const auto with_used = [](std::uint64_t at) {
    return QueueLayout{16, GuestAddress{0x1000}, GuestAddress{0x2000}, GuestAddress{at}};
  };
  EXPECT_TRUE(creates(with_table(kMemoryBytes - table_bytes)));
  EXPECT_TRUE(creates(with_avail(kMemoryBytes - avail_bytes)));
  EXPECT_TRUE(creates(with_used(kMemoryBytes - used_bytes)));
  EXPECT_FALSE(creates(with_table(kMemoryBytes - table_bytes + 16)));
  EXPECT_FALSE(creates(with_avail(kMemoryBytes - avail_bytes + 2)));
  EXPECT_FALSE(creates(with_used(kMemoryBytes - used_bytes + 4)));
  for (const std::uint64_t outside :
       {kMemoryBytes, GuestMemory::kHoleStart, std::uint64_t{0xE100'0000}, UINT64_MAX - 15}) {
    EXPECT_FALSE(creates(with_table(outside)));
    EXPECT_FALSE(creates(with_avail(outside)));
    EXPECT_FALSE(creates(with_used(outside)));
  }
  // All three on the same spot is the driver's own misfortune.
  EXPECT_TRUE(creates({16, GuestAddress{0x1000}, GuestAddress{0x1000}, GuestAddress{0x1000}}));
}

// VQ-24, C1: creation looks at nothing and writes nothing.
TEST_F(SplitQueueTest, CreationTouchesNoGuestMemory) {
  const auto ram = memory_.regions()[0].host;
  std::fill(ram.begin(), ram.end(), std::byte{0xAA});
  ASSERT_TRUE(creates(layout_));
  EXPECT_TRUE(std::all_of(ram.begin(), ram.end(), [](std::byte b) { return b == std::byte{0xAA}; }));
}

// VQ-04, C132
TEST_F(SplitQueueTest, AvailIndexThatJumpsBreaksTheQueue) {
  for (const unsigned jump : {kSize + 1U, 255U, 32768U, 65535U}) {
    SplitQueue queue = *SplitQueue::create(memory_, layout_, kFeatures);
    driver_.set_avail_index(static_cast<std::uint16_t>(jump));
    EXPECT_FALSE(queue.pop(storage_)) << jump;
    EXPECT_TRUE(queue.broken()) << jump;
    EXPECT_FALSE(queue.broken_because().empty());
    EXPECT_FALSE(queue.enable_kicks());
  }
}

TEST_F(SplitQueueTest, BrokenStaysBrokenAndWritesNoRingWord) {
  driver_.set_avail_index(kSize + 1);
  EXPECT_FALSE(pop());
  driver_.set_avail_index(1);
  EXPECT_FALSE(pop());
  EXPECT_FALSE(queue_.enable_kicks());
  queue_.disable_kicks();
  EXPECT_EQ(driver_.used_index(), 0);
  EXPECT_EQ(driver_.used_flags(), 0);
  EXPECT_TRUE(queue_.broken());
}

TEST_F(SplitQueueTest, FullRingIsNotAJump) {
  for (std::uint16_t i = 0; i < kSize; ++i) {
    driver_.add(ChainBuilder().writable(kBuffers, 8));
  }
  driver_.publish();
  for (std::uint16_t i = 0; i < kSize; ++i) {
    queue_.add_used(*pop(), 0);
  }
  EXPECT_FALSE(pop());
  EXPECT_FALSE(queue_.broken());
}

// C130, VQ-05
TEST_F(SplitQueueTest, ReturnsHeadWithZeroLengthWhenChainIsCyclic) {
  const auto link = [this](std::uint16_t index, std::uint16_t next) {
    driver_.write_descriptor(index, {kBuffers, 4, VRING_DESC_F_NEXT, next});
  };
  link(0, 0);
  EXPECT_EQ(fault_of_raw_head(0), ChainFault::kLoop);
  link(1, 2);
  link(2, 1);
  EXPECT_EQ(fault_of_raw_head(1), ChainFault::kLoop);
  link(3, 1);  // runs into a cycle that its head is not part of
  EXPECT_EQ(fault_of_raw_head(3), ChainFault::kLoop);
  for (std::uint16_t i = 0; i < kSize; ++i) {
    link(i, static_cast<std::uint16_t>((i + 1) % kSize));
  }
  EXPECT_EQ(fault_of_raw_head(5), ChainFault::kLoop);
  EXPECT_EQ(driver_.used_entry(0).bytes, 0U);
  EXPECT_EQ(driver_.used_entry(3).head, 5U);
  EXPECT_FALSE(queue_.broken());
}

TEST_F(SplitQueueTest, ChainAsLongAsTheQueueIsFine) {
  ChainBuilder builder;
  for (std::uint16_t i = 0; i < kSize; ++i) {
    builder.writable(kBuffers + std::uint64_t{64} * i, 4);
  }
  driver_.add(builder);
  driver_.publish();
  auto chain = pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault(), ChainFault::kNone);
  EXPECT_EQ(chain->writable_bytes(), 4U * kSize);
  EXPECT_EQ(queue_.free_descriptors(), 0);
  queue_.add_used(*std::move(chain), 0);
}

TEST_F(SplitQueueTest, NextOutsideTheTableIsAFault) {
  driver_.write_descriptor(0, {kBuffers, 4, VRING_DESC_F_NEXT, kSize});
  EXPECT_EQ(fault_of_raw_head(0), ChainFault::kNext);
  driver_.write_descriptor(0, {kBuffers, 4, VRING_DESC_F_NEXT, 65535});
  EXPECT_EQ(fault_of_raw_head(0), ChainFault::kNext);
}

// VQ-13: a head is an index into the table or the end of the queue's life.
TEST_F(SplitQueueTest, HeadOutsideTheTableBreaksTheQueue) {
  driver_.add_raw_head(kSize);
  driver_.publish();
  EXPECT_FALSE(pop());
  EXPECT_TRUE(queue_.broken());
}

// VQ-11
TEST_F(SplitQueueTest, HeadThatIsStillInFlightBreaksTheQueue) {
  const auto head = *driver_.add(ChainBuilder().writable(kBuffers, 8));
  driver_.add_raw_head(head);
  driver_.publish();
  auto chain = pop();
  ASSERT_TRUE(chain);
  EXPECT_FALSE(pop());
  EXPECT_TRUE(queue_.broken());
  // The first one can still be ended: its completion may be under way.
  queue_.add_used(*std::move(chain), 8);
  EXPECT_EQ(queue_.chains_in_flight(), 0);
}

TEST_F(SplitQueueTest, SameHeadAgainAfterItsUseIsFine) {
  driver_.write_descriptor(7, {kBuffers, 8, VRING_DESC_F_WRITE, 0});
  for (unsigned i = 0; i < 100; ++i) {
    EXPECT_EQ(fault_of_raw_head(7), ChainFault::kNone);
  }
}

// VQ-03: 65535 heads without waiting; what is in flight never passes the queue size.
TEST_F(SplitQueueTest, NeverHoldsMoreChainsThanTheQueueHas) {
  std::vector<DescriptorChain> held;
  for (std::uint32_t i = 0; i < 65535; ++i) {
    driver_.add_raw_head(static_cast<std::uint16_t>(i % kSize));
    driver_.publish();
    if (auto chain = pop()) {
      held.push_back(*std::move(chain));
    }
  }
  EXPECT_LE(held.size(), kSize);
  EXPECT_TRUE(queue_.broken());
  for (DescriptorChain& chain : held) {
    queue_.add_used(std::move(chain), 0);
  }
}

// VQ-10: an index that goes back is a jump, not an endless supply.
TEST_F(SplitQueueTest, AvailIndexThatMovesBackAndForthBreaksTheQueue) {
  driver_.write_descriptor(0, {kBuffers, 8, VRING_DESC_F_WRITE, 0});
  EXPECT_EQ(fault_of_raw_head(0), ChainFault::kNone);
  driver_.set_avail_index(0);
  EXPECT_FALSE(pop());
  EXPECT_TRUE(queue_.broken());
}

// VQ-12: between two looks at the index no more than one queue size comes out, however fast the driver adds.
TEST_F(SplitQueueTest, DrainIsBoundedByWhatWasSeenWhenItBegan) {
  for (std::uint16_t i = 0; i < 4; ++i) {
    driver_.add(ChainBuilder().writable(kBuffers, 8));
  }
  driver_.publish();
  std::vector<DescriptorChain> held;
  held.push_back(*pop());
  driver_.add_raw_head(held.front().head());  // would break the queue, if it were looked at now
  driver_.publish();
  for (unsigned i = 0; i < 3; ++i) {
    held.push_back(*pop());
    EXPECT_FALSE(queue_.broken());
  }
  EXPECT_FALSE(pop());
  EXPECT_TRUE(queue_.broken());
  for (DescriptorChain& chain : held) {
    queue_.add_used(std::move(chain), 0);
  }
}

// VQ-17, C20: what is legal of indirect tables in this format only: direct descriptors before the table, and
// a table with more entries than the chain uses.
TEST_F(SplitQueueTest, FollowsAnIndirectTableBehindDirectDescriptors) {
  const ChainBuilder chain = ChainBuilder().readable(kBuffers, 12).writable(kBuffers + 64, 100);
  testing::write_indirect_table(memory_, kTable, chain.elements());
  driver_.add(ChainBuilder().readable(kBuffers + 4096, 3).element({kTable, 160, VRING_DESC_F_INDIRECT}));
  driver_.publish();
  auto popped = pop();
  ASSERT_TRUE(popped);
  EXPECT_EQ(popped->fault(), ChainFault::kNone);
  EXPECT_EQ(popped->readable_bytes(), 15U);
  EXPECT_EQ(popped->writable_bytes(), 100U);
  EXPECT_EQ(popped->ring_descriptors(), 2U);
  queue_.add_used(*std::move(popped), 0);
}

// VQ-17, C131
TEST_F(SplitQueueTest, RefusesIndirectTablesThatAreNestedOrLoop) {
  const auto fault_of_table = [this](const vring_desc& entry, std::uint32_t bytes) {
    EXPECT_TRUE(memory_.write_object(GuestAddress{kTable}, entry));
    driver_.write_descriptor(0, {kTable, bytes, VRING_DESC_F_INDIRECT, 0});
    return fault_of_raw_head(0);
  };
  EXPECT_EQ(fault_of_table({kTable + 256, 16, VRING_DESC_F_INDIRECT, 0}, 16), ChainFault::kIndirect);
  // `next` outside the table, and a table that is a ring.
  EXPECT_EQ(fault_of_table({kBuffers, 4, VRING_DESC_F_NEXT, 1}, 16), ChainFault::kNext);
  EXPECT_EQ(fault_of_table({kBuffers, 4, VRING_DESC_F_NEXT, 0}, 16), ChainFault::kLoop);
  // More entries than `next` can tell apart.
  driver_.write_descriptor(0, {0, 65536 * 16, VRING_DESC_F_INDIRECT, 0});
  EXPECT_EQ(fault_of_raw_head(0), ChainFault::kIndirect);
}

// C133, VQ-09: another CPU rewrites descriptors and heads while they are walked. Whatever comes out lies in
// RAM and adds up; the sanitizers and the guard pages watch the rest.
TEST_F(SplitQueueTest, PiecesStayInRamWhileDescriptorsChangeUnderTheWalk) {
  memory_ = *GuestMemory::create(kMemoryBytes);
  DriverQueue driver(memory_, layout_, true);
  SplitQueue queue = *SplitQueue::create(memory_, layout_, kFeatures);
  std::byte* const table = memory_.slice(layout_.descriptor_table, std::uint64_t{kSize} * 16)->data();
  std::atomic<bool> stop{false};
  std::thread other_cpu([&] {
    std::minstd_rand random(1);
    while (!stop.load(std::memory_order_relaxed)) {
      // Word by word through atomics: torn for the reader, but no data race of the test's own.
      const std::uint64_t values[] = {kBuffers, kMemoryBytes - 4, UINT64_MAX, 0x0001'0003'0000'0040, 0x40, 0};
      std::byte* const word = table + std::size_t{random() % (kSize * 2U)} * 8;
      split_ring::store<std::uint64_t>(word, values[random() % 6], std::memory_order_relaxed);
    }
  });
  for (unsigned i = 0; i < 200'000; ++i) {
    driver.add_raw_head(static_cast<std::uint16_t>(i % kSize));
    driver.publish();
    auto chain = queue.pop(storage_);
    ASSERT_TRUE(chain);
    ASSERT_TRUE(testing::is_sound(memory_, *chain));
    queue.add_used(*std::move(chain), 0);
    queue.publish_used();
  }
  stop.store(true);
  other_cpu.join();
}

}  // namespace
}  // namespace tapir::virtio
