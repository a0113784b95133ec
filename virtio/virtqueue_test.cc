// SPDX-License-Identifier: Apache-2.0
// What every virtqueue format does, seen through its interface only: the driver end plays by the rules of the
// format, the elements of its chains may still be wrong. VQ-nn and Cnn are the rows of the conformance list.
#include "virtio/virtqueue.h"

#include <gtest/gtest.h>
#include <linux/virtio_config.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "virtio/testing/driver_queue.h"
#include "virtio/testing/packed_driver_queue.h"

namespace tapir::virtio {
namespace {

using testing::ChainBuilder;

constexpr std::uint64_t kMemoryBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kRings = 0x1000;
constexpr std::uint64_t kBuffers = 0x20000;
constexpr std::uint64_t kTable = 0x80008;  // not a multiple of 16: legal for an indirect table

template <bool kEventIndexed>
struct SplitFormat {
  using Driver = testing::DriverQueue;
  static constexpr bool kEventIndex = kEventIndexed;
  static constexpr std::uint64_t kFeatures = std::uint64_t{kEventIndexed} << VIRTIO_RING_F_EVENT_IDX;
  static void write_table(const GuestMemory& memory, std::uint64_t table, const ChainBuilder& chain) {
    testing::write_indirect_table(memory, table, chain.elements());
  }
};

template <bool kEventIndexed>
struct PackedFormat {
  using Driver = testing::PackedDriverQueue;
  static constexpr bool kEventIndex = kEventIndexed;
  static constexpr std::uint64_t kFeatures =
      std::uint64_t{1} << VIRTIO_F_RING_PACKED | std::uint64_t{kEventIndexed} << VIRTIO_RING_F_EVENT_IDX;
  static void write_table(const GuestMemory& memory, std::uint64_t table, const ChainBuilder& chain) {
    testing::write_packed_indirect_table(memory, table, chain.elements());
  }
};

template <typename Format>
class VirtqueueTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kSize = 256;

  void SetUp() override { renew(kSize, true); }

  void renew(std::uint16_t size, bool indirect) {
    const QueueLayout layout = Format::Driver::place(kRings, size);
    driver_.emplace(memory_, layout, Format::kEventIndex);
    const std::uint64_t features = Format::kFeatures | std::uint64_t{indirect} << VIRTIO_RING_F_INDIRECT_DESC;
    auto queue = Virtqueue::create(memory_, layout, features);
    ASSERT_TRUE(queue) << queue.error().message();
    queue_.emplace(*std::move(queue));
  }

  std::optional<DescriptorChain> pop() { return queue_->pop(storage_); }
  void give_back(std::optional<DescriptorChain> chain, std::uint32_t bytes = 0) {
    queue_->add_used(*std::move(chain), bytes);
    queue_->publish_used();
  }
  /// Makes the chain available, and gives it back at once; what was wrong with it.
  ChainFault fault_of(const ChainBuilder& chain, bool indirect = false) {
    EXPECT_TRUE(indirect ? driver_->add_indirect(chain, kTable) : driver_->add(chain));
    driver_->publish();
    auto popped = pop();
    EXPECT_TRUE(popped);
    const ChainFault fault = popped->fault();
    EXPECT_TRUE(fault == ChainFault::kNone || (popped->readable().empty() && popped->writable().empty() &&
                                               popped->readable_bytes() + popped->writable_bytes() == 0));
    give_back(std::move(popped));
    const auto used = driver_->take_used();
    EXPECT_TRUE(used && used->bytes == 0);
    return fault;
  }
  std::byte* host(std::uint64_t address) { return memory_.slice(GuestAddress{address}, 1)->data(); }

