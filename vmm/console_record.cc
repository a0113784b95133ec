// SPDX-License-Identifier: Apache-2.0
#include "vmm/console_record.h"

#include <algorithm>
#include <string_view>

namespace tapir::vmm {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Without control characters and what follows ESC [, so that a guest cannot speak to the operator's
/// terminal.
std::string printable(std::string_view line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const auto c = static_cast<unsigned char>(line[i]);
    if (c == 0x1B && i + 1 < line.size() && line[i + 1] == '[') {
      i += 2;
      while (i < line.size() && (line[i] < '@' || line[i] > '~')) {
        ++i;
      }
    } else if (c == '\t') {
      text.push_back(' ');
    } else if (c >= 0x20 && c != 0x7F && (c < 0x80 || c >= 0xA0)) {
      text.push_back(line[i]);
    }
  }
  return text;
}

}  // namespace

void ConsoleRecord::put(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    if (bytes_ < kFirstBytes) {
      first_[bytes_] = byte;
    }
    last_[bytes_ % kLastBytes] = byte;
    ++bytes_;
  }
}

std::string ConsoleRecord::first() const {
  return text_of(std::span(first_).first(std::min<std::uint64_t>(bytes_, kFirstBytes)));
}

std::string ConsoleRecord::last() const {
  if (bytes_ <= kLastBytes) {
    return text_of(std::span(last_).first(bytes_));
  }
  const std::size_t start = bytes_ % kLastBytes;
  return text_of(std::span(last_).subspan(start)) + text_of(std::span(last_).first(start));
}

std::vector<std::string> ConsoleRecord::last_lines(std::size_t count, std::size_t width) const {
  const std::string all = last();
  std::string_view rest = all;
  if (rest.ends_with('\n')) {
    rest.remove_suffix(1);
  }
  std::vector<std::string> lines;
  while (!rest.empty() && lines.size() < count) {
    const std::size_t newline = rest.rfind('\n');
    const std::string_view line = newline == std::string_view::npos ? rest : rest.substr(newline + 1);
    lines.push_back(printable(line).substr(0, width));
    rest = newline == std::string_view::npos ? std::string_view() : rest.substr(0, newline);
  }
  std::reverse(lines.begin(), lines.end());
  return lines;
}

}  // namespace tapir::vmm
