// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_control.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <type_traits>
#include <utility>

#include "net/offload.h"
#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

/// What VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET may name.
constexpr std::uint64_t kGuestOffloads =
    std::uint64_t{1} << VIRTIO_NET_F_GUEST_CSUM | std::uint64_t{1} << VIRTIO_NET_F_GUEST_TSO4 |
    std::uint64_t{1} << VIRTIO_NET_F_GUEST_TSO6 | std::uint64_t{1} << VIRTIO_NET_F_GUEST_ECN |
    std::uint64_t{1} << VIRTIO_NET_F_GUEST_USO4 | std::uint64_t{1} << VIRTIO_NET_F_GUEST_USO6;

}  // namespace

class NetControl::Reader {
 public:
  explicit Reader(const DescriptorChain& chain) : pieces_(chain.readable()), left_(chain.readable_bytes()) {}

  std::uint64_t left() const { return left_; }

  /// Nothing when fewer bytes are left.
  template <typename T>
  std::optional<T> read() {
    static_assert(std::is_trivially_copyable_v<T>);
    if (left_ < sizeof(T)) {
      return std::nullopt;
    }
    T value;
    auto* to = reinterpret_cast<std::byte*>(&value);
    for (std::size_t wanted = sizeof(T); wanted != 0;) {
      const std::size_t size = std::min<std::size_t>(wanted, pieces_.front().iov_len - offset_);
      std::memcpy(to, static_cast<const std::byte*>(pieces_.front().iov_base) + offset_, size);
      to += size;
      wanted -= size;
      advance(size);
    }
    return value;
  }
  /// The value when it is all that is left.
  template <typename T>
  std::optional<T> read_last() {
    return left_ == sizeof(T) ? read<T>() : std::nullopt;
  }
  /// `bytes` is no more than left().
  void skip(std::uint64_t bytes) {
    while (bytes != 0) {
      const std::size_t size = std::min<std::uint64_t>(bytes, pieces_.front().iov_len - offset_);
      bytes -= size;
      advance(size);
    }
  }

 private:
  void advance(std::size_t bytes) {
    left_ -= bytes;
    offset_ += bytes;
    if (offset_ == pieces_.front().iov_len) {
      pieces_ = pieces_.subspan(1);
      offset_ = 0;
    }
  }

  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;  ///< into the first of them
  std::uint64_t left_;
};

NetControl::NetControl(NetQueue queue, std::uint64_t features, NetConfiguration& configuration,
                       PublishedRules& rules, NetCoalescing& coalescing, UsePairs use_pairs)
    : queue_(std::move(queue)),
      features_(features),
      configuration_(configuration),
      published_(rules),
      coalescing_(coalescing),
      use_pairs_(std::move(use_pairs)),
      rules_(RulesInForce(rules).get()),
      pieces_(kMaxChainPieces) {}

bool NetControl::accepted(unsigned feature) const {
  return has_feature(features_, feature);
}

TurnEnd NetControl::run(net::FrameIo& io) {
  queue_.ring.disable_kicks();
  // Bounded, or a driver that adds as fast as it is served would have the thread for itself.
  for (unsigned served = 0; served < queue_.ring.size(); ++served) {
    auto chain = queue_.ring.pop(pieces_);
    if (!chain) {
      break;
    }
    serve(io, *std::move(chain));
  }
  queue_.flush();
  const bool more = !queue_.ring.broken() && queue_.ring.enable_kicks();
  if (queue_.ring.broken()) {
    return TurnEnd::kBroken;
  }
  return more ? TurnEnd::kMore : TurnEnd::kIdle;
}

void NetControl::serve(net::FrameIo& io, DescriptorChain chain) {
  if (chain.fault() != ChainFault::kNone || chain.writable().empty()) {
    queue_.refuse(std::move(chain));
    return;
  }
  Reader command(chain);
  const bool obeyed = obey(io, command);
  (obeyed ? queue_.counters.frames : queue_.counters.dropped).add(1);
  *static_cast<virtio_net_ctrl_ack*>(chain.writable().front().iov_base) =
      obeyed ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
  queue_.ring.add_used(std::move(chain), sizeof(virtio_net_ctrl_ack));
}

bool NetControl::obey(net::FrameIo& io, Reader& command) {
  const auto header = command.read<virtio_net_ctrl_hdr>();
  if (!header) {
    return false;
  }
  switch (header->class_) {
    case VIRTIO_NET_CTRL_RX:
      return set_receive_mode(header->cmd, command);
    case VIRTIO_NET_CTRL_MAC:
      return header->cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET  ? set_mac_tables(command)
             : header->cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET ? set_mac(command)
                                                           : false;
    case VIRTIO_NET_CTRL_VLAN:
      return (header->cmd == VIRTIO_NET_CTRL_VLAN_ADD || header->cmd == VIRTIO_NET_CTRL_VLAN_DEL) &&
             set_vlan(header->cmd == VIRTIO_NET_CTRL_VLAN_ADD, command);
    case VIRTIO_NET_CTRL_MQ:
      return header->cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && set_pairs(command);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return header->cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET && set_guest_offloads(io, command);
    case VIRTIO_NET_CTRL_NOTF_COAL:
      return header->cmd == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET   ? set_coalescing(coalescing_.transmit, command)
             : header->cmd == VIRTIO_NET_CTRL_NOTF_COAL_RX_SET ? set_coalescing(coalescing_.receive, command)
                                                               : false;
    default:
      return false;
  }
}

