// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "net/base/unique_fd.h"
#include "net/frame_io.h"

namespace tapir::net {

/// What an engine is made of: a descriptor on which one read is one frame and one write is one frame.
struct FramePort {
  /// Non-blocking. A tap, or a socket that keeps message boundaries (SOCK_SEQPACKET, SOCK_DGRAM); with a
  /// socket the process ignores SIGPIPE.
  UniqueFd fd;
  FrameIoFeatures features;
  /// Whether set_offloads() is TUNSETOFFLOAD on `fd`. False: there is nobody to tell.
  bool is_tap = false;
};

}  // namespace tapir::net
