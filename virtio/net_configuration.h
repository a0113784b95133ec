// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

#include "net/mac_address.h"
#include "net/virtio_net_uapi.h"

namespace tapir::virtio {

/// The fields of a network device's configuration space that change (virtio 1.3, 5.1.4 Device configuration
/// layout): vCPU threads read them while the I/O thread changes them. Any thread.
class NetConfiguration {
 public:
  explicit NetConfiguration(const net::MacAddress& mac) { set_mac(mac); }

  net::MacAddress mac() const {
    const std::uint64_t word = mac_.load(std::memory_order_acquire);
    net::MacAddress mac;
    std::memcpy(mac.octets.data(), &word, mac.octets.size());
    return mac;
  }
  void set_mac(const net::MacAddress& mac) {
    std::uint64_t word = 0;
    std::memcpy(&word, mac.octets.data(), mac.octets.size());
    mac_.store(word, std::memory_order_release);
  }

  /// VIRTIO_NET_S_* bits.
  std::uint16_t status() const { return status_.load(std::memory_order_acquire); }
  /// The link is up until a host end is gone.
  bool link_up() const { return (status() & VIRTIO_NET_S_LINK_UP) != 0; }
  /// True for the first caller.
  bool take_link_down() { return clear(VIRTIO_NET_S_LINK_UP); }
  /// Asks the driver to announce itself; acknowledged with end_announcement(), true if it was asked.
  void begin_announcement() { status_.fetch_or(VIRTIO_NET_S_ANNOUNCE, std::memory_order_acq_rel); }
  bool end_announcement() { return clear(VIRTIO_NET_S_ANNOUNCE); }

 private:
  bool clear(unsigned bit) {
    const auto others = static_cast<std::uint16_t>(~bit);
    return (status_.fetch_and(others, std::memory_order_acq_rel) & bit) != 0;
  }

  std::atomic<std::uint64_t> mac_{0};  ///< the octets in memory order, then two zeroes
  std::atomic<std::uint16_t> status_{VIRTIO_NET_S_LINK_UP};
};

}  // namespace tapir::virtio
