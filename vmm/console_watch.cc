// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "vmm/kernel_message.h"

namespace tapir::vmm {

Result<std::unique_ptr<ConsoleWatch>> ConsoleWatch::create(std::span<const std::string> expect,
                                                           std::span<const std::string> fail,
                                                           SerialSink* next, Handler handler) {
  // Not make_unique: the constructor is private.
  std::unique_ptr<ConsoleWatch> watch(new ConsoleWatch(next, std::move(handler)));
  for (const std::string& text : expect) {
    TAPIR_TRY_ASSIGN(auto pattern, ConsolePattern::compile(text));
    watch->expect_.push_back({std::move(pattern), false});
  }
  for (const std::string& text : fail) {
    TAPIR_TRY_ASSIGN(auto pattern, ConsolePattern::compile(text));
    watch->fail_.push_back(std::move(pattern));
  }
  watch->line_.reserve(kMaxLine);
  return watch;
}

void ConsoleWatch::put(std::span<const std::byte> bytes) {
  if (next_ != nullptr) {
    next_->put(bytes);
  }
  const std::lock_guard lock(mutex_);
  record_.put(bytes);
  for (const std::byte byte : bytes) {
    const char c = std::to_integer<char>(byte);
    if (c == '\n') {
      end_line();
      continue;
    }
    line_.push_back(c);
    if (line_.size() == kMaxLine) {
      end_line();
    }
  }
}

void ConsoleWatch::look_at_partial_line() {
  const std::lock_guard lock(mutex_);
  if (line_.size() != looked_at_) {
    looked_at_ = line_.size();
    match(line_);
  }
}

void ConsoleWatch::end_line() {
  while (line_.ends_with('\r')) {
    line_.pop_back();
  }
  // What the operator has asked for counts before what it means to a kernel: -expect may wait for a panic.
  match(line_);
  switch (kernel_message(line_)) {
    case KernelMessage::kPanic:
      if (panic_.empty()) {
        panic_ = line_.substr(line_.find("Kernel panic"));
      }
      handler_(Event::kPanic);
      break;
    case KernelMessage::kPanicEnd:
      handler_(Event::kPanicEnd);
      break;
    case KernelMessage::kInit:
      init_time_ = init_time_.value_or(std::chrono::steady_clock::now());
      break;
    case KernelMessage::kNone:
      break;
  }
  line_.clear();
  looked_at_ = 0;
}

void ConsoleWatch::match(const std::string& line) {
  const auto failed = std::find_if(fail_.begin(), fail_.end(),
                                   [&](const ConsolePattern& pattern) { return pattern.matches(line); });
  if (failed != fail_.end() && failure_.empty() && !expected_) {
    failure_ = fmt::format("'{}' matched the line '{}'", failed->text(), line);
    handler_(Event::kFailed);
  }
  if (expect_.empty() || expected_ || !failure_.empty()) {
    return;
  }
  for (Expected& one : expect_) {
    one.matched = one.matched || one.pattern.matches(line);
  }
  expected_ = std::all_of(expect_.begin(), expect_.end(), [](const Expected& one) { return one.matched; });
  if (expected_) {
    handler_(Event::kExpected);
  }
}

std::vector<std::string> ConsoleWatch::missing() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> texts;
  for (const Expected& one : expect_) {
    if (!one.matched) {
      texts.push_back(one.pattern.text());
    }
  }
  return texts;
}

std::string ConsoleWatch::failure() const {
  const std::lock_guard lock(mutex_);
  return failure_;
}

std::string ConsoleWatch::panic() const {
  const std::lock_guard lock(mutex_);
  return panic_;
}

std::optional<std::chrono::steady_clock::time_point> ConsoleWatch::init_time() const {
  const std::lock_guard lock(mutex_);
  return init_time_;
}

ConsoleRecord ConsoleWatch::record() const {
  const std::lock_guard lock(mutex_);
  return record_;
}

}  // namespace tapir::vmm
