// SPDX-License-Identifier: Apache-2.0
#include "vmm/cpuid.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "net/base/check.h"
#include "vmm/cpu_features.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr std::uint32_t bit(unsigned n) {
  return std::uint32_t{1} << n;
}

/// `word` with the field of `bits` bits from `shift` on set to `value`.
constexpr std::uint32_t with_field(std::uint32_t word, unsigned shift, unsigned bits, std::uint32_t value) {
  const std::uint32_t mask = (bit(bits) - 1) << shift;
  return (word & ~mask) | ((value << shift) & mask);
}

// Leaf 1.
constexpr std::uint32_t kEcxDtes64 = bit(2);
constexpr std::uint32_t kEcxDsCpl = bit(4);
constexpr std::uint32_t kEcxPdcm = bit(15);
constexpr std::uint32_t kEcxX2Apic = bit(21);
constexpr std::uint32_t kEcxTscDeadline = bit(24);
constexpr std::uint32_t kEcxXsave = bit(26);
constexpr std::uint32_t kEcxOsxsave = bit(27);
constexpr std::uint32_t kEcxHypervisor = bit(31);
constexpr std::uint32_t kEdxDs = bit(21);
constexpr std::uint32_t kEdxHtt = bit(28);

// Leaf 0xD: subleaf 1, EAX, and ECX of a component's subleaf.
constexpr std::uint32_t kXsaveLeaf = 0xD;
constexpr std::uint32_t kEaxXsavec = bit(1);
constexpr std::uint32_t kEaxXsaves = bit(3);
constexpr std::uint32_t kEcxComponentAligned = bit(1);

// Leaf 0x80000001 of AMD: EDX repeats these bits of leaf 1, and ECX says that HTT means cores, not threads.
constexpr std::uint32_t kAmdRepeatedEdx = 0x0183'F3FF;
constexpr std::uint32_t kEcxCmpLegacy = bit(1);

std::uint32_t& word(kvm_cpuid_entry2& entry, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax:
      return entry.eax;
    case CpuidRegister::kEbx:
      return entry.ebx;
    case CpuidRegister::kEcx:
      return entry.ecx;
    case CpuidRegister::kEdx:
      break;
  }
  return entry.edx;
}

kvm_cpuid_entry2* find_mutable(CpuidTable& table, std::uint32_t leaf, std::uint32_t index = 0) {
  return const_cast<kvm_cpuid_entry2*>(find_cpuid(table, leaf, index));
}

/// AMD and Hygon describe topology and caches in leaves of their own.
bool is_amd(const CpuidTable& table) {
  const auto* vendor = find_cpuid(table, 0);
  // EBX holds the vendor's first four letters: "Auth"enticAMD, "Hygo"nGenuine.
  return vendor != nullptr && (vendor->ebx == 0x6874'7541 || vendor->ebx == 0x6F67'7948);
}

std::uint32_t max_basic_leaf(const CpuidTable& table) {
  const auto* first = find_cpuid(table, 0);
  return first == nullptr ? 0 : first->eax;
}

void remove_leaf(CpuidTable& table, std::uint32_t leaf) {
  table.erase(std::remove_if(table.begin(), table.end(),
                             [leaf](const auto& entry) { return entry.function == leaf; }),
              table.end());
}

bool has(const CpuidTable& table, const CpuFeature& feature) {
  const auto* found = find_cpuid(table, feature.leaf, feature.index);
  if (found == nullptr) {
    return false;
  }
  kvm_cpuid_entry2 entry = *found;
  return (word(entry, feature.reg) & feature.mask) == feature.mask;
}

Result<CpuFeature> known_feature(const std::string& name) {
  if (const auto feature = find_cpu_feature(name)) {
    return *feature;
  }
  std::string text = fmt::format("-cpu: unknown CPU feature '{}'", name);
  if (const auto near = nearest_cpu_feature(name)) {
    text += fmt::format("; did you mean '{}'?", *near);
  }
  return fail(std::move(text));
}

