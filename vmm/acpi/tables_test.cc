// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <string>

#include "vmm/acpi/table_builder.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

using Image = std::vector<std::uint8_t>;

constexpr std::uint64_t kBase = platform::kAcpiTablesBase;

std::uint64_t field(const Image& image, std::size_t offset, unsigned bytes) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    value |= std::uint64_t{image.at(offset + i)} << (8 * i);
  }
  return value;
}

std::string signature(const Image& image, std::uint64_t address) {
  const auto start = image.begin() + static_cast<std::ptrdiff_t>(address - kBase);
  return {start, start + 4};
}

MachineDescription largest() {
  MachineDescription machine;
  machine.cpus = platform::kMaxCpus;
  for (unsigned i = 0; i < 32; ++i) {
    machine.virtio_mmio.push_back({platform::kVirtioMmioBase + i * platform::kVirtioMmioBytes,
                                   platform::kVirtioMmioGsis[i % std::size(platform::kVirtioMmioGsis)]});
  }
  return machine;
}

TEST(AcpiTables, LeadFromTheRsdpToEveryTable) {
  const Image image = build_tables(kBase, largest());
  EXPECT_EQ(std::string(image.begin(), image.begin() + 8), "RSD PTR ");
  EXPECT_EQ(checksum(std::span(image).first(20)), 0);
  EXPECT_EQ(checksum(std::span(image).first(36)), 0);
  EXPECT_EQ(image[15], 2);
  const std::uint64_t xsdt = field(image, 24, 8);
  ASSERT_EQ(signature(image, xsdt), "XSDT");
  const std::uint64_t entries = (field(image, xsdt - kBase + 4, 4) - 36) / 8;
  std::string found;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const std::uint64_t table = field(image, xsdt - kBase + 36 + 8 * i, 8);
    const std::uint64_t length = field(image, table - kBase + 4, 4);
    EXPECT_EQ(checksum(std::span(image).subspan(table - kBase, length)), 0) << signature(image, table);
    found += signature(image, table) + " ";
  }
  EXPECT_EQ(found, "FACP APIC MCFG ");
  const std::uint64_t fadt = field(image, xsdt - kBase + 36, 8);
  const std::uint64_t facs = field(image, fadt - kBase + 36, 4);
  const std::uint64_t dsdt = field(image, fadt - kBase + 40, 4);
  EXPECT_EQ(facs % 64, 0U);
  EXPECT_EQ(signature(image, facs), "FACS");
  ASSERT_EQ(signature(image, dsdt), "DSDT");
  EXPECT_EQ(checksum(std::span(image).subspan(dsdt - kBase, field(image, dsdt - kBase + 4, 4))), 0);
}

TEST(AcpiTables, AreWrittenToTheReservedArea) {
  auto memory = virtio::GuestMemory::create(2 << 20);
  ASSERT_TRUE(memory.has_value());
  const auto rsdp = write_tables(*memory, largest());
  ASSERT_TRUE(rsdp.has_value()) << rsdp.error().message();
  EXPECT_EQ(virtio::to_integer(*rsdp), kBase);
  const Image image = build_tables(kBase, largest());
  const auto written = memory->slice(*rsdp, image.size());
  ASSERT_TRUE(written.has_value());
  EXPECT_TRUE(std::ranges::equal(*written, std::as_bytes(std::span(image))));
}

TEST(AcpiTables, SayWhatToDoWhenTheyDoNotFit) {
  auto memory = virtio::GuestMemory::create(2 << 20);
  ASSERT_TRUE(memory.has_value());
  MachineDescription machine;
  machine.virtio_mmio.assign(3000, {platform::kVirtioMmioBase, 20});
  const auto rsdp = write_tables(*memory, machine);
  ASSERT_FALSE(rsdp.has_value());
  EXPECT_NE(rsdp.error().message().find("fewer virtio-mmio devices"), std::string::npos);
}

TEST(AcpiTables, RefuseAGuestWithoutMemoryThere) {
  auto memory = virtio::GuestMemory::create(0x8'0000);
  ASSERT_TRUE(memory.has_value());
  EXPECT_FALSE(write_tables(*memory, {}).has_value());
}

TEST(AcpiTables, LeaveOutASerialPortThatIsNotThere) {
  const auto has_com1 = [](const Image& image) {
    constexpr std::string_view kName = "COM1";
    return std::search(image.begin(), image.end(), kName.begin(), kName.end()) != image.end();
  };
  MachineDescription machine;
  EXPECT_TRUE(has_com1(build_tables(kBase, machine)));
  machine.com1 = false;
  EXPECT_FALSE(has_com1(build_tables(kBase, machine)));
}

}  // namespace
}  // namespace tapir::vmm::acpi
