// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tapir::vmm {

/// The beginning and the end of what a guest printed, whether or not anybody read it. Its memory is taken at
/// the start, so that a guest which prints much does not make the process grow. Not thread-safe.
class ConsoleRecord {
 public:
  static constexpr std::size_t kFirstBytes = std::size_t{64} << 10;
  static constexpr std::size_t kLastBytes = std::size_t{1} << 20;

  ConsoleRecord() : first_(kFirstBytes), last_(kLastBytes) {}

  void put(std::span<const std::byte> bytes);

  /// All bytes that were put.
  std::uint64_t bytes() const { return bytes_; }
  /// At most kFirstBytes and kLastBytes; they overlap when there were few.
  std::string first() const;
  std::string last() const;
  /// At most `count` lines from the end of last(), the oldest first, fit for a terminal: control characters
  /// are left out, and a line is cut at `width` bytes.
  std::vector<std::string> last_lines(std::size_t count, std::size_t width) const;

 private:
  std::vector<std::byte> first_;
  std::vector<std::byte> last_;  ///< a ring
  std::uint64_t bytes_ = 0;
};

}  // namespace tapir::vmm
