// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "net/mac_address.h"
#include "virtio/device.h"
#include "virtio/io_thread.h"
#include "virtio/net_queue_pair.h"

namespace tapir::virtio {

/// What an operator may choose of a network device.
struct NetDeviceOptions {
  std::uint64_t features_off = 0;  ///< 1 << VIRTIO_NET_F_* or VIRTIO_F_*: not to be offered
  std::array<std::uint16_t, 2> queue_sizes{256, 256};  ///< at most, of receiveq and transmitq: powers of 2
  std::uint16_t mtu = 0;  ///< what the driver is told, 68 to 65521; 0: the host end's
  std::optional<std::uint32_t> speed = std::nullopt;  ///< Mbit/s; unset: unknown
  std::uint8_t duplex = 0xFF;                         ///< 0 half, 1 full, 0xFF unknown
};

/// A virtio network device (virtio 1.3, 5.1 Network Device) in front of one host end: features, configuration
/// space and life cycle. Its frames are moved by a NetQueuePair on the host end's I/O thread.
///
/// Offered is what the host end can really do (offered_net_features()) and the operator has not turned off,
/// and the host end is told what the driver accepted before activate() returns. The configuration space is
/// read-only. When the host end goes away the link goes down, for good, and frames sent are dropped.
class NetDevice final : public Device {
 public:
  /// virtio 1.3, 5.1.2 Virtqueues.
  static constexpr std::uint16_t kReceiveQueue = 0;
  static constexpr std::uint16_t kTransmitQueue = 1;

  /// `io_thread` is borrowed and outlives the device.
  NetDevice(const net::MacAddress& mac, IoThread& io_thread, const NetDeviceOptions& options = {});
  NetDevice(const NetDevice&) = delete;
  NetDevice& operator=(const NetDevice&) = delete;
  ~NetDevice() override;

  std::uint32_t type() const override;
  std::uint64_t features() const override { return features_; }
  bool accepts(std::uint64_t driver_features) const override;
  std::span<const std::uint16_t> max_queue_sizes() const override { return options_.queue_sizes; }
  void read_config(std::uint64_t offset, std::span<std::byte> into) const override;
  void write_config(std::uint64_t offset, std::span<const std::byte> from) override;
  [[nodiscard]] Status activate(Activation activation) override;
  void reset() override;

  /// Since the device was made. Any thread, any time.
  const NetQueuePair::Counters& counters() const { return counters_; }
  bool link_up() const { return link_.up(); }

 private:
  const net::MacAddress mac_;
  IoThread& io_thread_;
  const NetDeviceOptions options_;
  const std::uint16_t mtu_;
  const std::uint64_t features_;
  NetQueuePair::Counters counters_;
  NetLink link_;
  std::unique_ptr<NetQueuePair> pair_;  ///< while active
};

}  // namespace tapir::virtio
