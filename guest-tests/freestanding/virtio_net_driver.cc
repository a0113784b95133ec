// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/virtio_net_driver.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr std::uintptr_t kPage = 4096;
constexpr std::uint8_t kDriver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

constexpr std::uint16_t kDescriptorWrite = 2;   // VIRTQ_DESC_F_WRITE
constexpr std::uint16_t kUsedNoNotify = 1;      // VIRTQ_USED_F_NO_NOTIFY
constexpr std::uint16_t kAvailNoInterrupt = 1;  // VIRTQ_AVAIL_F_NO_INTERRUPT

/// x86 keeps stores in order; only the compiler must be told.
void barrier() {
  asm volatile("" ::: "memory");
}
/// A store must be seen before a later load.
void full_barrier() {
  asm volatile("lock; addl $0, (%%rsp)" ::: "memory", "cc");
}

}  // namespace

void PolledQueue::add(std::uint16_t head, std::uintptr_t address, std::uint32_t bytes, bool writable) {
  Descriptor& descriptor = descriptors[head];
  descriptor.address = address;
  descriptor.bytes = bytes;
  descriptor.flags = writable ? kDescriptorWrite : 0;
  avail[2 + avail_index % kQueueSize] = head;
  barrier();
  ++avail_index;
  *static_cast<volatile std::uint16_t*>(&avail[1]) = avail_index;
}

bool PolledQueue::take_used(std::uint16_t& head, std::uint32_t& bytes) {
  if (used[1] == used_index) {
    return false;
  }
  barrier();
  const volatile std::uint16_t* element = used + 2 + 4 * (used_index % kQueueSize);
  head = element[0];
  bytes = element[2] | std::uint32_t{element[3]} << 16;
  ++used_index;
  return true;
}

bool VirtioNetDriver::agree(std::uint64_t more_features) {
  set_status(0);
  while (status() != 0) {
  }
  set_status(VIRTIO_CONFIG_S_ACKNOWLEDGE);
  set_status(kDriver);
  set_features(more_features | std::uint64_t{1} << VIRTIO_F_VERSION_1 | std::uint64_t{1} << VIRTIO_NET_F_MAC);
  set_status(kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  return (status() & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
}

bool VirtioNetDriver::start(std::uint64_t more_features) {
  if (!agree(more_features)) {
    return false;
  }
  set_up_queue(0);
  set_up_queue(1);
  if ((more_features >> VIRTIO_NET_F_CTRL_VQ & 1) != 0) {
    set_up_queue(2);
  }
  set_status(kDriver | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
  return status() == (kDriver | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}

void VirtioNetDriver::kick(std::uint16_t queue) const {
  full_barrier();
  if ((queues_[queue].used[0] & kUsedNoNotify) != 0) {
    return;
  }
  if (mmio_ != 0) {
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_NOTIFY, queue);
  } else {
    write_register<std::uint16_t>(notify_[queue], queue);
  }
}

void VirtioNetDriver::set_status(std::uint8_t status) const {
  if (mmio_ != 0) {
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_STATUS, status);
  } else {
    write_register<std::uint8_t>(pci_.common + VIRTIO_PCI_COMMON_STATUS, status);
  }
}

std::uint8_t VirtioNetDriver::status() const {
  return mmio_ != 0 ? static_cast<std::uint8_t>(read_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_STATUS))
                    : read_register<std::uint8_t>(pci_.common + VIRTIO_PCI_COMMON_STATUS);
}

void VirtioNetDriver::set_features(std::uint64_t features) const {
  const std::uintptr_t select =
      mmio_ != 0 ? mmio_ + VIRTIO_MMIO_DRIVER_FEATURES_SEL : pci_.common + VIRTIO_PCI_COMMON_GFSELECT;
  const std::uintptr_t value =
      mmio_ != 0 ? mmio_ + VIRTIO_MMIO_DRIVER_FEATURES : pci_.common + VIRTIO_PCI_COMMON_GF;
  for (std::uint32_t word = 0; word < 2; ++word) {
    write_register<std::uint32_t>(select, word);
    write_register<std::uint32_t>(value, static_cast<std::uint32_t>(features >> 32 * word));
  }
}

void VirtioNetDriver::set_up_queue(std::uint16_t queue) {
  const std::uintptr_t descriptors = rings_ + 3 * kPage * queue;
  PolledQueue& rings = queues_[queue];
  rings.avail_index = 0;
  rings.used_index = 0;
  rings.descriptors = reinterpret_cast<Descriptor*>(descriptors);
  rings.avail = reinterpret_cast<std::uint16_t*>(descriptors + kPage);
  rings.used = reinterpret_cast<volatile std::uint16_t*>(descriptors + 2 * kPage);
  rings.avail[0] = kAvailNoInterrupt;
  rings.avail[1] = 0;
  rings.used[0] = 0;
  rings.used[1] = 0;
  give_queue(queue, descriptors, descriptors + kPage, descriptors + 2 * kPage);
}

void VirtioNetDriver::give_queue(std::uint16_t queue, std::uintptr_t descriptors, std::uintptr_t avail,
                                 std::uintptr_t used) {
  const auto low = [](std::uintptr_t address) { return static_cast<std::uint32_t>(address); };
  if (mmio_ != 0) {
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_SEL, queue);
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_NUM, PolledQueue::kQueueSize);
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_DESC_LOW, low(descriptors));
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_AVAIL_LOW, low(avail));
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_USED_LOW, low(used));
    write_register<std::uint32_t>(mmio_ + VIRTIO_MMIO_QUEUE_READY, 1);
    return;
  }
  const std::uintptr_t common = pci_.common;
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_SELECT, queue);
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_SIZE, PolledQueue::kQueueSize);
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_DESCLO, low(descriptors));
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_AVAILLO, low(avail));
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_USEDLO, low(used));
  notify_[queue] =
      pci_.notify + pci_.notify_multiplier * read_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_NOFF);
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
}

}  // namespace guest
