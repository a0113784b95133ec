// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "helper/acl.h"
#include "helper/user_database.h"
#include "net/base/result.h"

namespace tapir::helper {

/// Includes within includes, the configuration itself not counted.
inline constexpr std::size_t kMaxIncludeDepth = 8;
/// Files read for one caller.
inline constexpr std::size_t kMaxAclFiles = 64;
/// Of one file.
inline constexpr std::size_t kMaxAclBytes = std::size_t{1} << 20U;

/// Whose eyes see the configuration.
enum class AclView : std::uint8_t {
  /// The caller's own: this process runs with the caller's ids and no capability that opens files, so the
  /// kernel says
  /// what the caller may read.
  kCaller,
  /// The caller's, but this process is root and judges by the mode bits of files and folders what the kernel
  /// would say.
  kSimulated,
  /// Root's: everything. Files that not everybody may read do not have to agree on a bridge's VLAN, since
  /// nobody may
  /// ever see both, and kMaxAclFiles does not hold.
  kEverything,
};

struct LoadOptions {
  AclView view = AclView::kCaller;
  /// Who must own every file. Tests that do not run as root say their own uid.
  uid_t owner = 0;
};

/// Reads the configuration at `path` and what it includes, as `caller` sees it. Only regular files are read,
/// not through a symbolic link as last component, owned by `options.owner` and not writable by group or
/// others; all that is looked at on the very descriptor that is read. An included file that satisfies this
/// and whose mode denies the caller is skipped: so QEMU's per-user files work. Everything else that is not
/// perfect is an error, and then nobody may have anything. The error names a file, and a line where there is
/// one, and never repeats what is in a file.
[[nodiscard]] Result<Acl> load_acl(const std::string& path, const User& caller, AccountNames& names,
                                   const LoadOptions& options = {});

}  // namespace tapir::helper
