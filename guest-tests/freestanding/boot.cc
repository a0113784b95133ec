// SPDX-License-Identifier: Apache-2.0
// Boots by PVH and looks at what it was given: start info, command line, memory map, ACPI tables, memory
// itself.
#include "guest-tests/freestanding/acpi.h"
#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

constexpr std::uint32_t kStartInfoMagic = 0x336E'C578;
constexpr std::uint32_t kRam = 1;
constexpr std::uint64_t kHoleStart = 0xC000'0000;
constexpr std::uint64_t kHoleEnd = 0x1'0000'0000;

struct MapSummary {
  std::uint64_t ram_bytes = 0;
  std::uint64_t low_ram_end = 0;  ///< of the RAM below 4 GiB
  bool sorted = true;
  bool hole_is_free = true;
};

MapSummary read_memory_map() {
  MapSummary summary;
  const auto* map = reinterpret_cast<const MemoryMapEntry*>(start_info().memory_map);
  std::uint64_t previous_end = 0;
  for (std::uint32_t i = 0; i < start_info().memory_map_entries; ++i) {
    const MemoryMapEntry& entry = map[i];
    print("INFO memory ");
    print_hex(entry.address);
    print(" + ");
    print_hex(entry.bytes);
    print(" type ");
    print_hex(entry.type);
    print("\n");
    const std::uint64_t end = entry.address + entry.bytes;
    summary.sorted = summary.sorted && entry.address >= previous_end && end > entry.address;
    previous_end = end;
    if (entry.type != kRam) {
      continue;
    }
    summary.ram_bytes += entry.bytes;
    summary.hole_is_free = summary.hole_is_free && (end <= kHoleStart || entry.address >= kHoleEnd);
    if (end <= kHoleStart) {
      summary.low_ram_end = end;
    }
  }
  return summary;
}

bool holds_what_is_written(std::uint64_t address) {
  auto* word = reinterpret_cast<volatile std::uint64_t*>(address);
  *word = 0x5AA5'1234'8765'A55A;
  return *word == 0x5AA5'1234'8765'A55A;
}

}  // namespace

void run_guest() {
  plan(12);
  check_equal("start info has its magic", start_info().magic, kStartInfoMagic);
  check("start info has a memory map", start_info().version >= 1 && start_info().memory_map_entries > 0);
  check("command line is complete", parameter_is("last", "word") && parameter("number", 0) == 0x1234'5678);

  const MapSummary map = read_memory_map();
  check("memory map is sorted and does not overlap", map.sorted);
  check("memory map leaves the device hole free", map.hole_is_free);
  // Less than a MiB is kept back below 1 MiB for the BIOS area and the ACPI tables.
  const std::uint64_t expected = parameter("ram", 0) << 20;
  check("memory map has the RAM that was asked for",
        map.ram_bytes <= expected && expected - map.ram_bytes < (1 << 20));
  check("last word of RAM below 4 GiB holds what is written", holds_what_is_written(map.low_ram_end - 8));

  const AcpiTables acpi = find_acpi_tables();
  check("RSDP is valid", acpi.rsdp_valid);
  check("XSDT and its tables have right checksums", acpi.xsdt_valid && acpi.tables >= 3);
  check("FADT names PM1a control", acpi.pm1a_control != 0);
  check("DSDT has S5", acpi.has_s5);
  check("MCFG names the configuration window", acpi.ecam_base != 0);
}

}  // namespace guest
