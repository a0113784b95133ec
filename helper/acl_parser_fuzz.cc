// SPDX-License-Identifier: Apache-2.0
// Any text as a configuration, and what follows its first byte 0x01 as /etc/passwd and /etc/group: no crash,
// nothing leaks into the error, what is accepted means the same when it is written out again, and decides as
// the reference does.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "helper/acl_parser.h"
#include "helper/testing/reference_decision.h"
#include "net/base/check.h"

namespace {

using namespace tapir::helper;

std::string account(const Subject& subject, std::string_view everybody) {
  switch (subject.kind) {
    case Subject::Kind::kUser:
      return " user " + std::to_string(subject.id);
    case Subject::Kind::kGroup:
      return " group " + std::to_string(subject.id);
    case Subject::Kind::kEverybody:
      break;
  }
  return std::string(everybody);
}

std::string to_line(const Rule& rule) {
  const std::string bridge = ' ' + rule.bridge.value_or("all");
  switch (rule.kind) {
    case Rule::Kind::kAllow:
      return "allow" + bridge + account(rule.subject, "");
    case Rule::Kind::kDeny:
      return "deny" + bridge + account(rule.subject, "");
    case Rule::Kind::kLimit:
      return "limit" + bridge + account(rule.subject, " all") + ' ' + std::to_string(rule.number);
    case Rule::Kind::kIsolate:
      return "isolate" + bridge;
    case Rule::Kind::kLock:
      return "lock" + bridge;
    case Rule::Kind::kVlan:
      return "vlan" + bridge + ' ' + std::to_string(rule.number);
  }
  return {};
}

void check_round_trip(const ParsedAcl& parsed, UserDatabase& accounts) {
  std::string text;
  unsigned lines = 0;
  ParsedAcl expected = parsed;
  for (Rule& rule : expected.rules) {
    text += to_line(rule) + '\n';
    rule.line = ++lines;
  }
  for (Include& include : expected.includes) {
    text += (include.optional ? "include? " : "include ") + include.path + '\n';
    include.line = ++lines;
  }
  const auto again = parse_acl(text, "again", accounts);
  CHECK(again && again->rules == expected.rules && again->includes == expected.includes);
}

void check_decisions(ParsedAcl parsed, const User& account) {
  const Acl acl{{{"fuzz", {0, 0, 0644}, std::nullopt}}, std::move(parsed.rules), {}};
  for (const User& user : {account, User{0, {0}}, User{1000, {1000, 50}}}) {
    for (const std::string bridge : {"br0", "br1", "a"}) {
      const Decision decision = decide(acl, user, bridge);
      const auto [allowed, policy] = testing::reference_decision(acl, user, bridge);
      CHECK(decision.allowed == allowed && decision.policy == policy);
    }
  }
}

// The reason is one of ours, whatever is in the file: printable, and not long.
void check_message(const std::string& message) {
  constexpr std::size_t kLongestMessage = 160;
  CHECK(message.starts_with("fuzz:") && message.size() < kLongestMessage);
  CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size, so that reading one byte too far is seen.
  const std::string input(data, data + size);
  const std::size_t separator = std::min(input.find('\x01'), size);
  const std::string text = input.substr(0, separator);
  const std::string database = input.substr(std::min(separator + 1, size));
  UserDatabase accounts = UserDatabase::from_text(database, database);

  const auto account = accounts.find_account("alice");
  CHECK(!account || (!account->groups.empty() && accounts.find_user("alice") == account->uid));
  CHECK(!accounts.describe_user(1000).empty() && !accounts.describe_group(50).empty());

  auto parsed = parse_acl(text, "fuzz", accounts);
  if (!parsed) {
    check_message(parsed.error().message());
    return 0;
  }
  check_round_trip(*parsed, accounts);
  check_decisions(*std::move(parsed), account.value_or(User{1, {1}}));
  return 0;
}
