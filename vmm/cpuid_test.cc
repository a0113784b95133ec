// SPDX-License-Identifier: Apache-2.0
#include "vmm/cpuid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "vmm/cpu_features.h"

namespace tapir::vmm {
namespace {

using ::testing::HasSubstr;

kvm_cpuid_entry2 entry(std::uint32_t leaf, std::uint32_t eax, std::uint32_t ebx, std::uint32_t ecx,
                       std::uint32_t edx) {
  kvm_cpuid_entry2 result{};
  result.function = leaf;
  result.eax = eax;
  result.ebx = ebx;
  result.ecx = ecx;
  result.edx = edx;
  return result;
}

kvm_cpuid_entry2 subleaf(std::uint32_t leaf, std::uint32_t index, std::uint32_t eax, std::uint32_t ebx = 0,
                         std::uint32_t ecx = 0, std::uint32_t edx = 0) {
  kvm_cpuid_entry2 result = entry(leaf, eax, ebx, ecx, edx);
  result.index = index;
  result.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  return result;
}

constexpr std::uint32_t cache(unsigned type, unsigned level, std::uint32_t rest) {
  return type | level << 5 | rest;
}

/// A host of 32 threads: every field of the topology is wrong for a guest.
CpuidTable intel_host() {
  return {
      entry(0, 0x1F, 0x756E'6547, 0x6C65'746E, 0x4965'6E69),
      entry(1, 0x806F8, 0x1720'0800, 0xF7FA'3223, 0x1F8B'FBFF),
      subleaf(4, 0, cache(1, 1, 0xFC00'4000)),
      subleaf(4, 1, cache(3, 2, 0xFC00'4000)),
      subleaf(4, 2, cache(3, 3, 0xFC07'C000)),
      subleaf(4, 3, 0),
      entry(0xA, 0x0830'0802, 0, 0, 0x603),
      subleaf(0xB, 0, 1, 2, 0x100, 23),
      subleaf(0xD, 0, 0x2E7, 0xA88, 0xA88),
      subleaf(0xD, 1, 0xF, 0x988),
      subleaf(0xD, 2, 0x100, 0x240),
      subleaf(0xD, 5, 0x40, 0x440),
      subleaf(0xD, 6, 0x200, 0x480),
      subleaf(0xD, 7, 0x400, 0x680),
      subleaf(0xD, 9, 8, 0xA80),
      subleaf(7, 0, 1, 0xF1BF'27EB, 0x1A41'5F6E, 0xAC00'4410),
      subleaf(7, 1, 0x30),
      subleaf(0x1F, 0, 1, 2, 0x100, 23),
      entry(0x4000'0000, 0x4000'0001, 0x4B4D'564B, 0x564B'4D56, 0x4D),
      entry(0x4000'0001, 0x0100'7EFB, 0, 0, 0),
      entry(0x8000'0001, 0, 0, 0x121, 0x2C10'0800),
      entry(0x8000'0008, 0x3039, 0, 0, 0),
  };
}

CpuidTable amd_host() {
  return {
      entry(0, 0x10, 0x6874'7541, 0x444D'4163, 0x6974'6E65),
      entry(1, 0xA0'0F11, 0x1740'0800, 0xF6D8'3203, 0x178B'FBFF),
      subleaf(0xB, 0, 1, 2, 0x100, 23),
      entry(0x8000'0001, 0xA0'0F11, 0, 0x0040'03F3, 0x2FD3'FBFF),
      entry(0x8000'0008, 0x3030, 0, 0x703F, 0),
      subleaf(0x8000'001D, 0, cache(1, 1, 0x0000'4100)),
      subleaf(0x8000'001D, 3, cache(3, 3, 0x0003'C100)),
      entry(0x8000'001E, 23, 0x10B, 0x301, 0),
      subleaf(0x8000'0026, 0, 1, 2, 0x100, 23),
  };
}

const kvm_cpuid_entry2& leaf(const CpuidTable& table, std::uint32_t number, std::uint32_t index = 0) {
  const auto* found = find_cpuid(table, number, index);
  EXPECT_NE(found, nullptr) << std::hex << number;
  static const kvm_cpuid_entry2 kNone{};
  return found == nullptr ? kNone : *found;
}

CpuidTable machine(const CpuidTable& host, const CpuConfig& config = {}, bool tsc_deadline = true) {
  auto table = machine_cpuid(host, tsc_deadline, config);
  EXPECT_TRUE(table.has_value()) << table.error().message();
  return *std::move(table);
}

TEST(MachineCpuid, AddsWhatKvmLeavesToTheVmm) {
  CpuidTable host = intel_host();
  host[1].ecx &= ~(1U << 31 | 1U << 24 | 1U << 21);
  EXPECT_EQ(leaf(machine(host), 1).ecx & 0x8120'0000, 0x8120'0000U);
  EXPECT_EQ(leaf(machine(host, {}, false), 1).ecx & 0x8120'0000, 0x8020'0000U);
}

TEST(MachineCpuid, KeepsKvmsOwnLeaves) {
  const auto table = machine(intel_host());
  EXPECT_EQ(leaf(table, 0x4000'0000).ebx, 0x4B4D'564BU);
  EXPECT_EQ(leaf(table, 0x4000'0001).eax, 0x0100'7EFBU);
}

TEST(MachineCpuid, TakesFeaturesAway) {
  const auto table = machine(intel_host(), {{}, {"avx512f", "x2apic", "kvmclock", "sse4-1"}});
  EXPECT_EQ(leaf(table, 7).ebx, 0xF1BF'27EBU & ~0xD023'0000U) << "and all of AVX-512";
  EXPECT_EQ(leaf(table, 1).ecx & (1U << 21 | 1U << 19), 0U);
  EXPECT_EQ(leaf(table, 0x4000'0001).eax, 0x0100'7EF2U);
}

TEST(MachineCpuid, TakesTheRegistersOfAFeatureAwayWithIt) {
  const auto table = machine(intel_host(), {{}, {"avx512f", "pku"}});
  EXPECT_EQ(leaf(table, 0xD).eax, 0x2E7U & ~0x2E0U);
  EXPECT_EQ(find_cpuid(table, 0xD, 5), nullptr);
  EXPECT_EQ(find_cpuid(table, 0xD, 9), nullptr);
  EXPECT_NE(find_cpuid(table, 0xD, 2), nullptr);
  EXPECT_EQ(leaf(machine(intel_host()), 0xD).eax, 0x2E7U);
}

TEST(MachineCpuid, CountsTheRoomOfTheRegistersThatAreLeft) {
  const auto all = machine(intel_host());
  EXPECT_EQ(leaf(all, 0xD).ebx, 0xA88U);
  EXPECT_EQ(leaf(all, 0xD).ecx, 0xA88U);
  EXPECT_EQ(leaf(all, 0xD, 1).ebx, 0x988U);
  const auto table = machine(intel_host(), {{}, {"avx512f", "pku"}});
  EXPECT_EQ(leaf(table, 0xD).ebx, 0x340U);
  EXPECT_EQ(leaf(table, 0xD).ecx, 0x340U);
  EXPECT_EQ(leaf(table, 0xD, 1).ebx, 0x340U);
  // Not compacted, each component keeps its place, whatever is missing before it.
  const auto with_gap = machine(intel_host(), {{}, {"avx"}});
  EXPECT_EQ(leaf(with_gap, 0xD).eax, 0x203U);
  EXPECT_EQ(leaf(with_gap, 0xD).ecx, 0xA88U);
  EXPECT_EQ(leaf(with_gap, 0xD, 1).ebx, 0x248U);
}

TEST(MachineCpuid, AlignsCompactedRegistersThatWantIt) {
  CpuidTable host = intel_host();
  for (auto& entry : host) {
    if (entry.function == 0xD && entry.index == 9) {
      entry.ecx = 2;
      entry.eax = 0x20;
    } else if (entry.function == 0xD && entry.index == 5) {
      entry.eax = 8;
    }
  }
  EXPECT_EQ(leaf(machine(host), 0xD, 1).ebx, 0x9A0U) << "0x948 rounded up, and 0x20 more";
}

TEST(MachineCpuid, KeepsSupervisorRegistersOnlyForWhatUsesThem) {
  CpuidTable host = intel_host();
  host.push_back(subleaf(0xD, 11, 0x10, 0, 1));
  host.push_back(subleaf(0xD, 12, 0x18, 0, 1));
  for (auto& entry : host) {
    if (entry.function == 0xD && entry.index == 1) {
      entry.ecx = 0x1800;
    } else if (entry.function == 7 && entry.index == 0) {
      entry.ecx |= 1U << 7;   // shstk
      entry.edx |= 1U << 20;  // ibt
    }
  }
  for (const CpuConfig& config : {CpuConfig{}, CpuConfig{{}, {"shstk"}}, CpuConfig{{}, {"ibt"}}}) {
    EXPECT_EQ(leaf(machine(host, config), 0xD, 1).ecx, 0x1800U);
    EXPECT_EQ(leaf(machine(host, config), 0xD, 1).ebx, 0x9B0U);
  }
  EXPECT_EQ(leaf(machine(host), 0xD).ecx, 0xA88U) << "only XSAVES stores them";
  for (const CpuConfig& config : {CpuConfig{{}, {"shstk", "ibt"}}, CpuConfig{{}, {"xsaves"}}}) {
    const auto table = machine(host, config);
    EXPECT_EQ(leaf(table, 0xD, 1).ecx, 0U);
    EXPECT_EQ(leaf(table, 0xD, 1).ebx, 0x988U);
    EXPECT_EQ(find_cpuid(table, 0xD, 11), nullptr);
    EXPECT_EQ(find_cpuid(table, 0xD, 12), nullptr);
  }
  EXPECT_EQ(leaf(machine(host, {{}, {"xsavec", "xsaves"}}), 0xD, 1).ebx, 0U);
}

TEST(MachineCpuid, TakesAwayWhatNeedsAvx) {
  const auto table = machine(intel_host(), {{}, {"avx"}});
  EXPECT_EQ(leaf(table, 1).ecx, (0xF7FA'3223U | 1U << 21) & ~(1U << 12 | 1U << 28 | 1U << 29));
  EXPECT_EQ(leaf(table, 7).ebx & 0xF023'0020, 0x2000'0000U) << "of avx2 and avx512, SHA alone is left";
  EXPECT_EQ(leaf(table, 7).ecx, 0x1A41'5F6EU & ~0x5E42U);
  EXPECT_EQ(leaf(table, 7, 1).eax, 0U);
  EXPECT_EQ(leaf(machine(intel_host()), 7, 1).eax, 0x30U);
}

TEST(MachineCpuid, TakesAwayWhatNeedsXsave) {
  const auto table = machine(intel_host(), {{}, {"xsave"}});
  EXPECT_EQ(find_cpuid(table, 0xD), nullptr);
  EXPECT_EQ(leaf(table, 1).ecx & (1U << 12 | 1U << 26 | 1U << 28 | 1U << 29), 0U);
  EXPECT_EQ(leaf(table, 7).ebx & 1U << 5, 0U);
  EXPECT_EQ(leaf(table, 7).ecx & 1U << 3, 0U) << "pku";
}

TEST(MachineCpuid, RefusesToGiveAFeatureWithoutWhatItNeeds) {
  const auto table = machine_cpuid(intel_host(), true, {{"avx2"}, {"xsave"}});
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().message(), "-cpu: +avx2 does not go with -xsave");
  EXPECT_TRUE(machine_cpuid(intel_host(), true, {{"avx2"}, {"avx2"}}).has_value()) << "the minus counts";
}

TEST(MachineCpuid, TakesAwayTheSecondPlaceOfABitOnAmd) {
  EXPECT_EQ(leaf(machine(amd_host(), {{}, {"mmx"}}), 0x8000'0001).edx, 0x2FD3'FBFFU & ~(1U << 23 | 1U << 22))
      << "and mmxext";
  EXPECT_EQ(leaf(machine(intel_host(), {{}, {"mmx"}}), 0x8000'0001).edx, 0x2C10'0800U);
}

TEST(MachineCpuid, AcceptsAFeatureThatTheHostHas) {
  EXPECT_TRUE(
      machine_cpuid(intel_host(), true, {{"avx2", "tsc_deadline_timer", "hypervisor"}, {}}).has_value());
}

TEST(MachineCpuid, RefusesAFeatureThatTheHostLacks) {
  const auto table = machine_cpuid(intel_host(), true, {{"svm"}, {}});
  ASSERT_FALSE(table.has_value());
  EXPECT_EQ(table.error().message(), "-cpu: this host cannot give a guest the feature 'svm'");
}

TEST(MachineCpuid, DisablingWhatTheHostLacksIsHarmless) {
  EXPECT_TRUE(machine_cpuid(intel_host(), true, {{}, {"svm", "clzero", "sse4a"}}).has_value());
}

TEST(MachineCpuid, NamesTheNearestFeatureOfATypingError) {
  for (const CpuConfig& config : {CpuConfig{{"avx512ff"}, {}}, CpuConfig{{}, {"avx512ff"}}}) {
    const auto table = machine_cpuid(intel_host(), true, config);
    ASSERT_FALSE(table.has_value());
    EXPECT_EQ(table.error().message(), "-cpu: unknown CPU feature 'avx512ff'; did you mean 'avx512f'?");
  }
}

TEST(MachineCpuid, HidesWhatBelongsToAMissingPmu) {
  CpuidTable host = intel_host();
  host[6].eax = 0;
  const auto table = machine(host);
  EXPECT_EQ(find_cpuid(table, 0xA), nullptr);
  EXPECT_EQ(leaf(table, 1).ecx & (1U << 15), 0U);
  EXPECT_EQ(leaf(table, 1).edx & (1U << 21), 0U);
  EXPECT_EQ(leaf(machine(intel_host()), 0xA).eax, 0x0830'0802U);
}

TEST(VcpuCpuid, GivesEveryVcpuItsApicId) {
  for (const unsigned vcpu : {0U, 1U, 5U}) {
    const auto table = vcpu_cpuid(machine(intel_host()), vcpu, 6);
    EXPECT_EQ(leaf(table, 1).ebx >> 24, vcpu);
    EXPECT_EQ(leaf(table, 1).ebx >> 16 & 0xFF, 8U);
    EXPECT_EQ(leaf(table, 1).ebx & 0xFFFF, 0x0800U) << "the cache line stays";
    EXPECT_EQ(leaf(table, 0xB, 0).edx, vcpu);
    EXPECT_EQ(leaf(table, 0xB, 1).edx, vcpu);
    EXPECT_EQ(leaf(table, 0x1F, 2).edx, vcpu);
  }
}

TEST(VcpuCpuid, DescribesOnePackageOfSingleThreadedCores) {
  const auto table = vcpu_cpuid(machine(intel_host()), 0, 6);
  for (const std::uint32_t number : {0xBU, 0x1FU}) {
    EXPECT_EQ(leaf(table, number, 0).eax, 0U);
    EXPECT_EQ(leaf(table, number, 0).ebx, 1U);
    EXPECT_EQ(leaf(table, number, 0).ecx, 0x100U);
    EXPECT_EQ(leaf(table, number, 1).eax, 3U) << "three bits of the APIC id number the cores";
    EXPECT_EQ(leaf(table, number, 1).ebx, 6U);
    EXPECT_EQ(leaf(table, number, 1).ecx, 0x201U);
    EXPECT_EQ(leaf(table, number, 2).ebx, 0U);
    EXPECT_EQ(leaf(table, number, 2).ecx, 2U);
  }
  EXPECT_EQ(leaf(table, 4, 0).eax, cache(1, 1, 7U << 26));
  EXPECT_EQ(leaf(table, 4, 1).eax, cache(3, 2, 7U << 26));
  EXPECT_EQ(leaf(table, 4, 2).eax, cache(3, 3, 7U << 26 | 7U << 14));
  EXPECT_EQ(leaf(table, 4, 3).eax, 0U);
  EXPECT_NE(leaf(table, 1).edx & 1U << 28, 0U);
}

TEST(VcpuCpuid, SaysThatOneCpuIsOne) {
  const auto table = vcpu_cpuid(machine(intel_host()), 0, 1);
  EXPECT_EQ(leaf(table, 1).ebx >> 16, 1U);
  EXPECT_EQ(leaf(table, 1).edx & 1U << 28, 0U);
  EXPECT_EQ(leaf(table, 4, 2).eax, cache(3, 3, 0));
  EXPECT_EQ(leaf(table, 0xB, 1).eax, 0U);
  EXPECT_EQ(leaf(table, 0xB, 1).ebx, 1U);
}

TEST(VcpuCpuid, HoldsSixtyFour) {
  const auto table = vcpu_cpuid(machine(intel_host()), 63, 64);
  EXPECT_EQ(leaf(table, 1).ebx, 0x3F40'0800U);
  EXPECT_EQ(leaf(table, 4, 2).eax >> 26, 63U);
  EXPECT_EQ(leaf(table, 4, 2).eax >> 14 & 0xFFF, 63U);
  EXPECT_EQ(leaf(table, 0xB, 1).eax, 6U);
}

TEST(VcpuCpuid, DescribesTheSameInAmdsLeaves) {
  const auto table = vcpu_cpuid(machine(amd_host()), 5, 6);
  EXPECT_EQ(leaf(table, 0x8000'0008).ecx, 0x3005U);
  EXPECT_EQ(leaf(table, 0x8000'0001).ecx & 2, 2U);
  EXPECT_EQ(leaf(table, 0x8000'001D, 0).eax, cache(1, 1, 0x100));
  EXPECT_EQ(leaf(table, 0x8000'001D, 3).eax, cache(3, 3, 0x100 | 5U << 14));
  EXPECT_EQ(leaf(table, 0x8000'001E).eax, 5U);
  EXPECT_EQ(leaf(table, 0x8000'001E).ebx, 5U);
  EXPECT_EQ(leaf(table, 0x8000'001E).ecx, 0U);
  EXPECT_EQ(leaf(table, 0xB, 1).ebx, 6U);
  EXPECT_EQ(find_cpuid(table, 0x1F), nullptr);
  EXPECT_EQ(find_cpuid(table, 0x8000'0026), nullptr);
  EXPECT_EQ(leaf(vcpu_cpuid(machine(amd_host()), 0, 1), 0x8000'0001).ecx & 2, 0U);
}

TEST(VcpuCpuid, LeavesTheFieldsOfAmdAloneOnIntel) {
  const auto table = vcpu_cpuid(machine(intel_host()), 1, 2);
  EXPECT_EQ(leaf(table, 0x8000'0008).ecx, 0U);
  EXPECT_EQ(leaf(table, 0x8000'0001).ecx, 0x121U);
}

TEST(CpuFeatures, HaveDistinctNames) {
  std::set<std::string_view> names;
  for (const CpuFeature& feature : cpu_features()) {
    EXPECT_TRUE(names.insert(feature.name).second) << feature.name;
    EXPECT_NE(feature.mask, 0U) << feature.name;
  }
  EXPECT_GT(names.size(), 60U);
}

TEST(CpuFeatures, DependOnFeaturesThatThereAre) {
  for (const CpuDependency& dependency : cpu_dependencies()) {
    EXPECT_TRUE(find_cpu_feature(dependency.feature).has_value()) << dependency.feature;
    EXPECT_TRUE(find_cpu_feature(dependency.needs).has_value()) << dependency.needs;
  }
  EXPECT_GT(cpu_dependencies().size(), 40U);
}

}  // namespace
}  // namespace tapir::vmm
