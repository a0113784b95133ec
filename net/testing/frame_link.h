// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/frame_io.h"
#include "net/frame_port.h"

namespace tapir::net::testing {

using Frame = std::vector<std::byte>;

/// A frame of `bytes` bytes (at least 26): a vnet header of zeroes, an Ethernet header of an experimental
/// type, and content that depends on `seed` and position.
Frame make_frame(std::size_t bytes, unsigned seed);

/// A backend for an engine and the other end of it: what both do must not depend on the kind.
class FrameLink {
 public:
  FrameLink() = default;
  FrameLink(const FrameLink&) = delete;
  FrameLink& operator=(const FrameLink&) = delete;
  virtual ~FrameLink() = default;

  /// The engine's end; once.
  virtual FramePort take_port() = 0;
  /// From the other end towards the engine.
  [[nodiscard]] virtual Status send(const Frame& frame) = 0;
  /// The next frame that the engine sent; nothing if none comes in 2 s.
  virtual std::optional<Frame> receive() = 0;
  /// Whether a sender can be stopped short, by nobody calling receive().
  virtual bool can_be_full() const = 0;
  /// The backend ceases to exist.
  virtual void remove() = 0;
};

/// A pair of SOCK_SEQPACKET sockets. Ignores SIGPIPE from now on.
[[nodiscard]] Result<std::unique_ptr<FrameLink>> make_socket_link();
/// A tap of the current network namespace, with an MTU of 65521, and a packet socket on it.
[[nodiscard]] Result<std::unique_ptr<FrameLink>> make_tap_link();

/// A receiver with `pieces` pieces of `piece_bytes` bytes, the same ones for every frame, that records what
/// it gets.
class RecordingSink : public ReceiveSink {
 public:
  RecordingSink(std::size_t piece_bytes, std::size_t pieces, bool may_grow = true);

  ReceiveSpace acquire(std::size_t bytes) override;
  void commit(std::size_t bytes) override;
  void resize(std::size_t pieces);

  /// Whole frames, in order. The two bytes of num_buffers are zeroed: a tap leaves them as they were.
  std::vector<Frame> received;

 private:
  std::size_t piece_bytes_;
  bool may_grow_;
  Frame buffer_;
  std::size_t acquired_ = 0;
  std::vector<iovec> pieces_;
};

/// Hands the frames to transmit() in pieces of `piece_bytes`; what it says about each one that it took.
std::vector<int> transmit_frames(FrameIo& io, std::span<const Frame> frames,
                                 std::size_t piece_bytes = SIZE_MAX);

}  // namespace tapir::net::testing
