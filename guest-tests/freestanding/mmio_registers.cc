// SPDX-License-Identifier: Apache-2.0
// Every register of virtio-net on MMIO: what it is after reset, that it keeps what may be written, and that a
// device reset brings all of it back (virtio 1.3, 4.2.2 MMIO Device Register Layout).
#include <linux/virtio_mmio.h>

#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uint32_t kMagic = 0x7472'6976;  // "virt"
constexpr std::uint32_t kQueues = 3;           // receive, transmit, control

class Registers {
 public:
  explicit Registers(std::uintptr_t base) : base_(base) {}
  std::uint32_t read(unsigned offset) const { return read_register<std::uint32_t>(base_ + offset); }
  void write(unsigned offset, std::uint32_t value) const {
    write_register<std::uint32_t>(base_ + offset, value);
  }
  std::uint8_t config(unsigned offset) const {
    return read_register<std::uint8_t>(base_ + VIRTIO_MMIO_CONFIG + offset);
  }
  void reset() const {
    write(VIRTIO_MMIO_STATUS, 0);
    while (read(VIRTIO_MMIO_STATUS) != 0) {
    }
  }

 private:
  std::uintptr_t base_;
};

void check_identity(const Registers& device) {
  check_equal("MagicValue", device.read(VIRTIO_MMIO_MAGIC_VALUE), kMagic);
  check_equal("Version", device.read(VIRTIO_MMIO_VERSION), 2);
  check_equal("DeviceID is network", device.read(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_NET);
  check("VendorID is not empty", device.read(VIRTIO_MMIO_VENDOR_ID) != 0);
  device.write(VIRTIO_MMIO_MAGIC_VALUE, 0);
  check_equal("MagicValue is read-only", device.read(VIRTIO_MMIO_MAGIC_VALUE), kMagic);
}

std::uint64_t device_features(const Registers& device) {
  device.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
  const std::uint64_t high = device.read(VIRTIO_MMIO_DEVICE_FEATURES);
  device.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
  return high << 32 | device.read(VIRTIO_MMIO_DEVICE_FEATURES);
}

void set_driver_features(const Registers& device, std::uint64_t features) {
  device.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
  device.write(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<std::uint32_t>(features));
  device.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
  device.write(VIRTIO_MMIO_DRIVER_FEATURES, static_cast<std::uint32_t>(features >> 32));
}

void check_after_reset(const Registers& device) {
  check_equal("Status is 0", device.read(VIRTIO_MMIO_STATUS), 0);
  check_equal("InterruptStatus is 0", device.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
  const std::uint64_t features = device_features(device);
  info("features", features);
  check("VERSION_1 is offered", (features >> VIRTIO_F_VERSION_1 & 1) != 0);
  check("MAC is offered", (features >> VIRTIO_NET_F_MAC & 1) != 0);
  check("MRG_RXBUF is offered", (features >> VIRTIO_NET_F_MRG_RXBUF & 1) != 0);
  device.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0xFFFF'FFFF);
  check_equal("features behind the last word read as 0", device.read(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

/// Four checks.
void check_queue(const Registers& device, std::uint32_t queue) {
  device.write(VIRTIO_MMIO_QUEUE_SEL, queue);
  const std::uint32_t size = device.read(VIRTIO_MMIO_QUEUE_NUM_MAX);
  check("QueueSizeMax is a power of two", size != 0 && (size & (size - 1)) == 0);
  check_equal("QueueReady is 0", device.read(VIRTIO_MMIO_QUEUE_READY), 0);
  device.write(VIRTIO_MMIO_QUEUE_NUM, 16);
  device.write(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x20'0000);
  device.write(VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x20'1000);
  device.write(VIRTIO_MMIO_QUEUE_USED_LOW, 0x20'2000);
  device.write(VIRTIO_MMIO_QUEUE_READY, 1);
  check_equal("QueueReady keeps 1", device.read(VIRTIO_MMIO_QUEUE_READY), 1);
  device.reset();
  device.write(VIRTIO_MMIO_QUEUE_SEL, queue);
  check_equal("a reset undoes it", device.read(VIRTIO_MMIO_QUEUE_READY), 0);
}

void check_status_machine(const Registers& device) {
  constexpr std::uint32_t kDriver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
  device.write(VIRTIO_MMIO_STATUS, kDriver);
  check_equal("Status keeps ACKNOWLEDGE and DRIVER", device.read(VIRTIO_MMIO_STATUS), kDriver);
  set_driver_features(device, std::uint64_t{1} << 63);
  device.write(VIRTIO_MMIO_STATUS, kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  check_equal("a feature that is not offered gets no FEATURES_OK", device.read(VIRTIO_MMIO_STATUS), kDriver);
  device.reset();
  device.write(VIRTIO_MMIO_STATUS, kDriver);
  set_driver_features(device, std::uint64_t{1} << VIRTIO_F_VERSION_1 | std::uint64_t{1} << VIRTIO_NET_F_MAC);
  device.write(VIRTIO_MMIO_STATUS, kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  check_equal("offered features get FEATURES_OK", device.read(VIRTIO_MMIO_STATUS),
              kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  device.reset();
}

void check_configuration(const Registers& device) {
  const std::uint32_t generation = device.read(VIRTIO_MMIO_CONFIG_GENERATION);
  std::uint64_t mac = 0;
  for (unsigned i = 0; i < 6; ++i) {
    mac = mac << 8 | device.config(i);
  }
  check_equal("MAC is the one asked for", mac, parameter("mac", 0));
  check_equal("link is up", device.config(6) & VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP);
  check_equal("ConfigGeneration stays while nothing changes", device.read(VIRTIO_MMIO_CONFIG_GENERATION),
              generation);
}

}  // namespace

void run_guest() {
  plan(30);
  const Registers device(parameter("mmio", 0));
  check_identity(device);
  device.reset();
  check_after_reset(device);
  check_queue(device, 0);
  check_queue(device, 1);
  check_queue(device, 2);
  device.write(VIRTIO_MMIO_QUEUE_SEL, kQueues);
  check_equal("a virtqueue that is not there has size 0", device.read(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
  check_status_machine(device);
  check_configuration(device);
}

}  // namespace guest
