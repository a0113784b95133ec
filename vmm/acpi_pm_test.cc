// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi_pm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::read;
using testing::write;

constexpr std::uint64_t kStatus = 0;
constexpr std::uint64_t kEnable = 2;
constexpr std::uint64_t kControl = 4;
constexpr std::uint64_t kTimer = 8;
constexpr std::uint64_t kPowerButton = 0x100;
constexpr std::uint64_t kSleep = 0x2000;

class AcpiPmTest : public ::testing::Test {
 protected:
  testing::FakeLevelInterrupt sci_;
  testing::FakeMachineControl machine_;
  nanoseconds now_{seconds(1000)};
  AcpiPm pm_{sci_, machine_, [this] { return now_; }};
};

TEST_F(AcpiPmTest, IsInAcpiModeFromTheStartAndForGood) {
  EXPECT_EQ(read(pm_, kStatus, 2), 0U);
  EXPECT_EQ(read(pm_, kEnable, 2), 0U);
  EXPECT_EQ(read(pm_, kControl, 2), 1U);
  write(pm_, kControl, 0, 2);
  EXPECT_EQ(read(pm_, kControl, 2), 1U);
}

TEST_F(AcpiPmTest, PowersOffOnS5Only) {
  for (unsigned type = 0; type < 8; ++type) {
    if (type != 5) {
      write(pm_, kControl, (type << 10) | kSleep, 2);
    }
  }
  write(pm_, kControl, 5U << 10, 2);
  EXPECT_THAT(machine_.reasons, IsEmpty());
  write(pm_, kControl, (5U << 10) | kSleep | 1, 2);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kPowerOff));
  EXPECT_EQ(read(pm_, kControl, 2) & kSleep, 0U) << "SLP_EN is write-only";
}

TEST_F(AcpiPmTest, PowersOffWhenTheHighByteIsWrittenAlone) {
  write(pm_, kControl + 1, 0x34);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kPowerOff));
}

TEST_F(AcpiPmTest, PowerButtonRaisesTheSciUntilItsStatusIsCleared) {
  write(pm_, kEnable, kPowerButton, 2);
  EXPECT_FALSE(sci_.level);
  pm_.press_power_button();
  EXPECT_TRUE(sci_.level);
  EXPECT_EQ(read(pm_, kStatus, 2), kPowerButton);
  write(pm_, kStatus, 0xFFFF & ~kPowerButton, 2);
  EXPECT_TRUE(sci_.level) << "other bits do not clear it";
  write(pm_, kStatus, kPowerButton, 2);
  EXPECT_FALSE(sci_.level);
  EXPECT_EQ(read(pm_, kStatus, 2), 0U);
}

TEST_F(AcpiPmTest, RemembersAPressThatTheGuestHasDisabled) {
  pm_.press_power_button();
  EXPECT_FALSE(sci_.level);
  write(pm_, kEnable, kPowerButton, 2);
  EXPECT_TRUE(sci_.level);
  write(pm_, kEnable, 0, 2);
  EXPECT_FALSE(sci_.level);
}

TEST_F(AcpiPmTest, EnableBitsKeepTheirValue) {
  write(pm_, kEnable, 0xFFFF, 2);
  EXPECT_EQ(read(pm_, kEnable, 2), 0x721U) << "timer, global lock, power button, sleep button, RTC";
  write(pm_, kEnable, 0, 1);
  EXPECT_EQ(read(pm_, kEnable, 2), 0x700U) << "the other byte is not touched";
}

TEST_F(AcpiPmTest, StatusAndEnableCanBeReachedInOneAccess) {
  pm_.press_power_button();
  write(pm_, kStatus, kPowerButton << 16, 4);
  EXPECT_TRUE(sci_.level);
  EXPECT_EQ(read(pm_, kStatus, 4), (kPowerButton << 16) | kPowerButton);
}

TEST_F(AcpiPmTest, TimerCountsAt3579545HzAndWraps) {
  EXPECT_EQ(read(pm_, kTimer, 4), 0U);
  now_ += seconds(1);
  EXPECT_EQ(read(pm_, kTimer, 4), 3'579'545U);
  now_ += nanoseconds(500'000'000);
  EXPECT_EQ(read(pm_, kTimer, 4), 3'579'545U + 1'789'772U);
  now_ = seconds(1000 + 1200);
  EXPECT_EQ(read(pm_, kTimer, 4), (3'579'545ULL * 1200) & 0xFFFF'FFFF) << "32 bits last 1199 seconds";
  write(pm_, kTimer, 0, 4);
  EXPECT_EQ(read(pm_, kTimer, 4), (3'579'545ULL * 1200) & 0xFFFF'FFFF) << "read-only";
}

TEST_F(AcpiPmTest, LowersTheLineThatItsPredecessorLeftUp) {
  sci_.level = true;
  const AcpiPm next(sci_, machine_);
  EXPECT_FALSE(sci_.level);
}

TEST_F(AcpiPmTest, SurvivesEveryAccess) {
  for (std::uint64_t offset = 0; offset < AcpiPm::kPorts + 8; ++offset) {
    for (const std::size_t bytes : {1U, 2U, 4U, 8U}) {
      for (unsigned value = 0; value < 256; ++value) {
        write(pm_, offset, value * std::uint64_t{0x0101'0101'0101'0101}, bytes);
        read(pm_, offset, bytes);
      }
    }
  }
  EXPECT_EQ(read(pm_, kControl, 2) & 1, 1U);
}

}  // namespace
}  // namespace tapir::vmm