void disable(CpuidTable& table, const CpuFeature& feature) {
  if (auto* entry = find_mutable(table, feature.leaf, feature.index)) {
    word(*entry, feature.reg) &= ~feature.mask;
  }
  const bool repeated =
      feature.leaf == 1 && feature.reg == CpuidRegister::kEdx && (kAmdRepeatedEdx & feature.mask) != 0;
  if (auto* entry = find_mutable(table, 0x8000'0001); repeated && entry != nullptr && is_amd(table)) {
    entry->edx &= ~feature.mask;
  }
}

/// Takes away what lacks a feature that it needs, and then what needs that, to the end.
void drop_dependents(CpuidTable& table) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const CpuDependency& dependency : cpu_dependencies()) {
      const CpuFeature feature = *find_cpu_feature(dependency.feature);
      if (has(table, feature) && !has(table, *find_cpu_feature(dependency.needs))) {
        disable(table, feature);
        changed = true;
      }
    }
  }
}

/// That nothing which the operator asked for goes with a feature that is taken away. The feature itself may
/// be among them: as in QEMU the minus counts.
Status check_not_needed(CpuidTable table, const std::string& name, const CpuFeature& feature,
                        const std::vector<std::string>& enabled) {
  disable(table, feature);
  const CpuidTable before = table;
  drop_dependents(table);
  for (const std::string& other : enabled) {
    TAPIR_TRY_ASSIGN(const CpuFeature wanted, known_feature(other));
    if (has(before, wanted) && !has(table, wanted)) {
      return fail(fmt::format("-cpu: +{} does not go with -{}", other, name));
    }
  }
  return {};
}

/// The XSAVE components that no feature of the table uses any more (Intel SDM, volume 1, 13.1); of the first
/// 32, which are all that KVM knows.
std::uint32_t unused_components(const CpuidTable& table) {
  struct Use {
    const char* feature;
    std::uint32_t components;
  };
  constexpr std::array kUses{Use{"avx", bit(2)},
                             Use{"mpx", bit(3) | bit(4)},
                             Use{"avx512f", bit(5) | bit(6) | bit(7)},
                             Use{"pku", bit(9)},
                             Use{"shstk", bit(11) | bit(12)},
                             Use{"ibt", bit(11) | bit(12)},
                             Use{"amx_tile", bit(17) | bit(18)}};
  std::uint32_t known = 0;
  std::uint32_t used = 0;
  for (const Use& use : kUses) {
    known |= use.components;
    if (has(table, *find_cpu_feature(use.feature))) {
      used |= use.components;
    }
  }
  return known & ~used;
}

/// Bytes of an XSAVE area with these components: in the standard form up to the end of the last, compacted
/// with one behind the other (Intel SDM, volume 1, 13.4.2 and 13.4.3).
std::uint32_t xsave_bytes(const CpuidTable& table, std::uint32_t components, bool compacted) {
  constexpr std::uint32_t kLegacyAndHeader = 512 + 64;
  constexpr std::uint32_t kAlignment = 64;
  std::uint32_t bytes = kLegacyAndHeader;
  for (std::uint32_t index = 2; index < 32; ++index) {
    const auto* component = find_cpuid(table, kXsaveLeaf, index);
    if ((components & bit(index)) == 0 || component == nullptr) {
      continue;
    }
    if (!compacted) {
      bytes = std::max(bytes, component->ebx + component->eax);
      continue;
    }
    const bool aligned = (component->ecx & kEcxComponentAligned) != 0;
    bytes = (aligned ? (bytes + kAlignment - 1) / kAlignment * kAlignment : bytes) + component->eax;
  }
  return bytes;
}

