// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/host_frames.h"

#include <numeric>
#include <utility>

namespace tapir::bench {

HostFrames::HostFrames(PacketEnd socket, const FrameMix& mix) : socket_(std::move(socket)) {
  memory_.resize(std::accumulate(mix.sizes.begin(), mix.sizes.end(), std::size_t{0}));
  std::byte* at = memory_.data();
  for (const std::size_t size : mix.sizes) {
    write_frame({at, size});
    frames_.push_back(pieces_at(at, size, 0, 0));
    at += size;
  }
}

Status HostFrames::send(unsigned frames) {
  for (unsigned i = 0; i < frames; ++i) {
    const auto& pieces = frames_[sent_ % frames_.size()];
    stamp(pieces, pieces.front().iov_len, sent_);
    TAPIR_TRY(socket_.send(pieces));
    ++sent_;
  }
  return {};
}

}  // namespace tapir::bench
