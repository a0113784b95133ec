// SPDX-License-Identifier: Apache-2.0
#include "vmm/i8042.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/testing/fake_machine.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kOutputFull = 0x01;
constexpr std::uint64_t kInputFull = 0x02;
constexpr std::uint64_t kMouseData = 0x20;
constexpr std::uint64_t kTimeOut = 0x40;

class I8042Test : public ::testing::Test {
 protected:
  std::uint64_t status() { return testing::read(chip_.command_port(), 0); }
  std::uint64_t data() { return testing::read(chip_.data_port(), 0); }
  void command(unsigned value) { testing::write(chip_.command_port(), 0, value); }
  void send(unsigned value) { testing::write(chip_.data_port(), 0, value); }

  testing::FakeInterrupt keyboard_;
  testing::FakeMachineControl machine_;
  I8042 chip_{keyboard_, machine_};
};

TEST_F(I8042Test, HasNothingToReadAtPowerOnAndIsNotLocked) {
  EXPECT_EQ(status() & (kOutputFull | kInputFull), 0U);
  EXPECT_EQ(status() & 0x10, 0x10U);
}

TEST_F(I8042Test, AnswersItsSelfTestAtOnce) {
  command(0xAA);
  ASSERT_EQ(status() & kOutputFull, kOutputFull);
  EXPECT_EQ(data(), 0x55U);
  EXPECT_EQ(status() & kOutputFull, 0U);
  EXPECT_EQ(keyboard_.count, 0U) << "its own answers are polled for";
}

TEST_F(I8042Test, KeepsTheCommandByte) {
  for (unsigned value = 0; value < 256; ++value) {
    command(0x60);
    send(value);
    command(0x20);
    EXPECT_EQ(data(), value);
  }
}

TEST_F(I8042Test, SwitchesThePortsInTheCommandByte) {
  const auto command_byte = [this] {
    command(0x20);
    return data();
  };
  command(0xAD);
  EXPECT_EQ(command_byte() & 0x10, 0x10U);
  command(0xAE);
  EXPECT_EQ(command_byte() & 0x10, 0U);
  command(0xA8);
  EXPECT_EQ(command_byte() & 0x20, 0U);
  command(0xA7);
  EXPECT_EQ(command_byte() & 0x20, 0x20U);
}

TEST_F(I8042Test, HasAWorkingKeyboardPortAndNoMousePort) {
  command(0xAB);
  EXPECT_EQ(data(), 0x00U);
  command(0xD3);
  send(0x5A);
  EXPECT_EQ(status() & kMouseData, 0U) << "what is looped does not come back from the mouse";
  data();
  command(0xA9);
  EXPECT_THAT(data(), ::testing::Not(::testing::AnyOf(0x00U, 0xFAU, 0xFFU)))
      << "values that Linux takes as a mouse";
}

TEST_F(I8042Test, AnswersForTheKeyboardThatIsNotThere) {
  send(0xF2);
  EXPECT_EQ(status() & (kOutputFull | kTimeOut), kOutputFull | kTimeOut);
  EXPECT_EQ(keyboard_.count, 1U);
  EXPECT_EQ(data(), 0xFEU);
  EXPECT_EQ(status() & (kOutputFull | kTimeOut), 0U);
}

TEST_F(I8042Test, RaisesNoInterruptThatIsDisabled) {
  command(0x60);
  send(0x00);
  send(0xF2);
  EXPECT_EQ(keyboard_.count, 0U);
  EXPECT_EQ(status() & kOutputFull, kOutputFull);
}

TEST_F(I8042Test, ResetsTheMachineOnAPulseOfLineZero) {
  command(0xFF);
  EXPECT_THAT(machine_.reasons, IsEmpty());
  command(0xFE);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kReset));
}

TEST_F(I8042Test, SwitchingA20IsHarmless) {
  command(0xD1);
  send(0xDF);
  command(0xD0);
  EXPECT_EQ(data(), 0xDFU);
  command(0xD1);
  send(0xDD);
  EXPECT_THAT(machine_.reasons, IsEmpty());
  command(0xD1);
  send(0xDC);
  EXPECT_THAT(machine_.reasons, ElementsAre(EndReason::kReset))
      << "bit 0 of the output port is the reset line";
}

TEST_F(I8042Test, SurvivesEveryCommandWithEveryByte) {
  for (unsigned value = 0; value < 256; ++value) {
    for (unsigned byte = 0; byte < 256; ++byte) {
      command(value);
      send(byte);
      data();
    }
  }
  for (const unsigned value : {0xAAU, 0x20U}) {
    command(value);
    EXPECT_EQ(status() & kOutputFull, kOutputFull) << "still answers";
    data();
  }
}

}  // namespace
}  // namespace tapir::vmm
