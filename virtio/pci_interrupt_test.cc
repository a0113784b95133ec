// SPDX-License-Identifier: Apache-2.0
// How virtio-pci interrupts: MSI-X vectors and INTx with the ISR status. Ids in comments are rows of the
// project's conformance table.
#include "virtio/pci_transport.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "virtio/testing/transport_driver.h"

namespace tapir::virtio::testing {
namespace {

constexpr std::uint16_t kNoVector = TransportState::kNoVector;

class PciInterruptTest : public ::testing::Test {
 protected:
  /// MSI-X on, bus master, every vector with a message and unmasked.
  void enable_msix() {
    for (std::uint64_t vector = 0; vector < PciDriver::kVectors; ++vector) {
      const std::uint64_t entry = PciTransport::kMsixTableOffset + vector * 16;
      driver_.write(entry, 4, 0xFEE0'0000);
      driver_.write(entry + 8, 4, 0x40 + vector);
      driver_.write(entry + 12, 4, 0);
    }
    driver_.set_config(0x04, 2, 0x4);
    driver_.set_config(0x42, 2, 0x8000);
  }
  void map_queue(std::uint32_t queue, std::uint16_t vector) {
    driver_.select_queue(queue);
    driver_.write(0x1A, 2, vector);
    ASSERT_EQ(driver_.read(0x1A, 2), vector);
  }
  Notifier& notifier() { return *parts_.device.active->notifier; }
  std::vector<int> triggers() const {
    std::vector<int> counts;
    for (const FakeInterrupt& vector : driver_.vectors) {
      counts.push_back(vector.triggers.load());
    }
    return counts;
  }
  using Counts = std::vector<int>;

  TransportParts parts_;
  PciDriver driver_{parts_};
};

// C83, C84, C135, TR-06
TEST_F(PciInterruptTest, VectorRegistersReadBackValidVectorsAndNoVectorOtherwise) {
  driver_.select_queue(1);
  for (std::uint32_t vector = 0; vector <= 0xFFFF; ++vector) {
    const std::uint64_t expected = vector < PciDriver::kVectors ? vector : kNoVector;
    driver_.write(0x1A, 2, vector);
    ASSERT_EQ(driver_.read(0x1A, 2), expected) << vector;
    driver_.write(0x10, 2, vector);
    ASSERT_EQ(driver_.read(0x10, 2), expected) << vector;
  }
}

// C84
TEST_F(PciInterruptTest, ResetUnmapsEveryVector) {
  for (const std::uint32_t queue : {0U, 1U, 2U, 3U}) {
    map_queue(queue, 1);
  }
  driver_.write(0x10, 2, 2);
  driver_.write_status(0);
  EXPECT_EQ(driver_.read(0x10, 2), kNoVector);
  for (const std::uint32_t queue : {0U, 1U, 2U, 3U}) {
    driver_.select_queue(queue);
    EXPECT_EQ(driver_.read(0x1A, 2), kNoVector) << queue;
  }
}

// TR-15: only some queues of the device are enabled
TEST_F(PciInterruptTest, SparseQueuesInterruptThroughTheirOwnVectors) {
  enable_msix();
  driver_.start({1, 3});
  map_queue(0, 0);
  map_queue(1, 2);
  map_queue(3, 3);
  ASSERT_EQ(parts_.device.active->queues.size(), 2U);
  EXPECT_EQ(parts_.device.active->queues[0].index, 1);
  EXPECT_EQ(parts_.device.active->queues[1].index, 3);
  notifier().notify_queue(1);
  EXPECT_EQ(triggers(), (Counts{0, 0, 1, 0}));
  notifier().notify_queue(3);
  notifier().notify_queue(3);
  EXPECT_EQ(triggers(), (Counts{0, 0, 1, 2}));
  EXPECT_EQ(driver_.vectors[3].messages.back(), (MsiMessage{0xFEE0'0000, 0x43}));
}

// C85, C86
TEST_F(PciInterruptTest, NothingIsSentForNoVector) {
  enable_msix();
  driver_.start({0});
  notifier().notify_queue(0);
  notifier().notify_config();
  EXPECT_EQ(triggers(), (Counts{0, 0, 0, 0}));
  EXPECT_FALSE(driver_.line.level.load());
}

TEST_F(PciInterruptTest, ConfigChangeUsesItsVector) {
  enable_msix();
  driver_.start({0});
  driver_.write(0x10, 2, 1);
  map_queue(0, 0);
  notifier().notify_config();
  EXPECT_EQ(triggers(), (Counts{0, 1, 0, 0}));
}

TEST_F(PciInterruptTest, QueueThatDoesNotExistInterruptsNobody) {
  enable_msix();
  driver_.start({0});
  map_queue(0, 0);
  for (const std::uint16_t queue : {std::uint16_t{4}, std::uint16_t{0xFFFF}}) {
    notifier().notify_queue(queue);
  }
  EXPECT_EQ(triggers(), (Counts{0, 0, 0, 0}));
}

// C75: the configuration bit also with MSI-X; C76: the queue bit only without
TEST_F(PciInterruptTest, IsrStatusUnderMsixShowsConfigChangesOnly) {
  enable_msix();
  driver_.start({0});
  notifier().notify_queue(0);
  EXPECT_EQ(driver_.take_interrupt_status(), 0U);
  notifier().notify_config();
  EXPECT_EQ(driver_.take_interrupt_status(), 2U);
}

// C75, C76, C77
TEST_F(PciInterruptTest, IntxIsAssertedUntilTheIsrStatusIsRead) {
  driver_.start({0});
  notifier().notify_queue(0);
  EXPECT_TRUE(driver_.line.level.load());
  EXPECT_NE(driver_.config(0x06, 2) & 0x8U, 0U);
  notifier().notify_config();
  EXPECT_EQ(driver_.take_interrupt_status(), 3U);
  EXPECT_FALSE(driver_.line.level.load());
  EXPECT_EQ(driver_.config(0x06, 2) & 0x8U, 0U);
  EXPECT_EQ(driver_.take_interrupt_status(), 0U);
  notifier().notify_queue(0);
  EXPECT_TRUE(driver_.line.level.load());
}

TEST_F(PciInterruptTest, IntxStaysQuietWhileDisabledAndComesBack) {
  driver_.start({0});
  driver_.set_config(0x04, 2, 0x400);
  notifier().notify_queue(0);
  EXPECT_FALSE(driver_.line.level.load());
  driver_.set_config(0x04, 2, 0);
  EXPECT_TRUE(driver_.line.level.load());
}

TEST_F(PciInterruptTest, IsrStatusIsReadInAnyWidth) {
  driver_.start({0});
  for (const std::size_t bytes : {1U, 2U, 4U}) {
    notifier().notify_queue(0);
    EXPECT_EQ(driver_.read(PciTransport::kIsrOffset, bytes), 1U) << bytes;
    EXPECT_FALSE(driver_.line.level.load());
  }
  notifier().notify_queue(0);
  EXPECT_EQ(driver_.read(PciTransport::kIsrOffset + 1, 1), 0U);  // beside it
  EXPECT_TRUE(driver_.line.level.load());
}

TEST_F(PciInterruptTest, DriverResetReleasesTheLine) {
  driver_.start({0});
  notifier().notify_queue(0);
  driver_.write_status(0);
  EXPECT_FALSE(driver_.line.level.load());
  EXPECT_EQ(driver_.take_interrupt_status(), 0U);
}

TEST_F(PciInterruptTest, MachineResetReleasesTheLineAndMasksEveryVector) {
  enable_msix();
  driver_.start({0});
  driver_.set_config(0x42, 2, 0);
  notifier().notify_queue(0);
  EXPECT_TRUE(driver_.line.level.load());
  driver_.machine_reset();
  EXPECT_FALSE(driver_.line.level.load());
  EXPECT_EQ(driver_.read(PciTransport::kMsixTableOffset + 12, 4), 1U);
}

TEST(PciWithoutMsixTest, InterruptsByItsLineAndTakesNoVector) {
  TransportParts parts;
  PciDriver driver(parts, false);
  for (std::uint32_t at = driver.config(0x34, 1); at != 0; at = driver.config(at + 1, 1)) {
    EXPECT_NE(driver.config(at, 1), 0x11U);
  }
  driver.write(PciTransport::kMsixTableOffset, 4, 0xFEE0'0000);
  EXPECT_EQ(driver.read(PciTransport::kMsixTableOffset, 4), 0U);
  EXPECT_EQ(driver.read(PciTransport::kMsixPbaOffset, 4), 0U);
  driver.start({0});
  driver.select_queue(0);
  driver.write(0x1A, 2, 0);
  EXPECT_EQ(driver.read(0x1A, 2), kNoVector);
  parts.device.active->notifier->notify_config();
  parts.device.active->notifier->notify_queue(0);
  EXPECT_TRUE(driver.line.level.load());
  EXPECT_EQ(driver.take_interrupt_status(), 0x3U);
  EXPECT_FALSE(driver.line.level.load());
}

}  // namespace
}  // namespace tapir::virtio::testing
