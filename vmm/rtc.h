// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "virtio/interrupt.h"
#include "vmm/byte_registers.h"

namespace tapir::vmm {

/// The PC's battery-backed clock (Motorola MC146818A data sheet) at ports 0x70 (index; its top bit, the NMI
/// mask, is ignored) and 0x71 (data): UTC from the host's clock, 24-hour BCD unless the guest asks for
/// something else, the century in byte 0x32 as the FADT says, and CMOS memory that starts at zero. A guest
/// that sets the clock moves its own time only. Year 1970 to 9999.
///
/// Alarm and update-ended interrupts come from a timer that fires at each full second while the guest has one
/// of them enabled; the periodic interrupt does not exist (its enable bit keeps its value), which no system
/// of this century uses: Linux makes it from a timer of its own.
///
///     UniqueFd timer = *Rtc::make_timer();        // once; an event loop watches it
///     Rtc rtc(line, timer.get());                 // at every power-on
///     rtc.timer_expired();                        // when the timer is readable
///
/// A fresh object is in the state after power-on and has the timer off.
class Rtc final : public ByteRegisters {
 public:
  static constexpr std::uint64_t kPorts = 2;

  /// Microseconds since 1970-01-01 00:00:00 UTC.
  using Clock = std::function<std::chrono::microseconds()>;

  /// A timerfd(2), non-blocking.
  [[nodiscard]] static Result<UniqueFd> make_timer();

  /// `line`: platform::kRtcGsi, edge. `timer_fd` from make_timer(), or -1: no interrupts. Both are borrowed.
  Rtc(virtio::Interrupt& line, int timer_fd, Clock clock = utc_clock);

  /// Reads the timer and raises what is due. The thread that waits for the timer.
  void timer_expired();

  /// CLOCK_REALTIME.
  static std::chrono::microseconds utc_clock();

 private:
  static constexpr std::size_t kBytes = 128;

  std::uint8_t read_register(std::uint64_t offset) override;
  void write_register(std::uint64_t offset, std::uint8_t value) override;

  std::chrono::microseconds now() const { return clock_() + offset_; }
  bool halted() const;
  std::uint8_t read_index(std::uint8_t index);
  void write_index(std::uint8_t index, std::uint8_t value);
  void write_status_b(std::uint8_t value);
  void show_time();
  void set_time(std::chrono::microseconds into_second);
  std::uint8_t encode(unsigned value) const;
  unsigned decode(std::uint8_t value) const;
  std::uint8_t encode_hour(unsigned hour) const;
  unsigned decode_hour(std::uint8_t value) const;
  bool alarm_matches(std::int64_t second) const;
  void catch_up();
  void raise_if_due();
  void arm_timer();

  virtio::Interrupt& line_;
  const int timer_fd_;
  const Clock clock_;
  std::chrono::microseconds offset_{0};  ///< the guest's time less the host's
  std::int64_t last_second_;             ///< of the guest's time; flags are set up to here
  std::uint8_t index_ = 0;
  std::array<std::uint8_t, kBytes>
      memory_{};  ///< the time of day is only brought up to date when it is looked at
};

}  // namespace tapir::vmm
