// SPDX-License-Identifier: Apache-2.0
// The structures of virtio-pci: identity, capabilities, registers, doorbells. Ids in comments are rows of the
// project's conformance table.
#include "virtio/pci_transport.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "virtio/testing/transport_driver.h"

namespace tapir::virtio::testing {
namespace {

constexpr std::uint64_t kVersion1 = std::uint64_t{1} << 32U;

/// A vendor capability as a driver reads it.
struct Capability {
  std::uint32_t at;
  std::uint32_t bytes;
  std::uint32_t bar;
  std::uint32_t offset;
  std::uint32_t length;
};

class AcceptingMapper final : public BarMapper {
 public:
  Status map_bar(unsigned /*bar*/, GuestAddress /*start*/, std::uint64_t /*bytes*/) override { return {}; }
  void unmap_bar(unsigned /*bar*/) override {}
};

class PciTransportTest : public ::testing::Test {
 protected:
  /// By type; a type that comes twice fails the test.
  std::map<std::uint32_t, Capability> capabilities() {
    std::map<std::uint32_t, Capability> found;
    for (std::uint32_t at = driver_.config(0x34, 1); at != 0; at = driver_.config(at + 1, 1)) {
      if (driver_.config(at, 1) == 0x09) {
        const Capability capability = {at, driver_.config(at + 2, 1), driver_.config(at + 4, 1),
                                       driver_.config(at + 8, 4), driver_.config(at + 12, 4)};
        EXPECT_TRUE(found.emplace(driver_.config(at + 3, 1), capability).second);
      }
    }
    return found;
  }
  std::uint32_t window() { return capabilities().at(5).at; }
  void set_window(std::uint32_t bar, std::uint32_t offset, std::uint32_t length) {
    driver_.set_config(window() + 4, 1, bar);
    driver_.set_config(window() + 8, 4, offset);
    driver_.set_config(window() + 12, 4, length);
  }
  void decode_bar_at(std::uint32_t address) {
    driver_.set_config(0x10, 4, address);
    driver_.set_config(0x04, 2, 0x6);
  }

