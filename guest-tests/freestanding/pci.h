// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace guest {

/// Bus 0 through ports 0xCF8 and 0xCFC (PCI local bus 3.0, 3.2.2.3.2 Software Generation of Configuration
/// Transactions).
std::uint32_t pci_read32(unsigned slot, unsigned offset);
std::uint16_t pci_read16(unsigned slot, unsigned offset);
std::uint8_t pci_read8(unsigned slot, unsigned offset);
void pci_write32(unsigned slot, unsigned offset, std::uint32_t value);
void pci_write16(unsigned slot, unsigned offset, std::uint16_t value);

/// A modern virtio-net function, its BARs placed and its capabilities found (virtio 1.3, 4.1.4 Virtio
/// Structure PCI Capabilities). Addresses are 0 where the structure is missing.
struct VirtioPci {
  bool found = false;
  unsigned slot = 0;
  std::uintptr_t common = 0;
  std::uintptr_t notify = 0;
  std::uint32_t notify_multiplier = 0;
  std::uintptr_t isr = 0;
  std::uintptr_t device = 0;
  unsigned pci_access = 0;  ///< offset of the PCI configuration access capability
  unsigned msix = 0;        ///< offset of the MSI-X capability
  std::uintptr_t msix_table = 0;
  std::uintptr_t msix_pending = 0;
  unsigned msix_vectors = 0;
};

VirtioPci find_virtio_net_pci();

}  // namespace guest
