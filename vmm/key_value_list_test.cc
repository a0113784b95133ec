// SPDX-License-Identifier: Apache-2.0
#include "vmm/key_value_list.h"

#include <gmock/gmock.h>

#include <array>

namespace tapir::vmm {
namespace {

using Type = KeySpec::Type;

constexpr std::array<KeySpec, 4> kKeys = {{{.name = "type"},
                                           {.name = "ifname"},
                                           {.name = "vnet_hdr", .type = Type::kFlag},
                                           {.name = "notify", .type = Type::kFlag}}};

KeyValueList parsed(std::string_view text) {
  auto list = KeyValueList::parse(text, kKeys, "type");
  EXPECT_TRUE(list) << list.error().message();
  return list ? *std::move(list) : KeyValueList();
}

std::string refusal(std::string_view text, std::string_view implied = "type") {
  const auto list = KeyValueList::parse(text, kKeys, implied);
  return list ? "" : list.error().message();
}

TEST(KeyValueListTest, FirstItemWithoutEqualsBelongsToTheImpliedKey) {
  const KeyValueList list = parsed("tap,ifname=t0");
  EXPECT_EQ(list.find("type"), "tap");
  EXPECT_EQ(list.find("ifname"), "t0");
  EXPECT_FALSE(list.has("vnet_hdr"));
}

TEST(KeyValueListTest, ImpliedKeyMayBeWritten) {
  EXPECT_EQ(parsed("type=tap").find("type"), "tap");
}

TEST(KeyValueListTest, EmptyTextIsAnEmptyList) {
  EXPECT_FALSE(parsed("").has("type"));
}

TEST(KeyValueListTest, DoubledCommaIsOneCommaOfTheValue) {
  EXPECT_EQ(parsed("tap,ifname=a,,b,vnet_hdr=on").find("ifname"), "a,b");
  EXPECT_EQ(parsed("tap,ifname=a,,,,b").find("ifname"), "a,,b");
  EXPECT_EQ(parsed("a,,b").find("type"), "a,b");
  EXPECT_EQ(parsed("tap,ifname=a,,").find("ifname"), "a,");
  EXPECT_EQ(parsed("tap,ifname=a,,,vnet_hdr=off").find("vnet_hdr"), "off");
}

TEST(KeyValueListTest, ValueMayHoldEquals) {
  EXPECT_EQ(parsed("tap,ifname=a=b").find("ifname"), "a=b");
}

TEST(KeyValueListTest, ValueMayBeEmpty) {
  EXPECT_EQ(parsed("tap,ifname=").find("ifname"), "");
  EXPECT_EQ(parsed("tap,ifname=,vnet_hdr=on").find("ifname"), "");
}

TEST(KeyValueListTest, CommaAtTheEndIsIgnored) {
  EXPECT_EQ(parsed("tap,ifname=t0,").find("ifname"), "t0");
}

TEST(KeyValueListTest, LastDuplicateCounts) {
  EXPECT_EQ(parsed("tap,ifname=a,ifname=b").find("ifname"), "b");
  EXPECT_EQ(parsed("tap,vnet_hdr,novnet_hdr").flag("vnet_hdr"), false);
}

TEST(KeyValueListTest, BareFlagIsOnAndNoPrefixIsOff) {
  EXPECT_EQ(parsed("tap,vnet_hdr").flag("vnet_hdr"), true);
  EXPECT_EQ(parsed("tap,novnet_hdr").flag("vnet_hdr"), false);
  EXPECT_EQ(parsed("tap,vnet_hdr,ifname=a").flag("vnet_hdr"), true);
}

TEST(KeyValueListTest, FlagWhoseOwnNameBeginsWithNoIsOn) {
  EXPECT_EQ(parsed("tap,notify").flag("notify"), true);
  EXPECT_EQ(parsed("tap,nonotify").flag("notify"), false);
}

TEST(KeyValueListTest, FlagTakesTheWordsForOnAndOff) {
  EXPECT_EQ(parsed("tap,vnet_hdr=yes").flag("vnet_hdr"), true);
  EXPECT_EQ(parsed("tap,vnet_hdr=n").flag("vnet_hdr"), false);
  EXPECT_EQ(parsed("tap").flag("vnet_hdr"), std::nullopt);
  EXPECT_EQ(refusal("tap,vnet_hdr=maybe"), "vnet_hdr=maybe: the value must be on or off");
}

TEST(KeyValueListTest, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(refusal("tap,ifnam=t0"), "unknown key 'ifnam'; did you mean 'ifname'?");
  EXPECT_EQ(refusal("tap,vnet_hd"), "unknown key 'vnet_hd'; did you mean 'vnet_hdr'?");
  EXPECT_EQ(refusal("tap,queues=2"), "unknown key 'queues'; tapir knows type, ifname, vnet_hdr, notify");
  EXPECT_EQ(refusal("tap,=2"), "unknown key ''; tapir knows type, ifname, vnet_hdr, notify");
}

TEST(KeyValueListTest, KeyThatWantsAValueIsNoFlag) {
  EXPECT_EQ(refusal("tap,ifname"), "'ifname' needs a value: ifname=VALUE");
  EXPECT_EQ(refusal("tap,noifname"), "'ifname' needs a value: ifname=VALUE");
  EXPECT_EQ(refusal("ifname", ""), "'ifname' needs a value: ifname=VALUE");
}

TEST(KeyValueListTest, NothingBetweenCommasIsAnError) {
  EXPECT_EQ(refusal("vnet_hdr,,ifname=a", ""), "there is nothing between two commas");
  EXPECT_EQ(refusal("tap,vnet_hdr,,ifname=a"), "there is nothing between two commas");
}

}  // namespace
}  // namespace tapir::vmm
