// SPDX-License-Identifier: Apache-2.0
#include "helper/user_database.h"

#include <fcntl.h>

#include <algorithm>
#include <vector>

#include "helper/read_file.h"
#include "net/base/open_file.h"
#include "net/base/parse.h"

namespace tapir::helper {
namespace {

struct PasswdEntry {
  std::string_view name;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct GroupEntry {
  std::string_view name;
  gid_t gid = 0;
  std::vector<std::string_view> members;
};

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      return parts;
    }
    text.remove_prefix(end + 1);
  }
}

// name:password:uid:gid and more.
std::optional<PasswdEntry> parse_passwd_line(std::string_view line) {
  const auto fields = split(line, ':');
  if (fields.size() < 4 || fields[0].empty()) {
    return std::nullopt;
  }
  const auto uid = parse_id(fields[2]);
  const auto gid = parse_id(fields[3]);
  return uid && gid ? std::optional(PasswdEntry{fields[0], *uid, *gid}) : std::nullopt;
}

// name:password:gid:member,member
std::optional<GroupEntry> parse_group_line(std::string_view line) {
  const auto fields = split(line, ':');
  if (fields.size() < 4 || fields[0].empty()) {
    return std::nullopt;
  }
  const auto gid = parse_id(fields[2]);
  return gid ? std::optional(GroupEntry{fields[0], *gid, split(fields[3], ',')}) : std::nullopt;
}

// The first well-formed entry that `wanted` accepts.
template <typename Entry, typename Wanted>
std::optional<Entry> find_entry(std::string_view text, std::optional<Entry> (*parse_line)(std::string_view),
                                Wanted wanted) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (auto entry = parse_line(text.substr(0, end)); entry && wanted(*entry)) {
      return entry;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

std::string describe(std::uint32_t id, std::optional<std::string_view> name) {
  return name ? std::string(*name) + " (" + std::to_string(id) + ')' : std::to_string(id);
}

}  // namespace

std::optional<std::uint32_t> parse_id(std::string_view text) {
  constexpr std::uint32_t kLargestId = UINT32_MAX - 1;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  const auto id = digits ? parse_unsigned(text, kLargestId) : std::nullopt;
  return id ? std::optional(static_cast<std::uint32_t>(*id)) : std::nullopt;
}

Result<std::string_view> UserDatabase::LazyFile::text() {
  constexpr std::size_t kMaxBytes = std::size_t{16} << 20U;
  if (!text_) {
    TAPIR_TRY_ASSIGN(const UniqueFd fd, open_file(path_, O_RDONLY | O_NOCTTY));
    auto text = read_file(fd.get(), kMaxBytes);
    if (!text) {
      return fail(path_ + ' ' + text.error().message(), text.error().code());
    }
    text_ = *std::move(text);
  }
  return std::string_view(*text_);
}

UserDatabase::UserDatabase(std::string passwd_path, std::string group_path)
    : UserDatabase(LazyFile(std::move(passwd_path)), LazyFile(std::move(group_path))) {}

UserDatabase UserDatabase::from_text(std::string passwd, std::string group) {
  return {LazyFile("/etc/passwd", std::move(passwd)), LazyFile("/etc/group", std::move(group))};
}

Result<uid_t> UserDatabase::find_user(std::string_view name) {
  TAPIR_TRY_ASSIGN(const std::string_view text, passwd_.text());
  const auto entry =
      find_entry<PasswdEntry>(text, parse_passwd_line, [&](const auto& e) { return e.name == name; });
  if (!entry) {
    return fail("no user of that name in " + passwd_.path() + " (a number needs no entry)");
  }
  return entry->uid;
}

Result<gid_t> UserDatabase::find_group(std::string_view name) {
  TAPIR_TRY_ASSIGN(const std::string_view text, group_.text());
  const auto entry =
      find_entry<GroupEntry>(text, parse_group_line, [&](const auto& e) { return e.name == name; });
  if (!entry) {
    return fail("no group of that name in " + group_.path() + " (a number needs no entry)");
  }
  return entry->gid;
}

Result<User> UserDatabase::find_account(std::string_view name_or_number) {
  TAPIR_TRY_ASSIGN(const std::string_view passwd, passwd_.text());
  TAPIR_TRY_ASSIGN(const std::string_view groups, group_.text());
  const auto number = parse_id(name_or_number);
  const auto account = find_entry<PasswdEntry>(passwd, parse_passwd_line, [&](const auto& entry) {
    return number ? entry.uid == *number : entry.name == name_or_number;
  });
  if (!account) {
    return fail("no user " + std::string(name_or_number) + " in " + passwd_.path());
  }
  User user{account->uid, {account->gid}};
  find_entry<GroupEntry>(groups, parse_group_line, [&](const auto& group) {
    const bool member =
        std::find(group.members.begin(), group.members.end(), account->name) != group.members.end();
    if (member && !user.is_in(group.gid)) {
      user.groups.push_back(group.gid);
    }
    return false;
  });
  return user;
}

std::string UserDatabase::describe_user(uid_t uid) {
  const auto text = passwd_.text();
  const auto entry = find_entry<PasswdEntry>(text.value_or(std::string_view()), parse_passwd_line,
                                             [&](const auto& e) { return e.uid == uid; });
  return describe(uid, entry ? std::optional(entry->name) : std::nullopt);
}

std::string UserDatabase::describe_group(gid_t gid) {
  const auto text = group_.text();
  const auto entry = find_entry<GroupEntry>(text.value_or(std::string_view()), parse_group_line,
                                            [&](const auto& e) { return e.gid == gid; });
  return describe(gid, entry ? std::optional(entry->name) : std::nullopt);
}

}  // namespace tapir::helper
