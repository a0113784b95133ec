// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::net {

inline constexpr const char* kTunDevice = "/dev/net/tun";

/// Opens /dev/net/tun for reading and writing, close-on-exec, with the other `flags` of open(2) (O_NONBLOCK
/// or 0). No tap is attached yet. Error: what an operator can do about the device node. Any thread.
[[nodiscard]] Result<UniqueFd> open_tun_device(int flags);

}  // namespace tapir::net
