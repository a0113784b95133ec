// SPDX-License-Identifier: Apache-2.0
#include "virtio/net_device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/base/check.h"
#include "net/virtio_net_uapi.h"
#include "virtio/net_features.h"

namespace tapir::virtio {
namespace {

constexpr std::uint32_t kUnknownSpeed = 0xFFFF'FFFF;
constexpr std::uint8_t kUnknownDuplex = 0xFF;

std::uint64_t offered(net::FrameIoFeatures host, std::uint16_t mtu, const NetDeviceOptions& options) {
  host.mtu = mtu;
  std::uint64_t features = offered_net_features(host);
  if (options.speed || options.duplex != kUnknownDuplex) {
    features |= std::uint64_t{1} << VIRTIO_NET_F_SPEED_DUPLEX;
  }
  return without_net_features(features, options.features_off);
}

}  // namespace

NetDevice::NetDevice(const net::MacAddress& mac, IoThread& io_thread, const NetDeviceOptions& options)
    : mac_(mac),
      io_thread_(io_thread),
      options_(options),
      mtu_(options.mtu != 0 ? options.mtu : io_thread.features().mtu),
      features_(offered(io_thread.features(), mtu_, options)),
      max_queue_sizes_{options.queue_sizes[0], options.queue_sizes[1], kMaxControlQueueSize},
      configuration_(mac) {
  CHECK(net_features_consistent(features_));
}

NetDevice::~NetDevice() {
  reset();
}

std::uint32_t NetDevice::type() const {
  return VIRTIO_ID_NET;
}

std::span<const std::uint16_t> NetDevice::max_queue_sizes() const {
  const std::span<const std::uint16_t> all = max_queue_sizes_;
  return has_feature(features_, VIRTIO_NET_F_CTRL_VQ) ? all : all.first(kControlQueue);
}

bool NetDevice::accepts(std::uint64_t driver_features) const {
  return (driver_features & ~features_) == 0 && net_features_consistent(driver_features);
}

void NetDevice::read_config(std::uint64_t offset, std::span<std::byte> into) const {
  // The other fields belong to features that are not offered, and read as 0.
  virtio_net_config config{};
  const net::MacAddress mac = configuration_.mac();
  static_assert(sizeof config.mac == sizeof mac.octets);
  std::copy(mac.octets.begin(), mac.octets.end(), config.mac);
  config.status = configuration_.status();
  config.max_virtqueue_pairs = 1;
  config.mtu = has_feature(features_, VIRTIO_NET_F_MTU) ? mtu_ : std::uint16_t{0};
  if (has_feature(features_, VIRTIO_NET_F_SPEED_DUPLEX)) {
    config.speed = options_.speed.value_or(kUnknownSpeed);
    config.duplex = options_.duplex;
  }
  const auto bytes = std::as_bytes(std::span(&config, 1));
  std::fill(into.begin(), into.end(), std::byte{0});
  if (offset < bytes.size()) {
    const auto from = bytes.subspan(offset, std::min<std::uint64_t>(into.size(), bytes.size() - offset));
    std::copy(from.begin(), from.end(), into.begin());
  }
}

void NetDevice::write_config(std::uint64_t /*offset*/, std::span<const std::byte> /*from*/) {
  // Every field is read-only for the driver (virtio 1.3, 5.1.4 Device configuration layout).
}

Status NetDevice::activate(Activation activation) {
  CHECK(!pair_ && activation.notifier != nullptr);
  auto pair =
      std::make_unique<NetQueuePair>(NetQueuePair::Environment{*activation.notifier, counters_,
                                                               configuration_, rules_, io_thread_.features()},
                                     activation.features);
  rules_.publish({activation.features, ReceiveFilter(mac_, activation.features)});
  for (ActiveQueue& queue : activation.queues) {
    if (queue.index == kReceiveQueue) {
      pair->set_receive_queue(std::move(queue));
    } else if (queue.index == kTransmitQueue) {
      pair->set_transmit_queue(std::move(queue));
    } else if (has_feature(activation.features, VIRTIO_NET_F_CTRL_VQ)) {
      pair->set_control_queue(std::move(queue));
    }
  }
  TAPIR_TRY(io_thread_.attach(*pair));
  pair_ = std::move(pair);
  if (has_feature(activation.features, VIRTIO_NET_F_GUEST_ANNOUNCE)) {
    const std::lock_guard lock(announcer_mutex_);
    announcer_ = activation.notifier;
  }
  return {};
}

void NetDevice::reset() {
  {
    const std::lock_guard lock(announcer_mutex_);
    announcer_ = nullptr;
  }
  if (pair_) {
    io_thread_.detach();
    pair_.reset();
  }
  configuration_.set_mac(mac_);
  configuration_.end_announcement();
}

void NetDevice::announce() {
  const std::lock_guard lock(announcer_mutex_);
  if (announcer_ != nullptr) {
    configuration_.begin_announcement();
    announcer_->notify_config();
  }
}

}  // namespace tapir::virtio
