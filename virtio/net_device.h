// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/mac_address.h"
#include "virtio/device.h"
#include "virtio/io_thread.h"
#include "virtio/net_configuration.h"
#include "virtio/net_features.h"
#include "virtio/net_pairs.h"
#include "virtio/net_queue_pair.h"
#include "virtio/receive_rules.h"

namespace tapir::virtio {

/// What an operator may choose of a network device.
struct NetDeviceOptions {
  std::uint64_t features_off = kOffByDefault;  ///< 1 << VIRTIO_NET_F_* or VIRTIO_F_*: not to be offered
  std::array<std::uint16_t, 2> queue_sizes{256, 256};  ///< at most, of receiveq and transmitq: powers of 2
  bool multi_queue = false;  ///< to offer VIRTIO_NET_F_MQ, with a queue pair for each host end
  std::uint16_t mtu = 0;     ///< what the driver is told, 68 to 65521; 0: the host end's
  std::optional<std::uint32_t> speed = std::nullopt;  ///< Mbit/s; unset: unknown
  std::uint8_t duplex = 0xFF;                         ///< 0 half, 1 full, 0xFF unknown
};

/// A virtio network device (virtio 1.3, 5.1 Network Device) in front of a host end: features, configuration
/// space and life cycle. Its frames are moved by a NetQueuePair on the host end's I/O thread. With
/// multi-queue it has several host ends, which are the queues of one tap, and as many pairs (NetPairs).
///
/// Offered is what the host end can really do (offered_net_features()) and the operator has not turned off,
/// and the host end is told what the driver accepted before activate() returns. The configuration space is
/// read-only; the address in it can be changed by the driver's command until the next reset. When the host
/// end goes away the link goes down, for good, and frames sent are dropped.
class NetDevice final : public Device {
 public:
  static constexpr std::uint16_t kMaxControlQueueSize = 64;

  /// `io_threads` are borrowed and outlive the device: one, or with multi-queue those of a tap's queues, of
  /// which all but the first are detached. Without multi-queue only the first is used.
  NetDevice(const net::MacAddress& mac, std::vector<IoThread*> io_threads,
            const NetDeviceOptions& options = {});
  NetDevice(const NetDevice&) = delete;
  NetDevice& operator=(const NetDevice&) = delete;
  ~NetDevice() override;

  std::uint32_t type() const override;
  std::uint64_t features() const override { return features_; }
  bool accepts(std::uint64_t driver_features) const override;
  std::span<const std::uint16_t> max_queue_sizes() const override;
  void read_config(std::uint64_t offset, std::span<std::byte> into) const override;
  void write_config(std::uint64_t offset, std::span<const std::byte> from) override;
  [[nodiscard]] Status activate(Activation activation) override;
  void reset() override;
  void reset_queue(std::uint16_t index) override;
  [[nodiscard]] Status enable_queue(ActiveQueue queue) override;

  /// The queue pairs there are, used or not.
  std::size_t pairs() const { return counters_.size(); }
  /// Of a pair, since the device was made, resets included. Any thread, any time.
  const NetQueuePair::Counters& counters(std::size_t pair = 0) const { return counters_[pair]; }
  bool link_up() const { return configuration_.link_up(); }

 private:
  const net::MacAddress mac_;
  const std::vector<IoThread*> io_threads_;
  const NetDeviceOptions options_;
  const std::uint16_t mtu_;
  const std::uint64_t features_;
  std::vector<NetQueuePair::Counters> counters_;  ///< as many as pairs
  std::vector<std::uint16_t> max_queue_sizes_;
  NetConfiguration configuration_;
  PublishedRules rules_;
  NetCoalescing coalescing_;
  std::unique_ptr<NetPairs> pairs_;  ///< while active
};

}  // namespace tapir::virtio
