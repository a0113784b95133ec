// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "net/base/unique_fd.h"

namespace tapir::net {

/// Descriptors over a unix socket, as QEMU's bridge helper and its callers do it: one data byte 0 that
/// carries all descriptors in one SCM_RIGHTS message. Stateless, any thread. Source: unix(7),
/// include/net/scm.h (SCM_MAX_FD), QEMU's net/tap.c (recv_fd).

/// Most descriptors that the kernel passes at once.
inline constexpr std::size_t kMaxPassedFds = 253;

/// Sends duplicates of `fds`, 1 to kMaxPassedFds; the caller keeps its own. Never waits and never raises
/// SIGPIPE. Errors: EPIPE when nobody has the other end any more, EAGAIN when it has no room, and those of
/// sendmsg(2).
[[nodiscard]] Status send_fds(int socket, std::span<const UniqueFd> fds);

/// What one recvmsg(2) brought.
struct ReceivedFds {
  std::vector<UniqueFd> fds;   ///< close-on-exec, in the sender's order
  std::size_t data_bytes = 0;  ///< 0: the other end is closed; 1 from an orderly sender; at most 64
};

/// Takes the next message, however many descriptors it carries. Waits if the socket does; goes on when a
/// signal interrupts it. Whoever sent it is not trusted: that there are as many as expected, and of what
/// kind, is for the caller to check. Errors: those of recvmsg(2), EAGAIN among them, and EMFILE when this
/// process could not hold all of them; then none is left open.
[[nodiscard]] Result<ReceivedFds> receive_fds(int socket);

}  // namespace tapir::net
