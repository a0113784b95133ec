// SPDX-License-Identifier: Apache-2.0
#include "vmm/rtc.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <utility>

namespace tapir::vmm {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

// Bytes of the clock.
constexpr std::uint8_t kSecond = 0x00;
constexpr std::uint8_t kSecondAlarm = 0x01;
constexpr std::uint8_t kMinute = 0x02;
constexpr std::uint8_t kMinuteAlarm = 0x03;
constexpr std::uint8_t kHour = 0x04;
constexpr std::uint8_t kHourAlarm = 0x05;
constexpr std::uint8_t kWeekday = 0x06;
constexpr std::uint8_t kDay = 0x07;
constexpr std::uint8_t kMonth = 0x08;
constexpr std::uint8_t kYear = 0x09;
constexpr std::uint8_t kStatusA = 0x0A;
constexpr std::uint8_t kStatusB = 0x0B;
constexpr std::uint8_t kStatusC = 0x0C;
constexpr std::uint8_t kStatusD = 0x0D;
constexpr std::uint8_t kCentury = 0x32;

constexpr std::uint8_t kUpdateInProgress = 1U << 7;  // A
constexpr std::uint8_t kDivider32kHz = 0x26;         // A: running, 1024 Hz
constexpr std::uint8_t kDividerReset = 0x60;         // A: the divider chain is held in reset
constexpr std::uint8_t kHalt = 1U << 7;              // B
constexpr std::uint8_t kAlarm = 1U << 5;             // B: enable, C: flag
constexpr std::uint8_t kUpdateEnded = 1U << 4;       // B: enable, C: flag
constexpr std::uint8_t kBinary = 1U << 2;            // B
constexpr std::uint8_t k24Hours = 1U << 1;           // B
constexpr std::uint8_t kInterruptRequest = 1U << 7;  // C
constexpr std::uint8_t kBatteryGood = 1U << 7;       // D
constexpr std::uint8_t kAfternoon = 1U << 7;         // hours of 12-hour time
constexpr std::uint8_t kAnyTime = 0xC0;              // alarm bytes from here on match always

/// The chip shows UIP from 244 µs before an update until its end, 1984 µs later.
constexpr microseconds kUpdateTime{244 + 1984};
/// The first update comes half a second after the divider chain is let go; Linux sets the clock with that in
/// mind.
constexpr microseconds kAfterDividerReset{500'000};
constexpr std::int64_t kSecondsOfDay = 86'400;
constexpr std::int64_t kYear10000 = 253'402'300'800;  // seconds since 1970

bool is_time(std::uint8_t index) {
  return index == kSecond || index == kMinute || index == kHour || (index >= kWeekday && index <= kYear) ||
         index == kCentury;
}

std::int64_t whole_seconds(microseconds time) {
  return std::chrono::floor<seconds>(time).count();
}

}  // namespace

Result<UniqueFd> Rtc::make_timer() {
  UniqueFd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) {
    return fail_errno("timerfd_create");
  }
  return fd;
}

Rtc::Rtc(virtio::Interrupt& line, int timer_fd, Clock clock)
    : line_(line), timer_fd_(timer_fd), clock_(std::move(clock)), last_second_(whole_seconds(clock_())) {
  memory_[kStatusA] = kDivider32kHz;
  memory_[kStatusB] = k24Hours;
  arm_timer();
}

microseconds Rtc::utc_clock() {
  return std::chrono::duration_cast<microseconds>(std::chrono::system_clock::now().time_since_epoch());
}

void Rtc::timer_expired() {
  std::uint64_t expirations = 0;
  [[maybe_unused]] const auto bytes = ::read(timer_fd_, &expirations, sizeof expirations);
  const std::lock_guard lock(mutex());
  catch_up();
  raise_if_due();
  arm_timer();
}

std::uint8_t Rtc::read_register(std::uint64_t offset) {
  return offset == 1 ? read_index(index_) : kNoRegister;  // the index cannot be read back
}

