// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <future>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

namespace tapir::vmm {
namespace {

/// Remembers accesses; reads give the low byte of the offset everywhere.
class RecordingHandler : public BusHandler {
 public:
  void read(std::uint64_t offset, std::span<std::byte> into) override {
    reads.emplace_back(offset, into.size());
    for (std::byte& byte : into) {
      byte = static_cast<std::byte>(offset & 0xFFU);
    }
  }
  void write(std::uint64_t offset, std::span<const std::byte> from) override {
    writes.emplace_back(offset, from.size());
  }
  std::vector<std::pair<std::uint64_t, std::size_t>> reads;
  std::vector<std::pair<std::uint64_t, std::size_t>> writes;
};

using Accesses = std::vector<std::pair<std::uint64_t, std::size_t>>;

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(BusTest, GivesAnAccessToItsRangeWithTheOffsetFromItsStart) {
  Bus bus;
  RecordingHandler low;
  RecordingHandler high;
  ASSERT_TRUE(bus.add(0x1000, 0x10, low));
  ASSERT_TRUE(bus.add(0x1010, 0x10, high));
  std::array<std::byte, 4> word{};
  EXPECT_TRUE(bus.read(0x100C, word));
  EXPECT_EQ(word[0], std::byte{0x0C});
  EXPECT_TRUE(bus.write(0x1010, std::span<const std::byte>(word).first(1)));
  EXPECT_EQ(low.reads, (Accesses{{0x0C, 4}}));
  EXPECT_EQ(high.writes, (Accesses{{0, 1}}));
  EXPECT_TRUE(low.writes.empty());
}

TEST(BusTest, ReadsOnesAndWritesNothingWhereNoRangeTakesTheWholeAccess) {
  Bus bus;
  RecordingHandler handler;
  ASSERT_TRUE(bus.add(0x1000, 0x10, handler));
  for (const std::uint64_t address :
       {std::uint64_t{0xFFF}, std::uint64_t{0x100D}, std::uint64_t{0x1010}, kMax}) {
    std::array<std::byte, 4> word{};
    EXPECT_FALSE(bus.read(address, word)) << std::hex << address;
    EXPECT_EQ(word, (std::array{std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF}}));
    EXPECT_FALSE(bus.write(address, word)) << std::hex << address;
  }
  EXPECT_TRUE(handler.reads.empty());
  EXPECT_TRUE(handler.writes.empty());
}

TEST(BusTest, RefusesEmptyWrappingAndOverlappingRanges) {
  Bus bus;
  RecordingHandler handler;
  ASSERT_TRUE(bus.add(0x1000, 0x1000, handler));
  EXPECT_FALSE(bus.add(0x5000, 0, handler));
  EXPECT_FALSE(bus.add(0, 0, handler));
  EXPECT_FALSE(bus.add(kMax, 2, handler));
  EXPECT_FALSE(bus.add(0xFFF, 2, handler));       // into it from below
  EXPECT_FALSE(bus.add(0x1FFF, 1, handler));      // its last byte
  EXPECT_FALSE(bus.add(0x1400, 0x10, handler));   // inside
  EXPECT_FALSE(bus.add(0x800, 0x4000, handler));  // around
  EXPECT_TRUE(bus.add(0xFFF, 1, handler));
  EXPECT_TRUE(bus.add(0x2000, 1, handler));
  EXPECT_TRUE(bus.add(kMax, 1, handler));
}

TEST(BusTest, TakesTheLastByteOfTheAddressSpace) {
  Bus bus;
  RecordingHandler handler;
  ASSERT_TRUE(bus.add(kMax - 3, 4, handler));
  std::array<std::byte, 4> word{};
  EXPECT_TRUE(bus.read(kMax - 3, word));
  EXPECT_FALSE(bus.read(kMax - 2, word));
}

TEST(BusTest, ForgetsARemovedRangeAndMayReuseItsPlace) {
  Bus bus;
  RecordingHandler first;
  RecordingHandler second;
  ASSERT_TRUE(bus.add(0x1000, 4, first));
  bus.remove(0x1001);  // no range begins here
  std::array<std::byte, 4> word{};
  EXPECT_TRUE(bus.read(0x1000, word));
  bus.remove(0x1000);
  EXPECT_FALSE(bus.read(0x1000, word));
  EXPECT_TRUE(bus.add(0x1000, 4, second));
  EXPECT_TRUE(bus.read(0x1000, word));
  EXPECT_EQ(first.reads.size(), 1U);
  EXPECT_EQ(second.reads.size(), 1U);
}

/// Stays inside read() until it is let go.
class BlockingHandler : public BusHandler {
 public:
  void read(std::uint64_t /*offset*/, std::span<std::byte> /*into*/) override {
    entered.set_value();
    leave.get_future().wait();
    left.store(true);
  }
  void write(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) override {}
  std::promise<void> entered;
  std::promise<void> leave;
  std::atomic<bool> left{false};
};

TEST(BusTest, RemoveWaitsForAThreadInsideTheHandler) {
  Bus bus;
  BlockingHandler handler;
  ASSERT_TRUE(bus.add(0x1000, 4, handler));
  std::thread reader([&] {
    std::array<std::byte, 4> word{};
    bus.read(0x1000, word);
  });
  handler.entered.get_future().wait();
  bool left_before_removed = false;
  std::thread remover([&] {
    bus.remove(0x1000);
    left_before_removed = handler.left.load();
  });
  handler.leave.set_value();
  remover.join();
  EXPECT_TRUE(left_before_removed);
  reader.join();
}

/// Moves another range while it is called, as the PCI configuration window does.
class MovingHandler : public BusHandler {
 public:
  MovingHandler(Bus& bus, BusHandler& moved) : bus_(bus), moved_(moved) {}
  void read(std::uint64_t /*offset*/, std::span<std::byte> /*into*/) override {}
  void write(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) override {
    bus_.remove(0x1000);
    added = bus_.add(0x2000, 4, moved_).has_value();
  }
  bool added = false;

