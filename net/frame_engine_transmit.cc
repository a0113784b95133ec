// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "net/frame_engine.h"
#include "net/frame_fault.h"

namespace tapir::net {
namespace {

void gather(std::span<const iovec> from, std::span<std::byte> into) {
  for (const iovec& piece : from) {
    const std::size_t size = std::min(piece.iov_len, into.size());
    if (size == 0) {
      continue;
    }
    std::memcpy(into.data(), piece.iov_base, size);
    into = into.subspan(size);
  }
}

}  // namespace

std::size_t FrameEngine::transmit(std::span<TransmitFrame> frames) {
  std::size_t taken = 0;
  while (taken < frames.size()) {
    const auto batch = frames.subspan(taken, std::min(frames.size() - taken, writes_.size()));
    std::size_t planned = 0;
    while (planned < batch.size() && plan_call(writes_[planned], planned, batch[planned])) {
      ++planned;
    }
    if (planned == 0) {
      const int error = gone_ ? EBADFD : EINVAL;
      drop(batch[0], error, class_of_error(error));
      ++taken;
      continue;
    }
    counters_.transmit_batches.add(1);
    const std::size_t done = calls_->write(std::span(writes_).first(planned));
    const std::size_t settled = settle(batch, std::span(writes_).first(done));
    taken += settled;
    if (settled < done &&
        classify_transmit_error(static_cast<int>(-writes_[settled].result)) == TransmitFault::kWait) {
      break;
    }
  }
  transmit_full_ = taken < frames.size();
  counters_.transmit_full.add(transmit_full_ ? 1 : 0);
  return taken;
}

// False: the frame cannot be sent.
bool FrameEngine::plan_call(FrameCall& call, std::size_t slot, const TransmitFrame& frame) {
  // More pieces are EINVAL to the kernel as well; none would be a write of nothing, which succeeds.
  if (gone_ || frame.bytes == 0 || frame.iov.size() > IOV_MAX) {
    return false;
  }
  if (frame.bytes > FrameArena::kTransmitSlotBytes) {
    call = {frame.iov};
    return true;
  }
  const auto copy = arena_.transmit_slot(slot);
  gather(frame.iov, copy);
  transmit_slots_[slot] = {copy.data(), frame.bytes};
  call = {std::span(&transmit_slots_[slot], 1), true};
  return true;
}

// How many of the frames are dealt with: those up to the first that has to be tried again, if none behind it
// was sent.
std::size_t FrameEngine::settle(std::span<TransmitFrame> frames, std::span<const FrameCall> calls) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    TransmitFrame& frame = frames[i];
    const ssize_t written = calls[i].result;
    if (written == static_cast<ssize_t>(frame.bytes)) {
      frame.error = 0;
      counters_.sent_frames.add(1);
      counters_.sent_bytes.add(frame.bytes);
      continue;
    }
    // A frame of which a part was taken is lost, and its rest is no frame.
    const int error = written < 0 ? static_cast<int>(-written) : EIO;
    switch (classify_transmit_error(error)) {
      case TransmitFault::kRetry:
      case TransmitFault::kWait:
        if (i + 1 == calls.size()) {
          return i;
        }
        break;  // a later one has overtaken it, and the order counts more
      case TransmitFault::kGone:
        mark_gone();
        break;
      case TransmitFault::kDrop:
        log_unexpected("cannot send", error);
        break;
    }
    drop(frame, error, written < 0 ? class_of_error(error) : FrameErrorClass::kPartial);
  }
  return calls.size();
}

void FrameEngine::drop(TransmitFrame& frame, int error, FrameErrorClass error_class) {
  frame.error = error;
  count_error(counters_.write_errors, error_class);
  counters_.transmit_dropped.add(1);
}

}  // namespace tapir::net
