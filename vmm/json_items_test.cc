// SPDX-License-Identifier: Apache-2.0
#include "vmm/json_items.h"

#include <gmock/gmock.h>

#include <array>

namespace tapir::vmm {
namespace {

using Form = KeyItem::Form;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string refusal(std::string_view text) {
  const auto items = json_items(text);
  return items ? "read" : items.error().message();
}

TEST(JsonItemsTest, MembersBecomeItemsInOrder) {
  const auto items =
      json_items(R"({"type":"tap","on":true,"n":-5,"big":18446744073709551615,"half":0.5,"no":null})");
  ASSERT_TRUE(items) << items.error().message();
  ASSERT_EQ(items->size(), 6U);
  EXPECT_EQ((*items)[0].key, "type");
  EXPECT_EQ((*items)[0].value, "tap");
  EXPECT_EQ((*items)[0].form, Form::kString);
  EXPECT_EQ((*items)[1].value, "on");
  EXPECT_EQ((*items)[1].form, Form::kBoolean);
  EXPECT_EQ((*items)[2].value, "-5");
  EXPECT_EQ((*items)[3].value, "18446744073709551615");
  EXPECT_EQ((*items)[3].form, Form::kInteger);
  EXPECT_EQ((*items)[4].form, Form::kOther);
  EXPECT_EQ((*items)[5].form, Form::kOther);
}

TEST(JsonItemsTest, CommasNeedNoDoubling) {
  EXPECT_EQ(json_items(R"({"helper":"a,b"})")->front().value, "a,b");
}

TEST(JsonItemsTest, OnlyTheFirstByteMakesItJson) {
  EXPECT_TRUE(is_json_argument("{"));
  EXPECT_FALSE(is_json_argument(" {}"));
  EXPECT_FALSE(is_json_argument(""));
}

TEST(JsonItemsTest, WhatIsNoObjectIsRefused) {
  EXPECT_THAT(refusal("{\"a\":1"), HasSubstr("is none, from byte"));
  EXPECT_THAT(refusal("{} x"), HasSubstr("is none, from byte"));
  EXPECT_THAT(refusal("{'a':1}"), HasSubstr("double quotes"));
  EXPECT_THAT(refusal("{\"a\":\"\xff\"}"), HasSubstr("is none, from byte"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("no object"));
  EXPECT_EQ(refusal(R"({"a":1,"b":{"a":1},"a":2})"), "the key 'a' is there twice");
  EXPECT_THAT(refusal(R"({"a":"x\u0000y"})"), HasSubstr("NUL"));
}

TEST(JsonItemsTest, DeepNestingIsNoTrouble) {
  EXPECT_THAT(refusal("{\"a\":" + std::string(100000, '[')), HasSubstr("is none"));
  EXPECT_EQ(refusal("{\"a\":" + std::string(10000, '[') + std::string(10000, ']') + "}"), "read");
}

TEST(JsonItemsTest, ValuesHaveTheTypeOfTheirKey) {
  constexpr std::array<KeySpec, 4> kKeys = {{{.name = "flag", .type = KeySpec::Type::kFlag},
                                             {.name = "number", .type = KeySpec::Type::kNumber},
                                             {.name = "text"},
                                             {.name = "addr", .type = KeySpec::Type::kPciAddress}}};
  const auto check = [&](std::string_view text) {
    Problems problems;
    const KeyValueList list = KeyValueList::check(*json_items(text), kKeys, problems);
    return problems.sentences();
  };
  EXPECT_THAT(check(R"({"flag":false,"number":3,"text":"x","addr":40})"), IsEmpty());
  EXPECT_THAT(check(R"({"flag":"off","number":"3","text":3,"addr":true})"),
              ElementsAre("'flag' wants a JSON boolean, true or false",
                          "'number' wants a JSON number without fraction", "'text' wants a JSON string",
                          "'addr' wants a JSON string"));
}

TEST(JsonItemsTest, NumberOfASlotCountsFunctions) {
  constexpr std::array<KeySpec, 1> kKeys = {
      {{.name = "addr", .type = KeySpec::Type::kPciAddress, .example = "5"}}};
  Problems problems;
  EXPECT_EQ(KeyValueList::check(*json_items(R"({"addr":40})"), kKeys, problems).find("addr"), "5.0");
  EXPECT_THAT(problems.sentences(), IsEmpty());
  static_cast<void>(KeyValueList::check(*json_items(R"({"addr":-40})"), kKeys, problems));
  EXPECT_EQ(problems.size(), 1U);
}

}  // namespace
}  // namespace tapir::vmm
