// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"

namespace tapir::helper {

/// From here on this process makes only the system calls that a run of the helper needs; any other ends it at
/// once (SECCOMP_RET_KILL_PROCESS). No execve, fork, ptrace, mount or setns; of sockets only unix and
/// rtnetlink ones; of ioctls only those that make a tap; no file is created or changed, no memory becomes
/// executable. For good, and for the whole process. Takes no privilege once no_new_privs is set.
///
/// Programs under a sanitizer need more than that and do without the filter (TAPIR_SANITIZED).
[[nodiscard]] Status install_seccomp_filter();

}  // namespace tapir::helper
