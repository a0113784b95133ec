// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "helper/acl.h"
#include "net/base/result.h"

namespace tapir::helper {

/// A uid or gid in decimal digits and nothing else; not 4294967295, which system calls take for "none".
std::optional<std::uint32_t> parse_id(std::string_view text);

/// Turns the names in rules into numbers. An interface, so that the parser is pure. Errors are clauses which
/// never repeat the name: they are shown to an unprivileged caller.
class AccountNames {
 public:
  AccountNames() = default;
  AccountNames(const AccountNames&) = delete;
  AccountNames& operator=(const AccountNames&) = delete;
  virtual ~AccountNames() = default;

  [[nodiscard]] virtual Result<uid_t> find_user(std::string_view name) = 0;
  [[nodiscard]] virtual Result<gid_t> find_group(std::string_view name) = 0;
};

/// The accounts of /etc/passwd and /etc/group (passwd(5), group(5)), read directly: no NSS, which loads
/// libraries and talks to services, in a program with privilege. Accounts that only a directory service knows
/// are therefore not found; rules name them by number. Each file is read when it is first needed, so that a
/// configuration without names needs neither. The first of several entries with one name counts; entries that
/// are not well formed count as absent. One thread.
class UserDatabase final : public AccountNames {
 public:
  explicit UserDatabase(std::string passwd_path = "/etc/passwd", std::string group_path = "/etc/group");
  /// The same over texts instead of files.
  static UserDatabase from_text(std::string passwd, std::string group);

  [[nodiscard]] Result<uid_t> find_user(std::string_view name) override;
  [[nodiscard]] Result<gid_t> find_group(std::string_view name) override;

  /// The user of that name or number with the primary group and all groups that list the name, as
  /// initgroups(3).
  [[nodiscard]] Result<User> find_account(std::string_view name_or_number);

  /// For reports: "alice (1000)", or "1000" if there is no name for it.
  std::string describe_user(uid_t uid);
  std::string describe_group(gid_t gid);

 private:
  // A file whose text is fetched when it is first asked for.
  class LazyFile {
   public:
    explicit LazyFile(std::string path, std::optional<std::string> text = std::nullopt)
        : path_(std::move(path)), text_(std::move(text)) {}
    const std::string& path() const { return path_; }
    [[nodiscard]] Result<std::string_view> text();

   private:
    std::string path_;
    std::optional<std::string> text_;
  };

  UserDatabase(LazyFile passwd, LazyFile group) : passwd_(std::move(passwd)), group_(std::move(group)) {}

  LazyFile passwd_;
  LazyFile group_;
};

}  // namespace tapir::helper