void Rtc::write_register(std::uint64_t offset, std::uint8_t value) {
  if (offset == 0) {
    index_ = value & 0x7F;
  } else if (offset == 1) {
    write_index(index_, value);
  }
}

/// While the guest sets the time, it stands still.
bool Rtc::halted() const {
  return (memory_[kStatusB] & kHalt) != 0 || (memory_[kStatusA] & kDividerReset) == kDividerReset;
}

std::uint8_t Rtc::read_index(std::uint8_t index) {
  if (is_time(index)) {
    show_time();
  }
  switch (index) {
    case kStatusA: {
      const microseconds time = now();
      const bool updating = !halted() && time - std::chrono::floor<seconds>(time) >= seconds(1) - kUpdateTime;
      return updating ? memory_[kStatusA] | kUpdateInProgress : memory_[kStatusA];
    }
    case kStatusC: {
      catch_up();
      const std::uint8_t flags = memory_[kStatusC];
      memory_[kStatusC] = 0;
      const bool due = (flags & memory_[kStatusB] & (kAlarm | kUpdateEnded)) != 0;
      return due ? flags | kInterruptRequest : flags;
    }
    case kStatusD:
      return kBatteryGood;
    default:
      return memory_[index];
  }
}

void Rtc::write_index(std::uint8_t index, std::uint8_t value) {
  if (is_time(index)) {
    show_time();
    memory_[index] = value;
    if (!halted()) {
      set_time(microseconds(0));
    }
    return;
  }
  switch (index) {
    case kStatusA: {
      show_time();
      const bool was_halted = halted();
      memory_[kStatusA] = value & static_cast<std::uint8_t>(~kUpdateInProgress);
      if (was_halted && !halted()) {
        set_time(kAfterDividerReset);
      }
      break;
    }
    case kStatusB:
      write_status_b(value);
      break;
    case kStatusC:
    case kStatusD:
      break;  // read-only
    default:
      memory_[index] = value;
      break;
  }
}

void Rtc::write_status_b(std::uint8_t value) {
  catch_up();
  show_time();
  const bool was_halted = halted();
  memory_[kStatusB] = value;
  if (was_halted && !halted()) {
    set_time(microseconds(0));
  }
  raise_if_due();  // a flag that is set already interrupts as soon as it is enabled
  arm_timer();
}

/// Brings the time bytes up to date, unless the guest is setting them.
void Rtc::show_time() {
  if (halted()) {
    return;
  }
  const auto time = std::chrono::floor<seconds>(now());
  const auto days = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::sys_days date{days};
  const std::chrono::year_month_day civil{date};
  const std::chrono::hh_mm_ss clock{time - days};
  const auto year = static_cast<unsigned>(static_cast<int>(civil.year()));
  memory_[kSecond] = encode(static_cast<unsigned>(clock.seconds().count()));
  memory_[kMinute] = encode(static_cast<unsigned>(clock.minutes().count()));
  memory_[kHour] = encode_hour(static_cast<unsigned>(clock.hours().count()));
  memory_[kWeekday] = encode(std::chrono::weekday{date}.c_encoding() + 1);  // Sunday is 1
  memory_[kDay] = encode(static_cast<unsigned>(civil.day()));
  memory_[kMonth] = encode(static_cast<unsigned>(civil.month()));
  memory_[kYear] = encode(year % 100);
  memory_[kCentury] = encode(year / 100);
}

