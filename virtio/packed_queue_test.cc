// SPDX-License-Identifier: Apache-2.0
// What a hostile driver can do to a packed virtqueue, and the arithmetic of its places. VQ-nn are the rows of
// the list of known bugs.
#include "virtio/packed_queue.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "virtio/ring_words.h"
#include "virtio/testing/chain_check.h"
#include "virtio/testing/packed_driver_queue.h"

namespace tapir::virtio {
namespace {

using packed_ring::Place;
using testing::ChainBuilder;
using testing::PackedDriverQueue;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::uint64_t kTable = 0x80008;
constexpr std::uint64_t kFeatures =
    (std::uint64_t{1} << VIRTIO_RING_F_INDIRECT_DESC) | (std::uint64_t{1} << VIRTIO_RING_F_EVENT_IDX);

class PackedQueueTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kSize = 12;

  bool creates(const QueueLayout& layout) {
    return PackedQueue::create(memory_, layout, kFeatures).has_value();
  }
  std::optional<DescriptorChain> pop() { return queue_.pop(storage_); }
  ChainFault fault_of(const ChainBuilder& chain) {
    EXPECT_TRUE(driver_.add(chain));
    driver_.publish();
    auto popped = pop();
    EXPECT_TRUE(popped);
    const ChainFault fault = popped->fault();
    queue_.add_used(*std::move(popped), 0);
    queue_.publish_used();
    EXPECT_TRUE(driver_.take_used());
    return fault;
  }
  void expect_broken() {
    EXPECT_FALSE(pop());
    EXPECT_TRUE(queue_.broken());
    EXPECT_FALSE(queue_.broken_because().empty());
    EXPECT_FALSE(queue_.enable_kicks());
  }

  GuestMemory memory_ = *GuestMemory::create(kMemoryBytes);
  QueueLayout layout_ = PackedDriverQueue::place(kRings, kSize);
  PackedDriverQueue driver_{memory_, layout_, true};
  PackedQueue queue_ = *PackedQueue::create(memory_, layout_, kFeatures);
  std::array<iovec, kMaxChainPieces> storage_{};
};

// Every place of small rings: forward and back again is where one was, and distances add up.
TEST(PackedRing, PlacesGoRoundTheRingTwiceForEverySmallSize) {
  for (std::uint16_t size = 1; size <= 8; ++size) {
    for (std::uint32_t start = 0; start < 2U * size; ++start) {
      const Place from{static_cast<std::uint16_t>(start % size), start < size};
      for (std::uint16_t count = 0; count <= size; ++count) {
        Place to = from;
        to.advance(count, size);
        const std::uint32_t along = (start + count) % (2U * size);
        EXPECT_EQ(to, (Place{static_cast<std::uint16_t>(along % size), along < size}));
        EXPECT_EQ(packed_ring::distance(from, to, size), count);
        to.retreat(count, size);
        EXPECT_EQ(to, from);
      }
    }
  }
}

// Against the rule in plain words: the event's descriptor is among those that were used.
TEST(PackedRing, EventIsWantedExactlyWhenItsDescriptorWasPassed) {
  for (std::uint16_t size = 1; size <= 8; ++size) {
    for (std::uint32_t start = 0; start < 2U * size; ++start) {
      const Place first{static_cast<std::uint16_t>(start % size), start < size};
      for (std::uint32_t at = 0; at < 2U * size; ++at) {
        const Place event{static_cast<std::uint16_t>(at % size), at < size};
        const std::uint32_t word = packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DESC, event);
        bool passed = false;
        for (std::uint16_t count = 0; count <= size; ++count) {
          EXPECT_EQ(packed_ring::wants_notification(word, true, first, count, size), passed)
              << size << ' ' << start << ' ' << at << ' ' << count;
          Place next = first;
          next.advance(count, size);
          passed = passed || next == event;
        }
      }
    }
  }
}

TEST(PackedRing, FlagsTellAvailableFromUsedInBothRounds) {
  for (const bool wrap : {true, false}) {
    EXPECT_TRUE(packed_ring::is_available(packed_ring::available_flags(wrap), wrap));
    EXPECT_FALSE(packed_ring::is_available(packed_ring::available_flags(wrap), !wrap));
    EXPECT_FALSE(packed_ring::is_available(packed_ring::used_flags(wrap), wrap));
    EXPECT_FALSE(packed_ring::is_used(packed_ring::available_flags(wrap), wrap));
    EXPECT_FALSE(packed_ring::is_used(packed_ring::used_flags(wrap), !wrap));
  }
  // A ring of zeroes holds nothing available, and nothing used the first time round.
  EXPECT_FALSE(packed_ring::is_available(0, true));
  EXPECT_FALSE(packed_ring::is_used(0, true));
}

