// SPDX-License-Identifier: Apache-2.0
#include "virtio/receive_filter.h"

#include <linux/if_ether.h>

#include <algorithm>
#include <cstring>

#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

constexpr net::MacAddress kBroadcast{{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}};
constexpr std::size_t kTagOffset = std::size_t{2} * ETH_ALEN;

/// In network order.
std::uint16_t word_at(std::span<const std::byte> bytes, std::size_t offset) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[offset]) << 8U |
                                    std::to_integer<unsigned>(bytes[offset + 1]));
}

}  // namespace

void ReceiveFilter::MacTable::add(const net::MacAddress& mac) {
  if (count_ == kEntries) {
    overflown_ = true;
    return;
  }
  entries_[count_] = mac;
  ++count_;
}

bool ReceiveFilter::MacTable::lets_in(const net::MacAddress& mac) const {
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(count_);
  return overflown_ || std::find(entries_.begin(), end, mac) != end;
}

ReceiveFilter::ReceiveFilter(const net::MacAddress& mac, std::uint64_t features)
    : filters_macs_(has_feature(features, VIRTIO_NET_F_CTRL_RX)),
      filters_vlans_(has_feature(features, VIRTIO_NET_F_CTRL_VLAN)),
      mac_(mac) {
  // Without CTRL_RX there is no promiscuous mode that could lift the VLAN table.
  modes_.promiscuous = filters_macs_;
}

void ReceiveFilter::set_tables(const MacTable& unicast, const MacTable& multicast) {
  unicast_ = unicast;
  multicast_ = multicast;
}

bool ReceiveFilter::accepts(std::span<const std::byte> head) const {
  if (accepts_everything()) {
    return true;
  }
  if (filters_vlans_ && head.size() >= kTagOffset + 4 && word_at(head, kTagOffset) == ETH_P_8021Q) {
    const std::uint16_t id = word_at(head, kTagOffset + 2) % kVlanIds;
    if (id != 0 && !vlans_[id]) {
      return false;
    }
  }
  if (!filters_macs_) {
    return true;
  }
  net::MacAddress destination;
  if (head.size() < destination.octets.size()) {
    return false;
  }
  std::memcpy(destination.octets.data(), head.data(), destination.octets.size());
  return accepts_mac(destination);
}

bool ReceiveFilter::accepts_mac(const net::MacAddress& mac) const {
  if (mac == kBroadcast) {
    return !modes_.no_broadcast;
  }
  if (mac.is_multicast()) {
    return !modes_.no_multicast && (modes_.all_multicast || multicast_.lets_in(mac));
  }
  return !modes_.no_unicast && (modes_.all_unicast || mac == mac_ || unicast_.lets_in(mac));
}

}  // namespace tapir::virtio
