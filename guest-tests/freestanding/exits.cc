// SPDX-License-Identifier: Apache-2.0
// Leaves the machine in the way that exit=KIND names. The runner judges the VMM's exit status, or that it
// boots again.
#include "guest-tests/freestanding/reset.h"
#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

/// Panics as Linux does, as far as others see it, and then resets the machine or does nothing any more.
void panic() {
  if (parameter_is("panic", "pvpanic")) {
    constexpr std::uint16_t kPvpanicPort = 0x505;
    out8(kPvpanicPort, 1);
    return;
  }
  print("[    1.234567] Kernel panic - not syncing: Attempted to kill init!\n");
  print("[    1.234568] CPU: 0 PID: 1 Comm: init\n");
  if (parameter_is("panic", "reset")) {
    reset_machine(ResetWay::kPort);
  } else if (parameter_is("panic", "end")) {
    print("[    1.234569] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---\n");
  }
  halt();
}

/// Never ends.
void hang() {
  if (parameter_is("hang", "halt")) {
    halt();
  }
  const bool flood = parameter_is("hang", "flood");
  for (;;) {
    if (flood) {
      print("the same line again and again\n");
    }
  }
}

void leave() {
  if (parameter_is("exit", "cf9")) {
    reset_machine(ResetWay::kPort);
  } else if (parameter_is("exit", "i8042")) {
    reset_machine(ResetWay::kKeyboard);
  } else if (parameter_is("exit", "acpi")) {
    reset_machine(ResetWay::kAcpi);
  } else if (parameter_is("exit", "triple")) {
    reset_machine(ResetWay::kTripleFault);
  } else if (parameter_is("exit", "port")) {
    out8(static_cast<std::uint16_t>(parameter("port", 0)), static_cast<std::uint8_t>(parameter("value", 0)));
  } else if (parameter_is("exit", "port32")) {
    out32(static_cast<std::uint16_t>(parameter("port", 0)),
          static_cast<std::uint32_t>(parameter("value", 0)));
  } else if (parameter_is("exit", "panic")) {
    panic();
  } else if (parameter_is("exit", "hang")) {
    hang();
  } else if (parameter_is("exit", "prompt")) {
    print("tapir login: ");
    halt();
  } else if (parameter_is("exit", "quote")) {
    print("log:[    1.0] Kernel panic - not syncing: an old one\n");
    power_off();
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
