// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>

#include "net/base/result.h"
#include "vmm/boot/entry.h"

namespace tapir::vmm {

/// The general registers at a kernel's entry point: interrupts off, and the boot data where its protocol
/// wants it.
kvm_regs entry_registers(const boot::EntryState& entry);

/// `reset` with the segments, tables and control registers of the entry's mode: flat segments over the
/// loader's GDT, an empty IDT (a fault before the kernel has its own is a triple fault), and paging only in
/// long mode.
kvm_sregs entry_special_registers(const kvm_sregs& reset, const boot::EntryState& entry);

/// A LAPIC as firmware leaves the boot CPU's: LINT0 takes the PIC (ExtINT), LINT1 the NMI, both unmasked
/// (Intel MP specification 1.4, 3.6.2.2 Virtual Wire Mode).
void set_virtual_wire(kvm_lapic_state& lapic);

/// Gives a vCPU that was just created its CPUID, FPU, XCR0, MSRs, LAPIC and MP state as firmware leaves them:
/// the boot CPU (number 0) ready to run, the others waiting for a start-up IPI. The order matters: KVM checks
/// all the others against CPUID.
[[nodiscard]] Status set_power_on_state(int vcpu_fd, unsigned vcpu, std::span<const kvm_cpuid_entry2> cpuid);

/// Sets the registers for `entry`; boot CPU only.
[[nodiscard]] Status set_entry_state(int vcpu_fd, const boot::EntryState& entry);

}  // namespace tapir::vmm
