// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/tables.h"

#include <array>
#include <span>
#include <string>

#include "net/base/check.h"
#include "vmm/acpi/dsdt.h"
#include "vmm/acpi/fixed_tables.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

constexpr std::uint64_t kTableAlignment = 16;

/// Places tables one after the other and remembers where the next goes.
class Image {
 public:
  explicit Image(std::uint64_t base) : base_(base) {}

  std::uint64_t add(const Table& table, std::uint64_t alignment = kTableAlignment) {
    const std::uint64_t start = (bytes_.size() + alignment - 1) / alignment * alignment;
    bytes_.resize(start);
    bytes_.insert(bytes_.end(), table.begin(), table.end());
    return base_ + start;
  }
  /// Room at the very beginning is filled in last, when the address that it holds is known.
  void replace_front(const Table& table) { std::copy(table.begin(), table.end(), bytes_.begin()); }
  std::vector<std::uint8_t> take() && { return std::move(bytes_); }

 private:
  std::uint64_t base_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace

std::vector<std::uint8_t> build_tables(std::uint64_t base, const MachineDescription& machine) {
  CHECK(machine.cpus >= 1 && machine.cpus <= platform::kMaxCpus);
  CHECK(base % kFacsAlignment == 0 && base <= UINT32_MAX - platform::kAcpiTablesBytes);
  Image image(base);
  image.add(Table(kRsdpBytes, 0));
  const std::uint64_t facs = image.add(make_facs(), kFacsAlignment);
  const std::uint64_t dsdt = image.add(make_dsdt(machine));
  const std::array<std::uint64_t, 3> tables{
      image.add(make_fadt(static_cast<std::uint32_t>(facs), static_cast<std::uint32_t>(dsdt))),
      image.add(make_madt(machine.cpus)), image.add(make_mcfg())};
  image.replace_front(make_rsdp(image.add(make_xsdt(tables))));
  return std::move(image).take();
}

Result<virtio::GuestAddress> write_tables(const virtio::GuestMemory& memory,
                                          const MachineDescription& machine) {
  const std::vector<std::uint8_t> image = build_tables(platform::kAcpiTablesBase, machine);
  if (image.size() > platform::kAcpiTablesBytes) {
    return fail("the ACPI tables take " + std::to_string(image.size()) + " bytes and only " +
                std::to_string(platform::kAcpiTablesBytes) + " fit: use fewer virtio-mmio devices");
  }
  const virtio::GuestAddress rsdp{platform::kAcpiTablesBase};
  if (!memory.write(rsdp, std::as_bytes(std::span(image)))) {
    return fail("the guest's memory is too small for the ACPI tables: give it at least 1 MiB");
  }
  return rsdp;
}

}  // namespace tapir::vmm::acpi
