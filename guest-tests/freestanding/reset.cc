// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/reset.h"

#include "guest-tests/freestanding/acpi.h"
#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

/// Loads an empty interrupt table and raises an exception: the processor shuts down.
void triple_fault() {
  struct [[gnu::packed]] TableRegister {
    std::uint16_t limit;
    std::uint64_t base;
  };
  const TableRegister empty = {0, 0};
  asm volatile("lidt %0; ud2" ::"m"(empty));
}

}  // namespace

void reset_machine(ResetWay way) {
  constexpr std::uint16_t kResetPort = 0xCF9;
  constexpr std::uint16_t kI8042Command = 0x64;
  switch (way) {
    case ResetWay::kPort:
      out8(kResetPort, 0x02);  // which kind of reset
      out8(kResetPort, 0x06);  // now
      break;
    case ResetWay::kKeyboard:
      out8(kI8042Command, 0xFE);  // pulse the reset line
      break;
    case ResetWay::kAcpi: {
      const AcpiTables acpi = find_acpi_tables();
      out8(acpi.reset_port, acpi.reset_value);
      break;
    }
    case ResetWay::kTripleFault:
      triple_fault();
      break;
  }
}

}  // namespace guest
