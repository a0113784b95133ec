// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "helper/acl.h"

namespace tapir::helper::testing {

/// decide() a second time and by another road, to be compared with it: the numbers of all lines that cover
/// bridge and user, as sets by kind.
inline std::pair<bool, PortPolicy> reference_decision(const Acl& acl, const User& user,
                                                      const std::string& bridge) {
  std::map<Rule::Kind, std::set<unsigned>> numbers;
  std::set<std::pair<Subject::Kind, std::uint32_t>> identities{{Subject::Kind::kEverybody, 0},
                                                               {Subject::Kind::kUser, user.uid}};
  for (const gid_t group : user.groups) {
    identities.emplace(Subject::Kind::kGroup, group);
  }
  for (const Rule& rule : acl.rules) {
    if (rule.bridge.value_or(bridge) == bridge && identities.contains({rule.subject.kind, rule.subject.id})) {
      numbers[rule.kind].insert(rule.number);
    }
  }
  const std::set<unsigned>& limits = numbers[Rule::Kind::kLimit];
  const std::set<unsigned>& vlans = numbers[Rule::Kind::kVlan];
  if (!numbers.contains(Rule::Kind::kAllow) || numbers.contains(Rule::Kind::kDeny) || limits.contains(0)) {
    return {false, {}};
  }
  return {true,
          {limits.empty() ? std::nullopt : std::optional(*limits.begin()),
           numbers.contains(Rule::Kind::kIsolate), numbers.contains(Rule::Kind::kLock),
           vlans.empty() ? std::nullopt : std::optional(static_cast<std::uint16_t>(*vlans.begin()))}};
}

}  // namespace tapir::helper::testing
