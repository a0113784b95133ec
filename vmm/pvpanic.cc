// SPDX-License-Identifier: Apache-2.0
#include "vmm/pvpanic.h"

namespace tapir::vmm {
namespace {

constexpr std::uint8_t kPanicked = 1U << 0;
constexpr std::uint8_t kCrashLoaded = 1U << 1;

}  // namespace

std::uint8_t Pvpanic::read_register(std::uint64_t offset) {
  return offset == 0 ? kPanicked | kCrashLoaded : kNoRegister;
}

void Pvpanic::write_register(std::uint64_t offset, std::uint8_t value) {
  if (offset == 0 && (value & kPanicked) != 0) {
    machine_.end(EndReason::kPanic);
  }
}

}  // namespace tapir::vmm
