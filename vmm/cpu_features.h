// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace tapir::vmm {

enum class CpuidRegister : std::uint8_t { kEax, kEbx, kEcx, kEdx };

/// Where CPUID says whether a processor has a feature.
struct CpuFeature {
  std::string_view name;  ///< as in the "flags" line of /proc/cpuinfo
  std::uint32_t leaf;
  std::uint32_t index;
  CpuidRegister reg;
  std::uint32_t mask;  ///< one bit; two of kvmclock, which has an old and a new form
};

/// The features that `-cpu host,+name,-name` can change: those of leaves 1, 7, 0xD, 0x80000001, 0x80000007,
/// 0x80000008 and 0x40000001 that KVM can give a guest. The bits are those of Intel's SDM, volume 2, CPUID,
/// and AMD's APM, volume 3, appendix E.
std::span<const CpuFeature> cpu_features();

/// A feature that a processor has only together with another: `feature` uses instructions or registers that
/// `needs` brings. As Linux has it (arch/x86/kernel/cpu/cpuid-deps.c), and of AMD's APM, volume 3.
struct CpuDependency {
  std::string_view feature;
  std::string_view needs;
};
std::span<const CpuDependency> cpu_dependencies();

/// The feature with this name, '_' and '-' being alike as in QEMU (sse4-1, sse4_1).
std::optional<CpuFeature> find_cpu_feature(std::string_view name);

/// The name most like a mistyped one.
std::optional<std::string_view> nearest_cpu_feature(std::string_view name);

}  // namespace tapir::vmm
