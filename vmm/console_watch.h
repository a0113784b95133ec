// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/base/result.h"
#include "vmm/console_pattern.h"
#include "vmm/console_record.h"
#include "vmm/serial.h"

namespace tapir::vmm {

/// Reads along what a guest prints, through all of its reboots, on the way to where it goes: keeps the
/// beginning and the end, and looks in each line for the kernel's panic and for what the operator waits for.
///
/// A line is looked at as soon as it is complete, on the vCPU thread that completes it, so that what it means
/// is known before the guest does the next thing, such as a reset. One without an end, such as "login: ", is
/// looked at by look_at_partial_line(). Of a line longer than kMaxLine each piece of that length counts as
/// one. Any thread.
class ConsoleWatch final : public SerialSink {
 public:
  static constexpr std::size_t kMaxLine = 4096;

  enum class Event : std::uint8_t {
    kPanic,     ///< the line is the kernel's panic
    kPanicEnd,  ///< the kernel has said all of it
    kExpected,  ///< each expression of -expect has matched a line by now
    kFailed,    ///< an expression of -fail has matched the line
  };
  /// Called with a lock held, on the thread of put() or look_at_partial_line(): must return at once, and not
  /// call back.
  using Handler = std::function<void(Event event)>;

  /// `next`: borrowed, or null. Error: one of the expressions is none.
  [[nodiscard]] static Result<std::unique_ptr<ConsoleWatch>> create(std::span<const std::string> expect,
                                                                    std::span<const std::string> fail,
                                                                    SerialSink* next, Handler handler);

  void put(std::span<const std::byte> bytes) override;
  /// Looks at the line so far for -expect and -fail, if it has changed since the last time.
  void look_at_partial_line();

  /// The expressions of -expect that have not matched.
  std::vector<std::string> missing() const;
  /// "'X' matched the line 'Y'", of -fail; empty if none did.
  std::string failure() const;
  /// The panic, from "Kernel panic" on; empty if there was none.
  std::string panic() const;
  /// When the kernel said that it starts its first program.
  std::optional<std::chrono::steady_clock::time_point> init_time() const;
  /// A copy.
  ConsoleRecord record() const;

 private:
  struct Expected {
    ConsolePattern pattern;
    bool matched = false;
  };

  ConsoleWatch(SerialSink* next, Handler handler) : next_(next), handler_(std::move(handler)) {}
  void end_line();
  void match(const std::string& line);

  SerialSink* const next_;
  const Handler handler_;

  mutable std::mutex mutex_;
  ConsoleRecord record_;
  std::string line_;           ///< so far
  std::size_t looked_at_ = 0;  ///< of line_
  std::vector<Expected> expect_;
  std::vector<ConsolePattern> fail_;
  bool expected_ = false;
  std::string failure_;
  std::string panic_;
  std::optional<std::chrono::steady_clock::time_point> init_time_;
};

}  // namespace tapir::vmm
