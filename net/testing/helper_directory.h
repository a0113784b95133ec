// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "net/testing/temporary_directory.h"

namespace tapir::net::testing {

/// A new directory with programs for tests of who starts them; gone with the object.
class HelperDirectory {
 public:
  const std::string& path() const { return directory_.path(); }

  /// A bridge helper that does the steps of its name, in order, and exits with 0; returns its path. In a
  /// subdirectory that is made if `name` has a slash.
  ///
  ///     tap pair long tun file byte data …   sends one tap, two taps in one message, a tap and 8 bytes, …
  ///     queues                               sends --queues= queues of one tap
  ///     words flood                          writes two lines with control characters, 1 MiB to stderr
  ///     close hang killed child exit1        closes the socket, never ends, …
  ///     tapir mute                           answers --version as tapir's, never (else as QEMU's)
  ///     sudo                                 closes descriptors as sudo does and runs its arguments
  std::string fake(const std::string& name) const;

  /// An executable file with this text.
  std::string script(const std::string& name, const std::string& text) const;

  /// What the fake at `path` was given, by its last runs: the lines that begin with `kind` ("argument",
  /// "descriptor", "SigBlk:", "SigIgn:"), without it.
  static std::vector<std::string> report(const std::string& path, const std::string& kind);

 private:
  TemporaryDirectory directory_;
};

/// Descriptors that this process has open. Equal before and after: nothing leaked.
std::vector<std::string> open_descriptors();

/// Whether this process has no child, running or dead.
bool has_no_children();

}  // namespace tapir::net::testing