  GuestMemory memory_ = *GuestMemory::create(kMemoryBytes);
  std::optional<typename Format::Driver> driver_;
  std::optional<Virtqueue> queue_;
  std::array<iovec, kMaxChainPieces> storage_{};
};

using Formats =
    ::testing::Types<SplitFormat<false>, SplitFormat<true>, PackedFormat<false>, PackedFormat<true>>;
struct FormatNames {
  template <typename Format>
  static std::string GetName(int /*index*/) {
    const std::string ring = (Format::kFeatures >> VIRTIO_F_RING_PACKED & 1U) != 0 ? "Packed" : "Split";
    return ring + (Format::kEventIndex ? "WithEventIndex" : "");
  }
};
TYPED_TEST_SUITE(VirtqueueTest, Formats, FormatNames);

TYPED_TEST(VirtqueueTest, IsEmptyUntilTheDriverPublishes) {
  EXPECT_FALSE(this->pop());
  this->driver_->add(ChainBuilder().readable(kBuffers, 64));
  EXPECT_FALSE(this->pop());
  this->driver_->publish();
  auto chain = this->pop();
  ASSERT_TRUE(chain);
  EXPECT_FALSE(this->pop());
  this->give_back(std::move(chain));
}

TYPED_TEST(VirtqueueTest, GivesTheDriversBuffersReadableThenWritable) {
  this->driver_->add(
      ChainBuilder().readable(kBuffers, 12).readable(kBuffers + 100, 50).writable(kBuffers + 200, 7));
  this->driver_->publish();
  auto chain = this->pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault(), ChainFault::kNone);
  ASSERT_EQ(chain->readable().size(), 2U);
  EXPECT_EQ(chain->readable()[0].iov_base, this->host(kBuffers));
  EXPECT_EQ(chain->readable()[0].iov_len, 12U);
  EXPECT_EQ(chain->readable()[1].iov_base, this->host(kBuffers + 100));
  EXPECT_EQ(chain->readable_bytes(), 62U);
  ASSERT_EQ(chain->writable().size(), 1U);
  EXPECT_EQ(chain->writable()[0].iov_base, this->host(kBuffers + 200));
  EXPECT_EQ(chain->writable_bytes(), 7U);
  EXPECT_EQ(chain->ring_descriptors(), 3U);
  this->give_back(std::move(chain));
}

TYPED_TEST(VirtqueueTest, MergesBuffersThatTouchButNeverTheTwoDirections) {
  this->driver_->add(ChainBuilder()
                         .readable(kBuffers, 10)
                         .readable(kBuffers + 10, 20)
                         .writable(kBuffers + 30, 40)
                         .writable(kBuffers + 70, 5));
  this->driver_->publish();
  auto chain = this->pop();
  ASSERT_TRUE(chain);
  ASSERT_EQ(chain->readable().size(), 1U);
  EXPECT_EQ(chain->readable()[0].iov_len, 30U);
  ASSERT_EQ(chain->writable().size(), 1U);
  EXPECT_EQ(chain->writable()[0].iov_len, 45U);
  this->give_back(std::move(chain));
}

// VQ-01: zero-length elements are skipped, wherever they are and wherever they point.
TYPED_TEST(VirtqueueTest, SkipsZeroLengthElements) {
  this->driver_->add(ChainBuilder()
                         .readable(UINT64_MAX, 0)
                         .readable(kBuffers, 8)
                         .writable(0, 0)
                         .readable(kBuffers + 64, 8)
                         .readable(kMemoryBytes * 2, 0));
  this->driver_->publish();
  auto chain = this->pop();
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault(), ChainFault::kNone);
  EXPECT_EQ(chain->readable().size(), 2U);
  EXPECT_EQ(chain->readable_bytes(), 16U);
  this->give_back(std::move(chain));
}

// VQ-01, too: nothing but zero-length elements, as many as the queue has.
TYPED_TEST(VirtqueueTest, ChainOfOnlyZeroLengthElementsIsEmptyNotFaulty) {
  ChainBuilder builder;
  for (unsigned i = 0; i < this->kSize; ++i) {
    builder.writable(kBuffers, 0);
  }
  EXPECT_EQ(this->fault_of(builder), ChainFault::kNone);
}

