// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/guest/network.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/user_mode.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr unsigned kRingEventIndex = 29;  // VIRTIO_RING_F_EVENT_IDX, whose header is no C++

constexpr std::uint64_t bit(unsigned number) {
  return std::uint64_t{1} << number;
}

}  // namespace

bool Network::start(const NetworkSetup& setup) {
  constexpr std::uint8_t kDriver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
  constexpr std::uint8_t kReady = kDriver | VIRTIO_CONFIG_S_FEATURES_OK;
  pci_ = find_virtio_net_pci();
  if (pci_.common == 0 || pci_.msix_vectors < kVectors) {
    return false;
  }
  const std::uintptr_t status = pci_.common + VIRTIO_PCI_COMMON_STATUS;
  write_register<std::uint8_t>(status, 0);
  while (read_register<std::uint8_t>(status) != 0) {
  }
  pci_write16(pci_.slot, pci_.msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
  write_register<std::uint8_t>(status, kDriver);
  const std::uint64_t large = bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_HOST_TSO4) |
                              bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO4);
  set_features(bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_NET_F_MAC) | bit(VIRTIO_NET_F_MRG_RXBUF) |
               (setup.event_index ? bit(kRingEventIndex) : 0) | (setup.large_frames ? large : 0));
  write_register<std::uint8_t>(status, kReady);
  if (read_register<std::uint8_t>(status) != kReady || !set_up_queue(0, setup.event_index) ||
      !set_up_queue(1, setup.event_index)) {
    return false;
  }
  write_register<std::uint8_t>(status, kReady | VIRTIO_CONFIG_S_DRIVER_OK);
  return read_register<std::uint8_t>(status) == (kReady | VIRTIO_CONFIG_S_DRIVER_OK);
}

void Network::set_features(std::uint64_t features) const {
  for (std::uint32_t word = 0; word < 2; ++word) {
    write_register<std::uint32_t>(pci_.common + VIRTIO_PCI_COMMON_GFSELECT, word);
    write_register<std::uint32_t>(pci_.common + VIRTIO_PCI_COMMON_GF,
                                  static_cast<std::uint32_t>(features >> 32 * word));
  }
}

void Network::set_vector(std::uint16_t vector) const {
  const std::uintptr_t entry = pci_.msix_table + std::uintptr_t{PCI_MSIX_ENTRY_SIZE} * vector;
  write_register<std::uint32_t>(entry + PCI_MSIX_ENTRY_LOWER_ADDR, kMessageAddress);
  write_register<std::uint32_t>(entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
  write_register<std::uint32_t>(entry + PCI_MSIX_ENTRY_DATA, kFirstVector + vector);
  write_register<std::uint32_t>(entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

bool Network::set_up_queue(std::uint16_t queue, bool event_index) {
  const std::uintptr_t common = pci_.common;
  const auto low = [](std::uintptr_t address) { return static_cast<std::uint32_t>(address); };
  set_vector(queue);
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_SELECT, queue);
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_SIZE, Ring::kSize);
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_MSIX, queue);
  if (read_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_SIZE) != Ring::kSize ||
      read_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_MSIX) != queue) {
    return false;
  }
  const std::uintptr_t notify =
      pci_.notify + pci_.notify_multiplier * read_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_NOFF);
  Ring& ring = rings_[queue];
  ring.set_up(kRings + Ring::kBytes * queue, notify, queue, event_index);
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_DESCLO, low(ring.descriptors()));
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_AVAILLO, low(ring.avail()));
  write_register<std::uint32_t>(common + VIRTIO_PCI_COMMON_Q_USEDLO, low(ring.used()));
  write_register<std::uint16_t>(common + VIRTIO_PCI_COMMON_Q_ENABLE, 1);
  return true;
}

}  // namespace guest
