// SPDX-License-Identifier: Apache-2.0
#include "vmm/reset_port.h"

namespace tapir::vmm {
namespace {

constexpr std::uint8_t kResetCpu = 1U << 2;
constexpr std::uint8_t kWritable = 0x0E;  // hard or soft, reset, full power cycle

}  // namespace

std::uint8_t ResetPort::read_register(std::uint64_t offset) {
  return offset == 0 ? value_ : kNoRegister;
}

void ResetPort::write_register(std::uint64_t offset, std::uint8_t value) {
  if (offset != 0) {
    return;
  }
  const bool rises = (value & kResetCpu) != 0 && (value_ & kResetCpu) == 0;
  value_ = value & kWritable;
  if (rises) {
    machine_.end(EndReason::kReset);
  }
}

}  // namespace tapir::vmm
