// SPDX-License-Identifier: Apache-2.0
#include "vmm/key_spec.h"

#include <gmock/gmock.h>

namespace tapir::vmm {
namespace {

using Type = KeySpec::Type;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string refusal(const KeySpec& key, std::string_view value) {
  const Status checked = check_value(key, value);
  return checked ? "right" : checked.error().message();
}

TEST(KeySpecTest, NumbersAreStrict) {
  const KeySpec key{.name = "n", .type = Type::kNumber, .example = "2", .min = -3, .max = 20};
  for (const char* const right : {"0", "20", "-3", "0x14", "0X14", "-0x3"}) {
    EXPECT_EQ(refusal(key, right), "right") << right;
  }
  for (const char* const wrong : {"", "21", "-4", "+1", " 1", "1 ", "1.0", "1e1", "010", "0x", "-", "--1",
                                  "one", "99999999999999999999"}) {
    EXPECT_EQ(refusal(key, wrong), "n=" + std::string(wrong) +
                                       ": the value must be a whole number from -3 to 20; for example n=2");
  }
  EXPECT_EQ(number_value("-0x3"), -3);
}

TEST(KeySpecTest, SizesTakeSuffixesAndFractions) {
  const KeySpec key{.name = "s", .type = Type::kSize, .example = "1M"};
  EXPECT_EQ(refusal(key, "1.5k"), "right");
  EXPECT_EQ(size_value("1.5k"), 1536U);
  EXPECT_EQ(size_value("0x1b"), 27U);
  for (const char* const wrong : {"", "1.5", "1e3", "-1", "0x20M", "inf", "1MB", "99999999999G"}) {
    EXPECT_THAT(refusal(key, wrong), HasSubstr("must be a number of bytes")) << wrong;
  }
}

TEST(KeySpecTest, AddressesHaveSixGroupsOrAreANumberWhereQemuTakesOne) {
  const KeySpec strict{.name = "mac", .type = Type::kMac, .example = "52:54:00:12:34:56"};
  const KeySpec number{.name = "mac", .type = Type::kMacOrNumber, .example = "52:54:00:12:34:56"};
  for (const char* const right : {"52:54:00:12:34:56", "52-54-00-12-34-56", "52:54-0:12:34:56"}) {
    EXPECT_EQ(refusal(strict, right), "right") << right;
    EXPECT_EQ(refusal(number, right), "right") << right;
  }
  EXPECT_EQ(refusal(number, "0xffffff"), "right");
  EXPECT_EQ(mac_value("0xffffff")->to_string(), "00:00:00:ff:ff:ff");
  EXPECT_EQ(mac_value("0"), std::nullopt);
  EXPECT_THAT(refusal(strict, "5"), HasSubstr("six hexadecimal bytes"));
  EXPECT_EQ(refusal(number, ""), "right");
  EXPECT_EQ(mac_value(""), std::nullopt);
  EXPECT_THAT(refusal(strict, ""), HasSubstr("six hexadecimal bytes"));
  for (const char* const wrong : {"0x1000000", "-1", "156:54:00:12:34:56", ":::::", "52:54:00:12:34",
                                  "52:54:00:12:34:56:", "52.54.00.12.34.56"}) {
    EXPECT_THAT(refusal(number, wrong), HasSubstr("six hexadecimal bytes")) << wrong;
  }
  EXPECT_THAT(refusal(strict, "01:00:00:00:00:01"), HasSubstr("multicast"));
}

TEST(KeySpecTest, DescriptorsStandBetweenColons) {
  const KeySpec one{.name = "fd", .type = Type::kDescriptor, .example = "3"};
  const KeySpec many{.name = "fds", .type = Type::kDescriptors, .example = "3:4"};
  EXPECT_EQ(refusal(one, "3"), "right");
  EXPECT_EQ(refusal(many, "3:4:5"), "right");
  EXPECT_THAT(descriptors_value("3:4:5"), ElementsAre(3, 4, 5));
  for (const char* const wrong : {"", "x", "-1", "03", "0x3", "3:4", "2147483648"}) {
    EXPECT_THAT(refusal(one, wrong), HasSubstr("a decimal number")) << wrong;
  }
  for (const char* const wrong : {"", ":", "3:", ":3", "3::4", "3:x", "3,4"}) {
    EXPECT_THAT(refusal(many, wrong), HasSubstr("decimal numbers between colons")) << wrong;
  }
  EXPECT_THAT(refusal(many, "3:4:3"), HasSubstr("descriptor 3 is there twice"));
  EXPECT_THAT(refusal(many, "1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17"), HasSubstr("one to 16"));
}

TEST(KeySpecTest, SlotsAreHexadecimal) {
  const KeySpec key{.name = "addr", .type = Type::kPciAddress, .example = "5"};
  for (const char* const right : {"1", "1f", "0x1F", "05", "10.0"}) {
    EXPECT_EQ(refusal(key, right), "right") << right;
  }
  EXPECT_EQ(pci_address_value("1f"), (PciAddress{31, 0}));
  EXPECT_THAT(refusal(key, "0"), HasSubstr("host bridge"));
  EXPECT_THAT(refusal(key, "5.1"), HasSubstr("function is 0"));
  for (const char* const wrong :
       {"", "20", "5.8", "5.", ".1", "zz", "-1", "5:0", "0x", "100000000000000000"}) {
    EXPECT_THAT(refusal(key, wrong), HasSubstr("a hexadecimal slot from 1 to 1f")) << wrong;
  }
}

TEST(KeySpecTest, WhatTapirLacksSaysSo) {
  const KeySpec off{.name = "packed", .type = Type::kOffOnly, .help = "rings are split"};
  EXPECT_EQ(refusal(off, "off"), "right");
  EXPECT_EQ(refusal(off, "on"), "packed=on: rings are split; leave packed= out or give packed=off");
  const KeySpec absent{.name = "vhostfd", .type = Type::kAbsent, .help = "there is no vhost"};
  EXPECT_EQ(refusal(absent, "3"), "vhostfd=3: there is no vhost; leave vhostfd= out");
  const KeySpec empty{.name = "romfile", .type = Type::kChoice, .value = "", .help = "there is no ROM"};
  EXPECT_EQ(refusal(empty, ""), "right");
  EXPECT_EQ(refusal(empty, "x"), "romfile=x: there is no ROM; leave romfile= out");
}

TEST(KeySpecTest, QueueSizesArePowersOfTwo) {
  const KeySpec key{.name = "size", .type = Type::kQueueSize, .example = "512", .min = 256, .max = 1024};
  for (const char* const right : {"256", "512", "0x400"}) {
    EXPECT_EQ(refusal(key, right), "right") << right;
  }
  for (const char* const wrong : {"0", "128", "300", "2048", "-256", "x"}) {
    EXPECT_THAT(refusal(key, wrong), HasSubstr("must be a power of 2 from 256 to 1024")) << wrong;
  }
}

TEST(KeySpecTest, ChoicesAreNamed) {
  const KeySpec key{.name = "duplex", .type = Type::kChoice, .value = "half|full", .example = "full"};
  EXPECT_EQ(refusal(key, "half"), "right");
  EXPECT_EQ(refusal(key, "both"), "duplex=both: the value must be half or full; for example duplex=full");
}

}  // namespace
}  // namespace tapir::vmm
