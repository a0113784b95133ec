// SPDX-License-Identifier: Apache-2.0
#include "helper/acl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "helper/testing/reference_decision.h"

namespace tapir::helper {
namespace {

using Kind = Rule::Kind;
using SubjectKind = Subject::Kind;

constexpr Subject kEverybody{};
constexpr Subject kAlice{SubjectKind::kUser, 1000};
constexpr Subject kBob{SubjectKind::kUser, 1001};
constexpr Subject kLab{SubjectKind::kGroup, 1000};  // The number of a user too: they must not be mixed up.
constexpr Subject kGuests{SubjectKind::kGroup, 51};

Rule rule(Kind kind, std::optional<std::string> bridge, Subject subject = kEverybody, unsigned number = 0) {
  Rule made;
  made.kind = kind;
  made.bridge = std::move(bridge);
  made.subject = subject;
  made.number = number;
  return made;
}

// Lines are numbered in the order given.
Acl acl_of(std::vector<Rule> rules) {
  for (std::size_t i = 0; i < rules.size(); ++i) {
    rules[i].line = static_cast<unsigned>(i + 1);
  }
  return {{{"/etc/tapir/bridge.conf", {0, 0, 0644}, std::nullopt}}, std::move(rules), {}};
}

// Two users, each in none, one or both of two groups.
std::vector<User> all_users() {
  std::vector<User> users;
  for (const uid_t uid : {kAlice.id, kBob.id}) {
    for (const auto& groups :
         std::vector<std::vector<gid_t>>{{}, {kLab.id}, {kGuests.id}, {kGuests.id, kLab.id}}) {
      users.push_back({uid, groups});
    }
  }
  return users;
}

// Compares with the reference for everybody and every bridge, one of which no rule names. Whoever is not
// allowed has no policy to rely on.
::testing::AssertionResult agrees_with_reference(const Acl& acl, const std::vector<User>& users) {
  for (const User& user : users) {
    for (const std::string bridge : {"br0", "br1", "br2"}) {
      const Decision decision = decide(acl, user, bridge);
      const auto [allowed, policy] = testing::reference_decision(acl, user, bridge);
      if (decision.allowed != allowed || decision.policy != policy || decision.reason.empty()) {
        return ::testing::AssertionFailure() << "uid " << user.uid << " on " << bridge << ": "
                                             << decision.allowed << ", " << decision.reason;
      }
    }
  }
  return ::testing::AssertionSuccess();
}

TEST(Decide, Hlp10EverySubsetOfRulesInASmallWorldAgreesWithTheReference) {
  const std::vector<Rule> rules{rule(Kind::kAllow, "br0"),
                                rule(Kind::kAllow, std::nullopt, kAlice),
                                rule(Kind::kAllow, "br1", kLab),
                                rule(Kind::kAllow, "br1", kBob),
                                rule(Kind::kDeny, "br0", kBob),
                                rule(Kind::kDeny, std::nullopt, kGuests),
                                rule(Kind::kDeny, "br1"),
                                rule(Kind::kLimit, "br0", kEverybody, 3),
                                rule(Kind::kLimit, "br0", kLab, 1),
                                rule(Kind::kLimit, std::nullopt, kBob, 0),
                                rule(Kind::kIsolate, "br0"),
                                rule(Kind::kLock, std::nullopt),
                                rule(Kind::kVlan, "br1", kEverybody, 10)};
  const std::vector<User> users = all_users();
  std::vector<Rule> chosen;
  for (unsigned subset = 0; subset < 1U << rules.size(); ++subset) {
    chosen.clear();
    for (std::size_t i = 0; i < rules.size(); ++i) {
      if ((subset >> i & 1U) != 0) {
        chosen.push_back(rules[i]);
      }
    }
    ASSERT_TRUE(agrees_with_reference(acl_of(chosen), users)) << "subset " << subset;
  }
}

TEST(Decide, Hlp10EveryPairOfRulesInBothOrdersAgreesWithTheReference) {
  std::vector<Rule> rules;
  for (const auto& bridge : {std::optional<std::string>("br0"), std::optional<std::string>("br1"), {}}) {
    for (const Subject subject : {kEverybody, kAlice, kBob, kLab, kGuests}) {
      rules.push_back(rule(Kind::kAllow, bridge, subject));
      rules.push_back(rule(Kind::kDeny, bridge, subject));
      for (const unsigned limit : {0U, 1U, kMaxLimit}) {
        rules.push_back(rule(Kind::kLimit, bridge, subject, limit));
      }
    }
    rules.push_back(rule(Kind::kIsolate, bridge));
    rules.push_back(rule(Kind::kLock, bridge));
  }
  rules.push_back(rule(Kind::kVlan, "br0", kEverybody, 4094));
  const std::vector<User> users = all_users();
  for (const Rule& first : rules) {
    for (const Rule& second : rules) {
      // With a grant to all, so that what the pair adds is seen.
      ASSERT_TRUE(agrees_with_reference(acl_of({first, second}), users));
      ASSERT_TRUE(agrees_with_reference(acl_of({first, rule(Kind::kAllow, std::nullopt), second}), users));
    }
  }
}

TEST(Decide, NobodyMayUseABridgeThatNoLineAllows) {
  const Decision decision =
      decide(acl_of({rule(Kind::kAllow, "br1"), rule(Kind::kIsolate, "br0")}), {1000, {}}, "br0");
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason, "no allow line of /etc/tapir/bridge.conf covers it");
}

TEST(Decide, DenyWinsInEveryOrderAndTheReasonNamesItsLine) {
  std::vector<Rule> rules{rule(Kind::kAllow, "br0"), rule(Kind::kAllow, std::nullopt, kAlice),
                          rule(Kind::kDeny, "br0", kLab)};
  for (int turn = 0; turn < 3; ++turn) {
    std::rotate(rules.begin(), rules.begin() + 1, rules.end());
    const Acl acl = acl_of(rules);
    const auto deny = std::find_if(acl.rules.begin(), acl.rules.end(),
                                   [](const Rule& candidate) { return candidate.kind == Kind::kDeny; });
    const Decision decision = decide(acl, {1000, {50, 1000}}, "br0");
    EXPECT_FALSE(decision.allowed);
    EXPECT_EQ(decision.reason, "denied at /etc/tapir/bridge.conf:" + std::to_string(deny->line));
    EXPECT_EQ(decision.policy, PortPolicy{});
  }
}

TEST(Decide, AGrantNamesTheLineThatGrants) {
  const Acl acl =
      acl_of({rule(Kind::kAllow, "br1"), rule(Kind::kAllow, "br0", kBob), rule(Kind::kAllow, "br0")});
  EXPECT_EQ(decide(acl, {1000, {}}, "br0").reason, "allowed at /etc/tapir/bridge.conf:3");
  EXPECT_EQ(decide(acl, {1001, {}}, "br0").reason, "allowed at /etc/tapir/bridge.conf:2");
}

TEST(Decide, TheSmallestOfSeveralLimitsCountsAndZeroRefuses) {
  std::vector<Rule> rules{rule(Kind::kAllow, "br0"), rule(Kind::kLimit, "br0", kEverybody, 2),
                          rule(Kind::kLimit, "br0", kAlice, 5), rule(Kind::kLimit, "br1", kAlice, 1)};
  EXPECT_EQ(decide(acl_of(rules), {1000, {}}, "br0").policy.limit, 2U);
  rules.push_back(rule(Kind::kLimit, std::nullopt, kLab, 0));
  EXPECT_EQ(decide(acl_of(rules), {1000, {}}, "br0").policy.limit, 2U);
  const Decision decision = decide(acl_of(rules), {1000, {1000}}, "br0");
  EXPECT_FALSE(decision.allowed);
  EXPECT_EQ(decision.reason, "limited to no tap at all at /etc/tapir/bridge.conf:5");
}

TEST(Decide, ABridgeIsComparedToItsLastByte) {
  const Acl acl = acl_of({rule(Kind::kAllow, "br0")});
  for (const std::string_view other : {"br", "br00", "BR0", "br0 ", "", "all"}) {
    EXPECT_FALSE(decide(acl, {1000, {}}, other).allowed) << other;
  }
  EXPECT_FALSE(decide(acl, {1000, {}}, std::string_view("br0\0", 4)).allowed);
}

TEST(InterfaceName, Hlp12HasOnlyHarmlessCharacters) {
  for (const std::string_view good :
       {"br0", "a", "virbr0-nic", "vlan.10", "_", "...", "-", "123456789012345"}) {
    EXPECT_TRUE(is_interface_name(good)) << good;
  }
  for (const std::string_view bad : {"", ".", "..", "1234567890123456", "br/0", "br%d", "br 0", "br:0",
                                     "br\n", "br\xC3\xA9", "\x7F", "br0,", "br\"", "@", "[", "`", "{"}) {
    EXPECT_FALSE(is_interface_name(bad)) << bad;
  }
  EXPECT_FALSE(is_interface_name(std::string_view("br\0x", 4)));
}

TEST(ModeAllows, TheFirstClassThatFitsDecides) {
  const User alice{1000, {50, 51}};
  const FilePermissions others{0, 0, 0604};
  EXPECT_TRUE(mode_allows(others, alice, 4));
  EXPECT_FALSE(mode_allows({0, 51, 0604}, alice, 4)) << "a member of the group is not one of the others";
  EXPECT_TRUE(mode_allows({0, 51, 0640}, alice, 4));
  EXPECT_FALSE(mode_allows({0, 52, 0640}, alice, 4));
  EXPECT_FALSE(mode_allows({1000, 51, 0044}, alice, 4)) << "nor is the owner";
  EXPECT_TRUE(mode_allows({0, 0, 0711}, alice, 1));
  EXPECT_FALSE(mode_allows({0, 0, 0744}, alice, 1));
}

TEST(ReachesEverybody, OnlyIfAllFilesOnTheWayMayBeRead) {
  const Acl acl{{{"/main", {0, 0, 0644}, std::nullopt},
                 {"/private", {0, 1000, 0640}, 0},
                 {"/below-private", {0, 0, 0644}, 1},
                 {"/public", {0, 0, 0444}, 0},
                 {"/not-for-its-group", {0, 1000, 0604}, 0}},
                {},
                {}};
  EXPECT_TRUE(reaches_everybody(acl, 0));
  EXPECT_FALSE(reaches_everybody(acl, 1));
  EXPECT_FALSE(reaches_everybody(acl, 2));
  EXPECT_TRUE(reaches_everybody(acl, 3));
  EXPECT_FALSE(reaches_everybody(acl, 4));
}

}  // namespace
}  // namespace tapir::helper