TEST(PackedRing, DisabledEventsAreNotSentAndReservedOnesAre) {
  const Place first{};
  const auto wants = [&](std::uint32_t word, bool event_index) {
    return packed_ring::wants_notification(word, event_index, first, 1, 8);
  };
  EXPECT_TRUE(wants(packed_ring::event_word(VRING_PACKED_EVENT_FLAG_ENABLE), true));
  EXPECT_FALSE(wants(packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DISABLE), true));
  EXPECT_FALSE(wants(packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DISABLE), false));
  EXPECT_TRUE(wants(packed_ring::event_word(3), true));
  // A descriptor's event without EVENT_IDX, and one outside the ring.
  const std::uint32_t far = packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DESC, {5, true});
  EXPECT_FALSE(wants(far, true));
  EXPECT_TRUE(wants(far, false));
  EXPECT_TRUE(wants(packed_ring::event_word(VRING_PACKED_EVENT_FLAG_DESC, {8, true}), true));
}

// All orders in which chains of one to three descriptors can be used, in every small ring, over several
// rounds.
TEST(PackedRing, EveryChainComesBackOnceInRingsOfEverySmallSize) {
  const GuestMemory memory = *GuestMemory::create(kMemoryBytes);
  std::array<iovec, 8> storage{};
  for (std::uint16_t size = 1; size <= 8; ++size) {
    for (unsigned seed = 0; seed < 24; ++seed) {
      PackedDriverQueue driver(memory, PackedDriverQueue::place(kRings, size), true);
      PackedQueue queue = *PackedQueue::create(memory, driver.layout(), kFeatures);
      std::minstd_rand random(seed + 1);
      std::vector<DescriptorChain> held;
      std::vector<std::uint16_t> expected;
      for (unsigned step = 0; step < 100; ++step) {
        const auto pieces = std::min<std::uint64_t>(1 + random() % 3, size);
        ChainBuilder chain;
        for (std::uint64_t i = 0; i < pieces; ++i) {
          chain.writable(kBuffers + 128 * i, 16);
        }
        const auto added = driver.add(chain);
        driver.publish();
        auto popped = queue.pop(storage);
        ASSERT_EQ(popped.has_value(), added.has_value());
        if (popped) {
          EXPECT_EQ(popped->head(), *added);
          EXPECT_EQ(popped->ring_descriptors(), pieces);
          held.push_back(*std::move(popped));
        }
        EXPECT_EQ(queue.free_descriptors(), driver.free_descriptors());
        // Some or, when nothing more fits, at least one, in any order.
        for (std::uint64_t ends = added ? random() % 2 : 1; ends != 0 && !held.empty(); --ends) {
          std::swap(held[random() % held.size()], held.back());
          expected.push_back(held.back().head());
          queue.add_used(std::move(held.back()), 16);
          held.pop_back();
        }
        EXPECT_FALSE(driver.take_used());
        queue.publish_used();
        for (const std::uint16_t id : expected) {
          const auto used = driver.take_used();
          ASSERT_TRUE(used);
          EXPECT_EQ(used->head, id);
          EXPECT_EQ(used->bytes, 16U);
        }
        expected.clear();
      }
      EXPECT_FALSE(queue.broken());
      for (DescriptorChain& chain : held) {
        queue.abandon(std::move(chain));
      }
    }
  }
}

// VQ-25: no power of two is needed here.
TEST_F(PackedQueueTest, SizeIsAnyNumberUpTo32768) {
  for (const std::uint16_t size : std::to_array<std::uint16_t>({0, 32769, 65535})) {
    EXPECT_FALSE(creates({size, GuestAddress{0x1000}, GuestAddress{0x90000}, GuestAddress{0x90004}})) << size;
  }
  for (const std::uint16_t size : std::to_array<std::uint16_t>({1, 2, 3, 255, 257, 32768})) {
    EXPECT_TRUE(creates({size, GuestAddress{0x1000}, GuestAddress{0x90000}, GuestAddress{0x90004}})) << size;
  }
}

