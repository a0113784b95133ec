// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/base/result.h"

namespace re2 {
class RE2;
}

namespace tapir::vmm {

/// A regular expression of -expect or -fail, looked for anywhere in a line. RE2's syntax, which is Perl's
/// without what would need backtracking: no expression can take more than time linear in the line, nor more
/// memory than kMaxBytes. Text is bytes, not characters: a console may print anything. Immutable; any thread.
class ConsolePattern {
 public:
  static constexpr std::int64_t kMaxBytes = std::int64_t{1} << 20;

  /// Error: it is empty, no regular expression, or too large.
  [[nodiscard]] static Result<ConsolePattern> compile(std::string_view text);
  ConsolePattern(const ConsolePattern&) = delete;
  ConsolePattern& operator=(const ConsolePattern&) = delete;
  ConsolePattern(ConsolePattern&&) noexcept;
  ConsolePattern& operator=(ConsolePattern&&) noexcept;
  ~ConsolePattern();

  bool matches(std::string_view line) const;
  const std::string& text() const;

 private:
  explicit ConsolePattern(std::unique_ptr<re2::RE2> expression);
  std::unique_ptr<re2::RE2> expression_;
};

}  // namespace tapir::vmm