/// Takes the time bytes as the guest's time from now on. Whatever stands there means some time: day 0 is the
/// last of the month before, second 75 one of the next minute.
void Rtc::set_time(microseconds into_second) {
  using std::chrono::days;
  using std::chrono::hours;
  using std::chrono::minutes;
  const int year = static_cast<int>(decode(memory_[kCentury]) * 100 + decode(memory_[kYear]));
  const auto months = static_cast<int>(decode(memory_[kMonth]));
  const auto first_of_year = std::chrono::sys_days{std::chrono::year(year) / 1 / 1};
  const auto month =
      std::chrono::year_month_day{first_of_year} + std::chrono::months(std::clamp(months, 1, 12) - 1);
  const auto date = std::chrono::sys_days{month} + days(static_cast<int>(decode(memory_[kDay])) - 1);
  const seconds time = date.time_since_epoch() + hours(decode_hour(memory_[kHour])) +
                       minutes(decode(memory_[kMinute])) + seconds(decode(memory_[kSecond]));
  offset_ = seconds(std::clamp<std::int64_t>(time.count(), 0, kYear10000 - 1)) + into_second - clock_();
  last_second_ = whole_seconds(now());
  arm_timer();
}

std::uint8_t Rtc::encode(unsigned value) const {
  return static_cast<std::uint8_t>((memory_[kStatusB] & kBinary) != 0 ? value
                                                                      : (value / 10 % 10) << 4 | value % 10);
}

unsigned Rtc::decode(std::uint8_t value) const {
  return (memory_[kStatusB] & kBinary) != 0 ? value : (value >> 4) * 10U + (value & 0xFU);
}

std::uint8_t Rtc::encode_hour(unsigned hour) const {
  if ((memory_[kStatusB] & k24Hours) != 0) {
    return encode(hour);
  }
  const std::uint8_t afternoon = hour >= 12 ? kAfternoon : 0;
  return encode((hour + 11) % 12 + 1) | afternoon;
}

unsigned Rtc::decode_hour(std::uint8_t value) const {
  if ((memory_[kStatusB] & k24Hours) != 0) {
    return decode(value);
  }
  const unsigned hour = decode(value & static_cast<std::uint8_t>(~kAfternoon)) % 12;
  return (value & kAfternoon) != 0 ? hour + 12 : hour;
}

bool Rtc::alarm_matches(std::int64_t second) const {
  const auto of_day = static_cast<unsigned>(((second % kSecondsOfDay) + kSecondsOfDay) % kSecondsOfDay);
  const auto matches = [this](std::uint8_t index, std::uint8_t value) {
    return memory_[index] >= kAnyTime || memory_[index] == value;
  };
  return matches(kSecondAlarm, encode(of_day % 60)) && matches(kMinuteAlarm, encode(of_day / 60 % 60)) &&
         matches(kHourAlarm, encode_hour(of_day / 3600));
}

/// Sets the flags of the seconds that have begun since last time; of a long pause only its last day counts.
void Rtc::catch_up() {
  if (halted()) {
    return;
  }
  const std::int64_t second = whole_seconds(now());
  if (second > last_second_) {
    memory_[kStatusC] |= kUpdateEnded;
  }
  for (std::int64_t s = std::max(last_second_ + 1, second - kSecondsOfDay + 1); s <= second; ++s) {
    if (alarm_matches(s)) {
      memory_[kStatusC] |= kAlarm;
      break;
    }
  }
  last_second_ = second;
}

void Rtc::raise_if_due() {
  if ((memory_[kStatusC] & memory_[kStatusB] & (kAlarm | kUpdateEnded)) != 0) {
    line_.trigger();
  }
}

/// The next full second, while anybody wants to know.
void Rtc::arm_timer() {
  if (timer_fd_ < 0) {
    return;
  }
  itimerspec when{};
  if (!halted() && (memory_[kStatusB] & (kAlarm | kUpdateEnded)) != 0) {
    const microseconds time = now();
    const microseconds rest = std::chrono::floor<seconds>(time) + seconds(1) - time;
    when.it_value.tv_sec = static_cast<std::time_t>(rest.count() / 1'000'000);
    when.it_value.tv_nsec = static_cast<long>(rest.count() % 1'000'000 * 1000);
  }
  ::timerfd_settime(timer_fd_, 0, &when, nullptr);
}

}  // namespace tapir::vmm