// VQ-02, VQ-23: lengths and addresses that leave RAM, and those that just stay inside.
TYPED_TEST(VirtqueueTest, RefusesBuffersThatAreNotWhollyInRam) {
  struct Case {
    std::uint64_t address;
    std::uint32_t bytes;
    ChainFault fault;
  };
  const Case cases[] = {
      {kMemoryBytes - 1, 1, ChainFault::kNone},
      {kMemoryBytes - 1, 2, ChainFault::kAddress},
      {kMemoryBytes, 1, ChainFault::kAddress},
      {0, UINT32_MAX, ChainFault::kAddress},
      {UINT64_MAX, 1, ChainFault::kAddress},
      {UINT64_MAX - 15, 32, ChainFault::kAddress},
      {GuestMemory::kHoleStart + 0x2100'0000, 4, ChainFault::kAddress},  // a device's registers
      {0, kMemoryBytes, ChainFault::kNone},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(this->fault_of(ChainBuilder().writable(c.address, c.bytes)), c.fault) << c.address;
    EXPECT_EQ(this->fault_of(ChainBuilder().readable(kBuffers, 4).readable(c.address, c.bytes)), c.fault);
  }
}

// VQ-18, C129
TYPED_TEST(VirtqueueTest, RefusesReadableAfterWritable) {
  EXPECT_EQ(this->fault_of(ChainBuilder().readable(kBuffers, 4).writable(kBuffers, 4).readable(kBuffers, 4)),
            ChainFault::kOrder);
}

// C130, VQ-19: the sum is kept in 64 bits.
TYPED_TEST(VirtqueueTest, RefusesMoreThanFourGiBInOneChain) {
  this->memory_ = *GuestMemory::create(std::uint64_t{3} << 30);
  this->renew(this->kSize, true);
  const std::uint32_t two_gib = 0x8000'0000;
  EXPECT_EQ(this->fault_of(ChainBuilder().writable(0, two_gib).writable(0, two_gib)), ChainFault::kNone);
  EXPECT_EQ(this->fault_of(ChainBuilder().writable(0, two_gib).writable(0, two_gib).writable(0, two_gib)),
            ChainFault::kTooLarge);
}

// C15, VQ-20: what readv and writev take at most, and one more.
TYPED_TEST(VirtqueueTest, TakesTheMostPiecesOfASystemCallAndRefusesMore) {
  this->renew(2048, true);
  ChainBuilder builder;
  for (unsigned i = 0; i < 1024; ++i) {
    builder.readable(kBuffers + std::uint64_t{2} * i, 1);
  }
  EXPECT_EQ(this->fault_of(builder), ChainFault::kNone);
  EXPECT_EQ(this->fault_of(builder, true), ChainFault::kNone);
  builder.readable(kBuffers + 4096, 1);
  EXPECT_EQ(this->fault_of(builder), ChainFault::kTooManyPieces);
  EXPECT_EQ(this->fault_of(builder, true), ChainFault::kLoop);
}

// VQ-15: what a chain has no room for in the caller's storage is a fault, never a write behind it.
TYPED_TEST(VirtqueueTest, StaysInsideTheCallersStorage) {
  this->driver_->add(
      ChainBuilder().readable(kBuffers, 1).readable(kBuffers + 8, 1).readable(kBuffers + 16, 1));
  this->driver_->publish();
  std::array<iovec, 3> storage{};
  storage[2].iov_len = 0xA5;
  auto chain = this->queue_->pop(std::span(storage).first(2));
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->fault(), ChainFault::kTooManyPieces);
  EXPECT_TRUE(chain->readable().empty());
  EXPECT_EQ(storage[2].iov_len, 0xA5U);
  this->give_back(std::move(chain));
}

