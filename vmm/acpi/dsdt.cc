// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/dsdt.h"

#include <array>
#include <string>
#include <utility>

#include "net/base/check.h"
#include "vmm/acpi/aml.h"
#include "vmm/acpi/table_builder.h"
#include "vmm/platform.h"

namespace tapir::vmm::acpi {
namespace {

using namespace aml;  // NOLINT(google-build-using-namespace): this file is written in that vocabulary

constexpr unsigned kPciSlots = 32;
constexpr unsigned kPciPins = 4;
constexpr std::uint16_t kPciConfigPorts = 8;  // 0xCF8 to 0xCFF
constexpr std::uint8_t kPmPorts = 12;         // PM1 event and control, timer

/// The value _STA gives: present, enabled, shown and working.
constexpr std::uint64_t kPresent = 0x0F;

/// "C00F": a letter and the number in hexadecimal, so that the name is always a legal segment.
std::string numbered(std::string_view prefix, unsigned number) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string result(4, '0');
  result.replace(0, prefix.size(), prefix);
  for (std::size_t i = 4; i > prefix.size(); --i) {
    result[i - 1] = kDigits[number % 16];
    number /= 16;
  }
  CHECK(number == 0);
  return result;
}

/// PCI Firmware 3.3, 4.5 "_OSC": the guest may have whatever it asks for, because no firmware of ours
/// competes for it. Bits of the first dword: 0x04 unknown UUID, 0x08 unknown revision.
Bytes osc_method() {
  return method("_OSC", 4, true,
                {create_dword_field(arg(3), 0, "CDW1"),
                 when(equal(arg(0), uuid("33db4d5b-1ff7-401c-9657-7441c03dd766")),
                      {when(logical_not(equal(arg(1), integer(1))),
                            {bit_or(path("CDW1"), integer(0x08), path("CDW1"))})}),
                 otherwise({bit_or(path("CDW1"), integer(0x04), path("CDW1"))}), give_back(arg(3))});
}

/// _PRT (ACPI 6.5, 6.2.13): every pin of every slot, wired to a GSI for good.
Bytes routing_table() {
  Terms entries;
  for (unsigned slot = 0; slot < kPciSlots; ++slot) {
    for (unsigned pin = 0; pin < kPciPins; ++pin) {
      entries.push_back(package({integer((std::uint64_t{slot} << 16) | 0xFFFF), integer(pin), integer(0),
                                 integer(platform::pci_intx_gsi(slot, pin + 1))}));
    }
  }
  return name("_PRT", package(entries));
}

Bytes pci_host_bridge() {
  constexpr std::uint16_t kLastConfigPort = platform::kPciAddressPort + kPciConfigPorts - 1;
  constexpr auto kWindowFirst = static_cast<std::uint32_t>(platform::kPciWindowBase);
  constexpr auto kWindowLast =
      static_cast<std::uint32_t>(platform::kPciWindowBase + platform::kPciWindowBytes - 1);
  return device("PCI0", {name("_HID", eisa_id("PNP0A08")), name("_CID", eisa_id("PNP0A03")),
                         name("_UID", integer(0)), name("_SEG", integer(0)), name("_BBN", integer(0)),
                         name("_CRS", resource_template({word_bus_numbers(0, 0),
                                                         io_port(platform::kPciAddressPort, kPciConfigPorts),
                                                         word_io(0, platform::kPciAddressPort - 1),
                                                         word_io(kLastConfigPort + 1, 0xFFFF),
                                                         dword_memory(kWindowFirst, kWindowLast)})),
                         routing_table(), osc_method()});
}

/// What no driver owns but nobody else may use. Linux believes the MCFG only if its window is listed here.
Bytes motherboard() {
  return device(
      "MBRD",
      {name("_HID", eisa_id("PNP0C02")), name("_UID", integer(1)),
       name("_CRS", resource_template({memory32_fixed(static_cast<std::uint32_t>(platform::kEcamBase),
                                                      static_cast<std::uint32_t>(platform::kEcamBytes)),
                                       io_port(platform::kPm1EventPort, kPmPorts)}))});
}

Bytes com1() {
  return device(
      "COM1",
      {name("_HID", eisa_id("PNP0501")), name("_UID", integer(1)), name("_STA", integer(kPresent)),
       name("_CRS", resource_template({io_port(platform::kCom1Port, 8), isa_irq(platform::kCom1Gsi)}))});
}

Bytes real_time_clock() {
  return device(
      "RTC", {name("_HID", eisa_id("PNP0B00")),
              name("_CRS", resource_template({io_port(platform::kRtcPort, 2), isa_irq(platform::kRtcGsi)}))});
}

Bytes pvpanic() {
  return device("PEVT", {name("_HID", string("QEMU0001")), name("_STA", integer(kPresent)),
                         name("_CRS", resource_template({io_port(platform::kPvpanicPort, 1)}))});
}

Bytes virtio_mmio(unsigned index, const VirtioMmioDevice& machine_device) {
  CHECK(machine_device.address + platform::kVirtioMmioBytes <= (std::uint64_t{1} << 32));
  return device(
      numbered("V", index),
      {name("_HID", string("LNRO0005")), name("_UID", integer(index)), name("_CCA", integer(1)),
       name("_CRS", resource_template({memory32_fixed(static_cast<std::uint32_t>(machine_device.address),
                                                      static_cast<std::uint32_t>(platform::kVirtioMmioBytes)),
                                       interrupt(machine_device.gsi, Trigger::kEdge, Polarity::kActiveHigh,
                                                 Sharing::kShared)}))});
}

Bytes processor(unsigned index) {
  return device(numbered("C", index), {name("_HID", string("ACPI0007")), name("_UID", integer(index))});
}

}  // namespace

std::vector<std::uint8_t> make_dsdt(const MachineDescription& machine) {
  Terms system_bus{pci_host_bridge(), motherboard(), real_time_clock(), pvpanic()};
  if (machine.com1) {
    system_bus.push_back(com1());
  }
  for (unsigned i = 0; i < machine.virtio_mmio.size(); ++i) {
    system_bus.push_back(virtio_mmio(i, machine.virtio_mmio[i]));
  }
  for (unsigned cpu = 0; cpu < machine.cpus; ++cpu) {
    system_bus.push_back(processor(cpu));
  }
  TableBuilder table("DSDT", 2);  // revision 2: integers have 64 bits
  table.bytes(scope("\\_SB", system_bus));
  table.bytes(name("\\_S5", package({integer(platform::kSleepTypeS5), integer(0), integer(0), integer(0)})));
  return std::move(table).finish();
}

}  // namespace tapir::vmm::acpi
