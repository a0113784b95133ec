// SPDX-License-Identifier: Apache-2.0
#include "vmm/kernel_message.h"

#include <cstddef>

namespace tapir::vmm {
namespace {

constexpr std::string_view kPanicText = "Kernel panic - not syncing: ";
constexpr std::string_view kEndText = "---[ end ";
constexpr std::string_view kRunText = "Run ";
constexpr std::string_view kInitText = " as init process";

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// The end of `text` without one "[…]" whose inside passes; as it is, if there is none.
template <typename Passes>
std::string_view without_brackets(std::string_view text, const Passes& passes) {
  if (!text.ends_with(']')) {
    return text;
  }
  const std::size_t open = text.rfind('[');
  if (open == std::string_view::npos || !passes(text.substr(open + 1, text.size() - open - 2))) {
    return text;
  }
  return text.substr(0, open);
}

/// "    1.234567"
bool is_time(std::string_view inside) {
  const std::size_t start = inside.find_first_not_of(' ');
  const std::size_t dot = inside.find('.');
  if (start == std::string_view::npos || dot == std::string_view::npos || start == dot ||
      dot + 1 == inside.size()) {
    return false;
  }
  for (std::size_t i = start; i < inside.size(); ++i) {
    if (i != dot && !is_digit(inside[i])) {
      return false;
    }
  }
  return true;
}

/// "    T1", "    C0": a task or a CPU.
bool is_caller(std::string_view inside) {
  const std::size_t start = inside.find_first_not_of(' ');
  if (start == std::string_view::npos || (inside[start] != 'T' && inside[start] != 'C')) {
    return false;
  }
  const std::string_view number = inside.substr(start + 1);
  return !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
}

/// Whether what stands before a message says that it is the kernel's.
bool is_kernels(std::string_view before) {
  if (before.empty()) {
    return true;
  }
  if (!before.ends_with(' ')) {
    return false;
  }
  before.remove_suffix(1);
  const std::string_view time = without_brackets(before, is_caller);
  const std::string_view rest = without_brackets(time, is_time);
  return rest.size() != time.size() && (rest.empty() || rest.ends_with(' '));
}

}  // namespace

KernelMessage kernel_message(std::string_view line) {
  if (const std::size_t at = line.find(kPanicText); at != std::string_view::npos) {
    const std::string_view before = line.substr(0, at);
    if (before.ends_with(kEndText) && is_kernels(before.substr(0, before.size() - kEndText.size()))) {
      return KernelMessage::kPanicEnd;
    }
    return is_kernels(before) ? KernelMessage::kPanic : KernelMessage::kNone;
  }
  const std::size_t run = line.find(kRunText);
  if (line.ends_with(kInitText) && run != std::string_view::npos && is_kernels(line.substr(0, run))) {
    return KernelMessage::kInit;
  }
  return KernelMessage::kNone;
}

}  // namespace tapir::vmm
