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
  bool take_link_down() { return status_.exchange(0, std::memory_order_acq_rel) != 0; }

 private:
  std::atomic<std::uint64_t> mac_{0};  ///< the octets in memory order, then two zeroes
  std::atomic<std::uint16_t> status_{VIRTIO_NET_S_LINK_UP};
};

}  // namespace tapir::virtio
