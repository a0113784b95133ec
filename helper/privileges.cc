// SPDX-License-Identifier: Apache-2.0
#include "helper/privileges.h"

#include <cap-ng.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>

#include <cerrno>

namespace tapir::helper {
namespace {

constexpr CapabilitySet kNetAdmin = CapabilitySet{1} << CAP_NET_ADMIN;

bool mounted_nosuid() {
  struct statvfs file_system {};
  return ::statvfs("/proc/self/exe", &file_system) == 0 && (file_system.f_flag & ST_NOSUID) != 0;
}

// Any number but 0 is a failure, and leaves the process somewhere between (capng_change_id(3)).
Status check_library(std::string_view function, int code) {
  if (code == 0) {
    return {};
  }
  return fail(
      std::string("cannot give away privileges: ").append(function).append(" of libcap-ng failed with ") +
      std::to_string(code) +
      "; a capability that this takes may be missing from the bounding set of whoever started this");
}

// Whoever may trace a process, or read its memory, has its descriptors and its privileges. The kernel decides
// anew at each change of user (fs.suid_dumpable), so this is for after the last one.
Status make_undumpable() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
    return fail_errno("prctl(PR_SET_DUMPABLE)");
  }
  if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return fail("this process can be traced although it asked the kernel to forbid that");
  }
  return {};
}

// libcap-ng 0.8 would do this too, but goes on when the kernel refuses, and tells only syslog(3) of it.
Status empty_bounding_set() {
  for (unsigned long capability = 0;; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
      // The kernel knows all smaller numbers, and none from this one on.
      return errno == EINVAL ? Status{} : fail_errno("prctl(PR_CAPBSET_DROP)");
    }
  }
}

Status give_away_all_but(CapabilitySet kept, const Credentials& before) {
  if (reduced(before, kept).bounding != before.bounding) {
    TAPIR_TRY(empty_bounding_set());
  }
  ::capng_clear(CAPNG_SELECT_ALL);
  if (kept == kNetAdmin) {
    constexpr auto kSets = static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    TAPIR_TRY(check_library("capng_update", ::capng_update(CAPNG_ADD, kSets, CAP_NET_ADMIN)));
  }
  // -1 leaves what is right already: libcap-ng would want CAP_SETUID and CAP_SETGID for it, and a program
  // with file capabilities has neither.
  const bool change_ids = !before.has_one_uid() || !before.has_one_gid();
  const int uid = change_ids ? static_cast<int>(before.real_uid()) : -1;
  const int gid = change_ids ? static_cast<int>(before.real_gid()) : -1;
  return check_library("capng_change_id", ::capng_change_id(uid, gid, CAPNG_CLEAR_AMBIENT));
}

}  // namespace

Result<Privileges> Privileges::reduce() {
  TAPIR_TRY_ASSIGN(const Credentials before, read_credentials());
  const CapabilitySet kept = before.permitted & kNetAdmin;
  TAPIR_TRY(give_away_all_but(kept, before));
  TAPIR_TRY(make_undumpable());
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return fail_errno("prctl(PR_SET_NO_NEW_PRIVS)");
  }
  Privileges privileges(reduced(before, kept),
                        kept != 0 ? "" : explain_missing_net_admin(before, mounted_nosuid()));
  TAPIR_TRY(privileges.verify());
  return privileges;
}

Status Privileges::check_net_admin() const {
  return missing_.empty() ? Status{} : fail(missing_);
}

Status Privileges::drop() {
  ::capng_clear(CAPNG_SELECT_CAPS);
  TAPIR_TRY(check_library("capng_apply", ::capng_apply(CAPNG_SELECT_CAPS)));
  expected_.permitted = 0;
  expected_.effective = 0;
  return verify();
}

Status Privileges::verify() const {
  TAPIR_TRY_ASSIGN(const Credentials actual, read_credentials());
  if (auto right = expect_credentials(actual, expected_); !right) {
    return tl::unexpected<Error>(
        std::move(right).error().with_context("privileges were not given away as asked"));
  }
  return {};
}

std::string explain_missing_net_admin(const Credentials& before, bool mounted_nosuid) {
  const std::string missing = "it has no CAP_NET_ADMIN, ";
  if (before.no_new_privs) {
    return missing +
           "for no_new_privs is set, as a sandbox or a container does; start it before that closes, or "
           "outside of it";
  }
  if ((before.bounding & kNetAdmin) == 0) {
    return missing +
           "which is missing from the capability bounding set; whoever started this must leave it there";
  }
  if (mounted_nosuid) {
    return missing +
           "for it is on a file system that is mounted nosuid; install it on another one with "
           "tools/install-helper";
  }
  return missing +
         "for it is neither set-user-ID root nor has the file capability, or runs in a user namespace; "
         "as root, install it with tools/install-helper";
}

}  // namespace tapir::helper
