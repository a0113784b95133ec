// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "tools/bench/device_path.h"
#include "virtio/io_thread.h"
#include "virtio/net_device.h"

namespace tapir::bench {

/// The whole device with an I/O thread of its own, as in a machine, and its driver.
class ThreadedDevice {
 public:
  /// `on_interrupt`: see GuestDriver; may be empty.
  [[nodiscard]] static Result<std::unique_ptr<ThreadedDevice>> create(
      net::FramePort port, const FrameMix& mix, const DeviceSetup& setup,
      std::function<void(GuestDriver& driver, std::uint16_t queue)> on_interrupt);
  ThreadedDevice(const ThreadedDevice&) = delete;
  ThreadedDevice& operator=(const ThreadedDevice&) = delete;
  ~ThreadedDevice();

  GuestDriver& driver() { return *driver_; }
  const virtio::NetQueuePair::Counters& counters() const { return device_.counters(); }

 private:
  ThreadedDevice(std::unique_ptr<virtio::IoThread> io_thread, std::unique_ptr<GuestDriver> driver);

  std::unique_ptr<virtio::IoThread> io_thread_;
  std::unique_ptr<GuestDriver> driver_;
  virtio::NetDevice device_;
};

}  // namespace tapir::bench