// VQ-17: the legal ones, unaligned table, WRITE flag on the referring descriptor (C19). What is particular to
// one format is in its own test.
TYPED_TEST(VirtqueueTest, FollowsIndirectTablesHoweverOddlyTheyAreLegal) {
  const ChainBuilder chain = ChainBuilder().readable(kBuffers, 12).writable(kBuffers + 64, 100);
  EXPECT_EQ(this->fault_of(chain, true), ChainFault::kNone);

  TypeParam::write_table(this->memory_, kTable, chain);
  EXPECT_EQ(this->fault_of(ChainBuilder().element({kTable, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE})),
            ChainFault::kNone);

  // At the very end of RAM.
  TypeParam::write_table(this->memory_, kMemoryBytes - 32, chain);
  this->driver_->add(ChainBuilder().element({kMemoryBytes - 32, 32, VRING_DESC_F_INDIRECT}));
  this->driver_->publish();
  auto popped = this->pop();
  ASSERT_TRUE(popped);
  EXPECT_EQ(popped->fault(), ChainFault::kNone);
  EXPECT_EQ(popped->readable_bytes(), 12U);
  EXPECT_EQ(popped->writable_bytes(), 100U);
  EXPECT_EQ(popped->ring_descriptors(), 1U);
  this->give_back(std::move(popped));
}

// VQ-17, C131
TYPED_TEST(VirtqueueTest, RefusesIndirectTablesThatBreakARule) {
  TypeParam::write_table(this->memory_, kTable, ChainBuilder().readable(kBuffers, 12));
  const auto refer = [](std::uint64_t table, std::uint32_t bytes) {
    return ChainBuilder().element({table, bytes, VRING_DESC_F_INDIRECT});
  };
  EXPECT_EQ(this->fault_of(refer(kTable, 0)), ChainFault::kIndirect);
  EXPECT_EQ(this->fault_of(refer(kTable, 8)), ChainFault::kIndirect);
  EXPECT_EQ(this->fault_of(refer(kTable, 17)), ChainFault::kIndirect);
  EXPECT_EQ(this->fault_of(refer(kMemoryBytes - 8, 16)), ChainFault::kAddress);
  EXPECT_EQ(this->fault_of(refer(UINT64_MAX - 7, 16)), ChainFault::kAddress);
  // INDIRECT and NEXT together.
  EXPECT_EQ(this->fault_of(refer(kTable, 16).readable(kBuffers, 1)), ChainFault::kIndirect);
  // What the table refers to is judged as well.
  EXPECT_EQ(this->fault_of(ChainBuilder().writable(kMemoryBytes, 4), true), ChainFault::kAddress);
  EXPECT_EQ(this->fault_of(ChainBuilder().writable(kBuffers, 4).readable(kBuffers, 4), true),
            ChainFault::kOrder);
}

TYPED_TEST(VirtqueueTest, RefusesIndirectTablesThatWereNotNegotiated) {
  this->renew(this->kSize, false);
  EXPECT_EQ(this->fault_of(ChainBuilder().readable(kBuffers, 12), true), ChainFault::kIndirect);
}

// C27-C29, C104: entries are there, but invisible, until the one publication of all of them. VQ-21: lengths
// as written.
TYPED_TEST(VirtqueueTest, UsedChainsAppearTogetherAtPublication) {
  std::vector<std::uint16_t> heads;
  for (unsigned i = 0; i < 3; ++i) {
    heads.push_back(*this->driver_->add(ChainBuilder().writable(kBuffers + std::uint64_t{4096} * i, 4096)));
  }
  this->driver_->publish();
  for (unsigned i = 0; i < 3; ++i) {
    this->queue_->add_used(*this->pop(), 100 + i);
    EXPECT_FALSE(this->driver_->take_used());
  }
  this->queue_->publish_used();
  for (unsigned i = 0; i < 3; ++i) {
    const auto used = this->driver_->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->head, heads[i]);
    EXPECT_EQ(used->bytes, 100 + i);
  }
  EXPECT_FALSE(this->driver_->take_used());
}

