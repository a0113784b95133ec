// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/mac_address.h"

namespace tapir::virtio {

/// Which frames a driver wants to see (virtio 1.3, 5.1.6.5.1 Packet Receive Filtering, 5.1.6.5.2 Setting MAC
/// Address Filtering, 5.1.6.5.3 VLAN Filtering). Filters only as far as the driver accepted CTRL_RX and
/// CTRL_VLAN. Promiscuous until the driver says otherwise, as a driver expects that negotiates the features
/// and never sends a command. Promiscuous mode lets everything in, frames of other VLANs too.
///
/// A value of fixed size, about 1.3 KiB.
class ReceiveFilter {
 public:
  /// What is looked at of a frame: both addresses and an 802.1Q tag. Of a shorter frame, what there is.
  static constexpr std::size_t kHeadBytes = 18;
  static constexpr std::uint16_t kVlanIds = 4096;

  /// What the commands of class CTRL_RX switch on and off.
  struct Modes {
    bool promiscuous = true;
    bool all_multicast = false;
    bool all_unicast = false;
    bool no_multicast = false;
    bool no_unicast = false;
    bool no_broadcast = false;
  };

  /// Addresses of one kind, a bounded number: one more than fits lets in every frame of the kind.
  class MacTable {
   public:
    static constexpr std::size_t kEntries = 64;

    void add(const net::MacAddress& mac);
    void let_all_in() { overflown_ = true; }
    bool lets_in(const net::MacAddress& mac) const;

   private:
    std::array<net::MacAddress, kEntries> entries_{};
    std::size_t count_ = 0;
    bool overflown_ = false;
  };

  /// Lets everything in.
  ReceiveFilter() = default;
  /// Of a driver that accepted `features`. `mac` is the device's own address.
  ReceiveFilter(const net::MacAddress& mac, std::uint64_t features);

  /// True: accepts() need not be asked.
  bool accepts_everything() const { return !(filters_macs_ || filters_vlans_) || modes_.promiscuous; }
  /// `head`: the first kHeadBytes bytes of the frame.
  bool accepts(std::span<const std::byte> head) const;

  const Modes& modes() const { return modes_; }
  void set_modes(const Modes& modes) { modes_ = modes; }
  void set_mac(const net::MacAddress& mac) { mac_ = mac; }
  void set_tables(const MacTable& unicast, const MacTable& multicast);
  /// `id` is below kVlanIds. Frames without a tag, or tagged with a priority only (ID 0), belong to no VLAN
  /// and always pass this table.
  void set_vlan(std::uint16_t id, bool wanted) { vlans_[id] = wanted; }

 private:
  bool accepts_mac(const net::MacAddress& mac) const;

  bool filters_macs_ = false;
  bool filters_vlans_ = false;
  Modes modes_;
  net::MacAddress mac_;
  MacTable unicast_;
  MacTable multicast_;
  std::bitset<kVlanIds> vlans_;
};

}  // namespace tapir::virtio
