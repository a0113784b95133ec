// SPDX-License-Identifier: Apache-2.0
#include "helper/tap_name.h"

#include <gtest/gtest.h>

#include <climits>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace tapir::helper {
namespace {

constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

TEST(SlotName, FillsANameAndNothingMore) {
  for (const uid_t uid : {0U, 1000U, UINT32_MAX}) {
    for (const int bridge : {1, 4, INT_MAX}) {
      for (const unsigned slot : {0U, 1U, kMaxTapSlots - 1}) {
        const std::string name = slot_name(uid, bridge, slot);
        EXPECT_EQ(name.size(), 15U) << name;
        EXPECT_EQ(name.find_first_not_of(kAllowed), std::string::npos) << name;
        EXPECT_EQ(name.substr(0, 2), "tp");
      }
    }
  }
}

TEST(SlotName, DiffersForAnyTwoUsersBridgesOrSlots) {
  // Every bit of every part alone, and all edges together.
  std::set<uid_t> uids{0, UINT32_MAX};
  std::set<int> bridges{1, INT_MAX};
  std::set<unsigned> slots{0, kMaxTapSlots - 1};
  for (unsigned bit = 0; bit < 32; ++bit) {
    uids.insert(uid_t{1} << bit);
    bridges.insert(static_cast<int>(1U << (bit % 31)));
    slots.insert(1U << (bit % 12));
  }
  std::set<std::string> names;
  for (const uid_t uid : uids) {
    for (const int bridge : bridges) {
      for (const unsigned slot : slots) {
        names.insert(slot_name(uid, bridge, slot));
      }
    }
  }
  EXPECT_EQ(names.size(), uids.size() * bridges.size() * slots.size());
}

TEST(SlotName, StaysAsItIs) {
  // Taps of an earlier version still count after an update.
  EXPECT_EQ(slot_name(0, 1, 0), "tp0000000000100");
  EXPECT_EQ(slot_name(1000, 4, 63), "tp0000VG000040_");
  EXPECT_EQ(slot_name(UINT32_MAX, INT_MAX, kMaxTapSlots - 1), "tp7____________");
}

}  // namespace
}  // namespace tapir::helper
