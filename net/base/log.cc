// SPDX-License-Identifier: Apache-2.0
#include "net/base/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <climits>
#include <cstddef>
#include <string>

namespace tapir {
namespace {

constexpr unsigned kGuestLinesPerSecond = 10;
constexpr int kPrintPatienceMilliseconds = 100;

// A line never exceeds what a pipe takes at once: such a write is not mixed with others' (pipe(7)), and it
// does not block on a pipe that poll(2) calls writable.
constexpr std::size_t kMaxLineBytes = PIPE_BUF;

std::atomic<LogLevel> g_level{LogLevel::kWarning};

std::string_view prefix_of(LogLevel level) {
  switch (level) {
    case LogLevel::kWarning:
      return "tapir: warning: ";
    case LogLevel::kDebug:
      return "tapir: debug: ";
    case LogLevel::kError:
    case LogLevel::kInfo:
      break;
  }
  return "tapir: ";
}

bool stderr_takes_a_line(int wait_milliseconds) {
  pollfd poll_stderr{STDERR_FILENO, POLLOUT, 0};
  // POLLERR: nobody reads any more, and a write would raise SIGPIPE.
  return ::poll(&poll_stderr, 1, wait_milliseconds) == 1 && poll_stderr.revents == POLLOUT;
}

// Builds one line on the stack and writes it with one system call. A text that is too long loses its end.
void write_line(LogLevel level, std::string_view text, std::string_view note) {
  std::array<char, kMaxLineBytes> line;
  std::size_t used = 0;
  const auto append = [&line, &used](std::string_view part, std::size_t keep_free) {
    const std::size_t taken = std::min(part.size(), line.size() - keep_free - used);
    std::copy_n(part.data(), taken, line.data() + used);
    used += taken;
  };
  append(prefix_of(level), note.size() + 1);
  append(text, note.size() + 1);
  append(note, 1);
  append("\n", 0);
  if (stderr_takes_a_line(0)) {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), used);
  }
}

}  // namespace

void set_log_level(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}

bool log_enabled(LogLevel level) {
  return level <= g_level.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view text) {
  if (log_enabled(level)) {
    write_line(level, text, {});
  }
}

void log_guest(LogLevel level, std::string_view text) {
  static RateLimit limit(kGuestLinesPerSecond);
  if (!log_enabled(level) || !limit.allow(RateLimit::Clock::now())) {
    return;
  }
  const std::uint64_t held_back = limit.take_suppressed();
  if (held_back == 0) {
    write_line(level, text, {});
    return;
  }
  std::array<char, 20> digits;  // 2^64 - 1 has 20
  const char* end = std::to_chars(digits.data(), digits.data() + digits.size(), held_back).ptr;
  std::array<char, 64> note;
  char* out = note.data();
  for (const std::string_view part :
       {std::string_view(" ("),
        std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())),
        std::string_view(" more like this were not shown)")}) {
    out = std::copy_n(part.data(), part.size(), out);
  }
  write_line(level, text, {note.data(), static_cast<std::size_t>(out - note.data())});
}

void print_line(std::string_view text) {
  const std::string line = std::string(text) + '\n';
  for (std::string_view left = line; !left.empty();) {
    if (!stderr_takes_a_line(kPrintPatienceMilliseconds)) {
      return;
    }
    const ssize_t written = ::write(STDERR_FILENO, left.data(), std::min(left.size(), kMaxLineBytes));
    if (written < 0) {
      return;
    }
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

bool RateLimit::allow(Clock::time_point now) {
  const auto second = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  const std::uint64_t window = (second + 1) << kLinesBits;  // never 0, the value before the first line
  std::uint64_t state = state_.load(std::memory_order_relaxed);
  for (;;) {
    // A thread that read the clock before another one opened the next window counts into that window.
    const std::uint64_t current = std::max(state & ~kLinesMask, window);
    const std::uint64_t lines = current == (state & ~kLinesMask) ? state & kLinesMask : 0;
    if (lines >= limit_) {
      suppressed_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    if (state_.compare_exchange_weak(state, current | (lines + 1), std::memory_order_relaxed)) {
      return true;
    }
  }
}

std::uint64_t RateLimit::take_suppressed() {
  return suppressed_.exchange(0, std::memory_order_relaxed);
}

}  // namespace tapir
