// SPDX-License-Identifier: Apache-2.0
#include "vmm/exit_status.h"

#include <gtest/gtest.h>

#include <csignal>

namespace tapir::vmm {
namespace {

TEST(ExitStatusTest, FollowsTheTable) {
  EXPECT_EQ(exit_status(EndReason::kPowerOff), 0);
  EXPECT_EQ(exit_status(EndReason::kReset), 0);
  EXPECT_EQ(exit_status(EndReason::kQuit), 0);
  EXPECT_EQ(exit_status(EndReason::kPanic), 4);
  EXPECT_EQ(exit_status(EndReason::kTripleFault), 6);
  EXPECT_EQ(exit_status(EndReason::kExpected), 0);
  EXPECT_EQ(exit_status(EndReason::kFailMatched), 10);
  EXPECT_EQ(exit_status(EndReason::kExpectMissed), 10);
  EXPECT_EQ(exit_status(EndReason::kTimeLimit), 124);
  EXPECT_EQ(exit_status(EndReason::kInternalError), 8);
  EXPECT_EQ(exit_status(EndReason::kSignal, SIGINT), 130);
  EXPECT_EQ(exit_status(EndReason::kSignal, SIGTERM), 143);
  EXPECT_EQ(exit_status(EndReason::kGuestStatus, 0), 0);
  EXPECT_EQ(exit_status(EndReason::kGuestStatus, 255), 255);
}

TEST(ExitStatusDeathTest, SignalWithoutNumberIsABug) {
  EXPECT_DEATH(exit_status(EndReason::kSignal), "bug");
}

}  // namespace
}  // namespace tapir::vmm