// NET-02: a rewind leaves the queue exactly as it was.
TYPED_TEST(VirtqueueTest, UndonePopsComeAgainInTheSameOrder) {
  const auto first = *this->driver_->add(ChainBuilder().writable(kBuffers, 1));
  const auto second = *this->driver_->add(ChainBuilder().writable(kBuffers + 8, 2));
  this->driver_->publish();
  for (unsigned round = 0; round < 1000; ++round) {
    auto a = this->pop();
    auto b = this->pop();
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->head(), first);
    EXPECT_EQ(b->head(), second);
    EXPECT_EQ(this->queue_->chains_in_flight(), 2U);
    this->queue_->undo_pop(*std::move(b));
    this->queue_->undo_pop(*std::move(a));
    EXPECT_EQ(this->queue_->chains_in_flight(), 0U);
    EXPECT_EQ(this->queue_->free_descriptors(), this->kSize);
  }
  this->give_back(this->pop(), 1);
  EXPECT_EQ(this->driver_->take_used()->head, first);
}

TYPED_TEST(VirtqueueTest, IndexesWrapManyTimes) {
  this->renew(4, true);
  for (std::uint32_t i = 0; i < 200'000; ++i) {
    const auto head = this->driver_->add(ChainBuilder().writable(kBuffers, 64));
    this->driver_->publish();
    auto chain = this->pop();
    ASSERT_TRUE(chain && chain->head() == *head);
    this->give_back(std::move(chain), i % 64);
    const auto used = this->driver_->take_used();
    ASSERT_TRUE(used && used->head == *head && used->bytes == i % 64);
  }
}

// C22, C23, C25, C26
TYPED_TEST(VirtqueueTest, InterruptsOnlyWhenTheDriverAsksForIt) {
  const auto complete_one = [this] {
    this->driver_->add(ChainBuilder().writable(kBuffers, 8));
    this->driver_->publish();
    this->give_back(this->pop());
    return this->queue_->needs_notification();
  };
  EXPECT_FALSE(this->queue_->needs_notification());
  this->driver_->enable_interrupts();
  EXPECT_TRUE(complete_one());
  EXPECT_FALSE(this->queue_->needs_notification());
  this->driver_->take_used();
  this->driver_->disable_interrupts();
  EXPECT_FALSE(complete_one());
  EXPECT_FALSE(complete_one());
  EXPECT_TRUE(this->driver_->enable_interrupts());
}

// C30, C31, C32
TYPED_TEST(VirtqueueTest, KicksAreAskedForOnlyWhileEnabled) {
  const auto add_one = [this] {
    this->driver_->add(ChainBuilder().readable(kBuffers, 8));
    return this->driver_->publish();
  };
  EXPECT_FALSE(this->queue_->enable_kicks());
  EXPECT_TRUE(add_one());
  this->queue_->disable_kicks();
  EXPECT_FALSE(add_one());
  // It came without a kick, so asking for kicks says so.
  EXPECT_TRUE(this->queue_->enable_kicks());
  this->give_back(this->pop());
  this->give_back(this->pop());
  EXPECT_FALSE(this->queue_->enable_kicks());
  EXPECT_TRUE(add_one());
  this->give_back(this->pop());
}

// The children that die have no guest memory (MADV_DONTFORK), so the chain is popped before.
TYPED_TEST(VirtqueueTest, ForgettingAChainOrClaimingMoreThanItTakesIsABug) {
  this->driver_->add(ChainBuilder().writable(kBuffers, 8));
  this->driver_->publish();
  auto chain = this->pop();
  EXPECT_DEATH(this->queue_->add_used(*std::move(chain), 9), "bug: .*_queue");
#ifndef NDEBUG
  EXPECT_DEATH({ const DescriptorChain forgotten = *std::move(chain); }, "bug: .*descriptor_chain");
#endif
  this->give_back(std::move(chain));  // NOLINT(bugprone-use-after-move): moved from in the children only
}

}  // namespace
}  // namespace tapir::virtio
