// SPDX-License-Identifier: Apache-2.0
#include "vmm/pvpanic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PvpanicTest : public ::testing::Test {
 protected:
  testing::FakeMachineControl machine_;
  Pvpanic port_{machine_};
};

TEST_F(PvpanicTest, NamesTheEventsThatItTakes) {
  EXPECT_EQ(testing::read(port_, 0), 0x03U);
}

TEST_F(PvpanicTest, EndsTheRunOnAPanic) {
  testing::write(port_, 0, 0x01);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kPanic));
}

TEST_F(PvpanicTest, LetsACrashKernelGoOn) {
  testing::write(port_, 0, 0x02);
  EXPECT_THAT(machine_.reasons, IsEmpty());
}

TEST_F(PvpanicTest, IgnoresEventsThatItDoesNotKnow) {
  for (unsigned value = 0; value < 256; value += 2) {
    testing::write(port_, 0, value);
  }
  EXPECT_THAT(machine_.reasons, IsEmpty());
}

}  // namespace
}  // namespace tapir::vmm
