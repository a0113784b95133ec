// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_exit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Write = testing::RecordingDevice::Write;

class VcpuExitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(ports_.add(0x100, 0x100, device_).has_value());
    ASSERT_TRUE(memory_.add(0xE000'0000, 0x1000, device_).has_value());
  }

  AfterExit handle() {
    return handle_exit(run(), {ports_, memory_, control_}, [] { return std::string("RIP=0x1234"); });
  }
  kvm_run& run() { return *reinterpret_cast<kvm_run*>(page_.data()); }

  void port_access(bool out, std::uint16_t port, std::uint8_t size, std::vector<std::uint8_t> data) {
    run().exit_reason = KVM_EXIT_IO;
    run().io.direction = out ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN;
    run().io.port = port;
    run().io.size = size;
    run().io.count = static_cast<std::uint32_t>(data.size()) / size;
    run().io.data_offset = 4096;
    std::memcpy(page_.data() + 4096, data.data(), data.size());
  }

  void memory_access(bool write, std::uint64_t address, std::uint32_t bytes) {
    run().exit_reason = KVM_EXIT_MMIO;
    run().mmio.is_write = write ? 1 : 0;
    run().mmio.phys_addr = address;
    run().mmio.len = bytes;
    for (std::uint8_t i = 0; i < 8; ++i) {
      run().mmio.data[i] = static_cast<std::uint8_t>(i + 1);
    }
  }

  void expect_end(EndReason reason, const std::string& detail) {
    EXPECT_EQ(handle(), AfterExit::kStop);
    const auto end = control_.wait();
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->reason, reason);
    EXPECT_EQ(end->detail, detail);
  }

  alignas(8) std::array<std::byte, 8192> page_{};
  Bus ports_;
  Bus memory_;
  testing::RecordingDevice device_;
  testing::RecordingControl control_;
};

TEST_F(VcpuExitTest, WritesEachItemOfARepeatedPortAccess) {
  port_access(true, 0x180, 2, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(handle(), AfterExit::kRunOn);
  EXPECT_THAT(device_.wait_for(3),
              ElementsAre(Write{0x80, 2, 0x201}, Write{0x80, 2, 0x403}, Write{0x80, 2, 0x605}));
}

TEST_F(VcpuExitTest, ReadsEachItemOfARepeatedPortAccess) {
  port_access(false, 0x180, 1, {0, 0, 0});
  EXPECT_EQ(handle(), AfterExit::kRunOn);
  EXPECT_THAT(std::span(page_).subspan(4096, 3),
              ElementsAre(std::byte{0x11}, std::byte{0x22}, std::byte{0x33}));
}

TEST_F(VcpuExitTest, ReadsAllOnesWhereNoDeviceIs) {
  port_access(false, 0x80, 4, {0, 0, 0, 0});
  EXPECT_EQ(handle(), AfterExit::kRunOn);
  EXPECT_THAT(std::span(page_).subspan(4096, 4), ::testing::Each(std::byte{0xFF}));
}

TEST_F(VcpuExitTest, CutsAnOddWidthIntoWidthsOfTheBus) {
  memory_access(true, 0xE000'0010, 7);
  EXPECT_EQ(handle(), AfterExit::kRunOn);
  EXPECT_THAT(device_.wait_for(3),
              ElementsAre(Write{0x10, 4, 0x0403'0201}, Write{0x14, 2, 0x0605}, Write{0x16, 1, 7}));
}

TEST_F(VcpuExitTest, FillsAMemoryRead) {
  memory_access(false, 0xE000'0010, 8);
  EXPECT_EQ(handle(), AfterExit::kRunOn);
  EXPECT_THAT(run().mmio.data, ::testing::Each(0x11));
}

TEST_F(VcpuExitTest, TakesAShutdownForATripleFault) {
  run().exit_reason = KVM_EXIT_SHUTDOWN;
  expect_end(EndReason::kTripleFault, "");
}

TEST_F(VcpuExitTest, FollowsSystemEvents) {
  run().exit_reason = KVM_EXIT_SYSTEM_EVENT;
  run().system_event.type = KVM_SYSTEM_EVENT_RESET;
  expect_end(EndReason::kReset, "");
}

TEST_F(VcpuExitTest, TakesACrashEventForAPanic) {
  run().exit_reason = KVM_EXIT_SYSTEM_EVENT;
  run().system_event.type = KVM_SYSTEM_EVENT_CRASH;
  expect_end(EndReason::kPanic, "");
}

TEST_F(VcpuExitTest, EndsOnAnUnknownSystemEvent) {
  run().exit_reason = KVM_EXIT_SYSTEM_EVENT;
  run().system_event.type = 99;
  expect_end(EndReason::kInternalError, "system event 99, which tapir does not handle; RIP=0x1234");
}

TEST_F(VcpuExitTest, DescribesAnInternalError) {
  run().exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run().internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
  run().internal.ndata = 2;
  run().internal.data[0] = 0xAB;
  run().internal.data[1] = 1;
  expect_end(EndReason::kInternalError,
             "KVM internal error, suberror 1 (instruction not emulated), data 0xab 0x1; RIP=0x1234");
}

TEST_F(VcpuExitTest, ReadsNoMoreDataThanAnInternalErrorHolds) {
  run().exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run().internal.suberror = 77;
  run().internal.ndata = 0xFFFF'FFFF;
  EXPECT_THAT(describe_exit(run()), HasSubstr("suberror 77 (unknown), data 0x0"));
}

TEST_F(VcpuExitTest, DescribesAFailedEntry) {
  run().exit_reason = KVM_EXIT_FAIL_ENTRY;
  run().fail_entry.hardware_entry_failure_reason = 0x8000'0021;
  expect_end(EndReason::kInternalError, "KVM cannot enter the guest, hardware reason 0x80000021; RIP=0x1234");
}

TEST_F(VcpuExitTest, EndsOnAnExitThatItDoesNotKnow) {
  run().exit_reason = KVM_EXIT_HLT;
  expect_end(EndReason::kInternalError, "exit 5 (KVM_EXIT_HLT), which tapir does not handle; RIP=0x1234");
}

TEST_F(VcpuExitTest, RunsOnAfterAnInterruptedRun) {
  run().exit_reason = KVM_EXIT_INTR;
  EXPECT_EQ(handle(), AfterExit::kRunOn);
}

TEST(DescribeRegisters, ShowsRegistersAndCode) {
  kvm_regs regs{};
  regs.rip = 0x1000;
  regs.r15 = 0xF;
  kvm_sregs sregs{};
  sregs.cr2 = 0xDEAD;
  const std::byte code[] = {std::byte{0x0F}, std::byte{0x0B}};
  const std::string text = describe_registers(regs, sregs, code);
  EXPECT_THAT(text, HasSubstr("RIP=0x1000 "));
  EXPECT_THAT(text, HasSubstr(" R15=0xf "));
  EXPECT_THAT(text, HasSubstr(" CR2=0xdead "));
  EXPECT_THAT(text, ::testing::EndsWith("code: 0f 0b"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace tapir::vmm
