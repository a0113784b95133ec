// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "net/frame_fault.h"
#include "net/sync_frame_io.h"

namespace tapir::net {

std::size_t SyncFrameIo::transmit(std::span<TransmitFrame> frames) {
  std::size_t taken = 0;
  while (taken < frames.size() && send_one(frames[taken])) {
    ++taken;
  }
  transmit_full_ = taken < frames.size();
  return taken;
}

bool SyncFrameIo::send_one(TransmitFrame& frame) {
  if (gone_) {
    drop(frame, EBADFD);
    return true;
  }
  // More pieces are EINVAL to the kernel as well; none would be a write of nothing, which succeeds.
  if (frame.bytes == 0 || frame.iov.size() > IOV_MAX) {
    drop(frame, EINVAL);
    return true;
  }
  for (;;) {
    const ssize_t written = write_frame(frame);
    if (written == static_cast<ssize_t>(frame.bytes)) {
      frame.error = 0;
      ++counters_.sent_frames;
      counters_.sent_bytes += frame.bytes;
      return true;
    }
    // A frame of which a part was taken is lost, and its rest is no frame.
    const int error = written < 0 ? errno : EIO;
    switch (classify_transmit_error(error)) {
      case TransmitFault::kRetry:
        continue;
      case TransmitFault::kWait:
        return false;
      case TransmitFault::kGone:
        mark_gone();
        drop(frame, error);
        return true;
      case TransmitFault::kDrop:
        log_unexpected("cannot send", error);
        drop(frame, error);
        return true;
    }
  }
}

ssize_t SyncFrameIo::write_frame(const TransmitFrame& frame) {
  ++counters_.syscalls;
  if (frame.iov.size() == 1) {
    return calls_.write(port_.fd.get(), frame.iov[0].iov_base, frame.iov[0].iov_len);
  }
  if (frame.bytes > kGatherBytes) {
    return calls_.writev(port_.fd.get(), frame.iov.data(), static_cast<int>(frame.iov.size()));
  }
  std::array<std::byte, kGatherBytes> gathered;
  std::size_t used = 0;
  for (const iovec& piece : frame.iov) {
    const std::size_t size = std::min(piece.iov_len, gathered.size() - used);
    if (size > 0) {
      std::memcpy(gathered.data() + used, piece.iov_base, size);
      used += size;
    }
  }
  return calls_.write(port_.fd.get(), gathered.data(), used);
}

void SyncFrameIo::drop(TransmitFrame& frame, int error) {
  frame.error = error;
  ++counters_.transmit_dropped;
}

}  // namespace tapir::net
