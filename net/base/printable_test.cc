// SPDX-License-Identifier: Apache-2.0
#include "net/base/printable.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace tapir {
namespace {

TEST(Printable, OrdinaryTextStays) {
  EXPECT_EQ(printable("", 10), "");
  EXPECT_EQ(printable("br0 ~ 'a\\b'", 100), "br0 ~ 'a\\b'");
}

TEST(Printable, EveryByteThatCouldMoveACursorOrEndALineIsWrittenOut) {
  using std::string_view_literals::operator""sv;
  EXPECT_EQ(printable("a\nb\r\t\0\x1b[2J\x7f"sv, 100), "a\\x0ab\\x0d\\x09\\x00\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xc3\xa9", 100), "\\xc3\\xa9");
}

TEST(Printable, LongTextIsCut) {
  EXPECT_EQ(printable("12345", 5), "12345");
  EXPECT_EQ(printable("123456", 5), "12345...");
  EXPECT_EQ(printable(std::string(100'000, '\n'), 2), "\\x0a\\x0a...");
}

}  // namespace
}  // namespace tapir