// C128, VQ-22
TEST_F(PackedQueueTest, RefusesAreasThatAreMisalignedOrNotWhollyInRam) {
  const auto with = [](std::uint64_t ring, std::uint64_t driver, std::uint64_t device) {
    return QueueLayout{16, GuestAddress{ring}, GuestAddress{driver}, GuestAddress{device}};
  };
  EXPECT_TRUE(creates(with(kMemoryBytes - 256, 0x2000, 0x2004)));
  EXPECT_TRUE(creates(with(0x1000, kMemoryBytes - 4, kMemoryBytes - 4)));
  EXPECT_FALSE(creates(with(0x1008, 0x2000, 0x2004)));
  EXPECT_FALSE(creates(with(0x1000, 0x2002, 0x2004)));
  EXPECT_FALSE(creates(with(0x1000, 0x2000, 0x2006)));
  EXPECT_FALSE(creates(with(kMemoryBytes - 240, 0x2000, 0x2004)));
  for (const std::uint64_t outside : {kMemoryBytes, GuestMemory::kHoleStart, UINT64_MAX - 15}) {
    EXPECT_FALSE(creates(with(outside, 0x2000, 0x2004)));
    EXPECT_FALSE(creates(with(0x1000, outside, 0x2004)));
    EXPECT_FALSE(creates(with(0x1000, 0x2000, outside)));
  }
}

// VQ-24, C1
TEST_F(PackedQueueTest, CreationTouchesNoGuestMemory) {
  const auto ram = memory_.regions()[0].host;
  std::fill(ram.begin(), ram.end(), std::byte{0xAA});
  ASSERT_TRUE(creates(layout_));
  EXPECT_TRUE(std::all_of(ram.begin(), ram.end(), [](std::byte b) { return b == std::byte{0xAA}; }));
}

// VQ-05, VQ-06: a chain without an end costs one round of the ring and then nothing more.
TEST_F(PackedQueueTest, ChainWithoutAnEndBreaksTheQueue) {
  driver_.break_ring();
  expect_broken();
}

TEST_F(PackedQueueTest, ChainThatRunsIntoDescriptorsInFlightBreaksTheQueue) {
  driver_.add(ChainBuilder().writable(kBuffers, 8));
  driver_.publish();
  auto held = pop();
  ASSERT_TRUE(held);
  for (std::uint16_t i = 1; i < kSize; ++i) {
    driver_.add_raw({kBuffers, 4, 0, VRING_DESC_F_NEXT});
  }
  driver_.publish();
  expect_broken();
  // The first one can still be ended: its completion may be under way.
  queue_.add_used(*std::move(held), 8);
  EXPECT_EQ(queue_.chains_in_flight(), 0);
}

// VQ-11
TEST_F(PackedQueueTest, BufferIdThatIsStillInFlightBreaksTheQueue) {
  const auto id = *driver_.add(ChainBuilder().writable(kBuffers, 8));
  driver_.add_again(id);
  driver_.publish();
  auto chain = pop();
  ASSERT_TRUE(chain);
  expect_broken();
  queue_.add_used(*std::move(chain), 0);
}

// VQ-13
TEST_F(PackedQueueTest, BufferIdOutsideTheQueueSizeBreaksTheQueue) {
  driver_.add_raw({kBuffers, 8, kSize, 0});
  driver_.publish();
  expect_broken();
}

// VQ-03: with all descriptors in flight, none can be available.
TEST_F(PackedQueueTest, NeverHoldsMoreChainsThanTheQueueHas) {
  std::vector<DescriptorChain> held;
  for (std::uint16_t i = 0; i < kSize; ++i) {
    driver_.add(ChainBuilder().writable(kBuffers, 8));
    driver_.publish();
    held.push_back(*pop());
  }
  EXPECT_EQ(queue_.free_descriptors(), 0);
  EXPECT_FALSE(pop());
  EXPECT_FALSE(queue_.broken());
  driver_.add_raw({kBuffers, 8, 0, 0});
  driver_.publish();
  expect_broken();
  for (DescriptorChain& chain : held) {
    queue_.add_used(std::move(chain), 0);
  }
}

TEST_F(PackedQueueTest, BrokenStaysBrokenAndAsksForNoKicks) {
  driver_.break_ring();
  expect_broken();
  const std::uint32_t event = driver_.device_event();
  queue_.disable_kicks();
  EXPECT_FALSE(queue_.enable_kicks());
  EXPECT_EQ(driver_.device_event(), event);
}

