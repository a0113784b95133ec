// SPDX-License-Identifier: Apache-2.0
#include "virtio/pci_function.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "virtio/register_access.h"
#include "virtio/testing/fake_transport_parts.h"

namespace tapir::virtio {
namespace {

using testing::FakeInterrupt;
using testing::FakeLine;

constexpr PciIdentity kIdentity = {.vendor = 0x1234,
                                   .device = 0x5678,
                                   .revision = 9,
                                   .class_code = 0x02'0000,
                                   .subsystem_vendor = 0x1AF4,
                                   .subsystem = 0x1100,
                                   .interrupt_pin = 1};

/// A function with BARs 0 and 3, MSI-X and a pin, whose interrupt cause the test sets.
class TestFunction final : public PciFunction {
 public:
  explicit TestFunction(LevelInterrupt& line, MsiInterrupt& vector) : PciFunction(kIdentity) {
    add_bar(0, 0x2000);
    add_bar(3, 0x10);
    use_msix({&vector}, 0, 0x1000, 0x1800);
    const std::array<std::byte, 4> body = {std::byte{0x11}, std::byte{0x02}, std::byte{0x00},
                                           std::byte{0x44}};
    const std::array<std::byte, 3> writable = {std::byte{0x00}, std::byte{0xF0}, std::byte{0xFF}};
    capability = add_capability(0x09, body, writable);
    use_intx(&line);
  }
  void set_cause(bool pending) {
    cause_.store(pending);
    refresh_intx();
  }
  using PciFunction::msix;

  std::uint8_t capability = 0;
  std::vector<std::pair<unsigned, std::optional<std::uint64_t>>> moves;

 private:
  bool intx_pending() const override { return cause_.load(); }
  void bar_moved(unsigned bar, std::optional<GuestAddress> start) override {
    moves.emplace_back(bar, start ? std::optional(to_integer(*start)) : std::nullopt);
  }
  std::atomic<bool> cause_{false};
};

class FakeMapper final : public BarMapper {
 public:
  Status map_bar(unsigned bar, GuestAddress start, std::uint64_t bytes) override {
    if (to_integer(start) == refused) {
      return fail("the test refuses it");
    }
    EXPECT_FALSE(mapped[bar]) << "mapped twice";
    mapped[bar] = {to_integer(start), bytes};
    return {};
  }
  void unmap_bar(unsigned bar) override {
    EXPECT_TRUE(mapped[bar]) << "unmapped twice";
    mapped[bar].reset();
  }
  std::array<std::optional<std::pair<std::uint64_t, std::uint64_t>>, PciFunction::kBars> mapped;
  std::uint64_t refused = ~std::uint64_t{0};
};

using Mapped = std::optional<std::pair<std::uint64_t, std::uint64_t>>;

class PciFunctionTest : public ::testing::Test {
 protected:
  PciFunctionTest() { function_.attach_mapper(&mapper_); }

  std::uint32_t read(std::uint64_t offset, std::size_t bytes) {
    std::array<std::byte, 4> into{};
    function_.config_read(offset, std::span(into).first(bytes));
    return static_cast<std::uint32_t>(load_little_endian(into));
  }
  void write(std::uint64_t offset, std::size_t bytes, std::uint32_t value) {
    std::array<std::byte, 4> from{};
    store_little_endian(value, from);
    function_.config_write(offset, std::span<const std::byte>(from).first(bytes));
  }