 private:
  Bus& bus_;
  BusHandler& moved_;
};

TEST(BusTest, HandlerMayMoveAnotherRangeOfItsOwnBus) {
  Bus bus;
  RecordingHandler moved;
  MovingHandler mover(bus, moved);
  ASSERT_TRUE(bus.add(0x1000, 4, moved));
  ASSERT_TRUE(bus.add(0x3000, 4, mover));
  std::array<std::byte, 4> word{};
  EXPECT_TRUE(bus.write(0x3000, word));
  EXPECT_TRUE(mover.added);
  EXPECT_FALSE(bus.read(0x1000, word));
  EXPECT_TRUE(bus.read(0x2000, word));
}

TEST(BusTest, ServesReadersWhileRangesComeAndGo) {
  constexpr int kMoves = 2000;
  class Constant : public BusHandler {
   public:
    void read(std::uint64_t /*offset*/, std::span<std::byte> into) override { into[0] = std::byte{0x5A}; }
    void write(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) override {}
  };
  Bus bus;
  Constant steady;
  Constant moving;
  ASSERT_TRUE(bus.add(0x1000, 4, steady));
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    std::array<std::byte, 1> byte{};
    while (!done.load()) {
      wrong += bus.read(0x1000, byte) && byte[0] == std::byte{0x5A} ? 0 : 1;
      const bool taken = bus.read(0x2000, byte);
      wrong += byte[0] == (taken ? std::byte{0x5A} : std::byte{0xFF}) ? 0 : 1;
    }
  });
  for (int i = 0; i < kMoves; ++i) {
    ASSERT_TRUE(bus.add(0x2000, 4, moving));
    bus.remove(0x2000);
  }
  done.store(true);
  reader.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace tapir::vmm
