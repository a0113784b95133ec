// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_features.h"

#include <linux/virtio_config.h>

#include <algorithm>
#include <array>

#include "net/offload.h"
#include "virtio/ring_layout.h"

namespace tapir::virtio {
namespace {

constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}

struct Dependency {
  unsigned feature;
  std::uint64_t any_of;
  /// Whether a driver may not accept it otherwise, either (virtio 1.3, 5.1.3.1 Feature bit requirements). If
  /// not, it is only of no use.
  bool required = true;
};

// What others need stands before them.
constexpr std::array kDependencies{
    Dependency{VIRTIO_NET_F_GUEST_TSO4, bit(VIRTIO_NET_F_GUEST_CSUM)},
    Dependency{VIRTIO_NET_F_GUEST_TSO6, bit(VIRTIO_NET_F_GUEST_CSUM)},
    Dependency{VIRTIO_NET_F_GUEST_ECN, bit(VIRTIO_NET_F_GUEST_TSO4) | bit(VIRTIO_NET_F_GUEST_TSO6)},
    Dependency{VIRTIO_NET_F_GUEST_USO4, bit(VIRTIO_NET_F_GUEST_CSUM)},
    Dependency{VIRTIO_NET_F_GUEST_USO6, bit(VIRTIO_NET_F_GUEST_CSUM)},
    Dependency{VIRTIO_NET_F_HOST_TSO4, bit(VIRTIO_NET_F_CSUM)},
    Dependency{VIRTIO_NET_F_HOST_TSO6, bit(VIRTIO_NET_F_CSUM)},
    Dependency{VIRTIO_NET_F_HOST_ECN, bit(VIRTIO_NET_F_HOST_TSO4) | bit(VIRTIO_NET_F_HOST_TSO6)},
    Dependency{VIRTIO_NET_F_HOST_USO, bit(VIRTIO_NET_F_CSUM)},
    Dependency{VIRTIO_NET_F_CTRL_RX, bit(VIRTIO_NET_F_CTRL_VQ)},
    Dependency{VIRTIO_NET_F_CTRL_VLAN, bit(VIRTIO_NET_F_CTRL_VQ)},
    Dependency{VIRTIO_NET_F_CTRL_MAC_ADDR, bit(VIRTIO_NET_F_CTRL_VQ)},
    Dependency{VIRTIO_NET_F_MQ, bit(VIRTIO_NET_F_CTRL_VQ)},
    Dependency{VIRTIO_NET_F_NOTF_COAL, bit(VIRTIO_NET_F_CTRL_VQ)},
    // A device should not offer this one so, and a driver may still accept it (5.1.4.1).
    Dependency{VIRTIO_NET_F_CTRL_RX_EXTRA, bit(VIRTIO_NET_F_CTRL_VQ), false},
    Dependency{VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, bit(VIRTIO_NET_F_CTRL_VQ), false},
    Dependency{VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, bit(VIRTIO_NET_F_GUEST_CSUM), false},
};

/// virtio 1.3, 5.1.4.1 Device Requirements: mtu from 68; the upper end is a tap's (its length field has room
/// for a 14-byte Ethernet header more).
constexpr std::uint16_t kMinMtu = 68;
constexpr std::uint16_t kMaxMtu = 65521;

constexpr std::uint32_t kEthernetHeaderBytes = 14;

/// What segmentation can mean: a transport header behind the shortest IP header, inside the frame, and where
/// the checksum is in it. The kernel asks for the same (include/linux/virtio_net.h, virtio_net_hdr_to_skb).
struct Transport {
  std::uint32_t earliest;         ///< where the header can begin
  std::uint32_t bytes;            ///< of the shortest header
  std::uint16_t checksum_offset;  ///< in it
};

constexpr Transport transport_of(std::uint8_t gso_type) {
  constexpr std::uint32_t kIpv4Bytes = 20;
  constexpr std::uint32_t kIpv6Bytes = 40;
  if (gso_type == VIRTIO_NET_HDR_GSO_UDP_L4) {
    return {kEthernetHeaderBytes + kIpv4Bytes, 8, 6};
  }
  const bool ipv6 = (gso_type & ~unsigned{VIRTIO_NET_HDR_GSO_ECN}) == VIRTIO_NET_HDR_GSO_TCPV6;
  return {kEthernetHeaderBytes + (ipv6 ? kIpv6Bytes : kIpv4Bytes), 20, 16};
}

/// The kernel wants as many bytes as an IPv4 header has in front of a checksum, from the frame's start.
constexpr std::uint16_t kMinChecksumStart = 20;

/// The kernel's own mark for segments that are not of one size (GSO_BY_FRAGS), which nobody else may use.
constexpr std::uint16_t kReservedGsoSize = 0xFFFF;

}  // namespace

