// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/frames.h"
#include "tools/bench/tap_end.h"

namespace tapir::bench {

/// The numbered frames that the host sends towards the reader of a tap.
class HostFrames {
 public:
  HostFrames(PacketEnd socket, const FrameMix& mix);

  [[nodiscard]] Status send(unsigned frames);
  /// Frames sent so far, and so the number of the next one.
  std::uint64_t sent() const { return sent_; }

 private:
  PacketEnd socket_;
  std::vector<std::byte> memory_;
  std::vector<std::vector<iovec>> frames_;  ///< one of each size
  std::uint64_t sent_ = 0;
};

}  // namespace tapir::bench
