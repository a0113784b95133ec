// SPDX-License-Identifier: Apache-2.0
// The virtio-mmio register file. Ids in comments are rows of the project's conformance table.
#include "virtio/mmio_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "virtio/testing/transport_driver.h"

namespace tapir::virtio::testing {
namespace {

class MmioTransportTest : public ::testing::Test {
 protected:
  TransportParts parts_;
  MmioDriver driver_{parts_};
};

// C38, C39, C46
TEST_F(MmioTransportTest, IdentifiesItselfAsAModernNetworkDevice) {
  EXPECT_EQ(driver_.read(0x000), 0x7472'6976U);
  EXPECT_EQ(driver_.read(0x004), 2U);
  EXPECT_EQ(driver_.read(0x008), 1U);
  EXPECT_NE(driver_.read(0x00C), 0U);
}

/// What each readable register reads at power-on, with feature page 0 and queue 0 selected.
std::map<std::uint64_t, std::uint32_t> power_on_values() {
  return {{0x000, 0x7472'6976}, {0x004, 2},           {0x008, 1},
          {0x00C, 0x5250'4154}, {0x010, 0xFF},        {0x034, 256},
          {0x044, 0},           {0x060, 0},           {0x070, 0},
          {0x0B0, 0xFFFF'FFFF}, {0x0B4, 0xFFFF'FFFF}, {0x0B8, 0xFFFF'FFFF},
          {0x0BC, 0xFFFF'FFFF}, {0x0C0, 0},           {0x0FC, 0}};
}

// C53: everything that is not in the table reads 0
TEST_F(MmioTransportTest, EveryRegisterReadsItsPowerOnValueAndTheRestZero) {
  const auto expected = power_on_values();
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    const auto known = expected.find(offset);
    EXPECT_EQ(driver_.read(offset), known == expected.end() ? 0U : known->second) << std::hex << offset;
  }
}

// C51
TEST_F(MmioTransportTest, NoSharedMemoryRegionExistsWhicheverIsSelected) {
  for (const std::uint32_t region : {0U, 1U, 255U, 0xFFFF'FFFFU}) {
    driver_.write(0xAC, region);
    for (const std::uint64_t offset : {0xB0U, 0xB4U, 0xB8U, 0xBCU}) {
      EXPECT_EQ(driver_.read(offset), 0xFFFF'FFFFU) << offset;
    }
  }
}

// TR-03, C53: other widths and unaligned accesses read 0
TEST_F(MmioTransportTest, RegistersAnswerOnlyAlignedThirtyTwoBitReads) {
  for (std::uint64_t offset = 0; offset < 0x100; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      if (bytes == 4 && offset % 4 == 0) {
        continue;
      }
      std::array<std::byte, 8> into;
      into.fill(std::byte{0xA5});
      driver_.transport->read(offset, std::span(into).first(bytes));
      for (std::size_t i = 0; i < bytes; ++i) {
        ASSERT_EQ(into[i], std::byte{0}) << "offset " << offset << " width " << bytes;
      }
    }
  }
}

// TR-03, C53: and writes of other widths change nothing
TEST_F(MmioTransportTest, RegistersTakeOnlyAlignedThirtyTwoBitWrites) {
  driver_.start({0, 1}, (std::uint64_t{1} << 32U) | 3);
  driver_.select_queue(1);
  const std::vector<std::uint32_t> before = driver_.dump();
  for (const std::byte fill : {std::byte{0}, std::byte{1}, std::byte{2}, std::byte{0x80}, std::byte{0xFF}}) {
    for (std::uint64_t offset = 0; offset < 0x100; ++offset) {
      for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
        if (bytes == 4 && offset % 4 == 0) {
          continue;
        }
        std::array<std::byte, 8> from;
        from.fill(fill);
        driver_.transport->write(offset, std::span<const std::byte>(from).first(bytes));
      }
    }
  }
  EXPECT_EQ(driver_.dump(), before);
  EXPECT_EQ(parts_.device.activations, 1);
  for (const ActiveQueue& queue : parts_.device.active->queues) {
    EXPECT_FALSE(is_signalled(queue.kick_fd));
  }
}

// C53: writes of read-only registers
TEST_F(MmioTransportTest, ReadOnlyAndUndefinedRegistersIgnoreWrites) {
  const std::set<std::uint64_t> writable = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x50, 0x64, 0x70,
                                            0x80, 0x84, 0x90, 0x94, 0xA0, 0xA4, 0xAC, 0xC0};
  const std::vector<std::uint32_t> before = driver_.dump();
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    if (writable.count(offset) == 0) {
      driver_.write(offset, 0xFFFF'FFFF);
      driver_.write(offset, 1);
    }
  }
  EXPECT_EQ(driver_.dump(), before);
}

// TR-03, TR-07: the whole page and its end, every width and start
TEST_F(MmioTransportTest, AccessesUpToAndAcrossTheEndOfThePageAreHarmless) {
  for (std::uint64_t offset = 0; offset < MmioTransport::kBytes + 16; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      std::array<std::byte, 8> data{};
      driver_.transport->write(offset, std::span<const std::byte>(data).first(bytes));
      driver_.transport->read(offset, std::span(data).first(bytes));
      if (offset >= 0x100 + parts_.device.config.size()) {
        for (const std::byte byte : data) {
          ASSERT_EQ(byte, std::byte{0}) << "offset " << offset << " width " << bytes;
        }
      }
    }
  }
  std::array<std::byte, 8> data{};
  driver_.transport->read(0xFFFF'FFFF'FFFF'FFFF, data);
  driver_.transport->write(0xFFFF'FFFF'FFFF'FFFC, data);
  EXPECT_EQ(driver_.status(), 0U);
}

// TR-03: QueueSel with every edge of 32 bits, then every queue register
TEST_F(MmioTransportTest, QueueRegistersOfAQueueThatDoesNotExistReadZeroAndIgnoreWrites) {
  const std::vector<std::uint32_t> before = driver_.dump();
  for (const std::uint32_t index : {4U, 5U, 0xFFU, 0x100U, 0x7FFFU, 0x8000U, 0xFFFFU, 0x1'0000U, 0x7FFF'FFFFU,
                                    0x8000'0000U, 0xFFFF'FFFFU}) {
    driver_.select_queue(index);
    EXPECT_EQ(driver_.read(0x34), 0U) << index;
    for (std::uint64_t offset = 0x34; offset < 0x70; offset += 4) {
      driver_.write(offset, 1);
    }
    for (std::uint64_t offset = 0x80; offset < 0xA8; offset += 4) {
      driver_.write(offset, 0x1000);
    }
    EXPECT_EQ(driver_.read(0x44), 0U) << index;
  }
  driver_.select_queue(0);
  EXPECT_EQ(driver_.dump(), before);
}

// C49, C55: before DRIVER_OK a queue may be stopped again; other values than 0 and 1 mean nothing
TEST_F(MmioTransportTest, QueueReadyTakesZeroAndOneUntilDriverOk) {
  ASSERT_TRUE(driver_.negotiate(std::uint64_t{1} << 32U));
  driver_.set_up_queue(0);
  driver_.write(0x44, 2);
  EXPECT_EQ(driver_.read(0x44), 1U);
  driver_.write(0x44, 0);
  EXPECT_EQ(driver_.read(0x44), 0U);
  driver_.write(0x44, 0x8000'0001);
  EXPECT_EQ(driver_.read(0x44), 0U);
  driver_.set_up_queue(0);
  driver_.write_status(0xF);
  driver_.write(0x44, 0);
  EXPECT_EQ(driver_.read(0x44), 1U);
}

// C40
TEST_F(MmioTransportTest, InterruptStatusHoldsEachCauseUntilItIsAcknowledged) {
  driver_.start({0, 1});
  Notifier& notifier = *parts_.device.active->notifier;
  EXPECT_EQ(driver_.read(0x60), 0U);
  notifier.notify_queue(1);
  EXPECT_EQ(driver_.read(0x60), 1U);
  EXPECT_EQ(driver_.interrupt.triggers.load(), 1);
  notifier.notify_config();
  EXPECT_EQ(driver_.read(0x60), 3U);
  EXPECT_EQ(driver_.interrupt.triggers.load(), 2);
  driver_.write(0x64, 0xFFFF'FFFC);  // neither cause
  EXPECT_EQ(driver_.read(0x60), 3U);
  driver_.write(0x64, 3);
  EXPECT_EQ(driver_.read(0x60), 0U);
}

TEST_F(MmioTransportTest, CauseThatIsLeftAfterAnAcknowledgeRaisesTheEdgeAgain) {
  driver_.start({0});
  parts_.device.active->notifier->notify_queue(0);
  parts_.device.active->notifier->notify_config();
  const int before = driver_.interrupt.triggers.load();
  driver_.write(0x64, 1);
  EXPECT_EQ(driver_.read(0x60), 2U);
  EXPECT_EQ(driver_.interrupt.triggers.load(), before + 1);
  driver_.write(0x64, 2);
  EXPECT_EQ(driver_.interrupt.triggers.load(), before + 1);
}

// C41
TEST_F(MmioTransportTest, ResetClearsInterruptStatusAndEveryQueueReady) {
  driver_.start({0, 1, 2, 3});
  parts_.device.active->notifier->notify_queue(0);
  driver_.write_status(0);
  EXPECT_EQ(driver_.read(0x60), 0U);
  for (const std::uint32_t index : {0U, 1U, 2U, 3U}) {
    driver_.select_queue(index);
    EXPECT_EQ(driver_.read(0x44), 0U) << index;
  }
}

// C56: one doorbell per queue at QueueNotify, told apart by the value
TEST_F(MmioTransportTest, BindsADoorbellForEveryQueue) {
  driver_.start({0, 1, 2, 3});
  ASSERT_EQ(parts_.doorbell.bound.size(), 4U);
  std::uint64_t index = 0;
  for (const FakeDoorbell::Bound& bound : parts_.doorbell.bound) {
    EXPECT_EQ(bound.address, MmioDriver::kBase + 0x50);
    EXPECT_EQ(bound.bytes, 4U);
    EXPECT_EQ(bound.value, index);
    EXPECT_EQ(bound.event_fd, parts_.device.active->queues[index].kick_fd);
    ++index;
  }
}

TEST_F(MmioTransportTest, DestructionUnbindsTheDoorbells) {
  driver_.transport.reset();
  EXPECT_TRUE(parts_.doorbell.bound.empty());
}

TEST(MmioTransportCreateTest, FailsWhenTheDoorbellCannotBeBound) {
  TransportParts parts;
  parts.doorbell.refuse = true;
  FakeInterrupt interrupt;
  const auto transport = MmioTransport::create(parts.device, parts.memory, interrupt, parts.doorbell,
                                               GuestAddress{MmioDriver::kBase});
  ASSERT_FALSE(transport);
  EXPECT_EQ(transport.error().message(), "the test refuses it");
}

}  // namespace
}  // namespace tapir::virtio::testing
