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
  if (options.multi_queue) {
    features |= std::uint64_t{1} << VIRTIO_NET_F_MQ;
  }
  return without_net_features(features, options.features_off);
}

}  // namespace

NetDevice::NetDevice(const net::MacAddress& mac, std::vector<IoThread*> io_threads,
                     const NetDeviceOptions& options)
    : mac_(mac),
      io_threads_(std::move(io_threads)),
      options_(options),
      mtu_(options.mtu != 0 ? options.mtu : io_threads_.front()->features().mtu),
      features_(offered(io_threads_.front()->features(), mtu_, options)),
      counters_(has_feature(features_, VIRTIO_NET_F_MQ) ? io_threads_.size() : 1),
      configuration_(mac) {
  CHECK(net_features_consistent(features_));
  for (std::size_t pair = 0; pair < pairs(); ++pair) {
    max_queue_sizes_.insert(max_queue_sizes_.end(), options.queue_sizes.begin(), options.queue_sizes.end());
  }
  if (has_feature(features_, VIRTIO_NET_F_CTRL_VQ)) {
    max_queue_sizes_.push_back(kMaxControlQueueSize);
  }
}

NetDevice::~NetDevice() {
  reset();
}

std::uint32_t NetDevice::type() const {
  return VIRTIO_ID_NET;
}

std::span<const std::uint16_t> NetDevice::max_queue_sizes() const {
  return max_queue_sizes_;
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
  config.max_virtqueue_pairs = static_cast<std::uint16_t>(pairs());
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
  CHECK(!pairs_ && activation.notifier != nullptr);
  rules_.publish({activation.features, ReceiveFilter(mac_, activation.features)});
  auto pairs = std::make_unique<NetPairs>(NetPairs::Environment{*activation.notifier, configuration_, rules_,
                                                                coalescing_, io_threads_, counters_},
                                          activation.features);
  TAPIR_TRY(pairs->start(std::move(activation.queues)));
  pairs_ = std::move(pairs);
  return {};
}

void NetDevice::reset_queue(std::uint16_t index) {
  if (pairs_) {  // else its activation failed
    pairs_->reset_queue(index);
  }
}

Status NetDevice::enable_queue(ActiveQueue queue) {
  if (!pairs_) {
    return fail("the device is not active");
  }
  return pairs_->enable_queue(std::move(queue));
}

void NetDevice::reset() {
  pairs_.reset();
  configuration_.set_mac(mac_);
  coalescing_.reset();
}

}  // namespace tapir::virtio
