// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

namespace tapir::helper {

/// How a run ends: what goes to standard output, and a sentence for each error, without a newline.
struct Outcome {
  std::string output;
  std::vector<std::string> errors;

  /// 0, or 1 if there is an error.
  int exit_status() const { return errors.empty() ? 0 : 1; }
};

/// The whole run of the helper for the command line `words`, the program's name included. The order of its
/// steps is what keeps it safe:
///
///   1. nothing of the caller's stays in the process (reset_inherited_state);
///   2. every privilege but CAP_NET_ADMIN is given away and that is verified (Privileges), before any file or
///   socket
///      of ours is opened and before any word of the caller's is looked at;
///   3. a filter leaves only the system calls of what follows (install_seccomp_filter);
///   4. the command line; inherited descriptors but --fd are closed, the way to the audit trail is opened,
///   --fd
///      is a unix socket;
///   5. the rules are read with the caller's own user and groups, and decide;
///   6. the tap is made and put on the bridge (make_port);
///   7. the last capability is given away and that is verified;
///   8. the audit trail gets its record, the tap is made the caller's, and the descriptors are sent.
///
/// The tap is never persistent, and nobody but root can attach to it from before it is on the bridge until 8,
/// so that whatever ends this process before takes it away. On success a run that grants prints nothing, as
/// QEMU's helper. The process is good for nothing else afterwards.
Outcome run(std::span<const char* const> words);

}  // namespace tapir::helper
