// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci_host.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "virtio/register_access.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr std::uint32_t kOnes = 0xFFFF'FFFF;

/// A function with a pin and one BAR whose bytes read as `fill`; it counts writes.
class BarFunction final : public virtio::PciFunction {
 public:
  BarFunction(std::uint32_t bytes, std::byte fill)
      : PciFunction({.vendor = 0x1234, .device = 0x5678, .interrupt_pin = 1}), fill_(fill) {
    add_bar(0, bytes);
  }
  void read_bar(unsigned bar, std::uint64_t offset, std::span<std::byte> into) override {
    EXPECT_EQ(bar, 0U);
    last_offset = offset;
    std::fill(into.begin(), into.end(), fill_);
  }
  void write_bar(unsigned /*bar*/, std::uint64_t offset, std::span<const std::byte> /*from*/) override {
    last_offset = offset;
    ++writes;
  }
  std::uint64_t last_offset = 0;
  int writes = 0;

 private:
  std::byte fill_;
};

class ResetRegister final : public BusHandler {
 public:
  void read(std::uint64_t offset, std::span<std::byte> into) override {
    EXPECT_EQ(offset, 0U);
    EXPECT_EQ(into.size(), 1U);
    into[0] = std::byte{0x42};
  }
  void write(std::uint64_t offset, std::span<const std::byte> from) override {
    EXPECT_EQ(offset, 0U);
    EXPECT_EQ(from.size(), 1U);
    written.push_back(std::to_integer<int>(from[0]));
  }
  std::vector<int> written;
};

class PciHostTest : public ::testing::Test {
 protected:
  PciHostTest() {
    EXPECT_TRUE(host_->add(3, small_));
    EXPECT_TRUE(host_->add(4, large_));
    EXPECT_TRUE(host_->attach(ports_));
    EXPECT_TRUE(host_->assign_resources());
  }

