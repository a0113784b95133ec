// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

namespace tapir {

enum class LogLevel : std::uint8_t { kError, kWarning, kInfo, kDebug };

/// What is printed from now on; kWarning at start. Any thread.
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

/// Writes "tapir: [warning: |debug: ]TEXT\n" to stderr in one write(2); lines of threads do not mix. Never
/// blocks: it takes no lock, drops the line when stderr cannot take it now, and cuts a line at PIPE_BUF
/// (4096) bytes. Any thread.
void log(LogLevel level, std::string_view text);

/// For every message that a guest can cause. At most 10 lines a second pass over the whole process; when
/// lines were held back, the next that passes is followed by "(N more like this were not shown)". Any thread.
void log_guest(LogLevel level, std::string_view text);

/// Writes `text` and a newline to stderr as they are, for programs that read them there. The level does not
/// matter. Longer texts than PIPE_BUF take several writes, between which lines of other threads may come.
/// What stderr does not take within a tenth of a second is dropped, with all that follows. Any thread.
void print_line(std::string_view text);

/// The rule behind log_guest: each second of the clock has room for a number of lines.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  /// `lines_per_second`: 0 to 65535.
  explicit RateLimit(std::uint16_t lines_per_second) : limit_(lines_per_second) {}
  /// Whether one more line may pass at `now`; counts it as held back if not. Any thread.
  bool allow(Clock::time_point now);
  /// Lines held back since the last call.
  std::uint64_t take_suppressed();

 private:
  // The second and the lines used in it share one word, so that a thread that opens a new second and one that
  // counts into it cannot both win.
  static constexpr unsigned kLinesBits = 16;
  static constexpr std::uint64_t kLinesMask = (1U << kLinesBits) - 1;

  const std::uint64_t limit_;
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::uint64_t> suppressed_{0};
};

}  // namespace tapir
