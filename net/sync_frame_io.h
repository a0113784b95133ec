// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::net {

/// The system calls that move frames. Replaced by tests, to be told what no kernel can be made to say.
struct SyncCalls {
  ssize_t (*read)(int fd, void* into, std::size_t bytes);
  ssize_t (*readv)(int fd, const iovec* into, int pieces);
  ssize_t (*write)(int fd, const void* from, std::size_t bytes);
  ssize_t (*writev)(int fd, const iovec* from, int pieces);

  static SyncCalls of_kernel();
};

/// The `sync` engine: one system call per frame and one ppoll(2) per sleep. It needs nothing of the kernel
/// that is not always there, so it is also what the uring engine is measured and tested against.
///
/// Large frames move in place, from and to the pieces that the caller names. Small ones are cheaper through a
/// buffer: the kernel then walks one piece instead of as many as 64 KiB of receive space have, and the
/// receiver hands out only what the frame needs. So received frames go through the bounce buffer, until a
/// large one comes; then the next kInPlaceReads are read in place. Frames of up to kGatherBytes are gathered
/// before they are sent.
///
/// Every failure is handled by the table in frame_fault.h.
///
/// Threads: see FrameIo. Owns the descriptor of the port; no allocation after construction.
class SyncFrameIo : public FrameIo {
 public:
  /// Error: `port.fd` blocks.
  [[nodiscard]] static Result<std::unique_ptr<SyncFrameIo>> create(FramePort port,
                                                                   SyncCalls calls = SyncCalls::of_kernel());

  const FrameIoFeatures& features() const override { return port_.features; }
  [[nodiscard]] Status set_offloads(unsigned tun_offloads) override;
  [[nodiscard]] Status start() override;
  [[nodiscard]] Result<unsigned> watch(int event_fd) override;
  void unwatch(unsigned bit) override;
  void want_receive(bool wanted) override;
  WaitResult wait(std::optional<Clock::time_point> deadline) override;
  std::size_t transmit(std::span<TransmitFrame> frames) override;
  ReceiveEnd receive(ReceiveSink& sink, Budget budget) override;
  void discard_received() override;
  const FrameIoCounters& counters() const override { return counters_; }

 private:
  /// Frames of at least this size are large.
  static constexpr std::size_t kLargeFrameBytes = 4096;
  static constexpr unsigned kInPlaceReads = 16;
  /// Copying this much costs less than a second piece does.
  static constexpr std::size_t kGatherBytes = 512;
  /// The default length of a tap's ring is 1000 frames; under a flood there is always one more.
  static constexpr unsigned kMaxDiscards = 1024;
  static constexpr std::chrono::milliseconds kReceivePause{1};
  static constexpr unsigned kMaxWatched = 64;
  /// A read that fills its space may have been cut, so it gets one byte more than any frame has.
  static constexpr std::size_t kReadSpaceBytes = kMaxReceiveBytes + 1;

  SyncFrameIo(FramePort port, SyncCalls calls);

  // One step of receive(): nothing when a frame was dealt with, else why it ends.
  std::optional<ReceiveEnd> receive_one(ReceiveSink& sink, std::size_t& bytes);
  std::optional<ReceiveEnd> read_in_place(ReceiveSink& sink, const ReceiveSpace& space, std::size_t& bytes);
  std::optional<ReceiveEnd> read_to_bounce(ReceiveSink& sink, std::size_t& bytes);
  std::optional<ReceiveEnd> deliver_held(ReceiveSink& sink);
  std::optional<ReceiveEnd> receive_failed(int error);
  bool is_whole_frame(std::size_t bytes, std::size_t space);
  void note_received(std::size_t bytes);

  // One step of transmit(): false when the backend is full.
  bool send_one(TransmitFrame& frame);
  ssize_t write_frame(const TransmitFrame& frame);
  void drop(TransmitFrame& frame, int error);

  void mark_gone() { gone_ = true; }
  bool peer_hung_up();
  void log_unexpected(const char* direction, int error);
  WaitResult collect(const pollfd& backend);
  void collect_watched(WaitResult& result);

  FramePort port_;
  const SyncCalls calls_;
  FrameIoCounters counters_;

  std::unique_ptr<std::byte[]> bounce_;
  std::size_t held_bytes_ = 0;                  ///< of the frame in bounce_ that waits for space; 0: none
  unsigned in_place_reads_ = 0;                 ///< how many more frames to read in place
  std::optional<Clock::time_point> pause_end_;  ///< no read before this

  /// Element 0 is the backend, 1 + N is bit N; free ones have descriptor -1, which poll(2) skips.
  std::array<pollfd, 1 + kMaxWatched> poll_set_;
  std::size_t poll_count_ = 1;

  bool receive_wanted_ = false;
  bool starved_ = false;        ///< the last receive() ended so, and nobody asked since
  bool transmit_full_ = false;  ///< the last transmit() stopped short
  bool gone_ = false;
  bool gone_reported_ = false;
  bool logged_unexpected_ = false;
};

}  // namespace tapir::net
