// SPDX-License-Identifier: Apache-2.0
#include "vmm/reset_port.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::read;
using testing::write;

class ResetPortTest : public ::testing::Test {
 protected:
  testing::FakeMachineControl machine_;
  ResetPort port_{machine_};
};

TEST_F(ResetPortTest, ResetsOnTheAcpiResetValue) {
  write(port_, 0, 0x06);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kReset));
}

TEST_F(ResetPortTest, ResetsWhenTheKindIsWrittenFirst) {
  write(port_, 0, 0x02);
  EXPECT_THAT(machine_.reasons, IsEmpty());
  EXPECT_EQ(read(port_, 0), 0x02U);
  write(port_, 0, 0x0E);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kReset));
}

TEST_F(ResetPortTest, ResetsOnlyWhenBitTwoRises) {
  write(port_, 0, 0x06);
  write(port_, 0, 0x06);
  EXPECT_EQ(machine_.reasons.size(), 1U);
  write(port_, 0, 0x00);
  write(port_, 0, 0x04);
  EXPECT_EQ(machine_.reasons.size(), 2U);
}

TEST_F(ResetPortTest, NothingElseResets) {
  for (unsigned value = 0; value < 256; ++value) {
    if ((value & 0x04) == 0) {
      write(port_, 0, value);
    }
    write(port_, 1, value);
  }
  EXPECT_THAT(machine_.reasons, IsEmpty());
}

}  // namespace
}  // namespace tapir::vmm
