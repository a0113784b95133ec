// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi_pm.h"

#include <array>
#include <utility>

#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr std::uint16_t kPowerButton = 1U << 8;  // in status and in enable
// TMR, GBL, PWRBTN, SLPBTN and RTC.
constexpr std::uint16_t kEnableBits = (1U << 0) | (1U << 5) | (1U << 8) | (1U << 9) | (1U << 10);
constexpr std::uint16_t kSciEnable = 1U << 0;
constexpr unsigned kSleepTypeShift = 10;
constexpr std::uint16_t kSleepTypeMask = 7U << kSleepTypeShift;
constexpr std::uint16_t kSleepEnable = 1U << 13;
constexpr std::uint16_t kBusMasterReload = 1U << 1;

constexpr std::uint64_t kTimerHz = 3'579'545;
constexpr std::uint64_t kNanoseconds = 1'000'000'000;

// Where each register begins.
constexpr std::size_t kStatus = 0;
constexpr std::size_t kEnable = 2;
constexpr std::size_t kControl = 4;
constexpr std::size_t kTimer = 8;

using Image = std::array<std::uint8_t, AcpiPm::kPorts>;

void put(Image& image, std::size_t at, std::uint32_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) {
    image[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

std::uint16_t word(const Image& image, std::size_t at) {
  return static_cast<std::uint16_t>(image[at] | (image[at + 1] << 8));
}

}  // namespace

AcpiPm::AcpiPm(virtio::LevelInterrupt& sci, MachineControl& machine, Clock clock)
    : sci_(sci), machine_(machine), clock_(std::move(clock)), start_(clock_()) {
  sci_.set_level(false);
}

std::chrono::nanoseconds AcpiPm::monotonic_clock() {
  return std::chrono::steady_clock::now().time_since_epoch();  // CLOCK_MONOTONIC on Linux
}

void AcpiPm::press_power_button() {
  const std::lock_guard lock(mutex_);
  status_ |= kPowerButton;
  update_sci();
}

void AcpiPm::read(std::uint64_t offset, std::span<std::byte> into) {
  const std::lock_guard lock(mutex_);
  Image image{};
  put(image, kStatus, status_, 2);
  put(image, kEnable, enable_, 2);
  put(image, kControl, static_cast<std::uint32_t>(control_ | kSciEnable), 2);
  put(image, kTimer, timer(), 4);
  for (std::byte& byte : into) {
    byte = std::byte{offset < image.size() ? image[offset] : std::uint8_t{0xFF}};
    ++offset;
  }
}

void AcpiPm::write(std::uint64_t offset, std::span<const std::byte> from) {
  const std::lock_guard lock(mutex_);
  Image image{};
  put(image, kEnable, enable_, 2);  // a byte that is not written keeps its value; 0 leaves status alone
  put(image, kControl, control_, 2);
  for (const std::byte byte : from) {
    if (offset < image.size()) {
      image[offset] = std::to_integer<std::uint8_t>(byte);
    }
    ++offset;
  }
  status_ &= static_cast<std::uint16_t>(~word(image, kStatus));
  enable_ = word(image, kEnable) & kEnableBits;
  update_sci();
  write_control(word(image, kControl));
}

std::uint32_t AcpiPm::timer() const {
  const auto elapsed = static_cast<std::uint64_t>((clock_() - start_).count());
  // Whole seconds apart, so that no product overflows.
  const std::uint64_t ticks =
      elapsed / kNanoseconds * kTimerHz + elapsed % kNanoseconds * kTimerHz / kNanoseconds;
  return static_cast<std::uint32_t>(ticks);
}

void AcpiPm::write_control(std::uint16_t value) {
  control_ = value & (kSleepTypeMask | kBusMasterReload);
  const bool sleep = (value & kSleepEnable) != 0;
  if (sleep && (value & kSleepTypeMask) >> kSleepTypeShift == platform::kSleepTypeS5) {
    machine_.end(EndReason::kPowerOff);
  }
}

void AcpiPm::update_sci() {
  sci_.set_level((status_ & enable_ & kPowerButton) != 0);
}

}  // namespace tapir::vmm
