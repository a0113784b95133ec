// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "net/frame_io.h"
#include "net/vnet_header.h"
#include "virtio/net_queue.h"

namespace tapir::virtio {

/// The transmit side of a queue pair: takes chains from a transmitq, judges a private copy of each vnet
/// header, and hands the frames to the backend in batches, straight from guest memory. Each chain ends with
/// used length 0, whether its frame was sent or dropped, and in the driver's order (IN_ORDER: virtio 1.3, 2.9
/// Used Buffers in Order). When the backend is full, the rest of the batch stays here. I/O thread only.
class NetTransmitter {
 public:
  /// Frames, without the vnet header: Ethernet header alone, and what a tap can carry with a VLAN tag and 64
  /// KiB of IP.
  static constexpr std::uint64_t kMinFrameBytes = 14;
  static constexpr std::uint64_t kMaxFrameBytes = 65550;
  /// Frames handed to the backend at once.
  static constexpr std::size_t kBatch = 64;

  /// `features`: what the driver accepted. `vnet_header`: whether the backend wants the header in front.
  NetTransmitter(NetQueue queue, std::uint64_t features, bool vnet_header);
  NetTransmitter(const NetTransmitter&) = delete;
  NetTransmitter& operator=(const NetTransmitter&) = delete;
  ~NetTransmitter() = default;

  /// Sends what there is, up to the budget. kBlocked: call again when the backend may take frames.
  [[nodiscard]] TurnEnd run(net::FrameIo& io, net::Budget budget);
  /// Forgets the frames that were not sent. Nothing else may be called afterwards.
  void stop();

  const Virtqueue& ring() const { return queue_.ring; }
  NetQueue& queue() { return queue_; }
  const NetQueue& queue() const { return queue_; }

 private:
  struct Taken {
    unsigned chains = 0;
    std::uint64_t bytes = 0;
  };

  /// Pops up to `limit` chains into the (empty) batch. One that cannot be sent is ended here, or ends the
  /// batch when it has to wait for its turn.
  Taken fill(unsigned limit);
  /// Adds the chain, whose pieces begin at pieces_[first], to the batch; false when it must be dropped.
  bool add_frame(const DescriptorChain& chain, std::size_t first);
  /// Counts a frame that is dropped for `reason`; false.
  bool refuse_frame(Counter& reason);
  /// Sends the batch; false when the backend is full.
  bool send(net::FrameIo& io);

  NetQueue queue_;
  const std::uint64_t features_;
  const bool vnet_header_;

  // The batch: frames [sent_, count_) wait for the backend.
  std::array<DescriptorChain, kBatch> chains_;
  std::array<net::VnetHeader, kBatch> headers_;
  std::array<net::TransmitFrame, kBatch> frames_;
  std::vector<iovec> pieces_;  ///< of all frames of the batch; allocated once
  std::size_t pieces_used_ = 0;
  std::size_t count_ = 0;
  std::size_t sent_ = 0;
  std::optional<DescriptorChain> unsendable_;  ///< ends behind the batch
};

}  // namespace tapir::virtio
