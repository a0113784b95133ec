// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "net/frame_arena.h"
#include "net/frame_calls.h"
#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::net {

struct FrameEngineOptions {
  /// How long wait() looks again and again before it sleeps. 0: not at all.
  std::chrono::microseconds busy_poll{0};
};

/// Both engines: the way frames take, the same for `sync` and `uring`, over the calls in which they differ.
///
/// Large frames move in place, from and to the pieces that the caller names. Small ones are cheaper through
/// the arena: the kernel then walks one piece instead of as many as 64 KiB of receive space have, and the
/// receiver hands out only what the frame needs. So received frames go through slots, as many in one batch as
/// came the last times, until a large one comes; then the next kInPlaceReads are read in place, one by one (a
/// call of this size costs nothing beside the copying). A frame for which there is no space yet is held in
/// its slot. Frames of up to 512 bytes are copied into slots before they are sent, which also keeps the guest
/// from changing them meanwhile.
///
/// Every failure is handled by the table in frame_fault.h.
///
/// Threads: see FrameIo. Owns the descriptor of the port; no allocation after construction.
class FrameEngine final : public FrameIo {
 public:
  /// Error: `port.fd` blocks, or the calls cannot be bound.
  [[nodiscard]] static Result<std::unique_ptr<FrameEngine>> create(FramePort port,
                                                                   std::unique_ptr<FrameCalls> calls,
                                                                   const FrameEngineOptions& options = {});

  FrameEngine(const FrameEngine&) = delete;
  FrameEngine& operator=(const FrameEngine&) = delete;
  ~FrameEngine() override { calls_->stop(); }

  const FrameIoFeatures& features() const override { return port_.features; }
  [[nodiscard]] Status set_offloads(unsigned tun_offloads) override;
  [[nodiscard]] Status attach_queue(bool attached) override;
  [[nodiscard]] Status start() override { return calls_->start(); }
  void stop() override { calls_->stop(); }
  [[nodiscard]] Result<unsigned> watch(int event_fd) override { return calls_->watch(event_fd); }
  void unwatch(unsigned bit) override { calls_->unwatch(bit); }
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
  /// The default length of a tap's ring is 1000 frames; under a flood there is always one more.
  static constexpr unsigned kMaxDiscards = 1024;
  static constexpr std::chrono::milliseconds kReceivePause{1};

  FrameEngine(FramePort port, std::unique_ptr<FrameCalls> calls, FrameArena arena,
              const FrameEngineOptions& options);

  FrameCalls::Ready look(const FrameCalls::Interest& interest, std::optional<Clock::time_point> deadline);
  bool may_receive() const { return receive_wanted_ && !starved_ && !pause_end_; }
  bool has_frames() const { return readable_ || next_read_ < reads_done_; }

  // One step of receive(): nothing when it may go on, else why it ends.
  std::optional<ReceiveEnd> receive_some(ReceiveSink& sink, Budget& left);
  std::optional<ReceiveEnd> read_in_place(ReceiveSink& sink, const ReceiveSpace& space, Budget& left);
  void read_to_slots(unsigned frames);
  std::optional<ReceiveEnd> deliver(ReceiveSink& sink, Budget& left);
  std::optional<ReceiveEnd> receive_failed(int error);
  void adapt_reads(std::size_t tried);
  bool is_whole_frame(std::size_t bytes, std::size_t space);
  void note_received(std::size_t bytes);

  // Of transmit(): fills calls_, and says what came of them.
  bool plan_call(FrameCall& call, std::size_t slot, const TransmitFrame& frame);
  std::size_t settle(std::span<TransmitFrame> frames, std::span<const FrameCall> calls);
  void drop(TransmitFrame& frame, int error, FrameErrorClass error_class);

  void mark_gone() { gone_ = true; }
  void log_unexpected(const char* direction, int error);

  FramePort port_;
  const std::unique_ptr<FrameCalls> calls_;
  const FrameArena arena_;
  const FrameEngineOptions options_;
  FrameIoCounters counters_;

  std::array<iovec, FrameArena::kReceiveSlots> receive_slots_;
  std::array<FrameCall, FrameArena::kReceiveSlots> reads_;  ///< into the slots
  std::size_t reads_done_ = 0;                              ///< of the last batch
  std::size_t next_read_ = 0;                               ///< the first of these that is not dealt with yet
  std::size_t batch_ = 1;                                   ///< how many reads are tried in the next batch
  bool holds_ = false;                                      ///< the sink has no space for next_read_
  bool found_nothing_ = false;                              ///< a read of the last batch did
  unsigned in_place_reads_ = 0;                             ///< how many more frames to read in place
  std::optional<Clock::time_point> pause_end_;              ///< no read before this

  std::array<iovec, FrameArena::kTransmitSlots> transmit_slots_;
  std::array<FrameCall, FrameArena::kTransmitSlots> writes_;

  bool readable_ = false;  ///< was told so, and no read has found nothing since
  bool receive_wanted_ = false;
  bool starved_ = false;        ///< the last receive() ended so, and nobody asked since
  bool transmit_full_ = false;  ///< the last transmit() stopped short
  bool gone_ = false;
  bool gone_reported_ = false;
  bool logged_unexpected_ = false;
};

}  // namespace tapir::net
