// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_pattern.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <utility>

namespace tapir::vmm {

Result<ConsolePattern> ConsolePattern::compile(std::string_view text) {
  if (text.empty()) {
    return fail("the expression is empty and would match every line");
  }
  RE2::Options options(RE2::Latin1);
  options.set_log_errors(false);
  options.set_max_mem(kMaxBytes);
  auto expression = std::make_unique<RE2>(re2::StringPiece(text.data(), text.size()), options);
  if (!expression->ok()) {
    return fail(fmt::format("this is no regular expression that tapir can use: {}", expression->error()));
  }
  return ConsolePattern(std::move(expression));
}

ConsolePattern::ConsolePattern(std::unique_ptr<re2::RE2> expression) : expression_(std::move(expression)) {}
ConsolePattern::ConsolePattern(ConsolePattern&&) noexcept = default;
ConsolePattern& ConsolePattern::operator=(ConsolePattern&&) noexcept = default;
ConsolePattern::~ConsolePattern() = default;

bool ConsolePattern::matches(std::string_view line) const {
  return RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), *expression_);
}

const std::string& ConsolePattern::text() const {
  return expression_->pattern();
}

}  // namespace tapir::vmm
