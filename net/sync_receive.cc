// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "net/frame_fault.h"
#include "net/sync_frame_io.h"
#include "net/vnet_header.h"

namespace tapir::net {
namespace {

// As many pieces as hold the largest frame, and not one more: each costs the kernel as much as it does to
// look at it. Empty when the space is too small, or in too many pieces for one call.
std::span<const iovec> pieces_for_any_frame(const ReceiveSpace& space) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < space.iov.size() && i < IOV_MAX; ++i) {
    bytes += space.iov[i].iov_len;
    if (bytes > kMaxReceiveBytes) {
      return space.iov.first(i + 1);
    }
  }
  return {};
}

std::size_t total_bytes(std::span<const iovec> pieces) {
  std::size_t bytes = 0;
  for (const iovec& piece : pieces) {
    bytes += piece.iov_len;
  }
  return bytes;
}

void scatter(std::span<const std::byte> from, std::span<const iovec> into) {
  for (const iovec& piece : into) {
    const std::size_t size = std::min(piece.iov_len, from.size());
    if (size == 0) {
      continue;
    }
    std::memcpy(piece.iov_base, from.data(), size);
    from = from.subspan(size);
  }
}

}  // namespace

ReceiveEnd SyncFrameIo::receive(ReceiveSink& sink, Budget budget) {
  starved_ = false;
  pause_end_.reset();
  std::size_t bytes = 0;
  for (unsigned frames = 0; frames < budget.frames && bytes < budget.bytes; ++frames) {
    if (const auto end = receive_one(sink, bytes)) {
      starved_ = *end == ReceiveEnd::kStarved;
      gone_reported_ = *end == ReceiveEnd::kGone;
      return *end;
    }
  }
  return ReceiveEnd::kBudget;
}

std::optional<ReceiveEnd> SyncFrameIo::receive_one(ReceiveSink& sink, std::size_t& bytes) {
  if (gone_) {
    // A held frame goes with it, so that a receiver without space hears of it too.
    return ReceiveEnd::kGone;
  }
  if (held_bytes_ > 0) {
    return deliver_held(sink);
  }
  // Whoever has no space at all leaves the frame where it is: the backend's queue is the longer one.
  const bool in_place = in_place_reads_ > 0;
  const ReceiveSpace space = sink.acquire(in_place ? kReadSpaceBytes : 1);
  if (space.bytes == 0 && space.may_grow) {
    return ReceiveEnd::kStarved;
  }
  if (in_place) {
    return read_in_place(sink, space, bytes);
  }
  return read_to_bounce(sink, bytes);
}

std::optional<ReceiveEnd> SyncFrameIo::read_in_place(ReceiveSink& sink, const ReceiveSpace& space,
                                                     std::size_t& bytes) {
  const auto pieces = pieces_for_any_frame(space);
  if (pieces.empty()) {
    return read_to_bounce(sink, bytes);
  }
  ++counters_.syscalls;
  const ssize_t result = calls_.readv(port_.fd.get(), pieces.data(), static_cast<int>(pieces.size()));
  if (result < 0) {
    return receive_failed(errno);
  }
  const auto size = static_cast<std::size_t>(result);
  bytes += size;
  if (is_whole_frame(size, total_bytes(pieces))) {
    sink.commit(size);
    note_received(size);
  }
  return gone_ ? std::optional(ReceiveEnd::kGone) : std::nullopt;
}

std::optional<ReceiveEnd> SyncFrameIo::read_to_bounce(ReceiveSink& sink, std::size_t& bytes) {
  ++counters_.syscalls;
  const ssize_t result = calls_.read(port_.fd.get(), bounce_.get(), kReadSpaceBytes);
  if (result < 0) {
    return receive_failed(errno);
  }
  const auto size = static_cast<std::size_t>(result);
  bytes += size;
  if (is_whole_frame(size, kReadSpaceBytes)) {
    held_bytes_ = size;
    return deliver_held(sink);
  }
  return gone_ ? std::optional(ReceiveEnd::kGone) : std::nullopt;
}

std::optional<ReceiveEnd> SyncFrameIo::deliver_held(ReceiveSink& sink) {
  const ReceiveSpace space = sink.acquire(held_bytes_);
  if (space.bytes < held_bytes_) {
    if (space.may_grow) {
      return ReceiveEnd::kStarved;
    }
    ++counters_.receive_dropped;
    held_bytes_ = 0;
    return std::nullopt;
  }
  scatter({bounce_.get(), held_bytes_}, space.iov);
  sink.commit(held_bytes_);
  note_received(held_bytes_);
  held_bytes_ = 0;
  return std::nullopt;
}

std::optional<ReceiveEnd> SyncFrameIo::receive_failed(int error) {
  switch (classify_receive_error(error)) {
    case ReceiveFault::kRetry:
      return std::nullopt;  // costs one of the budget, so it ends
    case ReceiveFault::kWait:
      return ReceiveEnd::kDrained;
    case ReceiveFault::kDropAndPause:
      ++counters_.receive_dropped;
      [[fallthrough]];
    case ReceiveFault::kPause:
      log_unexpected("cannot receive", error);
      pause_end_ = Clock::now() + kReceivePause;
      return ReceiveEnd::kDrained;
    case ReceiveFault::kGone:
      break;
  }
  mark_gone();
  return ReceiveEnd::kGone;
}

bool SyncFrameIo::is_whole_frame(std::size_t bytes, std::size_t space) {
  const std::size_t shortest =
      port_.features.vnet_header ? kMinFrameBytes : kMinFrameBytes - kVnetHeaderBytes;
  if (bytes == 0 && peer_hung_up()) {
    mark_gone();
    return false;
  }
  // A read says nothing when it cut a frame, so one that fills its space counts as cut.
  if (bytes < shortest || bytes == space) {
    ++counters_.receive_dropped;
    return false;
  }
  return true;
}

void SyncFrameIo::note_received(std::size_t bytes) {
  ++counters_.received_frames;
  counters_.received_bytes += bytes;
  if (bytes >= kLargeFrameBytes) {
    in_place_reads_ = kInPlaceReads;
  } else if (in_place_reads_ > 0) {
    --in_place_reads_;
  }
}

void SyncFrameIo::discard_received() {
  held_bytes_ = 0;
  in_place_reads_ = 0;
  starved_ = false;
  pause_end_.reset();
  transmit_full_ = false;
  // Reading a part of a frame consumes the whole of it.
  std::array<std::byte, 64> part;
  for (unsigned i = 0; i < kMaxDiscards && !gone_; ++i) {
    ++counters_.syscalls;
    const ssize_t result = calls_.read(port_.fd.get(), part.data(), part.size());
    if (result == 0 || (result < 0 && errno != EINTR)) {
      return;
    }
  }
}

}  // namespace tapir::net
