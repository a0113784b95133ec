// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "net/base/result.h"
#include "net/frame_counters.h"

namespace tapir::net {

/// The largest frame a tap gives, with the 12-byte vnet header: 12 + 14 (Ethernet) + 4 (VLAN) + 65535. A read
/// into less may be cut silently by the tap, so receive space of this size is asked for.
inline constexpr std::size_t kMaxReceiveBytes = 65565;

/// One frame to send: its bytes in order, the vnet header first where the backend has one.
struct TransmitFrame {
  std::span<const iovec> iov;  ///< at most IOV_MAX (1024) pieces
  std::size_t bytes = 0;       ///< sum of the pieces
  int error = 0;               ///< set by transmit(): 0 sent, else the errno for which it was dropped
};

/// Where a receiver wants the next frame.
struct ReceiveSpace {
  std::span<const iovec> iov;
  std::size_t bytes = 0;  ///< sum of the pieces
  /// Whether more space can come later (the driver posts buffers). When false, a frame that is larger than
  /// `bytes` can never be delivered and is dropped; when true it is held until there is space.
  bool may_grow = true;
};

/// The receiver as the engine sees it: receive() pulls space from it and says what it filled. Called on the
/// I/O thread, inside receive() only.
class ReceiveSink {
 public:
  virtual ~ReceiveSink() = default;
  /// Space for one frame: at least `bytes` if the receiver has it, else all it has (perhaps none). Asking
  /// again without a commit() returns the same space, grown if `bytes` grew. Valid until the next call.
  virtual ReceiveSpace acquire(std::size_t bytes) = 0;
  /// The first `bytes` bytes of the space last acquired now hold one whole frame.
  virtual void commit(std::size_t bytes) = 0;
};

/// How many eventfds one FrameIo can watch.
inline constexpr unsigned kMaxWatched = 64;

/// How much one turn may do, so that sending and receiving share the thread.
struct Budget {
  unsigned frames = 256;
  std::size_t bytes = std::size_t{512} * 1024;
};

enum class ReceiveEnd : std::uint8_t {
  kDrained,  ///< the backend has no more frames; the next wait() tells when
  kBudget,   ///< the budget is spent; call again
  /// The sink has no space (a frame may be held here meanwhile). Call again when it has; until then, or until
  /// the next want_receive(true), wait() does not report `receive`.
  kStarved,
  kGone,  ///< the backend is gone for good (its interface was deleted)
};

/// What the backend can do, found once when it was opened.
struct FrameIoFeatures {
  bool vnet_header = false;  ///< frames carry a struct virtio_net_hdr_v1 (12 bytes, little-endian)
  unsigned offloads = 0;     ///< TUN_F_* bits that TUNSETOFFLOAD accepts; 0 without vnet_header
  std::uint16_t mtu = 0;     ///< of the interface when opened, 0 when unknown
};

/// A place frames go to and come from, and the whole wait of the I/O thread that serves it: queue kicks, stop
/// messages and readiness of the backend arrive through one wait(), so that an engine may put them all on one
/// io_uring. Two engines implement it with the same behaviour (frame_engine.h): `sync` (readv, writev,
/// ppoll) and `uring`.
///
/// Threads: construct, features(), set_offloads() and watch() before start() on any one thread; everything
/// else on the I/O thread, which calls start() first. set_offloads() may also be called from the I/O thread
/// later, and counters() from any.
///
///     io->start();
///     for (;;) {
///       WaitResult ready = io->wait(deadline);
///       if (ready.watched & kick_bit) { … io->transmit(frames); }
///       if (ready.receive) { … io->receive(sink, budget); }
///     }
class FrameIo {
 public:
  /// What woke the thread. Hints: spurious ones are allowed, missed ones are not.
  struct WaitResult {
    /// Bit N: the eventfd whose watch() returned N was signalled (and is now cleared).
    std::uint64_t watched = 0;
    /// The backend may have frames, a held one included (only while want_receive(true)). Also once, wanted or
    /// not, when the backend is found to be gone: receive() then answers kGone.
    bool receive = false;
    /// The backend may take frames again: told once after transmit() stopped short.
    bool transmit = false;
  };
  using Clock = std::chrono::steady_clock;

  FrameIo() = default;
  FrameIo(const FrameIo&) = delete;
  FrameIo& operator=(const FrameIo&) = delete;
  virtual ~FrameIo() = default;

  virtual const FrameIoFeatures& features() const = 0;
  /// Tells the backend what the receiving driver can take (TUN_F_* bits); fails when the backend refuses.
  [[nodiscard]] virtual Status set_offloads(unsigned tun_offloads) = 0;

  /// Whether the kernel puts frames into this queue of a multi-queue tap, on the I/O thread. What waits in a
  /// tap's queue when it is detached is dropped; frames can be sent through it all the same. Error: it is
  /// none, or so already.
  [[nodiscard]] virtual Status attach_queue(bool attached) = 0;

  /// Binds the engine to the calling thread.
  [[nodiscard]] virtual Status start() = 0;
  /// Lets go of the backend and of what is watched, on the thread that called start(), so that the backend is
  /// free at once when the engine is destroyed. Only destruction may follow.
  virtual void stop() = 0;
  /// Adds a borrowed, non-blocking eventfd to the wait; returns its bit number, 0 to 63.
  [[nodiscard]] virtual Result<unsigned> watch(int event_fd) = 0;
  virtual void unwatch(unsigned bit) = 0;
  /// Whether wait() reports frames to read. False at start, so that a stopped receiver does not spin.
  virtual void want_receive(bool wanted) = 0;
  /// Sleeps until something is ready or the deadline (none: for ever).
  virtual WaitResult wait(std::optional<Clock::time_point> deadline) = 0;

  /// Sends frames in order. Returns how many were taken (sent, or dropped with `error` set); fewer than given
  /// means that the backend is full: call again with the rest after wait() reports `transmit`.
  virtual std::size_t transmit(std::span<TransmitFrame> frames) = 0;
  /// Receives frames into the sink until one of the ends. A frame is delivered whole or not at all.
  virtual ReceiveEnd receive(ReceiveSink& sink, Budget budget) = 0;
  /// Forgets a held frame and whatever the backend has queued, for a driver that starts anew.
  virtual void discard_received() = 0;

  /// As long as the engine lives; any thread.
  virtual const FrameIoCounters& counters() const = 0;
};

}  // namespace tapir::net
