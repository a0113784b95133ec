// SPDX-License-Identifier: Apache-2.0
// Leaves the machine in the way that exit=KIND names. The runner judges the VMM's exit status, or that it
// boots again.
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

void leave() {
  constexpr std::uint16_t kResetPort = 0xCF9;
  constexpr std::uint16_t kI8042Command = 0x64;
  if (parameter_is("exit", "cf9")) {
    out8(kResetPort, 0x02);  // which kind of reset
    out8(kResetPort, 0x06);  // now
  } else if (parameter_is("exit", "i8042")) {
    out8(kI8042Command, 0xFE);  // pulse the reset line
  } else if (parameter_is("exit", "acpi")) {
    const AcpiTables acpi = find_acpi_tables();
    out8(acpi.reset_port, acpi.reset_value);
  } else if (parameter_is("exit", "triple")) {
    triple_fault();
  } else if (parameter_is("exit", "off")) {
    power_off();
  }
}

}  // namespace

void run_guest() {
  plan(1);
  check("exit= is known", length(command_line()) != 0);
  end_protocol();
  leave();
  // Time for a VMM that acts a little later.
  for (unsigned i = 0; i < 100'000; ++i) {
    in8(0x80);
  }
  print("FAIL the machine goes on\n");
  halt();
}

}  // namespace guest
