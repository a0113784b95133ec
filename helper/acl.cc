// SPDX-License-Identifier: Apache-2.0
#include "helper/acl.h"

#include <algorithm>

#include "net/base/check.h"

namespace tapir::helper {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-';
}

void add_to_policy(const Rule& rule, PortPolicy& policy) {
  switch (rule.kind) {
    case Rule::Kind::kLimit:
      policy.limit = std::min(policy.limit.value_or(kMaxLimit), rule.number);
      break;
    case Rule::Kind::kIsolate:
      policy.isolate = true;
      break;
    case Rule::Kind::kLock:
      policy.lock = true;
      break;
    case Rule::Kind::kVlan:
      // The loader lets no second VLAN pass; without it the order of lines would have no meaning either.
      policy.vlan = std::min(policy.vlan.value_or(UINT16_MAX), static_cast<std::uint16_t>(rule.number));
      break;
    case Rule::Kind::kAllow:
    case Rule::Kind::kDeny:
      break;
  }
}

}  // namespace

bool User::is_in(gid_t group) const {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

bool mode_allows(const FilePermissions& file, const User& user, mode_t bits) {
  const unsigned shift = file.owner == user.uid ? 6 : user.is_in(file.group) ? 3 : 0;
  return ((file.mode >> shift) & bits) == bits;
}

bool Subject::covers(const User& user) const {
  switch (kind) {
    case Kind::kEverybody:
      return true;
    case Kind::kUser:
      return user.uid == id;
    case Kind::kGroup:
      return user.is_in(id);
  }
  return false;
}

std::string location(const Acl& acl, const Rule& rule) {
  return acl.files[rule.file].path + ':' + std::to_string(rule.line);
}

Decision decide(const Acl& acl, const User& user, std::string_view bridge) {
  CHECK(!acl.files.empty());
  const Rule* allow = nullptr;
  const Rule* deny = nullptr;
  const Rule* zero_limit = nullptr;
  PortPolicy policy;
  for (const Rule& rule : acl.rules) {
    if (!rule.covers(bridge) || !rule.subject.covers(user)) {
      continue;
    }
    const Rule** deciding = rule.kind == Rule::Kind::kAllow                       ? &allow
                            : rule.kind == Rule::Kind::kDeny                      ? &deny
                            : rule.kind == Rule::Kind::kLimit && rule.number == 0 ? &zero_limit
                                                                                  : nullptr;
    if (deciding != nullptr && *deciding == nullptr) {
      *deciding = &rule;
    }
    add_to_policy(rule, policy);
  }
  if (deny != nullptr) {
    return {false, "denied at " + location(acl, *deny), {}};
  }
  if (allow == nullptr) {
    return {false, "no allow line of " + acl.files.front().path + " covers it", {}};
  }
  if (zero_limit != nullptr) {
    return {false, "limited to no tap at all at " + location(acl, *zero_limit), {}};
  }
  return {true, "allowed at " + location(acl, *allow), policy};
}

bool is_interface_name(std::string_view name) {
  constexpr std::size_t kMaxBytes = 15;
  return !name.empty() && name.size() <= kMaxBytes && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), is_name_character);
}

bool reaches_everybody(const Acl& acl, std::size_t file) {
  constexpr mode_t kReadByAll = 0444;
  for (std::optional<std::size_t> i = file; i; i = acl.files[*i].includer) {
    if ((acl.files[*i].permissions.mode & kReadByAll) != kReadByAll) {
      return false;
    }
  }
  return true;
}

}  // namespace tapir::helper
