// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/device_path.h"

#include <linux/virtio_config.h>

#include <optional>
#include <utility>

#include "net/offload.h"
#include "virtio/net_features.h"

namespace tapir::bench {
namespace {

constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}

}  // namespace

std::uint64_t features_for(const DeviceSetup& setup, const net::FrameIoFeatures& host) {
  // Frames may be longer than the interface's MTU, as they are on a bridge.
  std::uint64_t features =
      virtio::offered_net_features(host) & ~(virtio::kOffByDefault | bit(VIRTIO_NET_F_MTU));
  if (!setup.offloads) {
    features &= ~net::offered_offloads(host);
  }
  if (!setup.mergeable) {
    features &= ~bit(VIRTIO_NET_F_MRG_RXBUF);
  }
  if (!setup.event_index) {
    features &= ~bit(VIRTIO_RING_F_EVENT_IDX);
  }
  return features;
}

DevicePath::DevicePath(std::unique_ptr<net::FrameIo> io, std::unique_ptr<GuestDriver> driver,
                       std::uint64_t features)
    : io_(std::move(io)),
      driver_(std::move(driver)),
      pair_({*driver_, counters_, configuration_, rules_, coalescing_, io_->features()}, features) {
  rules_.publish({features, virtio::ReceiveFilter(net::MacAddress{}, features)});
}

Result<std::unique_ptr<Path>> DevicePath::create(net::FramePort port, const Traffic& traffic,
                                                 const DeviceSetup& setup) {
  TAPIR_TRY_ASSIGN(auto io, create_engine(setup.engine, std::move(port)));
  const std::uint64_t features = features_for(setup, io->features());
  TAPIR_TRY_ASSIGN(auto driver, GuestDriver::create(traffic.mix, setup.shape, features));
  std::unique_ptr<DevicePath> path(new DevicePath(std::move(io), std::move(driver), features));
  TAPIR_TRY(path->start());
  return path;
}

Status DevicePath::start() {
  TAPIR_TRY(io_->start());
  virtio::Activation activation = driver_->activation();
  pair_.set_receive_queue(std::move(activation.queues[GuestDriver::kReceiveQueue]));
  pair_.set_transmit_queue(std::move(activation.queues[GuestDriver::kTransmitQueue]));
  TAPIR_TRY(pair_.start(*io_));
  started_ = true;
  more_ = pair_.turn(*io_, {});
  return {};
}

DevicePath::~DevicePath() {
  if (started_) {
    pair_.stop(*io_);
    io_->stop();
  }
}

void DevicePath::give(std::uint64_t first_number, unsigned frames) {
  driver_->send(first_number, frames);
  driver_->enable_sent_interrupt();
}

void DevicePath::replenish() {
  static_cast<void>(driver_->enable_interrupts(GuestDriver::kReceiveQueue));
  driver_->post_all();
}

Status DevicePath::work() {
  // As the I/O thread does it, with a deadline long past: it never sleeps, for there is work.
  do {
    const auto ready = io_->wait(net::FrameIo::Clock::time_point{});
    more_ = pair_.turn(*io_, ready);
  } while (more_);
  return driver_->device_needs_reset() ? fail("the device says that its driver broke a rule") : Status{};
}

Path::Counts DevicePath::counts() const {
  return {io_->counters().syscalls.get() + io_->counters().waits.get(), driver_->interrupts(),
          driver_->kicks()};
}

}  // namespace tapir::bench