/// Makes leaf 0xD tell of the components that are left, and of the room that they take. KVM puts the sizes of
/// those that a guest has enabled into EBX when it enables them; until then EBX has those of all, as in KVM's
/// own list.
void trim_xsave_components(CpuidTable& table) {
  const auto* features = find_cpuid(table, 1);
  if (features != nullptr && (features->ecx & kEcxXsave) == 0) {
    remove_leaf(table, kXsaveLeaf);
    return;
  }
  std::uint32_t gone = unused_components(table);
  const auto* extensions = find_cpuid(table, kXsaveLeaf, 1);
  const bool has_xsaves = extensions != nullptr && (extensions->eax & kEaxXsaves) != 0;
  if (extensions != nullptr && !has_xsaves) {
    gone |= extensions->ecx;  // supervisor components, which XSAVES alone saves
  }
  table.erase(std::remove_if(table.begin(), table.end(),
                             [gone](const auto& entry) {
                               return entry.function == kXsaveLeaf && entry.index >= 2 && entry.index < 32 &&
                                      (gone & bit(entry.index)) != 0;
                             }),
              table.end());
  auto* user = find_mutable(table, kXsaveLeaf, 0);
  if (user == nullptr) {
    return;
  }
  user->eax &= ~gone;
  user->ebx = user->ecx = xsave_bytes(table, user->eax, false);
  if (auto* supervisor = find_mutable(table, kXsaveLeaf, 1)) {
    supervisor->ecx &= ~gone;
    const bool has_compacted = has_xsaves || (supervisor->eax & kEaxXsavec) != 0;
    supervisor->ebx = has_compacted ? xsave_bytes(table, user->eax | supervisor->ecx, true) : 0;
  }
}

/// Without a PMU (leaf 0xA, version 0) a guest must not be told of what belongs to one: it would use its
/// MSRs.
void drop_absent_pmu(CpuidTable& table) {
  const auto* pmu = find_cpuid(table, 0xA);
  if (pmu != nullptr && (pmu->eax & 0xFF) != 0) {
    return;
  }
  remove_leaf(table, 0xA);
  if (auto* features = find_mutable(table, 1)) {
    features->ecx &= ~(kEcxPdcm | kEcxDtes64 | kEcxDsCpl);
    features->edx &= ~kEdxDs;
  }
}

kvm_cpuid_entry2 indexed(std::uint32_t leaf, std::uint32_t index) {
  kvm_cpuid_entry2 entry{};
  entry.function = leaf;
  entry.index = index;
  entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
  return entry;
}

/// Leaves 0xB and 0x1F: the levels thread (1) and core (2), then the end (0); Intel SDM, volume 2, CPUID.
void add_extended_topology(CpuidTable& table, std::uint32_t leaf, unsigned vcpu, unsigned cpus,
                           unsigned id_bits) {
  remove_leaf(table, leaf);
  if (max_basic_leaf(table) < leaf) {
    return;
  }
  for (std::uint32_t level = 0; level < 3; ++level) {
    kvm_cpuid_entry2 entry = indexed(leaf, level);
    entry.eax = level == 1 ? id_bits : 0;
    entry.ebx = level == 0 ? 1 : (level == 1 ? cpus : 0);
    entry.ecx = level | (level < 2 ? (level + 1) << 8 : 0);
    entry.edx = vcpu;
    table.push_back(entry);
  }
}

/// Leaves 4 and 0x8000001D have caches in one form: the last level is the package's, the others each core's
/// own.
void share_caches(kvm_cpuid_entry2& entry, unsigned ids) {
  constexpr unsigned kLastLevel = 3;
  const unsigned type = entry.eax & 0x1F;
  const unsigned level = (entry.eax >> 5) & 0x7;
  if (type != 0) {
    entry.eax = with_field(entry.eax, 14, 12, level >= kLastLevel ? ids - 1 : 0);
  }
}

