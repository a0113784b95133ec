// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "net/base/result.h"

namespace tapir::helper {

/// Sets of capabilities, bit N for capability N of <linux/capability.h>.
using CapabilitySet = std::uint64_t;

/// Who a process is and what it may do, as the kernel itself reports it in /proc/self/status: what the helper
/// believes about its privileges, rather than return codes of libraries. A value.
/// Source: proc(5), capabilities(7), the kernel's fs/proc/array.c.
struct Credentials {
  std::array<uid_t, 4> uids{};  ///< real, effective, saved, file system
  std::array<gid_t, 4> gids{};
  std::vector<gid_t> groups;  ///< the supplementary ones, in the kernel's order
  CapabilitySet inheritable = 0;
  CapabilitySet permitted = 0;
  CapabilitySet effective = 0;
  CapabilitySet bounding = 0;
  CapabilitySet ambient = 0;
  bool no_new_privs = false;

  uid_t real_uid() const { return uids[0]; }
  gid_t real_gid() const { return gids[0]; }
  bool has_one_uid() const { return uids == std::array{uids[0], uids[0], uids[0], uids[0]}; }
  bool has_one_gid() const { return gids == std::array{gids[0], gids[0], gids[0], gids[0]}; }
};

/// Reads the text of /proc/self/status. Strict: each of its lines that counts is there once and has the form
/// that the kernel gives it. Pure.
[[nodiscard]] Result<Credentials> parse_credentials(std::string_view status);

/// The process's own, now.
[[nodiscard]] Result<Credentials> read_credentials();

/// An error that names the first difference. Pure.
[[nodiscard]] Status expect_credentials(const Credentials& actual, const Credentials& expected);

/// What `before` has to become when everything but `kept` is given away: the real user and group alone, the
/// supplementary groups as they were, `kept` permitted and effective, nothing inheritable or ambient, new
/// privileges out of reach. Emptying the bounding set takes CAP_SETPCAP; without that (a program with file
/// capabilities) it stays, and no_new_privs makes it meaningless. Pure.
Credentials reduced(const Credentials& before, CapabilitySet kept);

}  // namespace tapir::helper
