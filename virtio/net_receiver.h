// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "net/frame_io.h"
#include "net/vnet_header.h"
#include "virtio/net_queue.h"
#include "virtio/receive_rules.h"

namespace tapir::virtio {

/// The receive side of a queue pair: offers the driver's buffers to the backend as space for frames, and
/// tells the driver what was filled. The pieces of all chains held lie one behind the other, so a frame that
/// spans several (MRG_RXBUF) is one run of them and is read straight into guest memory.
///
/// Every frame carries a 12-byte vnet header for the driver, with num_buffers stored here; a backend without
/// the header gets the space behind it. A frame is delivered whole or not at all. I/O thread only.
class NetReceiver final : public net::ReceiveSink {
 public:
  /// `features`: what the driver accepted. `mtu`: of the configuration space, 0 when not offered.
  /// `vnet_header`: whether the backend's frames begin with the header. `rules` outlive the object.
  NetReceiver(NetQueue queue, std::uint64_t features, std::uint16_t mtu, bool vnet_header,
              PublishedRules& rules);
  NetReceiver(const NetReceiver&) = delete;
  NetReceiver& operator=(const NetReceiver&) = delete;
  ~NetReceiver() override = default;

  /// Receives what there is, up to the budget. kBlocked: the driver has no buffers; call again at its kick.
  [[nodiscard]] TurnEnd run(net::FrameIo& io, net::Budget budget);
  /// Forgets the buffers that are held. Nothing else may be called afterwards.
  void stop();

  // Of the backend, inside run().
  net::ReceiveSpace acquire(std::size_t bytes) override;
  void commit(std::size_t bytes) override;

  const Virtqueue& ring() const { return queue_.ring; }
  NetQueue& queue() { return queue_; }
  const NetQueue& queue() const { return queue_; }

 private:
  /// A chain with its buffers at the pieces that follow those of the chain before it.
  struct Held {
    DescriptorChain chain;
    std::size_t pieces = 0;
    std::uint64_t bytes = 0;
  };

  /// The chain held `number` places behind the oldest.
  Held& held(std::size_t number) { return held_[(first_held_ + number) & (held_.size() - 1)]; }

  /// Holds one more chain; false when the driver has none.
  bool hold_chain();
  bool may_hold_more();
  /// When not, the reason is counted.
  bool may_deliver(const net::VnetHeader& header, std::size_t frame_bytes);
  /// Counts a frame that is dropped for `reason`; false.
  bool refuse_frame(Counter& reason);
  /// Whether the driver wants the frame at the start of the first chain.
  bool wanted(std::size_t frame_bytes);
  /// Writes over the header at the start of the first chain.
  void store_header(const net::VnetHeader& header);
  void end_front_chain(std::uint64_t bytes);

  NetQueue queue_;
  RulesInForce rules_;
  const std::uint16_t mtu_;
  const bool mergeable_;
  const bool in_order_;
  const std::size_t own_header_bytes_;  ///< of the header that the backend does not have

  std::vector<Held> held_;  ///< a ring in the driver's order, no smaller than the virtqueue; allocated once
  std::size_t first_held_ = 0;
  std::size_t held_count_ = 0;
  std::optional<DescriptorChain> refused_;  ///< with IN_ORDER, one to be ended when no other is held
  std::vector<iovec> pieces_;  ///< those of the chains held are [first_piece_, end_piece_); allocated once
  std::size_t first_piece_ = 0;
  std::size_t end_piece_ = 0;
  std::uint64_t held_bytes_ = 0;
  std::vector<iovec> space_;  ///< what acquire() gives when the header has to be left out
  unsigned unflushed_ = 0;    ///< chains used since the driver was last shown any
};

}  // namespace tapir::virtio
