// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace tapir {

/// Why an operation that the operator asked for could not be done: a sentence (or the end of one) that names
/// the value at fault and, where there is one, the remedy. Context is added in front on the way up and `main`
/// prints it once. Guest misbehaviour is never an Error (drop, count, DEVICE_NEEDS_RESET), and a bug of ours
/// is a CHECK.
class [[nodiscard]] Error {
 public:
  explicit Error(std::string message, int code = 0) : message_(std::move(message)), code_(code) {}

  /// The text, without a final period or newline.
  const std::string& message() const { return message_; }
  /// The errno behind it, or 0 when the failure is not a system call's.
  int code() const { return code_; }

  /// "context: message"; the code stays.
  Error with_context(std::string_view context) && {
    message_.insert(0, ": ").insert(0, context);
    return std::move(*this);
  }

 private:
  std::string message_;
  int code_;
};

/// A value or an Error. The names are those of std::expected, which this becomes when the compiler has it.
/// Functions that return one are [[nodiscard]].
template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

/// `return fail("…");`
[[nodiscard]] inline tl::unexpected<Error> fail(std::string message, int code = 0) {
  return tl::unexpected<Error>(Error(std::move(message), code));
}

/// `return fail_errno("open /dev/kvm");` gives "open /dev/kvm: Permission denied" with code EACCES.
[[nodiscard]] inline tl::unexpected<Error> fail_errno(std::string operation, int code = errno) {
  operation.append(": ").append(
      std::strerror(code));  // NOLINT(concurrency-mt-unsafe): glibc's is thread-safe
  return tl::unexpected<Error>(Error(std::move(operation), code));
}

}  // namespace tapir

#define TAPIR_CONCAT_INNER(a, b) a##b
#define TAPIR_CONCAT(a, b) TAPIR_CONCAT_INNER(a, b)

/// Returns from the calling function with the error when `expression` (a Status or Result) holds one.
#define TAPIR_TRY(expression)                                               \
  do {                                                                      \
    if (auto try_result = (expression); !try_result) {                      \
      return tl::unexpected<::tapir::Error>(std::move(try_result).error()); \
    }                                                                       \
  } while (false)

/// `TAPIR_TRY_ASSIGN(UniqueFd fd, open_file(path));` declares or assigns from the value, or returns the
/// error. Two statements, so it cannot be the body of an unbraced `if`. Moves, so move-only values pass.
#define TAPIR_TRY_ASSIGN(target, expression)                                                       \
  auto TAPIR_CONCAT(try_result_, __LINE__) = (expression);                                         \
  if (!TAPIR_CONCAT(try_result_, __LINE__)) {                                                      \
    return tl::unexpected<::tapir::Error>(std::move(TAPIR_CONCAT(try_result_, __LINE__)).error()); \
  }                                                                                                \
  target = *std::move(TAPIR_CONCAT(try_result_, __LINE__))  // NOLINT(bugprone-macro-parentheses): may declare
