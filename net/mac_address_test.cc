// SPDX-License-Identifier: Apache-2.0
#include "net/mac_address.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

namespace tapir::net {
namespace {

TEST(MacAddress, ParsesSixGroups) {
  const MacAddress expected{{0x52, 0x54, 0x00, 0x12, 0xAB, 0x0F}};
  for (const std::string_view text : {"52:54:00:12:ab:0f", "52:54:00:12:AB:0F", "52-54-00-12-ab-0f",
                                      "52:54:0:12:aB:f", "52:54-00:12-ab:0f"}) {
    EXPECT_EQ(MacAddress::parse(text), expected) << text;
  }
}

TEST(MacAddress, RefusesEverythingElse) {
  for (const std::string_view text :
       {"", ":", "52:54:00:12:34", "52:54:00:12:34:", "52:54:00:12:34:56:", "52:54:00:12:34:56:78",
        " 52:54:00:12:34:56", "52:54:00:12:34:56 ", "525400123456", "52:54:00:12:34:5g", "52:54:00:12:34:056",
        "052:54:00:12:34:56", "52:54:00:12:34:100", "52::00:12:34:56", "52:54:00:12:34:-5",
        "52:54:00:12:34:+5", "0x52:54:00:12:34:56", "52.54.00.12.34.56", "5254.0012.3456"}) {
    EXPECT_EQ(MacAddress::parse(text), std::nullopt) << '"' << text << '"';
  }
  EXPECT_EQ(MacAddress::parse(std::string_view("52:54:00:12:34:56\0", 18)), std::nullopt);
}

TEST(MacAddress, PrintsWhatItParses) {
  EXPECT_EQ(MacAddress::parse("52:54:0:a:bc:FF")->to_string(), "52:54:00:0a:bc:ff");
  EXPECT_EQ(MacAddress{}.to_string(), "00:00:00:00:00:00");
}

TEST(MacAddress, KnowsMulticastAndZero) {
  EXPECT_TRUE(MacAddress::parse("01:00:5e:00:00:01")->is_multicast());
  EXPECT_TRUE(MacAddress::parse("ff:ff:ff:ff:ff:ff")->is_multicast());
  EXPECT_FALSE(MacAddress::parse("52:54:00:00:00:01")->is_multicast());
  EXPECT_TRUE(MacAddress{}.is_zero());
  EXPECT_FALSE(MacAddress::parse("00:00:00:00:00:01")->is_zero());
}

TEST(MacAddress, RandomOnesDifferBehindTheirPrefix) {
  std::set<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    const std::string text = MacAddress::random().to_string();
    EXPECT_EQ(text.substr(0, 9), "52:54:00:");
    seen.insert(text);
  }
  // All four alike has a chance of 2^-72.
  EXPECT_GT(seen.size(), 1U);
}

TEST(MacAddress, AnIdentityKeepsItsAddressForEver) {
  // These values are a promise to running installations: DHCP leases and firewall rules know them.
  EXPECT_EQ(MacAddress::from_identity("").to_string(), "52:54:00:99:29:26");
  EXPECT_EQ(MacAddress::from_identity("machine/1000/web/0").to_string(), "52:54:00:ea:37:d3");
}

TEST(MacAddress, SimilarIdentitiesAreSpread) {
  std::set<std::string> addresses;
  std::set<std::string> last_octets;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = MacAddress::from_identity("machine/1000/web/" + std::to_string(i)).to_string();
    addresses.insert(text);
    last_octets.insert(text.substr(15));
  }
  EXPECT_EQ(addresses.size(), 1000U);
  EXPECT_GT(last_octets.size(), 240U);
}

}  // namespace
}  // namespace tapir::net
