// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grp.h>
#include <gtest/gtest.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "helper/acl.h"

namespace tapir::helper::testing {

inline constexpr uid_t kStranger = 54321;
inline constexpr gid_t kStrangersGroup = 54322;

/// The kernel takes this thread for a stranger without privilege when it opens files, as it does the helper
/// that has dropped its own. An ordinary user is one already.
class AsStranger {
 public:
  AsStranger() : was_root_(::geteuid() == 0) {
    if (was_root_) {
      groups_.resize(64);
      const int count = ::getgroups(static_cast<int>(groups_.size()), groups_.data());
      groups_.resize(static_cast<std::size_t>(std::max(count, 0)));
      EXPECT_EQ(::setgroups(1, &kStrangersGroup), 0);
      ::setfsgid(kStranger);
      ::setfsuid(kStranger);
    }
  }
  AsStranger(const AsStranger&) = delete;
  AsStranger& operator=(const AsStranger&) = delete;
  ~AsStranger() {
    if (was_root_) {
      ::setfsuid(0);
      ::setfsgid(0);
      EXPECT_EQ(::setgroups(groups_.size(), groups_.data()), 0);
      // The leak check at the end attaches to the process.
      EXPECT_EQ(::prctl(PR_SET_DUMPABLE, 1), 0);
    }
  }

  /// What load_acl is told of the caller.
  User user() const {
    return was_root_ ? User{kStranger, {kStranger, kStrangersGroup}} : User{::geteuid(), {::getegid()}};
  }

 private:
  bool was_root_;
  std::vector<gid_t> groups_;
};

}  // namespace tapir::helper::testing
