// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_state.h"

#include <gtest/gtest.h>

#include <cstring>

namespace tapir::vmm {
namespace {

using boot::EntryState;

EntryState entry(EntryState::Mode mode) {
  EntryState state;
  state.mode = mode;
  state.instruction_pointer = 0x20'0200;
  state.boot_data = 0x9'0000;
  state.page_tables = 0xA000;
  state.gdt_base = 0x500;
  state.gdt_limit = 31;
  state.stack_pointer = 0x8'0000;
  return state;
}

TEST(EntryRegisters, FollowTheSixtyFourBitProtocol) {
  const kvm_regs regs = entry_registers(entry(EntryState::Mode::kLong));
  EXPECT_EQ(regs.rip, 0x20'0200U);
  EXPECT_EQ(regs.rsi, 0x9'0000U);
  EXPECT_EQ(regs.rsp, 0x8'0000U);
  EXPECT_EQ(regs.rflags, 2U) << "interrupts are off";
}

TEST(EntryRegisters, FollowPvhAndMultiboot) {
  const kvm_regs regs = entry_registers(entry(EntryState::Mode::kProtected));
  EXPECT_EQ(regs.rbx, 0x9'0000U);
  EXPECT_EQ(regs.rax, 0x2BAD'B002U);
  EXPECT_EQ(regs.rsi, 0U);
  EXPECT_EQ(regs.rflags, 2U);
}

TEST(EntrySpecialRegisters, TurnLongModeOn) {
  kvm_sregs reset{};
  reset.apic_base = 0xFEE0'0900;
  const kvm_sregs sregs = entry_special_registers(reset, entry(EntryState::Mode::kLong));
  EXPECT_EQ(sregs.cr0, 0x8000'0031U);
  EXPECT_EQ(sregs.cr3, 0xA000U);
  EXPECT_EQ(sregs.cr4, 0x20U);
  EXPECT_EQ(sregs.efer, 0x500U);
  EXPECT_EQ(sregs.cs.selector, 0x10);
  EXPECT_EQ(sregs.cs.l, 1);
  EXPECT_EQ(sregs.cs.db, 0);
  EXPECT_EQ(sregs.ss.selector, 0x18);
  EXPECT_EQ(sregs.gdt.base, 0x500U);
  EXPECT_EQ(sregs.gdt.limit, 31);
  EXPECT_EQ(sregs.apic_base, 0xFEE0'0900U);
}

TEST(EntrySpecialRegisters, LeavePagingOffInProtectedMode) {
  kvm_sregs reset{};
  reset.cr0 = 0x6000'0010;
  reset.cr4 = 0x20;
  const kvm_sregs sregs = entry_special_registers(reset, entry(EntryState::Mode::kProtected));
  EXPECT_EQ(sregs.cr0, 0x11U);
  EXPECT_EQ(sregs.cr3, 0U);
  EXPECT_EQ(sregs.cr4, 0U);
  EXPECT_EQ(sregs.efer, 0U);
  EXPECT_EQ(sregs.cs.l, 0);
  EXPECT_EQ(sregs.cs.db, 1);
  EXPECT_EQ(sregs.cs.limit, 0xFFFF'FFFFU);
  EXPECT_EQ(sregs.tr.limit, 0x67U);
}

TEST(VirtualWire, SetsBothLocalInterrupts) {
  kvm_lapic_state lapic{};
  const std::uint32_t masked = 0x1'0000;
  std::memcpy(lapic.regs + 0x350, &masked, sizeof masked);
  std::memcpy(lapic.regs + 0x360, &masked, sizeof masked);
  set_virtual_wire(lapic);
  std::uint32_t lint0 = 0;
  std::uint32_t lint1 = 0;
  std::memcpy(&lint0, lapic.regs + 0x350, sizeof lint0);
  std::memcpy(&lint1, lapic.regs + 0x360, sizeof lint1);
  EXPECT_EQ(lint0, 0x700U);
  EXPECT_EQ(lint1, 0x400U);
}

}  // namespace
}  // namespace tapir::vmm
