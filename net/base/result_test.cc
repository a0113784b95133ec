// SPDX-License-Identifier: Apache-2.0
#include "net/base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "net/base/scope_exit.h"

namespace tapir {
namespace {

Status check_positive(int value) {
  if (value <= 0) {
    return fail("the value " + std::to_string(value) + " is not positive", ERANGE);
  }
  return {};
}

Result<std::unique_ptr<int>> boxed(int value) {
  TAPIR_TRY(check_positive(value));
  return std::make_unique<int>(value);
}

Result<int> sum(int left, int right) {
  TAPIR_TRY_ASSIGN(const std::unique_ptr<int> first, boxed(left));
  TAPIR_TRY_ASSIGN(const std::unique_ptr<int> second, boxed(right));
  return *first + *second;
}

TEST(Result, TryPassesValuesThrough) {
  const auto result = sum(2, 3);
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, 5);
}

TEST(Result, TryReturnsTheFirstError) {
  const auto result = sum(-2, -3);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "the value -2 is not positive");
  EXPECT_EQ(result.error().code(), ERANGE);
}

TEST(Result, ContextGoesInFrontAndTheCodeStays) {
  const Error error =
      Error("Permission denied", EACCES).with_context("/dev/kvm").with_context("cannot start");
  EXPECT_EQ(error.message(), "cannot start: /dev/kvm: Permission denied");
  EXPECT_EQ(error.code(), EACCES);
}

TEST(Result, FailErrnoNamesTheOperationAndTheCause) {
  errno = ENOENT;
  const Status status = fail_errno("open /nowhere");
  EXPECT_EQ(status.error().message(), "open /nowhere: No such file or directory");
  EXPECT_EQ(status.error().code(), ENOENT);
}

TEST(ScopeExit, RunsAtTheEndUnlessDismissed) {
  int runs = 0;
  {
    const ScopeExit first([&runs] { ++runs; });
    ScopeExit second([&runs] { runs += 10; });
    second.dismiss();
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace tapir
