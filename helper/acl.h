// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "helper/port_policy.h"

namespace tapir::helper {

/// Who asks. `groups` are the real group and the supplementary ones, in any order. A value.
struct User {
  uid_t uid = 0;
  std::vector<gid_t> groups;

  bool is_in(gid_t group) const;
};

/// Owner, group and mode of a file, as fstat(2) gives them.
struct FilePermissions {
  uid_t owner = 0;
  gid_t group = 0;
  mode_t mode = 0;
};

/// Whether the permission bits alone let `user` do what `bits` says (4 read, 1 search), as path_resolution(7)
/// has it: of owner, group and others the first class that fits decides. Capabilities and POSIX ACLs are not
/// looked at.
bool mode_allows(const FilePermissions& file, const User& user, mode_t bits);

/// To whom a rule applies: everybody, or the one user or group whose number is `id`.
struct Subject {
  enum class Kind : std::uint8_t { kEverybody, kUser, kGroup };
  Kind kind = Kind::kEverybody;
  std::uint32_t id = 0;

  bool covers(const User& user) const;
  friend bool operator==(const Subject&, const Subject&) = default;
};

/// One line of the configuration that is neither a comment nor an include. A value.
struct Rule {
  enum class Kind : std::uint8_t { kAllow, kDeny, kLimit, kIsolate, kLock, kVlan };
  Kind kind = Kind::kDeny;
  /// Unset: every bridge ("all").
  std::optional<std::string> bridge;
  Subject subject;
  /// kLimit: taps at once, 0 to kMaxLimit. kVlan: the VLAN, 1 to 4094. Otherwise 0.
  unsigned number = 0;
  /// Where it stands: the index in Acl::files, and the line counted from 1.
  std::size_t file = 0;
  unsigned line = 0;

  bool covers(std::string_view name) const { return !bridge || *bridge == name; }
  friend bool operator==(const Rule&, const Rule&) = default;
};

/// The largest limit: the slot is part of the tap's name, which has 15 bytes.
inline constexpr unsigned kMaxLimit = 256;

/// A file that was read.
struct AclFile {
  std::string path;
  FilePermissions permissions;
  /// The file that includes it, an index in Acl::files; unset for the first.
  std::optional<std::size_t> includer;
};

/// All rules that hold for the caller. A value, made by load_acl; `files` is never empty then and begins with
/// the configuration itself.
struct Acl {
  std::vector<AclFile> files;
  std::vector<Rule> rules;
  /// Included files that the caller may not read, so that their rules are not for him.
  std::vector<std::string> skipped;
};

/// "FILE:LINE" of a rule.
std::string location(const Acl& acl, const Rule& rule);

/// What a user gets on a bridge. `policy` has a meaning only if `allowed`.
struct Decision {
  bool allowed = false;
  /// A clause for a person and for the audit log: the FILE:LINE that decided, or that there is none. It tells
  /// nothing of what the line says.
  std::string reason;
  PortPolicy policy;
};

/// Pure. Nobody may use a bridge unless an allow line covers both; one deny line that does refuses, whatever
/// else there is; the order of the lines has no meaning. Of several limits that cover the user the smallest
/// counts, and 0 refuses. `acl.files` must not be empty.
Decision decide(const Acl& acl, const User& user, std::string_view bridge);

/// Whether this can name a bridge or a tap: [A-Za-z0-9_.-]{1,15}, but not "." nor "..". Stricter than the
/// kernel, so that no name can be taken for a format, a path, or a field of a message.
bool is_interface_name(std::string_view name);

/// Whether the rules of a file reach every caller: its mode, and those of the files that include it, let
/// everybody read. `file` is an index in Acl::files.
bool reaches_everybody(const Acl& acl, std::size_t file);

}  // namespace tapir::helper
