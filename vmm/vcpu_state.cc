// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "vmm/kvm.h"

namespace tapir::vmm {
namespace {

constexpr std::uint64_t kRflagsAlwaysOne = 0x2;
constexpr std::uint64_t kMultibootMagic = 0x2BAD'B002;

constexpr std::uint64_t kCr0ProtectedMode = 1U << 0;
constexpr std::uint64_t kCr0ExtensionType = 1U << 4;
constexpr std::uint64_t kCr0NumericError = 1U << 5;
constexpr std::uint64_t kCr0Paging = 1U << 31;
constexpr std::uint64_t kCr4PhysicalAddressExtension = 1U << 5;
constexpr std::uint64_t kEferLongModeEnable = 1U << 8;
constexpr std::uint64_t kEferLongModeActive = 1U << 10;

constexpr std::uint16_t kCodeSelector = 0x10;
constexpr std::uint16_t kDataSelector = 0x18;

constexpr std::uint32_t kMsrMiscEnable = 0x1A0;
constexpr std::uint64_t kMiscEnableFastStrings = 1;
constexpr std::uint32_t kMsrMtrrDefaultType = 0x2FF;
constexpr std::uint64_t kMtrrEnabledWriteBack = 0x806;

constexpr std::size_t kLapicLvtLint0 = 0x350;
constexpr std::size_t kLapicLvtLint1 = 0x360;
constexpr std::uint32_t kLvtDeliveryMask = 0x700;
constexpr std::uint32_t kLvtMasked = 1U << 16;
constexpr std::uint32_t kLvtExtInt = 0x700;
constexpr std::uint32_t kLvtNmi = 0x400;

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type, bool long_mode_code) {
  kvm_segment segment{};
  segment.limit = 0xFFFF'FFFF;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.l = long_mode_code ? 1 : 0;
  segment.db = long_mode_code ? 0 : 1;
  return segment;
}

void set_lvt(kvm_lapic_state& lapic, std::size_t offset, std::uint32_t delivery) {
  std::uint32_t value = 0;
  std::memcpy(&value, lapic.regs + offset, sizeof value);
  value = (value & ~(kLvtDeliveryMask | kLvtMasked)) | delivery;
  std::memcpy(lapic.regs + offset, &value, sizeof value);
}

using MsrList = KvmList<kvm_msr_entry>;

MsrList one_msr(std::uint32_t index, std::uint64_t value = 0) {
  MsrList list(1);
  list.entries()[0].index = index;
  list.entries()[0].data = value;
  return list;
}

Result<std::uint64_t> get_msr(int vcpu_fd, std::uint32_t index) {
  MsrList list = one_msr(index);
  TAPIR_TRY_ASSIGN(const int done, kvm_ioctl(vcpu_fd, kGetMsrs, "KVM_GET_MSRS", list.data()));
  if (done != 1) {
    return fail(fmt::format("KVM_GET_MSRS: KVM does not know register {:#x}", index));
  }
  return list.entries()[0].data;
}

Status set_msr(int vcpu_fd, std::uint32_t index, std::uint64_t value) {
  MsrList list = one_msr(index, value);
  TAPIR_TRY_ASSIGN(const int done, kvm_ioctl(vcpu_fd, kSetMsrs, "KVM_SET_MSRS", list.data()));
  if (done != 1) {
    return fail(fmt::format("KVM_SET_MSRS: KVM does not take {:#x} for register {:#x}", value, index));
  }
  return {};
}

Status set_cpuid(int vcpu_fd, std::span<const kvm_cpuid_entry2> cpuid) {
  KvmList<kvm_cpuid_entry2> list(cpuid.size());
  std::copy(cpuid.begin(), cpuid.end(), list.entries().begin());
  TAPIR_TRY(kvm_ioctl(vcpu_fd, kSetCpuid2, "KVM_SET_CPUID2", list.data()));
  return {};
}

Status set_fpu(int vcpu_fd) {
  // As FNINIT and a reset leave them: all exceptions masked, extended precision (Intel SDM, volume
  // 3, 10.1.1).
  kvm_fpu fpu{};
  fpu.fcw = 0x37F;
  fpu.mxcsr = 0x1F80;
  TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_SET_FPU, "KVM_SET_FPU", &fpu));
  kvm_xcrs xcrs{};
  xcrs.nr_xcrs = 1;
  xcrs.xcrs[0].xcr = 0;
  xcrs.xcrs[0].value = 1;  // x87 only
  const auto done = kvm_ioctl(vcpu_fd, KVM_SET_XCRS, "KVM_SET_XCRS", &xcrs);
  // A host without XSAVE has no XCR0 to set.
  if (!done && done.error().code() != EINVAL) {
    return tl::unexpected<Error>(done.error());
  }
  return {};
}

}  // namespace

