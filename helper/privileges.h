// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "helper/credentials.h"
#include "net/base/result.h"

namespace tapir::helper {

/// The privileges of this process: what it was started with is cut down to CAP_NET_ADMIN at the start and to
/// nothing before a descriptor leaves it. Each step is checked against what the kernel then says in
/// /proc/self/status, and a step that did not happen exactly as asked is an error, after which there is
/// nothing to do but to exit. One thread.
///
/// Wherever the capability comes from, the steps are the same:
///   - set-user-ID root: from root's capabilities; user and group become the caller's for good;
///   - the file capability cap_net_admin: user and group are the caller's already;
///   - started by root: stays root, without any other of root's capabilities, the right to read everybody's
///   files
///     among them;
///   - none: nothing to give away; the program can still say how it is used, and why it can do no more.
class Privileges {
 public:
  /// Also sets no_new_privs, and makes the process undumpable, so that the caller, whose user it now has, can
  /// neither trace it nor take its descriptors.
  [[nodiscard]] static Result<Privileges> reduce();

  /// Who called. The real user and group, and the supplementary groups, do not change.
  const Credentials& caller() const { return expected_; }
  /// An error that says why there is no CAP_NET_ADMIN, if there is none.
  [[nodiscard]] Status check_net_admin() const;
  /// Gives away CAP_NET_ADMIN.
  [[nodiscard]] Status drop();

 private:
  Privileges(Credentials expected, std::string missing)
      : expected_(std::move(expected)), missing_(std::move(missing)) {}
  [[nodiscard]] Status verify() const;

  Credentials expected_;  ///< what the kernel must say
  std::string missing_;   ///< why CAP_NET_ADMIN is not there; empty when it is
};

/// The sentence for a process that `before` describes and that has no CAP_NET_ADMIN, with the likely cause
/// and the remedy. `mounted_nosuid`: its program is on such a file system. Pure.
std::string explain_missing_net_admin(const Credentials& before, bool mounted_nosuid);

}  // namespace tapir::helper