// A fault in the middle does not hide where the chain ends and who it is.
TEST_F(PackedQueueTest, ChainBehindAFaultyOneIsFound) {
  const auto bad = driver_.add(
      ChainBuilder().readable(UINT64_MAX, 4).writable(kBuffers, 4).readable(kBuffers, 4).writable(0, 4));
  const auto good = driver_.add(ChainBuilder().writable(kBuffers, 8));
  driver_.publish();
  auto first = pop();
  auto second = pop();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->fault(), ChainFault::kAddress);
  EXPECT_EQ(first->head(), *bad);
  EXPECT_EQ(first->ring_descriptors(), 4U);
  EXPECT_EQ(second->fault(), ChainFault::kNone);
  EXPECT_EQ(second->head(), *good);
  queue_.add_used(*std::move(second), 8);
  queue_.add_used(*std::move(first), 0);
}

// virtio 1.3, 2.8.7: of an entry's flags only WRITE counts, all entries count, and a table stands alone.
TEST_F(PackedQueueTest, IndirectTableIsAListAndTheWholeChain) {
  const std::array<vring_packed_desc, 3> table{{{kBuffers, 8, 77, VRING_DESC_F_INDIRECT},
                                                {kBuffers + 64, 8, 78, 0},
                                                {kBuffers + 128, 8, 79, VRING_DESC_F_WRITE}}};
  ASSERT_TRUE(memory_.write_object(GuestAddress{kTable}, table));
  driver_.add(ChainBuilder().element({kTable, sizeof table, VRING_DESC_F_INDIRECT}));
  driver_.publish();
  auto chain = pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault(), ChainFault::kNone);
  EXPECT_EQ(chain->readable_bytes(), 16U);
  EXPECT_EQ(chain->writable_bytes(), 8U);
  queue_.add_used(*std::move(chain), 0);
  queue_.publish_used();
  EXPECT_TRUE(driver_.take_used());

  const auto refer = [] { return ChainBuilder::Element{kTable, 16, VRING_DESC_F_INDIRECT}; };
  EXPECT_EQ(fault_of(ChainBuilder().readable(kBuffers, 4).element(refer())), ChainFault::kIndirect);
  EXPECT_EQ(fault_of(ChainBuilder().element(refer()).element(refer())), ChainFault::kIndirect);
  EXPECT_EQ(fault_of(ChainBuilder().element({0, 1025 * 16, VRING_DESC_F_INDIRECT})), ChainFault::kLoop);
}

// VQ-09: another CPU rewrites the ring while it is walked. Whatever comes out lies in RAM and adds up; the
// sanitizers and the guard pages watch the rest.
TEST_F(PackedQueueTest, PiecesStayInRamWhileDescriptorsChangeUnderTheWalk) {
  std::byte* const ring = memory_.slice(layout_.descriptor_table, std::uint64_t{kSize} * 16)->data();
  std::atomic<bool> stop{false};
  std::thread other_cpu([&] {
    std::minstd_rand random(1);
    while (!stop.load(std::memory_order_relaxed)) {
      const std::uint64_t values[] = {kBuffers, kMemoryBytes - 4, UINT64_MAX, 0x0083'0003'0000'0040, 0x40, 0};
      std::byte* const word = ring + std::size_t{random() % (kSize * 2U)} * 8;
      ring::store<std::uint64_t>(word, values[random() % 6], std::memory_order_relaxed);
    }
  });
  std::minstd_rand random(2);
  for (unsigned i = 0; i < 10'000; ++i) {
    PackedDriverQueue driver(memory_, layout_, true);
    PackedQueue queue = *PackedQueue::create(memory_, layout_, kFeatures);
    for (std::uint16_t added = 0; added < kSize; ++added) {
      const auto flags = static_cast<std::uint16_t>(random() % 8);
      driver.add_raw({kBuffers, 64, static_cast<std::uint16_t>(random() % kSize), flags});
    }
    driver.publish();
    for (std::uint16_t popped = 0; popped < 2 * kSize; ++popped) {
      auto chain = queue.pop(storage_);
      if (!chain) {
        break;
      }
      ASSERT_TRUE(testing::is_sound(memory_, *chain));
      queue.add_used(*std::move(chain), 0);
      queue.publish_used();
    }
  }
  stop.store(true);
  other_cpu.join();
}

}  // namespace
}  // namespace tapir::virtio
