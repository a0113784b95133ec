// SPDX-License-Identifier: Apache-2.0
// Any sequence of register accesses and input: no crash, no overrun, bounded output, the line agrees with the
// IIR.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "vmm/serial.h"
#include "vmm/testing/fake_machine.h"

namespace {

using namespace tapir;

constexpr std::uint64_t kModemControl = 4;
constexpr std::uint64_t kLoopAndOut2 = 0x18;
constexpr std::uint64_t kOut2 = 0x08;
constexpr std::uint64_t kIdentification = 2;

void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const EventFd space = *EventFd::create();
  vmm::testing::FakeLevelInterrupt line;
  vmm::testing::FakeSerialSink sink;
  vmm::Serial port(line, &sink, space);
  // Three bytes make a step: what to do and how wide, where, the value.
  for (std::span<const std::uint8_t> steps(data, size); steps.size() >= 3; steps = steps.subspan(3)) {
    const std::size_t bytes = std::size_t{1} << ((steps[0] >> 2) % 4);
    const std::uint64_t value = steps[2] * std::uint64_t{0x0101'0101'0101'0101};
    switch (steps[0] % 4) {
      case 0:
        vmm::testing::read(port, steps[1] % 9, bytes);
        break;
      case 1:
        vmm::testing::write(port, steps[1] % 9, value, bytes);
        break;
      case 2: {
        const std::size_t offered = std::min<std::size_t>(steps.size(), steps[1]);
        const bool room = port.can_accept();
        const std::size_t taken = port.receive(std::as_bytes(steps.first(offered)));
        require(taken <= vmm::Serial::kFifoBytes && (room || taken == 0));
        break;
      }
      default:
        port.receive_break();
        break;
    }
    require(sink.text.size() <= 8 * size);
    const bool gate = (vmm::testing::read(port, kModemControl) & kLoopAndOut2) == kOut2;
    const bool asserted = line.level;
    const bool pending = (vmm::testing::read(port, kIdentification) & 1) == 0;
    require(asserted == (gate && pending));
  }
  return 0;
}
