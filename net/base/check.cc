// SPDX-License-Identifier: Apache-2.0
#include "net/base/check.h"

#include <sys/uio.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace tapir {

void check_failed(const char* file, int line, const char* condition) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, line).ptr;
  const auto piece = [](const char* text, std::size_t size) {
    return iovec{const_cast<char*>(text), size};  // NOLINT: writev takes non-const and only reads
  };
  const iovec line_of_text[] = {
      piece("tapir: bug: ", 12),
      piece(file, std::strlen(file)),
      piece(":", 1),
      piece(digits, static_cast<std::size_t>(end - digits)),
      piece(": ", 2),
      piece(condition, std::strlen(condition)),
      piece("\n", 1),
  };
  [[maybe_unused]] const auto written = ::writev(STDERR_FILENO, line_of_text, 7);
  std::abort();
}

}  // namespace tapir
