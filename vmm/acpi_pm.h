// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "virtio/interrupt.h"
#include "vmm/bus.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// The fixed ACPI hardware (ACPI 6.5, 4.8.3 "Fixed Hardware Registers"): PM1a status, enable and control, the
/// PM timer, the power button, soft-off. Added to the port bus once, at platform::kPm1EventPort, kPorts long:
///
///     0-1  PM1 status (write 1 to clear)    4-5   PM1 control
///     2-3  PM1 enable                       8-11  PM timer, 32 bits, 3.579545 MHz
///
/// The machine is in ACPI mode for good: SCI_EN reads as 1 whatever is written, as the FADT's SMI_CMD of 0
/// says. Of the fixed events only the power button happens; the other enable bits just keep their value,
/// because ACPICA reads them back. A fresh object is in the reset state.
class AcpiPm final : public BusHandler {
 public:
  static constexpr std::uint64_t kPorts = 12;

  /// Time since any fixed point, monotonic.
  using Clock = std::function<std::chrono::nanoseconds()>;

  /// `sci` is lowered here, should the object before have left it up. Both are borrowed.
  AcpiPm(virtio::LevelInterrupt& sci, MachineControl& machine, Clock clock = monotonic_clock);

  /// The operator asks the guest to shut down. Any thread; nothing happens while the guest has the button
  /// disabled, but the press is remembered in PM1 status.
  void press_power_button();

  void read(std::uint64_t offset, std::span<std::byte> into) override;
  void write(std::uint64_t offset, std::span<const std::byte> from) override;

  /// CLOCK_MONOTONIC.
  static std::chrono::nanoseconds monotonic_clock();

 private:
  std::uint32_t timer() const;
  void write_control(std::uint16_t value);
  void update_sci();

  std::mutex mutex_;
  virtio::LevelInterrupt& sci_;
  MachineControl& machine_;
  const Clock clock_;
  const std::chrono::nanoseconds start_;
  std::uint16_t status_ = 0;
  std::uint16_t enable_ = 0;
  std::uint16_t control_ = 0;  ///< without SCI_EN and SLP_EN
};

}  // namespace tapir::vmm
