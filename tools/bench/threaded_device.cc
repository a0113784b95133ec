// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/threaded_device.h"

#include <utility>

namespace tapir::bench {
namespace {

constexpr net::MacAddress kMac{{0x02, 0x00, 0x00, 0x00, 0x00, 0x02}};

}  // namespace

ThreadedDevice::ThreadedDevice(std::unique_ptr<virtio::IoThread> io_thread,
                               std::unique_ptr<GuestDriver> driver)
    : io_thread_(std::move(io_thread)), driver_(std::move(driver)), device_(kMac, {io_thread_.get()}) {}

Result<std::unique_ptr<ThreadedDevice>> ThreadedDevice::create(
    net::FramePort port, const FrameMix& mix, const DeviceSetup& setup,
    std::function<void(GuestDriver& driver, std::uint16_t queue)> on_interrupt) {
  TAPIR_TRY_ASSIGN(auto io, create_engine(setup.engine, std::move(port)));
  const std::uint64_t features = features_for(setup, io->features());
  TAPIR_TRY_ASSIGN(auto driver, GuestDriver::create(mix, setup.shape, features));
  if (on_interrupt) {
    driver->on_interrupt([&driver = *driver, handler = std::move(on_interrupt)](std::uint16_t queue) {
      handler(driver, queue);
    });
    static_cast<void>(driver->enable_interrupts(GuestDriver::kReceiveQueue));
  }
  TAPIR_TRY_ASSIGN(auto io_thread, virtio::IoThread::start(std::move(io), "bench-io"));
  std::unique_ptr<ThreadedDevice> device(new ThreadedDevice(std::move(io_thread), std::move(driver)));
  virtio::Activation activation = device->driver_->activation();
  device->driver_->post_all();
  TAPIR_TRY(device->device_.activate(std::move(activation)));
  return device;
}

ThreadedDevice::~ThreadedDevice() {
  device_.reset();
}

}  // namespace tapir::bench
