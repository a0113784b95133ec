// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace tapir {

/// Prints "tapir: bug: FILE:LINE: CONDITION" to stderr and aborts. Async-signal-safe.
[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace tapir

/// For our own bugs only: never on a value that a guest, an operator or the kernel chose.
#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) [[unlikely]] {                         \
      ::tapir::check_failed(__FILE__, __LINE__, #condition); \
    }                                                        \
  } while (false)
