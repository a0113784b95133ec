// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "net/frame_io.h"
#include "virtio/net_configuration.h"
#include "virtio/net_queue.h"
#include "virtio/receive_rules.h"

namespace tapir::virtio {

/// The control virtqueue of a network device (virtio 1.3, 5.1.6.5 Control Virtqueue): obeys the driver's
/// commands on the receive filter, the device's address, queue pairs, guest offloads and how interrupts wait
/// for each other, each only if its feature was accepted. A command takes effect before its buffer is used.
/// What is unknown, of the wrong length or out of range changes nothing and is answered with VIRTIO_NET_ERR;
/// a chain that breaks a rule of virtqueues or has no room for the answer is given back with length 0. On the
/// I/O thread of queue pair 0.
class NetControl {
 public:
  /// Brings this many queue pairs into use, from the first on; whether that many there are.
  using UsePairs = std::function<bool(std::uint16_t pairs)>;

  /// `queue` counts in frames the commands obeyed, in dropped those answered with an error. `configuration`,
  /// `rules` and `coalescing` outlive the object. The rules that are published already are those that
  /// commands change: of a driver that starts, or those before the virtqueue was reset.
  NetControl(NetQueue queue, std::uint64_t features, NetConfiguration& configuration, PublishedRules& rules,
             NetCoalescing& coalescing, UsePairs use_pairs);
  NetControl(const NetControl&) = delete;
  NetControl& operator=(const NetControl&) = delete;
  ~NetControl() = default;

  /// Obeys what there is, as many commands as the virtqueue has entries.
  [[nodiscard]] TurnEnd run(net::FrameIo& io);

  const Virtqueue& ring() const { return queue_.ring; }

 private:
  /// Reads the driver's bytes one behind the other, each of them once.
  class Reader;

  void serve(net::FrameIo& io, DescriptorChain chain);
  /// Whether the command was obeyed.
  bool obey(net::FrameIo& io, Reader& command);
  bool set_receive_mode(std::uint8_t mode, Reader& data);
  bool set_mac_tables(Reader& data);
  bool set_mac(Reader& data);
  bool set_vlan(bool wanted, Reader& data);
  bool set_pairs(Reader& data);
  bool set_guest_offloads(net::FrameIo& io, Reader& data);
  bool set_coalescing(SharedCoalescing& queues, Reader& data);
  bool accepted(unsigned feature) const;

  NetQueue queue_;
  const std::uint64_t features_;
  NetConfiguration& configuration_;
  PublishedRules& published_;
  NetCoalescing& coalescing_;
  const UsePairs use_pairs_;
  ReceiveRules rules_;
  std::vector<iovec> pieces_;  ///< of the chain that is served; allocated once
};

}  // namespace tapir::virtio
