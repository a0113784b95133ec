// SPDX-License-Identifier: Apache-2.0
#include "vmm/cpu_features.h"

#include <algorithm>
#include <string>
#include <vector>

#include "net/base/parse.h"

namespace tapir::vmm {
namespace {

constexpr std::uint32_t bit(unsigned n) {
  return std::uint32_t{1} << n;
}

constexpr auto kA = CpuidRegister::kEax;
constexpr auto kB = CpuidRegister::kEbx;
constexpr auto kC = CpuidRegister::kEcx;
constexpr auto kD = CpuidRegister::kEdx;

constexpr CpuFeature kFeatures[] = {
    // Leaf 1, EDX.
    {"fpu", 1, 0, kD, bit(0)},
    {"vme", 1, 0, kD, bit(1)},
    {"de", 1, 0, kD, bit(2)},
    {"pse", 1, 0, kD, bit(3)},
    {"tsc", 1, 0, kD, bit(4)},
    {"msr", 1, 0, kD, bit(5)},
    {"pae", 1, 0, kD, bit(6)},
    {"mce", 1, 0, kD, bit(7)},
    {"cx8", 1, 0, kD, bit(8)},
    {"apic", 1, 0, kD, bit(9)},
    {"sep", 1, 0, kD, bit(11)},
    {"mtrr", 1, 0, kD, bit(12)},
    {"pge", 1, 0, kD, bit(13)},
    {"mca", 1, 0, kD, bit(14)},
    {"cmov", 1, 0, kD, bit(15)},
    {"pat", 1, 0, kD, bit(16)},
    {"pse36", 1, 0, kD, bit(17)},
    {"clflush", 1, 0, kD, bit(19)},
    {"mmx", 1, 0, kD, bit(23)},
    {"fxsr", 1, 0, kD, bit(24)},
    {"sse", 1, 0, kD, bit(25)},
    {"sse2", 1, 0, kD, bit(26)},
    {"ss", 1, 0, kD, bit(27)},
    // Leaf 1, ECX.
    {"pni", 1, 0, kC, bit(0)},
    {"sse3", 1, 0, kC, bit(0)},
    {"pclmulqdq", 1, 0, kC, bit(1)},
    {"dtes64", 1, 0, kC, bit(2)},
    {"monitor", 1, 0, kC, bit(3)},
    {"vmx", 1, 0, kC, bit(5)},
    {"ssse3", 1, 0, kC, bit(9)},
    {"fma", 1, 0, kC, bit(12)},
    {"cx16", 1, 0, kC, bit(13)},
    {"pdcm", 1, 0, kC, bit(15)},
    {"pcid", 1, 0, kC, bit(17)},
    {"sse4_1", 1, 0, kC, bit(19)},
    {"sse4_2", 1, 0, kC, bit(20)},
    {"x2apic", 1, 0, kC, bit(21)},
    {"movbe", 1, 0, kC, bit(22)},
    {"popcnt", 1, 0, kC, bit(23)},
    {"tsc_deadline_timer", 1, 0, kC, bit(24)},
    {"tsc_deadline", 1, 0, kC, bit(24)},
    {"aes", 1, 0, kC, bit(25)},
    {"xsave", 1, 0, kC, bit(26)},
    {"avx", 1, 0, kC, bit(28)},
    {"f16c", 1, 0, kC, bit(29)},
    {"rdrand", 1, 0, kC, bit(30)},
    {"hypervisor", 1, 0, kC, bit(31)},
    // Leaf 6, EAX.
    {"arat", 6, 0, kA, bit(2)},
    // Leaf 7, EBX.
    {"fsgsbase", 7, 0, kB, bit(0)},
    {"tsc_adjust", 7, 0, kB, bit(1)},
    {"sgx", 7, 0, kB, bit(2)},
    {"bmi1", 7, 0, kB, bit(3)},
    {"hle", 7, 0, kB, bit(4)},
    {"avx2", 7, 0, kB, bit(5)},
    {"smep", 7, 0, kB, bit(7)},
    {"bmi2", 7, 0, kB, bit(8)},
    {"erms", 7, 0, kB, bit(9)},
    {"invpcid", 7, 0, kB, bit(10)},
    {"rtm", 7, 0, kB, bit(11)},
    {"mpx", 7, 0, kB, bit(14)},
    {"avx512f", 7, 0, kB, bit(16)},
    {"avx512dq", 7, 0, kB, bit(17)},
    {"rdseed", 7, 0, kB, bit(18)},
    {"adx", 7, 0, kB, bit(19)},
    {"smap", 7, 0, kB, bit(20)},
    {"avx512ifma", 7, 0, kB, bit(21)},
    {"clflushopt", 7, 0, kB, bit(23)},
    {"clwb", 7, 0, kB, bit(24)},
    {"avx512pf", 7, 0, kB, bit(26)},
    {"avx512er", 7, 0, kB, bit(27)},
    {"avx512cd", 7, 0, kB, bit(28)},
    {"sha_ni", 7, 0, kB, bit(29)},
    {"avx512bw", 7, 0, kB, bit(30)},
    {"avx512vl", 7, 0, kB, bit(31)},
    // Leaf 7, ECX.
    {"avx512vbmi", 7, 0, kC, bit(1)},
    {"umip", 7, 0, kC, bit(2)},
    {"pku", 7, 0, kC, bit(3)},
    {"waitpkg", 7, 0, kC, bit(5)},
    {"avx512_vbmi2", 7, 0, kC, bit(6)},
    {"shstk", 7, 0, kC, bit(7)},
    {"user_shstk", 7, 0, kC, bit(7)},
    {"gfni", 7, 0, kC, bit(8)},
    {"vaes", 7, 0, kC, bit(9)},
    {"vpclmulqdq", 7, 0, kC, bit(10)},
    {"avx512_vnni", 7, 0, kC, bit(11)},
    {"avx512_bitalg", 7, 0, kC, bit(12)},
    {"avx512_vpopcntdq", 7, 0, kC, bit(14)},
    {"la57", 7, 0, kC, bit(16)},
    {"rdpid", 7, 0, kC, bit(22)},
    {"bus_lock_detect", 7, 0, kC, bit(24)},
    {"cldemote", 7, 0, kC, bit(25)},
    {"movdiri", 7, 0, kC, bit(27)},
    {"movdir64b", 7, 0, kC, bit(28)},
    // Leaf 7, EDX.
    {"avx512_4vnniw", 7, 0, kD, bit(2)},
    {"avx512_4fmaps", 7, 0, kD, bit(3)},
    {"fsrm", 7, 0, kD, bit(4)},
    {"avx512_vp2intersect", 7, 0, kD, bit(8)},
    {"md_clear", 7, 0, kD, bit(10)},
    {"serialize", 7, 0, kD, bit(14)},
    {"tsxldtrk", 7, 0, kD, bit(16)},
    {"ibt", 7, 0, kD, bit(20)},
    {"amx_bf16", 7, 0, kD, bit(22)},
    {"avx512_fp16", 7, 0, kD, bit(23)},
    {"amx_tile", 7, 0, kD, bit(24)},
    {"amx_int8", 7, 0, kD, bit(25)},
    {"spec_ctrl", 7, 0, kD, bit(26)},
    {"intel_stibp", 7, 0, kD, bit(27)},
    {"flush_l1d", 7, 0, kD, bit(28)},
    {"arch_capabilities", 7, 0, kD, bit(29)},
    // Leaf 7, subleaf 1, EAX.
    {"sha512", 7, 1, kA, bit(0)},
    {"sm3", 7, 1, kA, bit(1)},
    {"sm4", 7, 1, kA, bit(2)},
    {"avx_vnni", 7, 1, kA, bit(4)},
    {"avx512_bf16", 7, 1, kA, bit(5)},
    {"fzrm", 7, 1, kA, bit(10)},
    {"fsrs", 7, 1, kA, bit(11)},
    {"fsrc", 7, 1, kA, bit(12)},
    {"amx_fp16", 7, 1, kA, bit(21)},
    {"avx_ifma", 7, 1, kA, bit(23)},
    // Leaf 7, subleaf 1, EDX. Not in /proc/cpuinfo; QEMU's names.
    {"avx_vnni_int8", 7, 1, kD, bit(4)},
    {"avx_ne_convert", 7, 1, kD, bit(5)},
    {"amx_complex", 7, 1, kD, bit(8)},
    {"avx_vnni_int16", 7, 1, kD, bit(10)},
    {"avx10", 7, 1, kD, bit(19)},
    // Leaf 0xD, subleaf 1, EAX.
    {"xsaveopt", 0xD, 1, kA, bit(0)},
    {"xsavec", 0xD, 1, kA, bit(1)},
    {"xgetbv1", 0xD, 1, kA, bit(2)},
    {"xsaves", 0xD, 1, kA, bit(3)},
    {"xfd", 0xD, 1, kA, bit(4)},
    // KVM's own, leaf 0x40000001, EAX (Documentation/virt/kvm/x86/cpuid.rst); QEMU's names.
    {"kvmclock", 0x4000'0001, 0, kA, bit(0) | bit(3)},
    {"kvm_asyncpf", 0x4000'0001, 0, kA, bit(4)},
    {"kvm_steal_time", 0x4000'0001, 0, kA, bit(5)},
    {"kvm_pv_eoi", 0x4000'0001, 0, kA, bit(6)},
    {"kvm_pv_unhalt", 0x4000'0001, 0, kA, bit(7)},
    {"kvm_pv_tlb_flush", 0x4000'0001, 0, kA, bit(9)},
    {"kvm_pv_ipi", 0x4000'0001, 0, kA, bit(11)},
    {"kvm_poll_control", 0x4000'0001, 0, kA, bit(12)},
    {"kvm_pv_sched_yield", 0x4000'0001, 0, kA, bit(13)},
    // Leaf 0x80000001, EDX.
    {"syscall", 0x8000'0001, 0, kD, bit(11)},
    {"nx", 0x8000'0001, 0, kD, bit(20)},
    {"mmxext", 0x8000'0001, 0, kD, bit(22)},
    {"fxsr_opt", 0x8000'0001, 0, kD, bit(25)},
    {"pdpe1gb", 0x8000'0001, 0, kD, bit(26)},
    {"rdtscp", 0x8000'0001, 0, kD, bit(27)},
    {"lm", 0x8000'0001, 0, kD, bit(29)},
    {"3dnowext", 0x8000'0001, 0, kD, bit(30)},
    {"3dnow", 0x8000'0001, 0, kD, bit(31)},
    // Leaf 0x80000001, ECX.
    {"lahf_lm", 0x8000'0001, 0, kC, bit(0)},
    {"svm", 0x8000'0001, 0, kC, bit(2)},
    {"cr8_legacy", 0x8000'0001, 0, kC, bit(4)},
    {"abm", 0x8000'0001, 0, kC, bit(5)},
    {"sse4a", 0x8000'0001, 0, kC, bit(6)},
    {"misalignsse", 0x8000'0001, 0, kC, bit(7)},
    {"3dnowprefetch", 0x8000'0001, 0, kC, bit(8)},
    {"osvw", 0x8000'0001, 0, kC, bit(9)},
    {"xop", 0x8000'0001, 0, kC, bit(11)},
    {"fma4", 0x8000'0001, 0, kC, bit(16)},
    {"tbm", 0x8000'0001, 0, kC, bit(21)},
    {"topoext", 0x8000'0001, 0, kC, bit(22)},
    {"perfctr_core", 0x8000'0001, 0, kC, bit(23)},
    // Leaves 0x80000007 and 0x80000008. nonstop_tsc and constant_tsc are one bit, which QEMU calls invtsc.
    {"invtsc", 0x8000'0007, 0, kD, bit(8)},
    {"nonstop_tsc", 0x8000'0007, 0, kD, bit(8)},
    {"constant_tsc", 0x8000'0007, 0, kD, bit(8)},
    {"clzero", 0x8000'0008, 0, kB, bit(0)},
    {"xsaveerptr", 0x8000'0008, 0, kB, bit(2)},
    {"wbnoinvd", 0x8000'0008, 0, kB, bit(9)},
    {"ibpb", 0x8000'0008, 0, kB, bit(12)},
    {"ibrs", 0x8000'0008, 0, kB, bit(14)},
    {"stibp", 0x8000'0008, 0, kB, bit(15)},
    {"ssbd", 0x8000'0008, 0, kB, bit(24)},
    {"virt_ssbd", 0x8000'0008, 0, kB, bit(25)},
};

constexpr CpuDependency kDependencies[] = {
    // Registers of the FPU and of SSE.
    {"mmx", "fxsr"},
    {"mmxext", "mmx"},
    {"3dnow", "mmx"},
    {"3dnowext", "3dnow"},
    {"fxsr_opt", "fxsr"},
    {"sse", "fxsr"},
    {"sse2", "sse"},
    {"pni", "sse2"},
    {"ssse3", "sse2"},
    {"sse4_1", "sse2"},
    {"sse4_2", "sse2"},
    {"sse4a", "sse2"},
    {"pclmulqdq", "sse2"},
    {"aes", "sse2"},
    {"sha_ni", "sse2"},
    {"gfni", "sse2"},
    {"xsave", "fxsr"},
    // How they are saved, and what has registers that only XSAVE saves.
    {"xsaveopt", "xsave"},
    {"xsavec", "xsave"},
    {"xgetbv1", "xsave"},
    {"xsaves", "xsave"},
    {"pku", "xsave"},
    {"mpx", "xsave"},
    {"shstk", "xsaves"},
    {"xfd", "xsaves"},
    {"xfd", "xgetbv1"},
    // 256 bits.
    {"avx", "xsave"},
    {"fma", "avx"},
    {"f16c", "avx"},
    {"fma4", "avx"},
    {"xop", "avx"},
    {"avx2", "avx"},
    {"vaes", "avx"},
    {"vpclmulqdq", "avx"},
    {"sha512", "avx"},
    {"sm3", "avx"},
    {"sm4", "avx"},
    {"avx_vnni", "avx"},
    {"avx_ifma", "avx"},
    {"avx_vnni_int8", "avx"},
    {"avx_vnni_int16", "avx"},
    {"avx_ne_convert", "avx"},
    // 512 bits.
    {"avx512f", "avx2"},
    {"avx512dq", "avx512f"},
    {"avx512ifma", "avx512f"},
    {"avx512pf", "avx512f"},
    {"avx512er", "avx512f"},
    {"avx512cd", "avx512f"},
    {"avx512bw", "avx512f"},
    {"avx512vl", "avx512f"},
    {"avx512vbmi", "avx512f"},
    {"avx512_4vnniw", "avx512f"},
    {"avx512_4fmaps", "avx512f"},
    {"avx512_vpopcntdq", "avx512f"},
    {"avx512_vbmi2", "avx512vl"},
    {"avx512_vnni", "avx512vl"},
    {"avx512_bitalg", "avx512vl"},
    {"avx512_vp2intersect", "avx512vl"},
    {"avx512_bf16", "avx512vl"},
    {"avx512_fp16", "avx512bw"},
    {"avx10", "avx512f"},
    // Tiles.
    {"amx_tile", "xfd"},
    {"amx_bf16", "amx_tile"},
    {"amx_int8", "amx_tile"},
    {"amx_fp16", "amx_tile"},
    {"amx_complex", "amx_tile"},
};

}  // namespace

std::span<const CpuFeature> cpu_features() {
  return kFeatures;
}

std::span<const CpuDependency> cpu_dependencies() {
  return kDependencies;
}

std::optional<CpuFeature> find_cpu_feature(std::string_view name) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  for (const CpuFeature& feature : kFeatures) {
    if (feature.name == wanted) {
      return feature;
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> nearest_cpu_feature(std::string_view name) {
  std::vector<std::string_view> names;
  for (const CpuFeature& feature : kFeatures) {
    names.push_back(feature.name);
  }
  return nearest(name, names);
}

}  // namespace tapir::vmm
