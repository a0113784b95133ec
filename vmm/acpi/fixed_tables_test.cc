// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/fixed_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "vmm/acpi/table_builder.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

std::uint64_t field(const Table& table, std::size_t offset, unsigned bytes) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    value |= std::uint64_t{table.at(offset + i)} << (8 * i);
  }
  return value;
}

TEST(Fadt, PutsEveryRegisterWhereThePlatformHasIt) {
  const Table fadt = make_fadt(0xE'0040, 0xE'0080);
  ASSERT_EQ(fadt.size(), 276U);
  EXPECT_EQ(checksum(fadt), 0);
  EXPECT_EQ(fadt[8], 6);
  EXPECT_EQ(field(fadt, 36, 4), 0xE'0040U);
  EXPECT_EQ(field(fadt, 40, 4), 0xE'0080U);
  EXPECT_EQ(field(fadt, 46, 2), platform::kSciGsi);
  EXPECT_EQ(field(fadt, 48, 4), 0U) << "SMI_CMD";
  EXPECT_EQ(field(fadt, 56, 4), platform::kPm1EventPort);
  EXPECT_EQ(field(fadt, 64, 4), platform::kPm1ControlPort);
  EXPECT_EQ(field(fadt, 76, 4), platform::kPmTimerPort);
  EXPECT_EQ(fadt[88], 4);
  EXPECT_EQ(fadt[89], 2);
  EXPECT_EQ(fadt[91], 4);
  EXPECT_EQ(fadt[108], 0x32) << "century";
}

TEST(Fadt, ExtendedFieldsAgreeWithTheLegacyOnes) {
  const Table fadt = make_fadt(0xE'0040, 0xE'0080);
  EXPECT_EQ(field(fadt, 132, 8), 0U) << "the FACS is named in 32 bits only";
  EXPECT_EQ(field(fadt, 140, 8), field(fadt, 40, 4));
  struct Pair {
    std::size_t block, length, extended;
  };
  for (const Pair& pair : {Pair{56, 88, 148}, Pair{64, 89, 172}, Pair{76, 91, 208}}) {
    EXPECT_EQ(fadt[pair.extended], 1) << "I/O space";
    EXPECT_EQ(fadt[pair.extended + 1], 8 * fadt[pair.length]);
    EXPECT_EQ(field(fadt, pair.extended + 4, 8), field(fadt, pair.block, 4));
  }
}

TEST(Fadt, SaysWhatTheMachineHas) {
  const Table fadt = make_fadt(0, 0);
  EXPECT_EQ(field(fadt, 109, 2), 0x7U) << "legacy devices, 8042, no VGA";
  const std::uint64_t flags = field(fadt, 112, 4);
  EXPECT_EQ(flags & (1U << 4), 0U) << "the power button is a fixed feature";
  EXPECT_EQ(flags & (1U << 20), 0U) << "not hardware-reduced";
  EXPECT_EQ(flags, (1U << 0) | (1U << 2) | (1U << 5) | (1U << 6) | (1U << 8) | (1U << 10));
  EXPECT_EQ(field(fadt, 120, 8), platform::kResetPort);
  EXPECT_EQ(fadt[128], 0x06);
}

TEST(Madt, ListsEveryCpuOnce) {
  for (const unsigned cpus : {1U, 2U, 63U, 64U}) {
    const Table madt = make_madt(cpus);
    EXPECT_EQ(checksum(madt), 0);
    EXPECT_EQ(field(madt, 36, 4), platform::kLocalApicBase);
    unsigned seen = 0;
    std::size_t at = 44;
    for (; at < madt.size(); at += madt.at(at + 1)) {
      if (madt[at] == 0) {
        EXPECT_EQ(madt[at + 2], seen);
        EXPECT_EQ(madt[at + 3], seen);
        EXPECT_EQ(field(madt, at + 4, 4), 1U);
        ++seen;
      }
    }
    EXPECT_EQ(at, madt.size()) << "the entries fill the table";
    EXPECT_EQ(seen, cpus);
  }
}

TEST(Madt, OverridesAgreeWithTheRoutes) {
  const Table madt = make_madt(1);
  const Table rest(madt.begin() + 44 + 8, madt.end());
  EXPECT_THAT(rest, ::testing::ElementsAreArray({
                        1, 12, 0,    0, 0x00, 0x00, 0xC0, 0xFE, 0,    0, 0, 0,  // IOAPIC at 0xFEC00000, GSI 0
                        2, 10, 0,    0, 2,    0,    0,    0,    0,    0,        // the PIT is on GSI 2
                        2, 10, 0,    9, 9,    0,    0,    0,    0x0D, 0,  // the SCI is level, active high
                        4, 6,  0xFF, 0, 0,    1,                          // NMI on LINT1 of all
                    }));
}

TEST(Mcfg, DescribesBusZero) {
  const Table mcfg = make_mcfg();
  EXPECT_EQ(mcfg.size(), 60U);
  EXPECT_EQ(checksum(mcfg), 0);
  EXPECT_EQ(field(mcfg, 44, 8), platform::kEcamBase);
  EXPECT_EQ(field(mcfg, 52, 4), 0U) << "segment 0, buses 0 to 0";
  EXPECT_EQ(platform::kEcamBytes, 0x10'0000U) << "one bus";
}

TEST(Facs, IsInItsResetState) {
  const Table facs = make_facs();
  EXPECT_EQ(facs.size(), 64U);
  EXPECT_EQ(std::string(facs.begin(), facs.begin() + 4), "FACS");
  EXPECT_EQ(field(facs, 4, 4), 64U);
  EXPECT_EQ(field(facs, 16, 4), 0U) << "the global lock is free";
}

}  // namespace
}  // namespace tapir::vmm::acpi
