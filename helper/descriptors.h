// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/result.h"

namespace tapir::helper {

/// Closes every descriptor but 0, 1, 2 and `kept`. Linux 5.9.
[[nodiscard]] Status close_all_but(int kept);

/// Checks that the tap's descriptors can go to `fd`, the argument of --fd: a unix socket of type SOCK_STREAM
/// or SOCK_SEQPACKET, which have one receiver, and whose end both sides see. (Datagram sockets, which QEMU's
/// helper takes too, have neither.) It may be a standard descriptor.
[[nodiscard]] Status check_receiver(int fd);

}  // namespace tapir::helper
