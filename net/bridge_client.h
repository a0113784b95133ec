// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"
#include "net/mac_address.h"

namespace tapir::net {

/// Where tapir's own bridge helper is installed.
std::string default_bridge_helper();

/// The bridge that a helper string names itself, by a --br= among the words of a command, and which counts
/// then; nothing if it is a path or names none. Error: that of split_command(). Any thread.
[[nodiscard]] Result<std::optional<std::string>> bridge_in_helper(std::string_view helper);

/// What a NIC needs of a bridge, and from which helper.
struct BridgeRequest {
  std::string bridge = "br0";
  /// A path, or with blanks in it a command for split_command(); unset: `default_helper`.
  std::optional<std::string> helper = std::nullopt;
  unsigned queues = 1;  ///< 1 to 253; more than 1 only from tapir's helper
  /// The guest's address, which only tapir's helper is told.
  std::optional<MacAddress> mac = std::nullopt;
  bool vnet_header = true;
  std::string default_helper = default_bridge_helper();
  /// For the helper's whole work; half of it at most for asking a helper who it is. It takes some 10 ms, but
  /// the kernel makes one interface at a time, and a host may start a hundred guests at once.
  std::chrono::milliseconds limit = std::chrono::seconds(30);
};

/// Starts the bridge helper and takes the taps that it made: exactly one descriptor per queue, each a queue
/// of one and the same tap (TUNGETIFF), close-on-exec. Whether they have a vnet header is left to
/// Tap::adopt(). When it returns, no helper runs any more and no other descriptor is left. What a helper that
/// did its work wrote to stderr is logged as a warning. One thread; before the sandbox closes.
///
/// The helper runs as QEMU would run it, except that there is never a shell:
///
///     /path/helper                   /path/helper --use-vnet --fd=3 --br=br0
///     "sudo -n /path/helper"         sudo -n /path/helper --use-vnet --fd=0 --br=br0
///     "/path/helper --br=br1"        /path/helper --br=br1 --use-vnet --fd=0
///
/// The socket is its descriptor 3, and its standard input for a string with blanks, since sudo closes all
/// others. --queues=N (if more than one) and --mac=MAC follow only for tapir's helper: the default, or one
/// whose --version prints a line that begins with "tapir-bridge-helper ".
///
/// Error: which helper and bridge, how it ended, its own words, and the cause where it can be seen from here
/// (no such file; no_new_privs, a nosuid mount or a missing capability, unless the words speak of something
/// else; of the file unless the command has words that are no options, so that its
/// program is what starts the helper).
///
/// Source: QEMU's net/tap.c (net_bridge_run_helper) and qemu-bridge-helper.c.
[[nodiscard]] Result<std::vector<UniqueFd>> request_taps(const BridgeRequest& request);

}  // namespace tapir::net
