// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "helper/acl.h"
#include "helper/user_database.h"

namespace tapir::helper {

/// What --check has to say: `text` for standard output, and mistakes, each "FILE:LINE: reason" or "FILE:
/// reason" without a newline, for standard error. A configuration with mistakes is not to be used as it is.
struct AclReport {
  std::string text;
  std::vector<std::string> mistakes;
};

/// Loads the configuration at `path` as root, and tells who gets what or, with `user` (a name or number of
/// /etc/passwd), what that user gets on each bridge and why, with that user's permission to read the files
/// judged by their modes. Only for a caller who may read every file, since it repeats what they say. `owner`
/// as in LoadOptions.
AclReport check_acl(const std::string& path, const std::optional<std::string>& user, UserDatabase& accounts,
                    uid_t owner = 0);

/// The table of all bridges named in `everything` (loaded with AclView::kEverything), and of any other
/// bridge.
std::string describe_acl(const Acl& everything, UserDatabase& accounts);

/// What `user` gets on each bridge named in `everything`, and on any other, by `seen`: the configuration as
/// loaded for that user.
std::string describe_user_rights(const Acl& everything, const Acl& seen, const User& user,
                                 UserDatabase& accounts);

/// Deny lines that some callers do not see, because they may not read the file: those would be let through.
/// Each "FILE:LINE: reason".
std::vector<std::string> find_hidden_denials(const Acl& everything);

}  // namespace tapir::helper
