// SPDX-License-Identifier: Apache-2.0
// Cnn are the rows of the conformance list.
#include "virtio/receive_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <span>

#include "net/virtio_net_uapi.h"
#include "virtio/receive_rules.h"
#include "virtio/testing/net_device_fixture.h"

namespace tapir::virtio {
namespace {

using net::MacAddress;
using testing::feature;

constexpr MacAddress kOwn{{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}};
constexpr MacAddress kStranger{{0x52, 0x54, 0x00, 0x12, 0x34, 0x57}};
constexpr MacAddress kBroadcast{{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}};
constexpr MacAddress kGroup{{0x01, 0x00, 0x5E, 0x00, 0x00, 0x01}};
constexpr std::uint64_t kMacs = feature(VIRTIO_NET_F_CTRL_RX);
constexpr std::uint64_t kVlans = feature(VIRTIO_NET_F_CTRL_VLAN);

std::array<std::byte, ReceiveFilter::kHeadBytes> head(const MacAddress& destination,
                                                      std::optional<std::uint16_t> tag = std::nullopt) {
  std::array<std::byte, ReceiveFilter::kHeadBytes> bytes{};
  std::transform(destination.octets.begin(), destination.octets.end(), bytes.begin(),
                 [](std::uint8_t octet) { return std::byte{octet}; });
  bytes[12] = std::byte{tag ? std::uint8_t{0x81} : std::uint8_t{0x08}};
  if (tag) {
    bytes[14] = static_cast<std::byte>(*tag >> 8U);
    bytes[15] = static_cast<std::byte>(*tag & 0xFFU);
  }
  return bytes;
}

MacAddress numbered(std::uint8_t first_octet, unsigned number) {
  return {{first_octet, 0, 0, 0, static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number)}};
}

ReceiveFilter with_modes(const ReceiveFilter::Modes& modes) {
  ReceiveFilter filter(kOwn, kMacs);
  filter.set_modes(modes);
  return filter;
}

TEST(ReceiveFilter, LetsEverythingInWithoutTheFeatures) {
  const ReceiveFilter filter(kOwn, 0);
  EXPECT_TRUE(filter.accepts_everything());
  EXPECT_TRUE(filter.accepts(head(kStranger, 5)));
  EXPECT_TRUE(ReceiveFilter().accepts(head(kStranger, 5)));
}

TEST(ReceiveFilter, IsPromiscuousUntilTheDriverSaysOtherwise) {
  ReceiveFilter filter(kOwn, kMacs | kVlans);
  EXPECT_TRUE(filter.accepts_everything());
  EXPECT_TRUE(filter.accepts(head(kStranger, 5)));
  ReceiveFilter::Modes modes = filter.modes();
  modes.promiscuous = false;
  filter.set_modes(modes);
  EXPECT_FALSE(filter.accepts_everything());
  EXPECT_FALSE(filter.accepts(head(kStranger)));
}

// C114, C115, C117: each mode against each kind of address, none of them in a table.
TEST(ReceiveFilter, ModesDecideByKindOfAddress) {
  struct Case {
    ReceiveFilter::Modes modes;
    bool own, stranger, group, broadcast;
  };
  //   promiscuous, all: multicast, unicast, no: multicast, unicast, broadcast
  const std::initializer_list<Case> cases{
      {{false, false, false, false, false, false}, true, false, false, true},
      {{true, false, false, false, false, false}, true, true, true, true},
      {{false, true, false, false, false, false}, true, false, true, true},
      {{false, false, true, false, false, false}, true, true, false, true},
      {{false, true, true, false, false, false}, true, true, true, true},
      {{false, true, false, true, false, false}, true, false, false, true},
      {{false, false, true, false, true, false}, false, false, false, true},
      {{false, false, false, false, false, true}, true, false, false, false},
      {{true, false, false, true, true, true}, true, true, true, true},
  };
  unsigned number = 0;
  for (const Case& expected : cases) {
    const ReceiveFilter filter = with_modes(expected.modes);
    EXPECT_EQ(filter.accepts(head(kOwn)), expected.own) << number;
    EXPECT_EQ(filter.accepts(head(kStranger)), expected.stranger) << number;
    EXPECT_EQ(filter.accepts(head(kGroup)), expected.group) << number;
    EXPECT_EQ(filter.accepts(head(kBroadcast)), expected.broadcast) << number;
    ++number;
  }
}

// C116
TEST(ReceiveFilter, TablesLetInTheirAddressesAndNoOthers) {
  ReceiveFilter filter = with_modes({false, false, false, false, false, false});
  ReceiveFilter::MacTable unicast;
  ReceiveFilter::MacTable multicast;
  for (unsigned i = 0; i < ReceiveFilter::MacTable::kEntries; ++i) {
    unicast.add(numbered(0x02, i));
    multicast.add(numbered(0x03, i));
  }
  filter.set_tables(unicast, multicast);
  for (unsigned i = 0; i < 2 * ReceiveFilter::MacTable::kEntries; ++i) {
    EXPECT_EQ(filter.accepts(head(numbered(0x02, i))), i < ReceiveFilter::MacTable::kEntries) << i;
    EXPECT_EQ(filter.accepts(head(numbered(0x03, i))), i < ReceiveFilter::MacTable::kEntries) << i;
  }
  EXPECT_TRUE(filter.accepts(head(kOwn)));
  filter.set_tables({}, {});
  EXPECT_FALSE(filter.accepts(head(numbered(0x02, 0))));
}

TEST(ReceiveFilter, OneAddressTooManyLetsInAllOfItsKind) {
  ReceiveFilter filter = with_modes({false, false, false, false, false, false});
  ReceiveFilter::MacTable table;
  for (unsigned i = 0; i <= ReceiveFilter::MacTable::kEntries; ++i) {
    table.add(numbered(0x02, i));
  }
  filter.set_tables(table, {});
  EXPECT_TRUE(filter.accepts(head(kStranger)));
  EXPECT_FALSE(filter.accepts(head(kGroup)));
}

TEST(ReceiveFilter, NewOwnAddressReplacesTheOldOne) {
  ReceiveFilter filter = with_modes({false, false, false, false, false, false});
  filter.set_mac(kStranger);
  EXPECT_TRUE(filter.accepts(head(kStranger)));
  EXPECT_FALSE(filter.accepts(head(kOwn)));
}

// C118
TEST(ReceiveFilter, OnlyVlansOfTheTablePass) {
  ReceiveFilter filter(kOwn, kVlans);
  EXPECT_FALSE(filter.accepts_everything());
  for (unsigned id = 1; id < ReceiveFilter::kVlanIds; ++id) {
    const auto vlan = static_cast<std::uint16_t>(id);
    // The upper bits of a tag are priority.
    EXPECT_FALSE(filter.accepts(head(kStranger, static_cast<std::uint16_t>(0x7000U | id)))) << id;
    filter.set_vlan(vlan, true);
    EXPECT_TRUE(filter.accepts(head(kStranger, static_cast<std::uint16_t>(0x7000U | id)))) << id;
    filter.set_vlan(vlan, false);
    EXPECT_FALSE(filter.accepts(head(kStranger, vlan))) << id;
  }
}

TEST(ReceiveFilter, FramesOutsideOfAnyVlanPassTheVlanTable) {
  const ReceiveFilter filter(kOwn, kVlans);
  EXPECT_TRUE(filter.accepts(head(kStranger)));
  EXPECT_TRUE(filter.accepts(head(kStranger, std::uint16_t{0xE000})));
}

TEST(ReceiveFilter, ShortFramesAreJudgedByWhatTheyHave) {
  ReceiveFilter filter = with_modes({false, true, true, false, false, false});
  const auto untagged = head(kOwn);
  const auto tagged = head(kOwn, std::uint16_t{7});
  EXPECT_TRUE(filter.accepts(std::span(untagged).first(14)));
  EXPECT_TRUE(filter.accepts(std::span(tagged).first(14)));
  EXPECT_FALSE(filter.accepts(std::span(untagged).first(5)));
  EXPECT_FALSE(filter.accepts({}));
}

TEST(ReceiveRules, ACopyFollowsWhatIsPublished) {
  PublishedRules published;
  RulesInForce first(published);
  EXPECT_EQ(first.get().features, 0U);
  published.publish({7, ReceiveFilter(kOwn, kVlans)});
  EXPECT_EQ(first.get().features, 7U);
  EXPECT_FALSE(first.get().filter.accepts_everything());
  RulesInForce second(published);
  published.publish({9, {}});
  EXPECT_EQ(first.get().features, 9U);
  EXPECT_EQ(second.get().features, 9U);
  EXPECT_TRUE(second.get().filter.accepts_everything());
}

}  // namespace
}  // namespace tapir::virtio