  static std::uint32_t read(const Bus& bus, std::uint64_t address, std::size_t bytes) {
    std::array<std::byte, 4> into{};
    bus.read(address, std::span(into).first(bytes));
    return static_cast<std::uint32_t>(virtio::load_little_endian(into));
  }
  static void write(const Bus& bus, std::uint64_t address, std::size_t bytes, std::uint32_t value) {
    std::array<std::byte, 4> from{};
    virtio::store_little_endian(value, from);
    bus.write(address, std::span<const std::byte>(from).first(bytes));
  }
  std::uint32_t in(std::uint64_t port, std::size_t bytes) { return read(ports_, port, bytes); }
  void out(std::uint64_t port, std::size_t bytes, std::uint32_t value) { write(ports_, port, bytes, value); }
  void select(unsigned slot, std::uint32_t offset) { out(0xCF8, 4, 0x8000'0000U | (slot << 11U) | offset); }
  static std::uint64_t ecam(unsigned slot, std::uint64_t offset) {
    return platform::kEcamBase + (std::uint64_t{slot} << 15U) + offset;
  }
  std::uint32_t ecam_read(unsigned slot, std::uint64_t offset, std::size_t bytes) {
    return read(memory_, ecam(slot, offset), bytes);
  }
  void ecam_write(unsigned slot, std::uint64_t offset, std::size_t bytes, std::uint32_t value) {
    write(memory_, ecam(slot, offset), bytes, value);
  }

  Bus ports_;
  Bus memory_;
  ResetRegister reset_;
  BarFunction small_{0x1000, std::byte{0x5A}};
  BarFunction large_{0x10'0000, std::byte{0xA5}};
  std::unique_ptr<PciHost> host_ = std::make_unique<PciHost>(memory_, &reset_);
};

TEST_F(PciHostTest, HostBridgeIsInSlotZero) {
  select(0, 0);
  EXPECT_EQ(in(0xCFC, 4), 0x0008'1B36U);
  select(0, 8);
  EXPECT_EQ(in(0xCFC, 4), 0x0600'0000U);
  EXPECT_EQ(ecam_read(0, 0, 4), 0x0008'1B36U);
}

TEST_F(PciHostTest, AddressRegisterReadsBackWithoutReservedBits) {
  out(0xCF8, 4, 0x8000'0000);
  EXPECT_EQ(in(0xCF8, 4), 0x8000'0000U);  // how operating systems find mechanism #1
  out(0xCF8, 4, kOnes);
  EXPECT_EQ(in(0xCF8, 4), 0x80FF'FFFCU);
}

TEST_F(PciHostTest, AddressRegisterTakesOnlyAccessesOfFourBytes) {
  select(3, 0);
  const std::uint32_t before = in(0xCF8, 4);
  for (const std::uint64_t port : {0xCF8U, 0xCFAU, 0xCFBU}) {
    out(port, 1, 1);
    EXPECT_EQ(in(port, 1), 0xFFU) << port;
  }
  for (const std::uint64_t port : {0xCF8U, 0xCF9U, 0xCFAU}) {
    out(port, 2, 0x0101);
    EXPECT_EQ(in(port, 2), 0xFFFFU) << port;
  }
  out(0xCF9, 4, 0);
  EXPECT_EQ(in(0xCF8, 4), before);
  EXPECT_TRUE(reset_.written.empty());
}

TEST_F(PciHostTest, ByteAtCf9IsTheResetRegister) {
  out(0xCF9, 1, 0x06);
  EXPECT_EQ(reset_.written, std::vector<int>{0x06});
  EXPECT_EQ(in(0xCF9, 1), 0x42U);
}

TEST(PciHostWithoutResetRegisterTest, ByteAtCf9ReadsOnes) {
  Bus ports;
  Bus memory;
  PciHost host(memory, nullptr);
  ASSERT_TRUE(host.attach(ports));
  std::array<std::byte, 1> byte{};
  EXPECT_TRUE(ports.read(0xCF9, byte));
  EXPECT_EQ(byte[0], std::byte{0xFF});
  EXPECT_TRUE(ports.write(0xCF9, byte));
}

TEST_F(PciHostTest, DataRegisterGivesEveryWidthAndOffset) {
  select(3, 0);
  EXPECT_EQ(in(0xCFC, 4), 0x5678'1234U);
  EXPECT_EQ(in(0xCFC, 2), 0x1234U);
  EXPECT_EQ(in(0xCFD, 2), 0x7812U);
  EXPECT_EQ(in(0xCFE, 2), 0x5678U);
  EXPECT_EQ(in(0xCFC, 1), 0x34U);
  EXPECT_EQ(in(0xCFD, 1), 0x12U);
  EXPECT_EQ(in(0xCFE, 1), 0x78U);
  EXPECT_EQ(in(0xCFF, 1), 0x56U);
  EXPECT_EQ(in(0xCFF, 2), 0xFFFFU);  // beyond the register
  EXPECT_EQ(in(0xCFD, 4), kOnes);
  select(3, 0x3C);
  out(0xCFC, 1, 0xAB);
  EXPECT_EQ(in(0xCFC, 4), 0x0000'01ABU);
}

TEST_F(PciHostTest, DataRegisterReadsOnesWhenDisabledOrForAnotherBusOrFunction) {
  for (const std::uint32_t address :
       {0x0000'1800U, 0x8001'1800U, 0x80FF'1800U, 0x8000'1900U, 0x8000'1F00U, 0x8000'2800U, 0x8000'F800U}) {
    out(0xCF8, 4, address);
    EXPECT_EQ(in(0xCFC, 4), kOnes) << std::hex << address;
    out(0xCFC, 4, 0);
  }
  select(3, 0);
  EXPECT_EQ(in(0xCFC, 4), 0x5678'1234U);
}

TEST_F(PciHostTest, EcamShowsWhatThePortsShow) {
  for (const unsigned slot : {0U, 3U, 4U}) {
    for (std::uint32_t offset = 0; offset < 0x100; offset += 4) {
      select(slot, offset);
      EXPECT_EQ(ecam_read(slot, offset, 4), in(0xCFC, 4)) << slot << " " << offset;
    }
  }
}

TEST_F(PciHostTest, EcamReadsOnesWhereNothingIs) {
  for (unsigned slot = 0; slot < 32; ++slot) {
    for (std::uint64_t function = 0; function < 8; ++function) {
      const bool there = function == 0 && (slot == 0 || slot == 3 || slot == 4);
      EXPECT_EQ(ecam_read(slot, function << 12U, 4) == kOnes, !there) << slot << "." << function;
    }
  }
}

TEST_F(PciHostTest, EcamExtendedSpaceOfAFunctionReadsZero) {
  EXPECT_EQ(ecam_read(3, 0x100, 4), 0U);
  EXPECT_EQ(ecam_read(3, 0xFFC, 4), 0U);
  EXPECT_EQ(ecam_read(5, 0x100, 4), kOnes);
}

TEST_F(PciHostTest, EcamTakesAlignedAccessesOnly) {
  EXPECT_EQ(ecam_read(3, 2, 2), 0x5678U);
  EXPECT_EQ(ecam_read(3, 1, 1), 0x12U);
  EXPECT_EQ(ecam_read(3, 1, 2), 0xFFFFU);
  EXPECT_EQ(ecam_read(3, 2, 4), kOnes);
  std::array<std::byte, 8> wide{};
  memory_.read(ecam(3, 0), wide);
  EXPECT_EQ(virtio::load_little_endian(wide), ~std::uint64_t{0});
}

TEST_F(PciHostTest, BarsLieInTheWindowNaturallyAlignedWithoutOverlap) {
  const std::uint32_t small = ecam_read(3, 0x10, 4);
  const std::uint32_t large = ecam_read(4, 0x10, 4);
  EXPECT_EQ(small % 0x1000, 0U);
  EXPECT_EQ(large % 0x10'0000, 0U);
  EXPECT_GE(small, platform::kPciWindowBase);
  EXPECT_GE(large, small + 0x1000);
  EXPECT_LE(std::uint64_t{large} + 0x10'0000, platform::kPciWindowBase + platform::kPciWindowBytes);
}

TEST_F(PciHostTest, FullWindowIsAnError) {
  std::vector<std::unique_ptr<BarFunction>> functions;
  Bus memory;
  PciHost host(memory, nullptr);
  for (unsigned slot = 1; slot < 4; ++slot) {
    functions.push_back(std::make_unique<BarFunction>(0x1000'0000, std::byte{0}));
    ASSERT_TRUE(host.add(slot, *functions.back()));
  }
  const Status assigned = host.assign_resources();
  ASSERT_FALSE(assigned);
  EXPECT_EQ(assigned.error().message(),
            "the PCI window of 0x20000000 bytes has no room for BAR 0 of slot 0x3");
}

TEST_F(PciHostTest, InterruptLineIsTheGsiOfThePin) {
  EXPECT_EQ(ecam_read(3, 0x3C, 1), platform::pci_intx_gsi(3, 1));
  EXPECT_EQ(ecam_read(4, 0x3C, 1), platform::pci_intx_gsi(4, 1));
  EXPECT_EQ(ecam_read(0, 0x3C, 1), 0U);
}

TEST_F(PciHostTest, BarIsOnTheBusOnlyWhileMemoryIsDecoded) {
  const std::uint32_t bar = ecam_read(3, 0x10, 4);
  EXPECT_EQ(read(memory_, bar, 1), 0xFFU);
  ecam_write(3, 4, 2, 2);
  EXPECT_EQ(read(memory_, bar + 0x123U, 1), 0x5AU);
  EXPECT_EQ(small_.last_offset, 0x123U);
  write(memory_, bar + 0xFFFU, 1, 0);
  EXPECT_EQ(small_.writes, 1);
  ecam_write(3, 4, 2, 0);
  EXPECT_EQ(read(memory_, bar, 1), 0xFFU);
}

// The window to configuration space is on the bus that the BAR moves on.
TEST_F(PciHostTest, BarMovesByEcamAndByPorts) {
  ecam_write(3, 4, 2, 2);
  const std::uint32_t first = ecam_read(3, 0x10, 4);
  ecam_write(3, 0x10, 4, 0xC800'0000);
  EXPECT_EQ(read(memory_, first, 1), 0xFFU);
  EXPECT_EQ(read(memory_, 0xC800'0000, 1), 0x5AU);
  select(3, 0x10);
  out(0xCFC, 4, 0xC900'0000);
  EXPECT_EQ(read(memory_, 0xC800'0000, 1), 0xFFU);
  EXPECT_EQ(read(memory_, 0xC900'0000, 1), 0x5AU);
}

TEST_F(PciHostTest, BarOnTopOfAnotherRangeIsNotDecoded) {
  ecam_write(3, 4, 2, 2);
  ecam_write(3, 0x10, 4, static_cast<std::uint32_t>(platform::kEcamBase));
  EXPECT_EQ(ecam_read(0, 0, 4), 0x0008'1B36U);
  ecam_write(3, 0x10, 4, 0xC800'0000);
  EXPECT_EQ(read(memory_, 0xC800'0000, 1), 0x5AU);
}

TEST_F(PciHostTest, RefusesSlotsThatAreTakenOrDoNotExist) {
  BarFunction more(0x1000, std::byte{0});
  EXPECT_FALSE(host_->add(0, more));
  EXPECT_FALSE(host_->add(3, more));
  EXPECT_FALSE(host_->add(32, more));
  EXPECT_FALSE(host_->is_free(0));
  EXPECT_TRUE(host_->is_free(1));
  EXPECT_TRUE(host_->add(1, more));
  EXPECT_FALSE(host_->is_free(1));
  host_.reset();  // before the function that it borrows
}

TEST_F(PciHostTest, ResetTakesBarsOffTheBusAndCanBeAssignedAgain) {
  const std::uint32_t bar = ecam_read(3, 0x10, 4);
  ecam_write(3, 4, 2, 2);
  select(3, 0);
  host_->reset();
  EXPECT_EQ(read(memory_, bar, 1), 0xFFU);
  EXPECT_EQ(in(0xCF8, 4), 0U);
  EXPECT_EQ(ecam_read(3, 0x10, 4), 0U);
  ASSERT_TRUE(host_->assign_resources());
  EXPECT_EQ(ecam_read(3, 0x10, 4), bar);
}

TEST_F(PciHostTest, DestructionLeavesTheBusesEmpty) {
  ecam_write(3, 4, 2, 2);
  const std::uint32_t bar = ecam_read(3, 0x10, 4);
  host_.reset();
  std::array<std::byte, 4> word{};
  EXPECT_FALSE(memory_.read(bar, word));
  EXPECT_FALSE(memory_.read(platform::kEcamBase, word));
  EXPECT_FALSE(ports_.read(0xCF8, word));
}

}  // namespace
}  // namespace tapir::vmm
