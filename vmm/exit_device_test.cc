// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_device.h"

#include <gmock/gmock.h>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ExitDeviceTest, IsaDebugExitMakesAnOddStatus) {
  testing::FakeMachineControl machine;
  ExitDevice device(ExitDeviceConfig::Kind::kIsaDebugExit, machine);
  for (const unsigned value : {0U, 0x10U, 0x7FU, 0xFFU}) {
    testing::write(device, 0, value);
  }
  EXPECT_THAT(machine.reasons, ::testing::Each(EndReason::kGuestStatus));
  EXPECT_THAT(machine.guest_statuses, ElementsAre(1, 33, 255, 255));
}

TEST(ExitDeviceTest, TapirExitMakesTheByteTheStatus) {
  testing::FakeMachineControl machine;
  ExitDevice device(ExitDeviceConfig::Kind::kTapirExit, machine);
  for (const unsigned value : {0U, 7U, 124U, 255U}) {
    testing::write(device, 0, value);
  }
  EXPECT_THAT(machine.reasons, ::testing::Each(EndReason::kGuestStatus));
  EXPECT_THAT(machine.guest_statuses, ElementsAre(0, 7, 124, 255));
}

TEST(ExitDeviceTest, TakesTheLowestByteOfAWideAccess) {
  testing::FakeMachineControl machine;
  ExitDevice device(ExitDeviceConfig::Kind::kIsaDebugExit, machine);
  testing::write(device, 0, 0x1110, 2);
  testing::write(device, 0, 0xFFFF'FF10, 4);
  EXPECT_THAT(machine.guest_statuses, ElementsAre(33, 33));
}

TEST(ExitDeviceTest, ReadsAsZeroAndGoesOn) {
  testing::FakeMachineControl machine;
  ExitDevice device(ExitDeviceConfig::Kind::kTapirExit, machine);
  EXPECT_EQ(testing::read(device, 0, 4), 0U);
  EXPECT_THAT(machine.reasons, IsEmpty());
}

}  // namespace
}  // namespace tapir::vmm