void set_amd_topology(CpuidTable& table, unsigned vcpu, unsigned cpus, unsigned id_bits) {
  for (auto& entry : table) {
    switch (entry.function) {
      case 0x8000'0001:
        entry.ecx = cpus > 1 ? entry.ecx | kEcxCmpLegacy : entry.ecx & ~kEcxCmpLegacy;
        break;
      case 0x8000'0008:  // NC and ApicIdSize
        entry.ecx = with_field(with_field(entry.ecx, 0, 8, cpus - 1), 12, 4, id_bits);
        break;
      case 0x8000'001D:
        share_caches(entry, cpus);
        break;
      case 0x8000'001E:  // extended APIC id; core number, one thread a core; node 0 of 1
        entry.eax = vcpu;
        entry.ebx = vcpu & 0xFF;
        entry.ecx = 0;
        entry.edx = 0;
        break;
      default:
        break;
    }
  }
  remove_leaf(table, 0x8000'0026);  // extended topology of the host; the leaves above say it all
}

}  // namespace

const kvm_cpuid_entry2* find_cpuid(std::span<const kvm_cpuid_entry2> table, std::uint32_t leaf,
                                   std::uint32_t index) {
  for (const auto& entry : table) {
    const bool indexed = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    if (entry.function == leaf && (!indexed || entry.index == index)) {
      return &entry;
    }
  }
  return nullptr;
}

Result<CpuidTable> machine_cpuid(std::span<const kvm_cpuid_entry2> supported, bool tsc_deadline_timer,
                                 const CpuConfig& config) {
  CpuidTable table(supported.begin(), supported.end());
  auto* features = find_mutable(table, 1);
  if (features == nullptr) {
    return fail("KVM_GET_SUPPORTED_CPUID: no leaf 1");
  }
  features->ecx |= kEcxHypervisor | kEcxX2Apic;
  features->ecx = tsc_deadline_timer ? features->ecx | kEcxTscDeadline : features->ecx & ~kEcxTscDeadline;
  for (const std::string& name : config.enable) {
    TAPIR_TRY_ASSIGN(const CpuFeature feature, known_feature(name));
    if (!has(table, feature)) {
      return fail(fmt::format("-cpu: this host cannot give a guest the feature '{}'", name));
    }
  }
  for (const std::string& name : config.disable) {
    TAPIR_TRY_ASSIGN(const CpuFeature feature, known_feature(name));
    TAPIR_TRY(check_not_needed(table, name, feature, config.enable));
    disable(table, feature);
  }
  drop_dependents(table);
  drop_absent_pmu(table);
  trim_xsave_components(table);
  return table;
}

Result<CpuidTable> machine_cpuid(const Kvm& kvm, const CpuConfig& config) {
  TAPIR_TRY_ASSIGN(const CpuidTable supported, kvm.supported_cpuid());
  return machine_cpuid(supported, kvm.capability(KVM_CAP_TSC_DEADLINE_TIMER) != 0, config);
}

CpuidTable vcpu_cpuid(CpuidTable table, unsigned vcpu, unsigned cpus) {
  CHECK(cpus >= 1 && cpus <= platform::kMaxCpus && vcpu < cpus);
  const auto id_bits = static_cast<unsigned>(std::bit_width(cpus - 1));
  const unsigned ids = bit(id_bits);
  for (auto& entry : table) {
    if (entry.function == 1) {
      entry.ebx = with_field(with_field(entry.ebx, 16, 8, ids), 24, 8, vcpu);
      entry.edx = cpus > 1 ? entry.edx | kEdxHtt : entry.edx & ~kEdxHtt;
      entry.ecx &= ~kEcxOsxsave;  // follows CR4, which KVM does by itself
    } else if (entry.function == 4 && (entry.eax & 0x1F) != 0) {
      share_caches(entry, ids);
      entry.eax = with_field(entry.eax, 26, 6, ids - 1);
    }
  }
  add_extended_topology(table, 0xB, vcpu, cpus, id_bits);
  add_extended_topology(table, 0x1F, vcpu, cpus, id_bits);
  if (is_amd(table)) {
    set_amd_topology(table, vcpu, cpus, id_bits);
  }
  return table;
}

}  // namespace tapir::vmm
