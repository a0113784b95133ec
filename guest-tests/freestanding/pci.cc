// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/pci.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "guest-tests/freestanding/runtime.h"

namespace guest {
namespace {

constexpr std::uint16_t kAddressPort = 0xCF8;
constexpr std::uint16_t kDataPort = 0xCFC;
constexpr std::uint32_t kVirtioNet = 0x1041'1AF4;  // device and vendor
constexpr unsigned kSlots = 32;
constexpr unsigned kBars = 6;
// Where BARs go that nobody has placed: from here upwards, below the configuration window.
constexpr std::uint32_t kWindow = 0xC800'0000;

void select(unsigned slot, unsigned offset) {
  out32(kAddressPort, 0x8000'0000U | slot << 11 | (offset & 0xFCU));
}

/// Gives every memory BAR an address and returns them in `bars`.
void place_bars(unsigned slot, std::uintptr_t (&bars)[kBars]) {
  std::uint32_t next = kWindow;
  for (unsigned bar = 0; bar < kBars; ++bar) {
    const unsigned offset = PCI_BASE_ADDRESS_0 + 4 * bar;
    pci_write32(slot, offset, 0xFFFF'FFFF);
    const std::uint32_t probe = pci_read32(slot, offset);
    if (probe == 0 || (probe & PCI_BASE_ADDRESS_SPACE_IO) != 0) {
      continue;
    }
    const std::uint32_t bytes = ~(probe & ~0xFU) + 1;
    next = (next + bytes - 1) & ~(bytes - 1);
    pci_write32(slot, offset, next);
    bars[bar] = next;
    next += bytes;
    if ((probe & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64) {
      ++bar;
      pci_write32(slot, PCI_BASE_ADDRESS_0 + 4 * bar, 0);
    }
  }
  const auto command = pci_read16(slot, PCI_COMMAND);
  pci_write16(slot, PCI_COMMAND,
              static_cast<std::uint16_t>(command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER));
}

void read_virtio_capability(VirtioPci& device, unsigned at, const std::uintptr_t (&bars)[kBars]) {
  const unsigned bar = pci_read8(device.slot, at + VIRTIO_PCI_CAP_BAR);
  if (bar >= kBars) {
    return;
  }
  const std::uintptr_t address = bars[bar] + pci_read32(device.slot, at + VIRTIO_PCI_CAP_OFFSET);
  switch (pci_read8(device.slot, at + VIRTIO_PCI_CAP_CFG_TYPE)) {
    case VIRTIO_PCI_CAP_COMMON_CFG:
      device.common = address;
      break;
    case VIRTIO_PCI_CAP_NOTIFY_CFG:
      device.notify = address;
      device.notify_multiplier = pci_read32(device.slot, at + VIRTIO_PCI_NOTIFY_CAP_MULT);
      break;
    case VIRTIO_PCI_CAP_ISR_CFG:
      device.isr = address;
      break;
    case VIRTIO_PCI_CAP_DEVICE_CFG:
      device.device = address;
      break;
    case VIRTIO_PCI_CAP_PCI_CFG:
      device.pci_access = at;
      break;
    default:
      break;
  }
}

void read_msix_capability(VirtioPci& device, unsigned at, const std::uintptr_t (&bars)[kBars]) {
  const std::uint32_t table = pci_read32(device.slot, at + PCI_MSIX_TABLE);
  const std::uint32_t pending = pci_read32(device.slot, at + PCI_MSIX_PBA);
  device.msix = at;
  device.msix_vectors = (pci_read16(device.slot, at + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U;
  device.msix_table = bars[table & PCI_MSIX_TABLE_BIR] + (table & PCI_MSIX_TABLE_OFFSET);
  device.msix_pending = bars[pending & PCI_MSIX_PBA_BIR] + (pending & PCI_MSIX_PBA_OFFSET);
}

}  // namespace

std::uint32_t pci_read32(unsigned slot, unsigned offset) {
  select(slot, offset);
  return in32(kDataPort);
}

std::uint16_t pci_read16(unsigned slot, unsigned offset) {
  select(slot, offset);
  return in16(static_cast<std::uint16_t>(kDataPort + (offset & 2)));
}

std::uint8_t pci_read8(unsigned slot, unsigned offset) {
  select(slot, offset);
  return in8(static_cast<std::uint16_t>(kDataPort + (offset & 3)));
}

void pci_write32(unsigned slot, unsigned offset, std::uint32_t value) {
  select(slot, offset);
  out32(kDataPort, value);
}

void pci_write16(unsigned slot, unsigned offset, std::uint16_t value) {
  select(slot, offset);
  out16(static_cast<std::uint16_t>(kDataPort + (offset & 2)), value);
}

VirtioPci find_virtio_net_pci() {
  VirtioPci device;
  while (device.slot < kSlots && pci_read32(device.slot, PCI_VENDOR_ID) != kVirtioNet) {
    ++device.slot;
  }
  if (device.slot == kSlots) {
    return device;
  }
  device.found = true;
  std::uintptr_t bars[kBars] = {};
  place_bars(device.slot, bars);
  unsigned at = pci_read8(device.slot, PCI_CAPABILITY_LIST);
  for (unsigned count = 0; at >= 0x40 && count < 48; ++count) {
    const auto id = pci_read8(device.slot, at);
    if (id == PCI_CAP_ID_VNDR) {
      read_virtio_capability(device, at, bars);
    } else if (id == PCI_CAP_ID_MSIX) {
      read_msix_capability(device, at, bars);
    }
    at = pci_read8(device.slot, at + PCI_CAP_LIST_NEXT);
  }
  return device;
}

}  // namespace guest
