// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "net/frame_io.h"
#include "net/mac_address.h"
#include "tools/bench/engine.h"
#include "tools/bench/guest_driver.h"
#include "tools/bench/path_case.h"
#include "virtio/net_configuration.h"
#include "virtio/net_queue_pair.h"
#include "virtio/receive_rules.h"

namespace tapir::bench {

/// What the device and its driver agree on.
struct DeviceSetup {
  EngineSetup engine;
  bool offloads = true;     ///< checksums and segmentation, both ways
  bool mergeable = true;    ///< VIRTIO_NET_F_MRG_RXBUF
  bool event_index = true;  ///< VIRTIO_RING_F_EVENT_IDX
  Shape shape;
};

/// The features that a driver accepts of those that a device on this host end offers.
std::uint64_t features_for(const DeviceSetup& setup, const net::FrameIoFeatures& host);

/// The queue pair of the real device, on the real engine, with the thread that calls it as its I/O thread:
/// its driver gets the CPU only between two steps, so that what is measured is the device alone.
class DevicePath final : public Path {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Path>> create(net::FramePort port, const Traffic& traffic,
                                                            const DeviceSetup& setup);
  DevicePath(const DevicePath&) = delete;
  DevicePath& operator=(const DevicePath&) = delete;
  ~DevicePath() override;

  unsigned room() const override { return driver_->free_frames(); }
  void give(std::uint64_t first_number, unsigned frames) override;
  void replenish() override;
  [[nodiscard]] Status work() override;
  unsigned take_sent() override { return driver_->reclaim(); }
  unsigned collect(SequenceChecker& checker) override { return driver_->receive(checker); }
  Counts counts() const override;

 private:
  DevicePath(std::unique_ptr<net::FrameIo> io, std::unique_ptr<GuestDriver> driver, std::uint64_t features);
  [[nodiscard]] Status start();

  std::unique_ptr<net::FrameIo> io_;
  std::unique_ptr<GuestDriver> driver_;
  virtio::NetQueuePair::Counters counters_;
  virtio::NetConfiguration configuration_{net::MacAddress{}};
  virtio::PublishedRules rules_;
  virtio::NetCoalescing coalescing_;
  virtio::NetQueuePair pair_;
  bool more_ = true;
  bool started_ = false;
};

}  // namespace tapir::bench
