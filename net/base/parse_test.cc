// SPDX-License-Identifier: Apache-2.0
#include "net/base/parse.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace tapir {
namespace {

constexpr std::uint64_t kKi = 1024;
constexpr std::uint64_t kMi = kKi * 1024;
constexpr std::uint64_t kGi = kMi * 1024;
constexpr std::uint64_t kEi = kGi * kGi;

TEST(ParseUnsigned, TakesDecimalAndHexadecimal) {
  EXPECT_EQ(parse_unsigned("0"), 0U);
  EXPECT_EQ(parse_unsigned("007"), 7U);
  EXPECT_EQ(parse_unsigned("0x1F"), 31U);
  EXPECT_EQ(parse_unsigned("0Xff"), 255U);
  EXPECT_EQ(parse_unsigned("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_unsigned("0xffffffffffffffff"), UINT64_MAX);
}

TEST(ParseUnsigned, RefusesWhatIsNotWhollyANumber) {
  for (const std::string_view text : {"", " 1", "1 ", "+1", "-1", "-0", "0x", "0x-1", "0x 1", "0x0x1", "1k",
                                      "ff", "1.0", "0b1", "18446744073709551616", "0x10000000000000000"}) {
    EXPECT_EQ(parse_unsigned(text), std::nullopt) << '"' << text << '"';
  }
  EXPECT_EQ(parse_unsigned(std::string_view("1\0", 2)), std::nullopt);
}

TEST(ParseUnsigned, RefusesMoreThanTheMaximum) {
  EXPECT_EQ(parse_unsigned("64", 64), 64U);
  EXPECT_EQ(parse_unsigned("65", 64), std::nullopt);
  EXPECT_EQ(parse_unsigned("0x41", 64), std::nullopt);
}

TEST(ParseDecimal, TakesNothingButDigits) {
  EXPECT_EQ(parse_decimal("0"), 0U);
  EXPECT_EQ(parse_decimal("10"), 10U);
  EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
  for (const std::string_view text : {"", " 1", "1 ", "+1", "-1", "-0", "00", "007", "0x1", "3x", "1.0",
                                      "1e1", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_EQ(parse_decimal(text), std::nullopt) << '"' << text << '"';
  }
}

TEST(ParseDecimal, RefusesMoreThanTheMaximum) {
  EXPECT_EQ(parse_decimal("64", 64), 64U);
  EXPECT_EQ(parse_decimal("65", 64), std::nullopt);
}

TEST(ParseSize, ScalesByTheSuffixOfEitherCase) {
  EXPECT_EQ(parse_size("5b"), 5U);
  EXPECT_EQ(parse_size("5B"), 5U);
  EXPECT_EQ(parse_size("5k"), 5 * kKi);
  EXPECT_EQ(parse_size("5K"), 5 * kKi);
  EXPECT_EQ(parse_size("5m"), 5 * kMi);
  EXPECT_EQ(parse_size("5G"), 5 * kGi);
  EXPECT_EQ(parse_size("5t"), 5 * kKi * kGi);
  EXPECT_EQ(parse_size("5P"), 5 * kMi * kGi);
  EXPECT_EQ(parse_size("5e"), 5 * kEi);
}

TEST(ParseSize, UsesTheDefaultSuffixWithoutOne) {
  EXPECT_EQ(parse_size("5"), 5U);
  EXPECT_EQ(parse_size("256", 'M'), 256 * kMi);
  EXPECT_EQ(parse_size("0.5", 'M'), kMi / 2);
  EXPECT_EQ(parse_size("1G", 'M'), kGi);
  EXPECT_EQ(parse_size("7b", 'M'), 7U);
  EXPECT_EQ(parse_size("0x10", 'M'), 16 * kMi);
}

TEST(ParseSize, RoundsAFractionToTheNearestByte) {
  EXPECT_EQ(parse_size("1.5G"), kGi + kGi / 2);
  EXPECT_EQ(parse_size("0.5E"), kEi / 2);
  EXPECT_EQ(parse_size("12.345M"), 12944671U);  // 12944670.72
  EXPECT_EQ(parse_size("1.9999k"), 2048U);
  EXPECT_EQ(parse_size("1." + std::string(400, '0') + "1k"), 1024U);
  EXPECT_EQ(parse_size("1." + std::string(400, '9') + "k"), 2048U);
  EXPECT_EQ(parse_size("1.k"), kKi);
  EXPECT_EQ(parse_size(".5k"), kKi / 2);
}

TEST(ParseSize, RefusesAFractionOfAByte) {
  EXPECT_EQ(parse_size("1.5"), std::nullopt);
  EXPECT_EQ(parse_size("1.5b", 'M'), std::nullopt);
  EXPECT_EQ(parse_size("1.0"), 1U);
  EXPECT_EQ(parse_size("1.00b"), 1U);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const std::string_view text :
       {"",   " ",  "k",     ".",     ".k",  "-1",    "+1",    " 1",   "1 ",  "1kb", "1KiB",
        "1x", "0x", "0x10k", "0x1.8", "1e3", "1..5k", "1.5.k", "1,5k", "inf", "nan"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << '"' << text << '"';
  }
}

TEST(ParseSize, RefusesOverflow) {
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_size("18446744073709551616"), std::nullopt);
  EXPECT_EQ(parse_size("15e"), 15 * kEi);
  EXPECT_EQ(parse_size("16e"), std::nullopt);
  EXPECT_EQ(parse_size("15." + std::string(40, '9') + "e"), std::nullopt);
  EXPECT_EQ(parse_size("0xffffffffffffffff", 'k'), std::nullopt);
}

TEST(ParseBool, TakesTheEightWords) {
  for (const std::string_view text : {"on", "yes", "true", "y"}) {
    EXPECT_EQ(parse_bool(text), std::optional(true)) << text;
  }
  for (const std::string_view text : {"off", "no", "false", "n"}) {
    EXPECT_EQ(parse_bool(text), std::optional(false)) << text;
  }
  for (const std::string_view text : {"", "On", "1", "0", "on ", "yess", "t"}) {
    EXPECT_EQ(parse_bool(text), std::nullopt) << '"' << text << '"';
  }
}

TEST(Nearest, FindsTheMistypedWord) {
  constexpr std::array<std::string_view, 5> kWords{"netdev", "device", "kernel", "vnet_hdr", "m"};
  EXPECT_EQ(nearest("netdv", kWords), "netdev");
  EXPECT_EQ(nearest("devcie", kWords), "device");
  EXPECT_EQ(nearest("kernell", kWords), "kernel");
  EXPECT_EQ(nearest("vnethdr", kWords), "vnet_hdr");
  EXPECT_EQ(nearest("mm", kWords), "m");
}

TEST(Nearest, IsSilentWhenNothingIsNear) {
  constexpr std::array<std::string_view, 3> kWords{"netdev", "device", "m"};
  EXPECT_EQ(nearest("", kWords), std::nullopt);
  EXPECT_EQ(nearest("k", kWords), std::nullopt);
  EXPECT_EQ(nearest("spice", kWords), std::nullopt);
  EXPECT_EQ(nearest(std::string(100000, 'n'), kWords), std::nullopt);
  EXPECT_EQ(nearest("netdev", {}), std::nullopt);
}

}  // namespace
}  // namespace tapir
