// SPDX-License-Identifier: Apache-2.0
// Writes bytes=N bytes, "abc…zabc…", to the serial port behind the END of the protocol and switches off. The
// runner judges what comes out, and how much memory the VMM takes meanwhile.
#include "guest-tests/freestanding/runtime.h"

namespace guest {

void run_guest() {
  constexpr std::uint16_t kSerialData = 0x3F8;
  constexpr unsigned kLetters = 26;
  const std::uint64_t bytes = parameter("bytes", 0);
  plan(1);
  check("bytes= is known", bytes != 0);
  end_protocol();
  for (std::uint64_t i = 0; i < bytes; ++i) {
    out8(kSerialData, static_cast<std::uint8_t>('a' + i % kLetters));
  }
  power_off();
}

}  // namespace guest
