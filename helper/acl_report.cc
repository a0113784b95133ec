// SPDX-License-Identifier: Apache-2.0
#include "helper/acl_report.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "helper/acl_loader.h"

namespace tapir::helper {
namespace {

// Rows of cells, printed as columns that are as wide as their widest cell.
class Table {
 public:
  using Row = std::array<std::string, 3>;

  void add(Row row) { rows_.push_back(std::move(row)); }

  std::string to_string() const {
    std::array<std::size_t, 3> widths{};
    for (const Row& row : rows_) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        widths[i] = std::max(widths[i], row[i].size());
      }
    }
    std::string text;
    for (const Row& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        line += (i == 0 ? "  " : "   ") + row[i] + std::string(widths[i] - row[i].size(), ' ');
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
    }
    return text;
  }

 private:
  std::vector<Row> rows_;
};

// "0640".
std::string octal(mode_t mode) {
  constexpr mode_t kModeBits = 07777;
  std::string digits;
  for (int shift = 9; shift >= 0; shift -= 3) {
    digits += static_cast<char>('0' + (((mode & kModeBits) >> shift) & 7U));
  }
  return digits;
}

std::set<std::string> named_bridges(const Acl& acl) {
  std::set<std::string> names;
  for (const Rule& rule : acl.rules) {
    if (rule.bridge) {
      names.insert(*rule.bridge);
    }
  }
  return names;
}

std::string describe_subject(const Subject& subject, UserDatabase& accounts) {
  switch (subject.kind) {
    case Subject::Kind::kEverybody:
      return "everybody";
    case Subject::Kind::kUser:
      return "user " + accounts.describe_user(subject.id);
    case Subject::Kind::kGroup:
      return "group " + accounts.describe_group(subject.id);
  }
  return {};
}

// Whom the rule reaches: its subject, less those who may not read a file that leads to it.
std::string describe_reach(const Acl& acl, const Rule& rule, UserDatabase& accounts) {
  std::string text = describe_subject(rule.subject, accounts);
  return reaches_everybody(acl, rule.file) ? text : text + " who may read the file";
}

std::string describe_kind(const Rule& rule) {
  switch (rule.kind) {
    case Rule::Kind::kAllow:
      return "allowed";
    case Rule::Kind::kDeny:
      return "denied";
    case Rule::Kind::kLimit:
      return "limit " + std::to_string(rule.number) + " per user";
    case Rule::Kind::kIsolate:
      return "isolated";
    case Rule::Kind::kLock:
      return "locked to its MAC address";
    case Rule::Kind::kVlan:
      return "VLAN " + std::to_string(rule.number);
  }
  return {};
}

// `name` is empty for a bridge that no rule names.
std::string describe_bridge(const Acl& acl, std::string_view name, UserDatabase& accounts) {
  Table table;
  bool allowed = false;
  bool denied = false;
  for (const Rule& rule : acl.rules) {
    if (rule.covers(name)) {
      table.add({describe_kind(rule), describe_reach(acl, rule, accounts), location(acl, rule)});
      allowed = allowed || rule.kind == Rule::Kind::kAllow;
      denied = denied || (rule.kind == Rule::Kind::kDeny && reaches_everybody(acl, rule.file) &&
                          rule.subject == Subject{});
    }
  }
  const std::string title = name.empty() ? "any other bridge" : "bridge " + std::string(name);
  return title + (allowed && !denied ? ":\n" : ": nobody\n") + table.to_string();
}

std::string describe_files(const Acl& acl, UserDatabase& accounts) {
  Table table;
  for (const AclFile& file : acl.files) {
    table.add({file.path,
               octal(file.permissions.mode) + ' ' + accounts.describe_user(file.permissions.owner) +
                   ", group " + accounts.describe_group(file.permissions.group),
               file.includer ? "included by " + acl.files[*file.includer].path : ""});
  }
  return "files:\n" + table.to_string();
}

std::string describe_decision(const Decision& decision) {
  if (!decision.allowed) {
    return "no";
  }
  const PortPolicy& policy = decision.policy;
  std::string text = "yes";
  if (policy.limit) {
    text += ", limit " + std::to_string(*policy.limit);
  }
  if (policy.isolate) {
    text += ", isolated";
  }
  if (policy.lock) {
    text += ", locked to its MAC address";
  }
  if (policy.vlan) {
    text += ", VLAN " + std::to_string(*policy.vlan);
  }
  return text;
}

// A file that is included twice may be hidden on one way and not on the other.
bool is_seen_by_all(const Acl& acl, const Rule& rule) {
  for (std::size_t i = 0; i < acl.files.size(); ++i) {
    if (acl.files[i].path == acl.files[rule.file].path && reaches_everybody(acl, i)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string describe_acl(const Acl& everything, UserDatabase& accounts) {
  std::string text = describe_files(everything, accounts);
  for (const std::string& bridge : named_bridges(everything)) {
    text += describe_bridge(everything, bridge, accounts);
  }
  return text + describe_bridge(everything, "", accounts);
}

std::string describe_user_rights(const Acl& everything, const Acl& seen, const User& user,
                                 UserDatabase& accounts) {
  std::string text = "user " + accounts.describe_user(user.uid) + ", in groups";
  for (const gid_t group : user.groups) {
    text += (group == user.groups.front() ? " " : ", ") + accounts.describe_group(group);
  }
  text += ":\n";
  Table table;
  for (const std::string& bridge : named_bridges(everything)) {
    const Decision decision = decide(seen, user, bridge);
    table.add({"bridge " + bridge, describe_decision(decision), decision.reason});
  }
  const Decision decision = decide(seen, user, "");
  table.add({"any other bridge", describe_decision(decision), decision.reason});
  text += table.to_string();
  for (const std::string& path : seen.skipped) {
    text += "not for this user, who may not read it: " + path + '\n';
  }
  return text;
}

std::vector<std::string> find_hidden_denials(const Acl& everything) {
  std::vector<std::string> mistakes;
  for (const Rule& rule : everything.rules) {
    if (rule.kind == Rule::Kind::kDeny && !is_seen_by_all(everything, rule)) {
      mistakes.push_back(
          location(everything, rule) +
          ": a deny line belongs in a file that everybody may read, as those who include it must be; "
          "it does not bind callers for whom the file is skipped");
    }
  }
  return mistakes;
}

AclReport check_acl(const std::string& path, const std::optional<std::string>& user, UserDatabase& accounts,
                    uid_t owner) {
  AclReport report;
  const auto everything = load_acl(path, User{}, accounts, {AclView::kEverything, owner});
  if (!everything) {
    report.mistakes.push_back(everything.error().message());
    return report;
  }
  report.mistakes = find_hidden_denials(*everything);
  if (!user) {
    report.text = describe_acl(*everything, accounts);
    return report;
  }
  const auto account = accounts.find_account(*user);
  if (!account) {
    report.mistakes.push_back(account.error().message());
    return report;
  }
  const auto seen = load_acl(path, *account, accounts, {AclView::kSimulated, owner});
  if (!seen) {
    report.text = "user " + accounts.describe_user(account->uid) + ": refused on every bridge\n";
    report.mistakes.push_back(seen.error().message());
    return report;
  }
  report.text = describe_user_rights(*everything, *seen, *account, accounts);
  return report;
}

}  // namespace tapir::helper
