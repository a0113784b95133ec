// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "net/frame_engine.h"
#include "net/frame_fault.h"
#include "net/sync_calls.h"
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

bool is_spent(const Budget& left) {
  return left.frames == 0 || left.bytes == 0;
}

void spend(Budget& left, std::size_t bytes) {
  --left.frames;
  left.bytes -= std::min(left.bytes, bytes);
}

}  // namespace

ReceiveEnd FrameEngine::receive(ReceiveSink& sink, Budget budget) {
  starved_ = false;
  pause_end_.reset();
  while (!is_spent(budget)) {
    if (const auto end = receive_some(sink, budget)) {
      starved_ = *end == ReceiveEnd::kStarved;
      gone_reported_ = *end == ReceiveEnd::kGone;
      return *end;
    }
  }
  return ReceiveEnd::kBudget;
}

std::optional<ReceiveEnd> FrameEngine::receive_some(ReceiveSink& sink, Budget& left) {
  if (gone_) {
    // Held frames go with it, so that a receiver without space hears of it too.
    return ReceiveEnd::kGone;
  }
  if (next_read_ < reads_done_) {
    return deliver(sink, left);
  }
  // Whoever has no space at all leaves the frame where it is: the backend's queue is the longer one.
  const bool in_place = in_place_reads_ > 0;
  const ReceiveSpace space = sink.acquire(in_place ? FrameArena::kReceiveBytes : 1);
  if (space.bytes == 0 && space.may_grow) {
    return ReceiveEnd::kStarved;
  }
  if (in_place && !pieces_for_any_frame(space).empty()) {
    return read_in_place(sink, space, left);
  }
  read_to_slots(left.frames);
  return std::nullopt;
}

std::optional<ReceiveEnd> FrameEngine::read_in_place(ReceiveSink& sink, const ReceiveSpace& space,
                                                     Budget& left) {
  FrameCall call{pieces_for_any_frame(space)};
  counters_.receive_batches.add(1);
  static_cast<void>(calls_->read({&call, 1}));
  if (call.result < 0) {
    spend(left, 0);
    readable_ = readable_ && call.result != -EAGAIN;
    return receive_failed(static_cast<int>(-call.result));
  }
  const auto size = static_cast<std::size_t>(call.result);
  spend(left, size);
  if (is_whole_frame(size, total_bytes(call.iov))) {
    sink.commit(size);
    note_received(size);
  }
  return gone_ ? std::optional(ReceiveEnd::kGone) : std::nullopt;
}

void FrameEngine::read_to_slots(unsigned frames) {
  const std::size_t count = std::min<std::size_t>(batch_, frames);
  counters_.receive_batches.add(1);
  reads_done_ = calls_->read(std::span(reads_).first(count));
  next_read_ = 0;
  // Now and not when the result is dealt with, which may be later than frames that came meanwhile.
  const auto done = std::span(reads_).first(reads_done_);
  found_nothing_ =
      std::any_of(done.begin(), done.end(), [](const FrameCall& call) { return call.result == -EAGAIN; });
  readable_ = readable_ && !found_nothing_;
  adapt_reads(count);
}

// As many as came this time and one more, which tells that there are no others; twice as many if all came.
void FrameEngine::adapt_reads(std::size_t tried) {
  std::size_t hits = 0;
  for (std::size_t i = 0; i < reads_done_; ++i) {
    hits += reads_[i].result > 0 ? 1 : 0;
  }
  const std::size_t next = hits == tried ? std::max(2 * tried, batch_) : hits + 1;
  batch_ = std::min(next, calls_->max_reads());
}

std::optional<ReceiveEnd> FrameEngine::deliver(ReceiveSink& sink, Budget& left) {
  std::optional<ReceiveEnd> end;
  while (next_read_ < reads_done_ && !end && !is_spent(left)) {
    const ssize_t result = reads_[next_read_].result;
    const auto size = static_cast<std::size_t>(std::max<ssize_t>(result, 0));
    if (result < 0) {
      spend(left, 0);
      end = receive_failed(static_cast<int>(-result));
      // Frames may have come between this read and those behind it.
      found_nothing_ = found_nothing_ || end == ReceiveEnd::kDrained;
      end = end == ReceiveEnd::kDrained ? std::nullopt : end;
    } else if (!is_whole_frame(size, FrameArena::kReceiveBytes)) {
      spend(left, size);
      end = gone_ ? std::optional(ReceiveEnd::kGone) : std::nullopt;
    } else {
      const ReceiveSpace space = sink.acquire(size);
      if (space.bytes < size && space.may_grow) {
        counters_.held_frames.add(std::exchange(holds_, true) ? 0 : 1);
        return ReceiveEnd::kStarved;
      }
      holds_ = false;
      spend(left, size);
      if (space.bytes < size) {
        counters_.receive_dropped.add(1);
        counters_.receive_too_long.add(1);
      } else {
        scatter(arena_.receive_slot(next_read_).first(size), space.iov);
        sink.commit(size);
        note_received(size);
      }
    }
    ++next_read_;
  }
  if (!end && next_read_ == reads_done_ && found_nothing_) {
    return ReceiveEnd::kDrained;
  }
  return end;
}

std::optional<ReceiveEnd> FrameEngine::receive_failed(int error) {
  if (error != EAGAIN) {
    count_error(counters_.read_errors, class_of_error(error));
  }
  switch (classify_receive_error(error)) {
    case ReceiveFault::kRetry:
      return std::nullopt;  // costs one of the budget, so it ends
    case ReceiveFault::kWait:
      return ReceiveEnd::kDrained;
    case ReceiveFault::kDropAndPause:
      counters_.receive_dropped.add(1);
      counters_.receive_unread.add(1);
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

bool FrameEngine::is_whole_frame(std::size_t bytes, std::size_t space) {
  const std::size_t shortest =
      port_.features.vnet_header ? kMinFrameBytes : kMinFrameBytes - kVnetHeaderBytes;
  if (bytes == 0 && has_hung_up(port_.fd.get(), counters_)) {
    mark_gone();
    return false;
  }
  // A read says nothing when it cut a frame, so one that fills its space counts as cut.
  if (bytes < shortest || bytes == space) {
    counters_.receive_dropped.add(1);
    (bytes < shortest ? counters_.receive_short : counters_.receive_too_long).add(1);
    return false;
  }
  return true;
}

void FrameEngine::note_received(std::size_t bytes) {
  counters_.received_frames.add(1);
  counters_.received_bytes.add(bytes);
  const bool was_in_place = in_place_reads_ > 0;
  if (bytes >= kLargeFrameBytes) {
    in_place_reads_ = kInPlaceReads;
  } else if (in_place_reads_ > 0) {
    --in_place_reads_;
  }
  counters_.mode_switches.add(was_in_place != (in_place_reads_ > 0) ? 1 : 0);
}

void FrameEngine::discard_received() {
  reads_done_ = 0;
  next_read_ = 0;
  holds_ = false;
  batch_ = 1;
  in_place_reads_ = 0;
  starved_ = false;
  pause_end_.reset();
  transmit_full_ = false;
  // Reading a part of a frame consumes the whole of it.
  std::array<std::byte, 64> part;
  const iovec piece{part.data(), part.size()};
  FrameCall call{std::span(&piece, 1)};
  for (unsigned i = 0; i < kMaxDiscards && !gone_; ++i) {
    static_cast<void>(calls_->read({&call, 1}));
    if (call.result == 0 || (call.result < 0 && call.result != -EINTR)) {
      readable_ = false;
      return;
    }
  }
}

}  // namespace tapir::net