kvm_regs entry_registers(const boot::EntryState& entry) {
  kvm_regs regs{};
  regs.rflags = kRflagsAlwaysOne;
  regs.rip = entry.instruction_pointer;
  regs.rsp = entry.stack_pointer;
  if (entry.mode == boot::EntryState::Mode::kLong) {
    regs.rsi = entry.boot_data;  // Documentation/arch/x86/boot.rst, 64-bit Boot Protocol
  } else {
    // PVH and multiboot agree on EBX; EAX is multiboot's alone, and PVH leaves it undefined (Multiboot
    // 0.6.96, 3.2 Machine state; xen/include/public/arch-x86/hvm/start_info.h).
    regs.rax = kMultibootMagic;
    regs.rbx = entry.boot_data;
  }
  return regs;
}

kvm_sregs entry_special_registers(const kvm_sregs& reset, const boot::EntryState& entry) {
  constexpr std::uint8_t kCodeReadAccessed = 0xB;
  constexpr std::uint8_t kDataWriteAccessed = 0x3;
  constexpr std::uint8_t kBusyTss = 0xB;
  const bool long_mode = entry.mode == boot::EntryState::Mode::kLong;

  kvm_sregs sregs = reset;  // keeps apic_base
  sregs.cs = flat_segment(kCodeSelector, kCodeReadAccessed, long_mode);
  const kvm_segment data = flat_segment(kDataSelector, kDataWriteAccessed, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  // VMX refuses to enter a guest whose TR is not a busy TSS.
  sregs.tr = {};
  sregs.tr.type = kBusyTss;
  sregs.tr.limit = 0x67;
  sregs.tr.present = 1;
  sregs.ldt = {};
  sregs.ldt.unusable = 1;
  sregs.gdt.base = entry.gdt_base;
  sregs.gdt.limit = entry.gdt_limit;
  sregs.idt = {};
  sregs.cr0 = kCr0ProtectedMode | kCr0ExtensionType;
  sregs.cr3 = 0;
  sregs.cr4 = 0;
  sregs.efer = 0;
  if (long_mode) {
    sregs.cr0 |= kCr0NumericError | kCr0Paging;
    sregs.cr3 = entry.page_tables;
    sregs.cr4 = kCr4PhysicalAddressExtension;
    sregs.efer = kEferLongModeEnable | kEferLongModeActive;
  }
  return sregs;
}

void set_virtual_wire(kvm_lapic_state& lapic) {
  set_lvt(lapic, kLapicLvtLint0, kLvtExtInt);
  set_lvt(lapic, kLapicLvtLint1, kLvtNmi);
}

Status set_power_on_state(int vcpu_fd, unsigned vcpu, std::span<const kvm_cpuid_entry2> cpuid) {
  TAPIR_TRY(set_cpuid(vcpu_fd, cpuid));
  TAPIR_TRY(set_fpu(vcpu_fd));
  // Read first: KVM answers for other bits of the register, and refuses a change of some of them.
  TAPIR_TRY_ASSIGN(const std::uint64_t misc_enable, get_msr(vcpu_fd, kMsrMiscEnable));
  TAPIR_TRY(set_msr(vcpu_fd, kMsrMiscEnable, misc_enable | kMiscEnableFastStrings));
  // MTRRs on, everything write-back: a kernel that finds them off goes on without PAT, and complains.
  TAPIR_TRY(set_msr(vcpu_fd, kMsrMtrrDefaultType, kMtrrEnabledWriteBack));
  if (vcpu == 0) {
    // The others' LVTs stay masked, as INIT leaves them; their kernel sets them when it starts them.
    kvm_lapic_state lapic{};
    TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_GET_LAPIC, "KVM_GET_LAPIC", &lapic));
    set_virtual_wire(lapic);
    TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_SET_LAPIC, "KVM_SET_LAPIC", &lapic));
  }
  kvm_mp_state state{};
  state.mp_state = vcpu == 0 ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
  TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_SET_MP_STATE, "KVM_SET_MP_STATE", &state));
  return {};
}

Status set_entry_state(int vcpu_fd, const boot::EntryState& entry) {
  kvm_sregs sregs{};
  TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  sregs = entry_special_registers(sregs, entry);
  TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_SET_SREGS, "KVM_SET_SREGS", &sregs));
  kvm_regs regs = entry_registers(entry);
  TAPIR_TRY(kvm_ioctl(vcpu_fd, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  return {};
}

}  // namespace tapir::vmm
