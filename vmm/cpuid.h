// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "vmm/kvm.h"
#include "vmm/machine_config.h"

namespace tapir::vmm {

/// A table of CPUID answers, as KVM_GET_SUPPORTED_CPUID gives and KVM_SET_CPUID2 takes it.
using CpuidTable = std::vector<kvm_cpuid_entry2>;

/// The entry of a leaf and subleaf, or null. Entries without a significant index answer to every `index`.
const kvm_cpuid_entry2* find_cpuid(std::span<const kvm_cpuid_entry2> table, std::uint32_t leaf,
                                   std::uint32_t index = 0);

/// What every vCPU of the machine has in common: all that KVM supports here (its own leaves at 0x40000000
/// too: a guest without kvmclock loses time), the hypervisor bit, x2APIC and, if `tsc_deadline_timer`, the
/// timer that KVM leaves out of its list because both come with the in-kernel LAPIC (api.rst, 9.1
/// KVM_GET_SUPPORTED_CPUID issues); then `config`'s changes. What needs a feature that is gone, performance
/// counters without a PMU and XSAVE components that nothing uses are gone too. Error: a feature that tapir
/// does not know (names the nearest), `+feature` that the host lacks or that needs one which is taken away.
[[nodiscard]] Result<CpuidTable> machine_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                               bool tsc_deadline_timer, const CpuConfig& config);

/// The same from the host's KVM.
[[nodiscard]] Result<CpuidTable> machine_cpuid(const Kvm& kvm, const CpuConfig& config);

/// The machine's table with what is of one vCPU: its APIC id, which is its number as the MADT says, and the
/// topology of `cpus` (1 to 64) cores of one thread each in one package, sharing the last level of cache.
/// Fields: leaves 1, 4, 0xB and 0x1F; of AMD and Hygon 0x80000001, 0x80000008, 0x8000001D and 0x8000001E.
CpuidTable vcpu_cpuid(CpuidTable machine, unsigned vcpu, unsigned cpus);

}  // namespace tapir::vmm
