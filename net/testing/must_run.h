// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

namespace tapir::net::testing {

/// Whether a test that misses something must fail instead of being skipped: TAPIR_TESTS_MUST_RUN=1, as in CI.
inline bool tests_must_run() {
  const char* value = std::getenv("TAPIR_TESTS_MUST_RUN");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace tapir::net::testing

/// Ends the test for want of something that can be had elsewhere: skipped with the reason, or failed when
/// tests must run.
#define TAPIR_SKIP_TEST(reason)                    \
  do {                                             \
    if (::tapir::net::testing::tests_must_run()) { \
      FAIL() << (reason);                          \
    }                                              \
    GTEST_SKIP() << (reason);                      \
  } while (false)