std::uint64_t offered_net_features(const net::FrameIoFeatures& host) {
  std::uint64_t features =
      bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_RING_F_INDIRECT_DESC) | bit(VIRTIO_RING_F_EVENT_IDX) |
      bit(VIRTIO_F_RING_PACKED) | bit(VIRTIO_F_IN_ORDER) | bit(VIRTIO_F_RING_RESET) | bit(VIRTIO_NET_F_MAC) |
      bit(VIRTIO_NET_F_STATUS) | bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_NET_F_CTRL_VQ) |
      bit(VIRTIO_NET_F_CTRL_RX) | bit(VIRTIO_NET_F_CTRL_RX_EXTRA) | bit(VIRTIO_NET_F_CTRL_VLAN) |
      bit(VIRTIO_NET_F_CTRL_MAC_ADDR) | bit(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | bit(VIRTIO_NET_F_NOTF_COAL) |
      net::offered_offloads(host);
  if (host.mtu >= kMinMtu && host.mtu <= kMaxMtu) {
    features |= bit(VIRTIO_NET_F_MTU);
  }
  return without_net_features(features, 0);
}

std::uint64_t without_net_features(std::uint64_t features, std::uint64_t off) {
  features &= ~off | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MAC);
  for (const Dependency& dependency : kDependencies) {
    if ((features & dependency.any_of) == 0) {
      features &= ~bit(dependency.feature);
    }
  }
  return features;
}

bool net_features_consistent(std::uint64_t features) {
  return has_feature(features, VIRTIO_F_VERSION_1) &&
         std::all_of(kDependencies.begin(), kDependencies.end(), [features](const Dependency& dependency) {
           return !dependency.required || !has_feature(features, dependency.feature) ||
                  (features & dependency.any_of) != 0;
         });
}

bool may_transmit_gso(std::uint8_t gso_type, std::uint64_t features) {
  switch (gso_type) {
    case VIRTIO_NET_HDR_GSO_NONE:
      return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO6);
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO4) && has_feature(features, VIRTIO_NET_F_HOST_ECN);
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
      return has_feature(features, VIRTIO_NET_F_HOST_TSO6) && has_feature(features, VIRTIO_NET_F_HOST_ECN);
    case VIRTIO_NET_HDR_GSO_UDP_L4:
      return has_feature(features, VIRTIO_NET_F_HOST_USO);
    default:
      return false;
  }
}

bool may_receive_gso(std::uint8_t gso_type, std::uint64_t features) {
  switch (gso_type) {
    case VIRTIO_NET_HDR_GSO_NONE:
      return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
      return has_feature(features, VIRTIO_NET_F_GUEST_TSO4);
    case VIRTIO_NET_HDR_GSO_TCPV6:
      return has_feature(features, VIRTIO_NET_F_GUEST_TSO6);
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
      return has_feature(features, VIRTIO_NET_F_GUEST_TSO4) && has_feature(features, VIRTIO_NET_F_GUEST_ECN);
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
      return has_feature(features, VIRTIO_NET_F_GUEST_TSO6) && has_feature(features, VIRTIO_NET_F_GUEST_ECN);
    case VIRTIO_NET_HDR_GSO_UDP_L4:
      // The type does not say which IP; a tap makes such frames only when both were accepted.
      return has_feature(features, VIRTIO_NET_F_GUEST_USO4) && has_feature(features, VIRTIO_NET_F_GUEST_USO6);
    default:
      return false;
  }
}

bool sanitise_transmit_header(virtio_net_hdr_v1& header, std::uint64_t frame_bytes, std::uint64_t features) {
  header.num_buffers = 0;
  header.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
  if (!may_transmit_gso(header.gso_type, features)) {
    return false;
  }
  if (header.flags == 0) {
    header.csum_start = 0;
    header.csum_offset = 0;
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
      return false;
    }
  } else {
    const std::uint32_t end = std::uint32_t{header.csum_start} + header.csum_offset + 2;
    if (!has_feature(features, VIRTIO_NET_F_CSUM) || header.csum_start < kMinChecksumStart ||
        end > frame_bytes) {
      return false;
    }
  }
  if (header.gso_type == VIRTIO_NET_HDR_GSO_NONE) {
    // A tap refuses a hdr_len beyond the frame even here, where it means nothing.
    header.gso_size = 0;
    header.hdr_len = 0;
    return true;
  }
  const Transport transport = transport_of(header.gso_type);
  header.hdr_len = static_cast<std::uint16_t>(std::min<std::uint64_t>(header.hdr_len, frame_bytes));
  return header.gso_size != 0 && header.gso_size != kReservedGsoSize &&
         header.csum_start >= transport.earliest && header.csum_start + transport.bytes <= frame_bytes &&
         header.csum_offset == transport.checksum_offset;
}

}  // namespace tapir::virtio