  FakeLine line_;
  FakeInterrupt vector_;
  FakeMapper mapper_;
  TestFunction function_{line_, vector_};
};

TEST_F(PciFunctionTest, ShowsItsIdentity) {
  EXPECT_EQ(read(0x00, 4), 0x5678'1234U);
  EXPECT_EQ(read(0x08, 4), 0x0200'0009U);
  EXPECT_EQ(read(0x0E, 1), 0U);  // type 0 header, one function
  EXPECT_EQ(read(0x2C, 4), 0x1100'1AF4U);
  EXPECT_EQ(read(0x3D, 1), 1U);
}

// C57: each bit is writable or not
TEST_F(PciFunctionTest, WritesReachOnlyTheBitsThatAreWritable) {
  std::array<std::uint32_t, 64> writable{};
  writable[0x04 / 4] = 0x0000'0546;  // command: memory, bus master, parity, SERR, INTx disable
  writable[0x0C / 4] = 0x0000'00FF;  // cache line size
  writable[0x10 / 4] = 0xFFFF'E000;
  writable[0x1C / 4] = 0xFFFF'FFF0;
  writable[0x3C / 4] = 0x0000'00FF;  // interrupt line
  writable[0x40 / 4] = 0xC000'0000;  // MSI-X enable and function mask
  writable[0x4C / 4] = 0xF000'0000;  // the test's capability
  writable[0x50 / 4] = 0x0000'00FF;
  function_.attach_mapper(nullptr);
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    const std::uint32_t before = read(offset, 4);
    for (unsigned bit = 0; bit < 32; ++bit) {
      const std::uint32_t flipped = before ^ (1U << bit);
      write(offset, 4, flipped);
      const std::uint32_t expected = (writable[offset / 4] & (1U << bit)) != 0 ? flipped : before;
      EXPECT_EQ(read(offset, 4), expected) << std::hex << "register " << offset << " bit " << std::dec << bit;
      write(offset, 4, before);
    }
    EXPECT_EQ(read(offset, 4), before) << std::hex << offset;
  }
}

TEST_F(PciFunctionTest, ReadsInEveryWidthGiveTheSameBytes) {
  for (std::uint64_t offset = 0; offset < 0x100; ++offset) {
    const std::uint32_t low = read(offset, 1);
    if (offset + 2 <= 0x100) {
      EXPECT_EQ(read(offset, 2) & 0xFFU, low);
    }
    if (offset + 4 <= 0x100) {
      EXPECT_EQ(read(offset, 4) & 0xFFU, low);
      EXPECT_EQ(read(offset, 4) >> 24U, read(offset + 3, 1));
    }
  }
}

TEST_F(PciFunctionTest, ExtendedConfigurationSpaceReadsZeroAndIsReadOnly) {
  for (std::uint64_t offset = 0x100; offset < 0x1000; offset += 4) {
    write(offset, 4, 0xFFFF'FFFF);
    ASSERT_EQ(read(offset, 4), 0U) << offset;
  }
  EXPECT_EQ(read(0x1000, 4), 0xFFFF'FFFFU);
  EXPECT_EQ(read(0xFFE, 4), 0xFFFF'FFFFU);
  EXPECT_EQ(read(0xFE, 4) >> 16U, 0U);  // across the end of the header's half
}

TEST_F(PciFunctionTest, CapabilitiesFormAListThatEnds) {
  EXPECT_NE(read(0x06, 2) & 0x10U, 0U);
  const std::uint32_t first = read(0x34, 1);
  EXPECT_EQ(first, 0x40U);
  EXPECT_EQ(read(first, 1), 0x11U);
  const std::uint32_t second = read(first + 1, 1);
  EXPECT_EQ(second, function_.capability);
  EXPECT_EQ(second % 4, 0U);
  EXPECT_EQ(read(second, 1), 0x09U);
  EXPECT_EQ(read(second + 1, 1), 0U);
}

// C82, C83
TEST_F(PciFunctionTest, MsixCapabilityTellsTableSizeAndPlace) {
  EXPECT_EQ(read(0x42, 2), 0U);  // one vector, off
  EXPECT_EQ(read(0x44, 4), 0x1000U);
  EXPECT_EQ(read(0x48, 4), 0x1800U);
}

TEST_F(PciFunctionTest, BarSizeIsFoundByWritingOnes) {
  write(0x10, 4, 0xFFFF'FFFF);
  EXPECT_EQ(read(0x10, 4), 0xFFFF'E000U);
  write(0x1C, 4, 0xFFFF'FFFF);
  EXPECT_EQ(read(0x1C, 4), 0xFFFF'FFF0U);
  write(0x14, 4, 0xFFFF'FFFF);
  EXPECT_EQ(read(0x14, 4), 0U);
  write(0x30, 4, 0xFFFF'FFFF);  // no expansion ROM
  EXPECT_EQ(read(0x30, 4), 0U);
}

TEST_F(PciFunctionTest, BarIsMappedOnlyWhileMemoryIsDecoded) {
  write(0x10, 4, 0xC000'0000);
  EXPECT_EQ(mapper_.mapped[0], Mapped());
  write(0x1C, 4, 0xC000'2000);
  write(0x04, 2, 0x2);
  EXPECT_EQ(mapper_.mapped[0], Mapped({0xC000'0000, 0x2000}));
  EXPECT_EQ(mapper_.mapped[3], Mapped({0xC000'2000, 0x10}));
  write(0x04, 2, 0);
  EXPECT_EQ(mapper_.mapped[0], Mapped());
  EXPECT_EQ(mapper_.mapped[3], Mapped());
}

TEST_F(PciFunctionTest, BarMovesByteByByteWhileDecoded) {
  write(0x1C, 4, 0xC000'2000);
  write(0x10, 4, 0xC000'0000);
  write(0x04, 2, 0x2);
  write(0x13, 1, 0xD0);
  EXPECT_EQ(mapper_.mapped[0], Mapped({0xD000'0000, 0x2000}));
  write(0x10, 2, 0x4000);
  EXPECT_EQ(mapper_.mapped[0], Mapped({0xD000'4000, 0x2000}));
  EXPECT_EQ(mapper_.mapped[3], Mapped({0xC000'2000, 0x10}));
  const std::size_t moves = function_.moves.size();
  write(0x10, 4, 0xD000'4000);  // where it is already
  write(0x04, 2, 0x6);
  EXPECT_EQ(function_.moves.size(), moves);
}

TEST_F(PciFunctionTest, TellsTheDeviceWhereItsBarIs) {
  write(0x10, 4, 0xC000'0000);
  write(0x1C, 4, 0xC000'2000);
  write(0x04, 2, 0x2);
  write(0x10, 4, 0xC800'0000);
  const std::vector<std::pair<unsigned, std::optional<std::uint64_t>>> expected = {
      {0, 0xC000'0000}, {3, 0xC000'2000}, {0, std::nullopt}, {0, 0xC800'0000}};
  EXPECT_EQ(function_.moves, expected);
}

TEST_F(PciFunctionTest, BarThatCannotBeMappedIsDecodedNowhereUntilItIsMoved) {
  mapper_.refused = 0xE000'0000;
  write(0x1C, 4, 0xC000'2000);
  write(0x10, 4, 0xE000'0000);
  write(0x04, 2, 0x2);
  EXPECT_EQ(mapper_.mapped[0], Mapped());
  EXPECT_EQ(mapper_.mapped[3], Mapped({0xC000'2000, 0x10}));
  write(0x10, 4, 0xC000'0000);
  EXPECT_EQ(mapper_.mapped[0], Mapped({0xC000'0000, 0x2000}));
}

TEST_F(PciFunctionTest, LastBytesBelowFourGibCanHoldABar) {
  write(0x1C, 4, 0xC000'0000);
  write(0x10, 4, 0xFFFF'FFFF);
  write(0x04, 2, 0x2);
  EXPECT_EQ(mapper_.mapped[0], Mapped({0xFFFF'E000, 0x2000}));
}

// C76
TEST_F(PciFunctionTest, LineFollowsTheCauseUnlessDisabledOrMsixIsOn) {
  function_.set_cause(true);
  EXPECT_TRUE(line_.level.load());
  EXPECT_NE(read(0x06, 2) & 0x8U, 0U);
  write(0x04, 2, 0x400);
  EXPECT_FALSE(line_.level.load());
  EXPECT_NE(read(0x06, 2) & 0x8U, 0U);  // the cause shows even when the line is disabled
  write(0x04, 2, 0);
  EXPECT_TRUE(line_.level.load());
  write(0x42, 2, 0x8000);
  EXPECT_FALSE(line_.level.load());
  write(0x42, 2, 0);
  EXPECT_TRUE(line_.level.load());
  function_.set_cause(false);
  EXPECT_FALSE(line_.level.load());
  EXPECT_EQ(read(0x06, 2) & 0x8U, 0U);
  EXPECT_EQ(line_.changes.load(), 6);
}

TEST_F(PciFunctionTest, MsixControlMasksAndEnables) {
  const auto program = [this](std::uint64_t offset, std::uint32_t value) {
    std::array<std::byte, 4> from{};
    store_little_endian(value, from);
    function_.msix()->write_table(offset, from);
  };
  program(0, 0xFEE0'0000);
  program(8, 0x30);
  program(12, 0);
  write(0x42, 2, 0xC000);  // on, function masked
  write(0x04, 2, 0x4);
  function_.msix()->notify(0);
  EXPECT_EQ(vector_.triggers.load(), 0);
  write(0x43, 1, 0x80);  // mask off, by a byte access
  EXPECT_EQ(vector_.triggers.load(), 1);
  write(0x04, 2, 0x0);  // not bus master: the message waits
  function_.msix()->notify(0);
  EXPECT_EQ(vector_.triggers.load(), 1);
  write(0x04, 2, 0x4);
  EXPECT_EQ(vector_.triggers.load(), 2);
  write(0x42, 2, 0);
  function_.msix()->notify(0);
  EXPECT_EQ(vector_.triggers.load(), 2);
}

TEST_F(PciFunctionTest, ResetUnmapsAndRestoresPowerOnValues) {
  std::vector<std::uint32_t> before;
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    before.push_back(read(offset, 4));
  }
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    if (offset != 0x10) {
      write(offset, 4, 0xFFFF'FFFF);
    }
  }
  EXPECT_NE(mapper_.mapped[3], Mapped());
  function_.reset();
  EXPECT_EQ(mapper_.mapped[0], Mapped());
  EXPECT_EQ(mapper_.mapped[3], Mapped());
  std::vector<std::uint32_t> after;
  for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
    after.push_back(read(offset, 4));
  }
  EXPECT_EQ(after, before);
}

TEST(PlainPciFunctionTest, ServesAsAHostBridge) {
  PciFunction bridge({.vendor = 0x1B36, .device = 0x0008, .class_code = 0x06'0000});
  std::array<std::byte, 4> into{};
  for (std::uint64_t offset = 0x10; offset < 0x40; offset += 4) {
    const std::array<std::byte, 4> ones = {std::byte{0xFF}, std::byte{0xFF}, std::byte{0xFF},
                                           std::byte{0xFF}};
    bridge.config_write(offset, ones);
    bridge.config_read(offset, into);
    EXPECT_EQ(load_little_endian(into), 0U) << std::hex << offset;  // no BARs, no capabilities, no pin
  }
  bridge.config_read(0x06, std::span(into).first(2));
  EXPECT_EQ(load_little_endian(std::span<const std::byte>(into).first(2)), 0U);
  bridge.reset();
}

}  // namespace
}  // namespace tapir::virtio