  TransportParts parts_;
  AcceptingMapper mapper_;
  PciDriver driver_{parts_};
};

// C58, C59
TEST_F(PciTransportTest, IdentifiesItselfAsAModernNetworkDevice) {
  EXPECT_EQ(driver_.config(0x00, 4), 0x1041'1AF4U);
  EXPECT_EQ(driver_.config(0x08, 4), 0x0200'0001U);
  EXPECT_EQ(driver_.config(0x2C, 2), 0x1AF4U);
  EXPECT_GE(driver_.config(0x2E, 2), 0x40U);
  EXPECT_EQ(driver_.config(0x3D, 1), 1U);
}

TEST(PciTransportIdentityTest, OtherDeviceTypesAreNoNetworkController) {
  TransportParts parts;
  parts.device.device_type = 4;
  PciDriver driver(parts);
  EXPECT_EQ(driver.config(0x02, 2), 0x1044U);
  EXPECT_EQ(driver.config(0x08, 4), 0xFF00'0001U);
}

// C61, C62, TR-08
TEST_F(PciTransportTest, HasOneCapabilityOfEachTypeWithItsFullLength) {
  const auto found = capabilities();
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found.at(1).bytes, 16U);
  EXPECT_EQ(found.at(2).bytes, 20U);
  EXPECT_EQ(found.at(3).bytes, 16U);
  EXPECT_EQ(found.at(4).bytes, 16U);
  EXPECT_EQ(found.at(5).bytes, 20U);
}

// C63, C72, C74, C75, C78
TEST_F(PciTransportTest, StructuresLieInTheBarWithoutOverlapAndAligned) {
  const auto found = capabilities();
  const std::uint32_t bar_bytes = driver_.transport->bar_bytes(0);
  std::map<std::uint32_t, std::uint32_t> ranges = {{0x4000, 4 * 16}, {0x5000, 8}};  // MSI-X
  for (const std::uint32_t type : {1U, 2U, 3U, 4U}) {
    EXPECT_EQ(found.at(type).bar, 0U);
    EXPECT_EQ(found.at(type).offset % 4, 0U);
    EXPECT_GT(found.at(type).length, 0U);
    EXPECT_LE(found.at(type).offset + found.at(type).length, bar_bytes);
    EXPECT_TRUE(ranges.emplace(found.at(type).offset, found.at(type).length).second);
  }
  std::uint32_t end = 0;
  for (const auto& [start, length] : ranges) {
    EXPECT_GE(start, end);
    end = start + length;
  }
  // The whole common configuration of virtio 1.2, which drivers insist on.
  EXPECT_GE(found.at(1).length, 0x3CU);
}

// C73, C74
TEST_F(PciTransportTest, EveryQueueHasANotificationAddressOfItsOwnInsideTheStructure) {
  const Capability notify = capabilities().at(2);
  const std::uint32_t multiplier = driver_.config(notify.at + 16, 4);
  EXPECT_EQ(multiplier, 4U);
  for (std::uint32_t index = 0; index < 4; ++index) {
    driver_.select_queue(index);
    const std::uint64_t offset = driver_.read(0x1E, 2);
    EXPECT_EQ(offset, index);
    EXPECT_GE(notify.length, offset * multiplier + 2);
  }
}

TEST_F(PciTransportTest, CommonConfigurationAtPowerOn) {
  const std::map<std::pair<std::uint64_t, std::size_t>, std::uint64_t> expected = {
      {{0x00, 4}, 0},      {{0x04, 4}, 0xFF}, {{0x08, 4}, 0}, {{0x0C, 4}, 0}, {{0x10, 2}, 0xFFFF},
      {{0x12, 2}, 4},      {{0x14, 1}, 0},    {{0x15, 1}, 0}, {{0x16, 2}, 0}, {{0x18, 2}, 256},
      {{0x1A, 2}, 0xFFFF}, {{0x1C, 2}, 0},    {{0x1E, 2}, 0}, {{0x20, 8}, 0}, {{0x28, 8}, 0},
      {{0x30, 8}, 0},      {{0x38, 2}, 0},    {{0x3A, 2}, 0}, {{0x3C, 2}, 0}, {{0x3E, 2}, 0}};
  for (const auto& [field, value] : expected) {
    EXPECT_EQ(driver_.read(field.first, field.second), value) << std::hex << field.first;
  }
}

/// Offset and width of the fields that can be written; 64-bit ones also by halves.
const std::map<std::uint64_t, std::size_t>& writable_fields() {
  static const std::map<std::uint64_t, std::size_t> fields = {
      {0x00, 4}, {0x08, 4}, {0x0C, 4}, {0x10, 2}, {0x14, 1}, {0x16, 2}, {0x18, 2}, {0x1A, 2},
      {0x1C, 2}, {0x20, 4}, {0x24, 4}, {0x28, 4}, {0x2C, 4}, {0x30, 4}, {0x34, 4}};
  return fields;
}

// TR-03: other widths and starts than the field's own have no effect
TEST_F(PciTransportTest, CommonConfigurationTakesOnlyWholeFields) {
  driver_.start({0, 1}, kVersion1 | 3);
  driver_.select_queue(1);
  const std::vector<std::uint32_t> before = driver_.dump();
  for (const std::byte fill : {std::byte{0}, std::byte{1}, std::byte{0x7F}, std::byte{0xFF}}) {
    for (std::uint64_t offset = 0; offset < 0x48; ++offset) {
      for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
        const auto field = writable_fields().find(offset);
        if (field != writable_fields().end() && field->second == bytes) {
          continue;
        }
        std::array<std::byte, 8> from;
        from.fill(fill);
        driver_.transport->write_bar(0, offset, std::span<const std::byte>(from).first(bytes));
      }
    }
  }
  EXPECT_EQ(driver_.dump(), before);
}

// TR-03
TEST_F(PciTransportTest, CommonConfigurationReadsZeroInOtherWidths) {
  const std::map<std::uint64_t, std::size_t> read_only = {{0x04, 4}, {0x12, 2}, {0x15, 1}, {0x1E, 2}};
  for (std::uint64_t offset = 0; offset < 0x48; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      const auto is_field = [&](const auto& fields) {
        const auto field = fields.find(offset);
        return field != fields.end() && field->second == bytes;
      };
      if (!is_field(writable_fields()) && !is_field(read_only)) {
        EXPECT_EQ(driver_.read(offset, bytes), 0U) << offset << " " << bytes;
      }
    }
  }
}

// TR-03, TR-07: the whole BAR and beyond its end, every width and start
TEST_F(PciTransportTest, EveryAccessToTheBarIsHarmless) {
  for (std::uint64_t offset = 0; offset < PciTransport::kBarBytes + 16; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      driver_.write(offset, bytes, 0);
      driver_.read(offset, bytes);
      driver_.write(offset, bytes, ~std::uint64_t{0});
    }
  }
  std::array<std::byte, 8> data{};
  driver_.transport->read_bar(0, ~std::uint64_t{0}, data);
  driver_.transport->write_bar(0, ~std::uint64_t{0} - 3, data);
  driver_.transport->read_bar(1, 0, data);
  driver_.transport->write_bar(5, 0, data);
  driver_.write_status(0);
  driver_.start({0});
  EXPECT_EQ(driver_.status(), 0xFU);
}

// C60
TEST_F(PciTransportTest, QueueAddressesAreWrittenWholeAndByHalves) {
  for (const std::uint64_t field : {0x20U, 0x28U, 0x30U}) {
    driver_.write(field, 8, 0x1122'3344'5566'7788);
    EXPECT_EQ(driver_.read(field, 4), 0x5566'7788U);
    EXPECT_EQ(driver_.read(field + 4, 4), 0x1122'3344U);
    driver_.write(field + 4, 4, 0xAABB'CCDD);
    EXPECT_EQ(driver_.read(field, 8), 0xAABB'CCDD'5566'7788U);
    driver_.write(field, 4, 0x1000);
    EXPECT_EQ(driver_.read(field, 8), 0xAABB'CCDD'0000'1000U);
  }
}

// TR-01, C134: re-read after DRIVER_OK
TEST_F(PciTransportTest, QueueRegistersReadTheSameAfterPoisonUnderDriverOk) {
  driver_.start({0, 1});
  for (const std::uint32_t index : {0U, 1U, 2U}) {
    driver_.select_queue(index);
    const auto registers = [this] {
      return std::array{driver_.read(0x18, 2), driver_.read(0x1C, 2), driver_.read(0x20, 8),
                        driver_.read(0x28, 8), driver_.read(0x30, 8)};
    };
    const auto before = registers();
    for (const std::uint64_t field : {0x20U, 0x28U, 0x30U}) {
      driver_.write(field, 8, 0xDEAD'BEEF'DEAD'BEEF);
    }
    driver_.write(0x18, 2, 4);
    driver_.write(0x1C, 2, 0);
    driver_.write(0x1C, 2, 1);
    EXPECT_EQ(registers(), before) << index;
  }
}

// TR-05, C70: every queue register of a queue that does not exist
TEST_F(PciTransportTest, QueueRegistersOfAQueueThatDoesNotExistReadZeroAndIgnoreWrites) {
  const std::vector<std::uint32_t> before = driver_.dump();
  for (const std::uint32_t index : {4U, 5U, 0xFFU, 0x7FFFU, 0x8000U, 0xFFFFU}) {
    driver_.select_queue(index);
    for (const auto& [offset, bytes] : writable_fields()) {
      if (offset >= 0x18) {
        driver_.write(offset, bytes, 1);
        EXPECT_EQ(driver_.read(offset, bytes), 0U) << index << " " << offset;
      }
    }
    EXPECT_EQ(driver_.read(0x1E, 2), 0U);
  }
  driver_.select_queue(0);
  EXPECT_EQ(driver_.dump(), before);
}

// C65
TEST_F(PciTransportTest, DriverFeaturesReadBackTheValidBits) {
  driver_.write_driver_features(0, 0xFFFF'FF05);
  EXPECT_EQ(driver_.read(0x0C, 4), 0x05U);
  driver_.write_driver_features(1, 1);
  EXPECT_EQ(driver_.read(0x0C, 4), 1U);
  driver_.write(0x08, 4, 0);
  EXPECT_EQ(driver_.read(0x0C, 4), 0x05U);
  driver_.write(0x08, 4, 2);
  EXPECT_EQ(driver_.read(0x0C, 4), 0U);
}

TEST_F(PciTransportTest, DoorbellsFollowTheBar) {
  driver_.transport->attach_mapper(&mapper_);
  EXPECT_TRUE(parts_.doorbell.bound.empty());
  for (const std::uint32_t base : {0xC000'0000U, 0xC123'8000U}) {
    decode_bar_at(base);
    ASSERT_EQ(parts_.doorbell.bound.size(), 4U);
    std::uint64_t address = base + PciTransport::kNotifyOffset;
    for (const FakeDoorbell::Bound& bound : parts_.doorbell.bound) {
      EXPECT_EQ(bound.address, address);
      EXPECT_EQ(bound.value, std::nullopt);
      address += PciTransport::kNotifyMultiplier;
    }
  }
  driver_.start({0, 1, 2, 3});
  std::size_t index = 0;
  for (const FakeDoorbell::Bound& bound : parts_.doorbell.bound) {
    EXPECT_EQ(bound.event_fd, parts_.device.active->queues[index++].kick_fd);
  }
  driver_.set_config(0x04, 2, 0);
  EXPECT_TRUE(parts_.doorbell.bound.empty());
}

TEST_F(PciTransportTest, EndsItsDoorbellsBeforeItClosesTheirEventfds) {
  driver_.transport->attach_mapper(&mapper_);
  decode_bar_at(0xC000'0000);
  ASSERT_EQ(parts_.doorbell.bound.size(), 4U);
  driver_.transport.reset();
  EXPECT_TRUE(parts_.doorbell.bound.empty());
  EXPECT_EQ(parts_.doorbell.unbound_after_close, 0);
}

TEST_F(PciTransportTest, KicksWorkWithoutDoorbells) {
  parts_.doorbell.refuse = true;
  driver_.transport->attach_mapper(&mapper_);
  decode_bar_at(0xC000'0000);
  driver_.start({0, 1});
  driver_.notify(1);
  EXPECT_FALSE(is_signalled(parts_.device.active->queues[0].kick_fd));
  EXPECT_TRUE(is_signalled(parts_.device.active->queues[1].kick_fd));
}

// C81, TR-08
TEST_F(PciTransportTest, WindowReadsAndWritesTheBarInEachLength) {
  set_window(0, PciTransport::kCommonOffset + 0x16, 2);
  driver_.set_config(window() + 16, 4, 0xFFFF'0003);
  EXPECT_EQ(driver_.read(0x16, 2), 3U);
  EXPECT_EQ(driver_.config(window() + 16, 2), 3U);
  set_window(0, PciTransport::kCommonOffset + 0x08, 4);
  driver_.set_config(window() + 16, 4, 0x1234'5678);
  EXPECT_EQ(driver_.read(0x08, 4), 0x1234'5678U);
  EXPECT_EQ(driver_.config(window() + 16, 4), 0x1234'5678U);
  set_window(0, PciTransport::kCommonOffset + 0x14, 1);
  driver_.set_config(window() + 16, 4, 0xFFFF'FF01);
  EXPECT_EQ(driver_.status(), 1U);
  EXPECT_EQ(driver_.config(window() + 16, 1), 1U);
}

// C81: the driver can do without the BAR altogether
TEST_F(PciTransportTest, WindowKicksAQueue) {
  driver_.start({0, 1});
  set_window(0, PciTransport::kNotifyOffset + 4, 2);
  driver_.set_config(window() + 16, 2, 1);
  EXPECT_FALSE(is_signalled(parts_.device.active->queues[0].kick_fd));
  EXPECT_TRUE(is_signalled(parts_.device.active->queues[1].kick_fd));
}

// TR-08: length, alignment, BAR and bounds are checked
TEST_F(PciTransportTest, WindowThatIsSetUpWronglyAccessesNothing) {
  driver_.write_status(1);
  const std::vector<std::array<std::uint32_t, 3>> wrong = {{0, 0x14, 0},
                                                           {0, 0x14, 3},
                                                           {0, 0x14, 8},
                                                           {0, 0x14, 0xFFFF'FFFF},
                                                           {1, 0x14, 1},
                                                           {5, 0x14, 1},
                                                           {6, 0x14, 1},
                                                           {255, 0x14, 1},
                                                           {0, 0x15, 2},
                                                           {0, 0x12, 4},
                                                           {0, PciTransport::kBarBytes, 1},
                                                           {0, 0xFFFF'FFFF, 1},
                                                           {0, 0xFFFF'FFFC, 4}};
  for (const auto& [bar, offset, length] : wrong) {
    set_window(bar, offset, length);
    driver_.set_config(window() + 16, 4, 0x0000'0003);
    driver_.config(window() + 16, 4);
    EXPECT_EQ(driver_.status(), 1U) << bar << " " << offset << " " << length;
  }
}

TEST_F(PciTransportTest, OnlyAccessesToTheWindowsDataReachTheBar) {
  driver_.start({0});
  parts_.device.active->notifier->notify_queue(0);
  set_window(0, PciTransport::kIsrOffset, 1);
  for (std::uint32_t offset = 0; offset < 0x100; offset += 4) {
    if (offset != window() + 16) {
      driver_.config(offset, 4);
    }
  }
  EXPECT_TRUE(driver_.line.level.load());
  EXPECT_EQ(driver_.config(window() + 16, 1), 1U);  // clears the ISR status
  EXPECT_FALSE(driver_.line.level.load());
}

}  // namespace
}  // namespace tapir::virtio::testing