bool NetControl::set_receive_mode(std::uint8_t mode, Reader& data) {
  // virtio 1.3, 5.1.6.5.1.1 Device Requirements: Packet Receive Filtering.
  const bool extra = mode > VIRTIO_NET_CTRL_RX_ALLMULTI;
  const auto on = data.read_last<std::uint8_t>();
  if (!accepted(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX) || !on || *on > 1) {
    return false;
  }
  ReceiveFilter::Modes modes = rules_.filter.modes();
  switch (mode) {
    case VIRTIO_NET_CTRL_RX_PROMISC:
      modes.promiscuous = *on != 0;
      break;
    case VIRTIO_NET_CTRL_RX_ALLMULTI:
      modes.all_multicast = *on != 0;
      break;
    case VIRTIO_NET_CTRL_RX_ALLUNI:
      modes.all_unicast = *on != 0;
      break;
    case VIRTIO_NET_CTRL_RX_NOMULTI:
      modes.no_multicast = *on != 0;
      break;
    case VIRTIO_NET_CTRL_RX_NOUNI:
      modes.no_unicast = *on != 0;
      break;
    case VIRTIO_NET_CTRL_RX_NOBCAST:
      modes.no_broadcast = *on != 0;
      break;
    default:
      return false;
  }
  rules_.filter.set_modes(modes);
  published_.publish(rules_);
  return true;
}

bool NetControl::set_mac_tables(Reader& data) {
  // virtio 1.3, 5.1.6.5.2 Setting MAC Address Filtering: a table of unicast addresses, then one of multicast
  // addresses, each a count (32 bits) and as many addresses. Nothing is changed before all of it is read.
  if (!accepted(VIRTIO_NET_F_CTRL_RX)) {
    return false;
  }
  ReceiveFilter::MacTable tables[2];
  for (ReceiveFilter::MacTable& table : tables) {
    const auto count = data.read<std::uint32_t>();
    if (!count || data.left() / sizeof(net::MacAddress) < *count) {
      return false;
    }
    if (*count > ReceiveFilter::MacTable::kEntries) {
      table.let_all_in();
      data.skip(std::uint64_t{*count} * sizeof(net::MacAddress));
      continue;
    }
    for (std::uint32_t i = 0; i < *count; ++i) {
      table.add(*data.read<net::MacAddress>());
    }
  }
  if (data.left() != 0) {
    return false;
  }
  rules_.filter.set_tables(tables[0], tables[1]);
  published_.publish(rules_);
  return true;
}

bool NetControl::set_mac(Reader& data) {
  const auto mac = data.read_last<net::MacAddress>();
  if (!accepted(VIRTIO_NET_F_CTRL_MAC_ADDR) || !mac || mac->is_multicast() || mac->is_zero()) {
    return false;
  }
  configuration_.set_mac(*mac);
  rules_.filter.set_mac(*mac);
  published_.publish(rules_);
  return true;
}

bool NetControl::set_vlan(bool wanted, Reader& data) {
  const auto id = data.read_last<std::uint16_t>();
  if (!accepted(VIRTIO_NET_F_CTRL_VLAN) || !id || *id >= ReceiveFilter::kVlanIds) {
    return false;
  }
  rules_.filter.set_vlan(*id, wanted);
  published_.publish(rules_);
  return true;
}

bool NetControl::set_pairs(Reader& data) {
  // virtio 1.3, 5.1.6.5.6 Automatic receive steering in multiqueue mode: from 1 to max_virtqueue_pairs.
  const auto pairs = data.read_last<std::uint16_t>();
  return accepted(VIRTIO_NET_F_MQ) && pairs && *pairs >= VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN &&
         *pairs <= VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX && use_pairs_(*pairs);
}

bool NetControl::set_guest_offloads(net::FrameIo& io, Reader& data) {
  // virtio 1.3, 5.1.6.5.8 Offloads State Configuration: only what was accepted, and all of the others off.
  const auto offloads = data.read_last<std::uint64_t>();
  if (!accepted(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || !offloads ||
      (*offloads & ~(features_ & kGuestOffloads)) != 0) {
    return false;
  }
  const std::uint64_t features = (features_ & ~kGuestOffloads) | *offloads;
  if (!net_features_consistent(features) ||
      (io.features().vnet_header && !io.set_offloads(net::tun_offloads_for(features)))) {
    return false;
  }
  // Frames that the host made before are judged by these as well, and dropped if the driver now cannot
  // take them.
  rules_.features = features;
  published_.publish(rules_);
  return true;
}

bool NetControl::set_coalescing(SharedCoalescing& queues, Reader& data) {
  // struct virtio_net_ctrl_coal: max_packets, then max_usecs (virtio 1.3, 5.1.6.5.9).
  const auto parameters = data.read_last<CoalescingParameters>();
  if (!accepted(VIRTIO_NET_F_NOTF_COAL) || !parameters) {
    return false;
  }
  queues.set(*parameters);
  return true;
}

}  // namespace tapir::virtio
