// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace tapir::net {

/// What decides whether a program that this process starts gets CAP_NET_ADMIN. A value.
struct HelperPrivileges {
  bool no_new_privs = false;      ///< of this process: set-user-ID and file capabilities are without effect
  bool in_bounding_set = true;    ///< CAP_NET_ADMIN can be had at all by programs started here
  bool inherited = false;         ///< this process is root, or has it in its ambient set
  bool setuid_root = false;       ///< the file: set-user-ID, owned by root
  bool file_capability = false;   ///< the file: CAP_NET_ADMIN in its permitted set
  bool nosuid_mount = false;      ///< the file lies where neither of these has an effect
  bool file_is_readable = false;  ///< whether the three of the file are known
};

/// Looks at this process and at `path`; a path without a slash names no file here (it would be searched for).
/// Any thread.
HelperPrivileges look_at_privileges(const std::string& path);

/// Why the bridge helper at `path` cannot have CAP_NET_ADMIN, with the remedy; nothing when it can, or when
/// what is known does not tell.
std::optional<std::string> explain_privileges(const HelperPrivileges& privileges, const std::string& path);

}  // namespace tapir::net
