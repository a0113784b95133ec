// SPDX-License-Identifier: Apache-2.0
// Every register of virtio-net on PCI: what it is after reset, that it keeps what may be written, and that a
// device reset brings all of it back (virtio 1.3, 4.1.4.3 Common configuration structure layout;
// PCI 3.0, 6.8.2 MSI-X).
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "guest-tests/freestanding/acpi.h"
#include "guest-tests/freestanding/pci.h"
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/virtio_net_uapi.h"

namespace guest {
namespace {

constexpr unsigned kQueues = 3;  // receive, transmit, control

std::uint8_t common8(const VirtioPci& device, unsigned offset) {
  return read_register<std::uint8_t>(device.common + offset);
}
std::uint16_t common16(const VirtioPci& device, unsigned offset) {
  return read_register<std::uint16_t>(device.common + offset);
}
std::uint32_t common32(const VirtioPci& device, unsigned offset) {
  return read_register<std::uint32_t>(device.common + offset);
}
template <typename T>
void write_common(const VirtioPci& device, unsigned offset, T value) {
  write_register<T>(device.common + offset, value);
}

std::uint64_t device_features(const VirtioPci& device) {
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_DFSELECT, 1);
  const std::uint64_t high = common32(device, VIRTIO_PCI_COMMON_DF);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_DFSELECT, 0);
  return high << 32 | common32(device, VIRTIO_PCI_COMMON_DF);
}

void set_driver_features(const VirtioPci& device, std::uint64_t features) {
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GFSELECT, 0);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GF, static_cast<std::uint32_t>(features));
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GFSELECT, 1);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GF, static_cast<std::uint32_t>(features >> 32));
}

void reset(const VirtioPci& device) {
  write_common<std::uint8_t>(device, VIRTIO_PCI_COMMON_STATUS, 0);
  while (common8(device, VIRTIO_PCI_COMMON_STATUS) != 0) {
  }
}

void check_configuration_space(const VirtioPci& device, std::uint64_t ecam) {
  const std::uintptr_t window = ecam + (device.slot << 15);
  bool same = true;
  for (unsigned offset = 0; offset < 256; offset += 4) {
    same = same && read_register<std::uint32_t>(window + offset) == pci_read32(device.slot, offset);
  }
  check("both ways to the configuration space agree", same);
  check_equal("class is network controller, Ethernet", pci_read32(device.slot, PCI_CLASS_REVISION) >> 16,
              0x0200);
  check("revision is 1 or higher", pci_read8(device.slot, PCI_REVISION_ID) >= 1);
  check_equal("header type 0", pci_read8(device.slot, PCI_HEADER_TYPE), 0);
  check("status says that there are capabilities",
        (pci_read16(device.slot, PCI_STATUS) & PCI_STATUS_CAP_LIST) != 0);
  pci_write32(device.slot, PCI_VENDOR_ID, 0);
  check_equal("vendor and device ID are read-only", pci_read32(device.slot, PCI_VENDOR_ID), 0x1041'1AF4);
  check_equal("an empty slot reads as all ones", pci_read32(31, PCI_VENDOR_ID), 0xFFFF'FFFF);
  check("all five virtio structures are there", device.common != 0 && device.notify != 0 && device.isr != 0 &&
                                                    device.device != 0 && device.pci_access != 0);
}

void check_features(const VirtioPci& device) {
  const std::uint64_t features = device_features(device);
  info("features", features);
  check("VERSION_1 is offered", (features >> VIRTIO_F_VERSION_1 & 1) != 0);
  check("MAC is offered", (features >> VIRTIO_NET_F_MAC & 1) != 0);
  check("STATUS is offered", (features >> VIRTIO_NET_F_STATUS & 1) != 0);
  check("MRG_RXBUF is offered", (features >> VIRTIO_NET_F_MRG_RXBUF & 1) != 0);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_DFSELECT, 0xFFFF'FFFF);
  check_equal("features behind the last word read as 0", common32(device, VIRTIO_PCI_COMMON_DF), 0);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_DFSELECT, 0);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GFSELECT, 0);
  write_common<std::uint32_t>(device, VIRTIO_PCI_COMMON_GF, 1U << VIRTIO_NET_F_MAC);
  check_equal("driver_feature keeps its value", common32(device, VIRTIO_PCI_COMMON_GF),
              1U << VIRTIO_NET_F_MAC);
  check_equal("driver_feature_select keeps its value", common32(device, VIRTIO_PCI_COMMON_GFSELECT), 0);
}

void check_common_after_reset(const VirtioPci& device) {
  check_equal("device_status is 0", common8(device, VIRTIO_PCI_COMMON_STATUS), 0);
  check_equal("config_msix_vector is NO_VECTOR", common16(device, VIRTIO_PCI_COMMON_MSIX),
              VIRTIO_MSI_NO_VECTOR);
  check_equal("num_queues", common16(device, VIRTIO_PCI_COMMON_NUMQ), kQueues);
  check_equal("queue_select is 0", common16(device, VIRTIO_PCI_COMMON_Q_SELECT), 0);
  check_equal("ISR is 0", read_register<std::uint8_t>(device.isr), 0);
}

/// Names as in the specification; `expected` of an address is what all 64 bits must be.
bool queue_address_is(const VirtioPci& device, unsigned low, std::uint64_t expected) {
  return (std::uint64_t{common32(device, low + 4)} << 32 | common32(device, low)) == expected;
}

void write_queue_address(const VirtioPci& device, unsigned low, std::uint64_t value) {
  write_common<std::uint32_t>(device, low, static_cast<std::uint32_t>(value));
  write_common<std::uint32_t>(device, low + 4, static_cast<std::uint32_t>(value >> 32));
}

bool queue_is_reset(const VirtioPci& device) {
  return common16(device, VIRTIO_PCI_COMMON_Q_ENABLE) == 0 &&
         common16(device, VIRTIO_PCI_COMMON_Q_MSIX) == VIRTIO_MSI_NO_VECTOR &&
         queue_address_is(device, VIRTIO_PCI_COMMON_Q_DESCLO, 0) &&
         queue_address_is(device, VIRTIO_PCI_COMMON_Q_AVAILLO, 0) &&
         queue_address_is(device, VIRTIO_PCI_COMMON_Q_USEDLO, 0);
}

/// Eight checks.
void check_queue(const VirtioPci& device, std::uint16_t queue) {
  print("INFO virtqueue ");
  print_hex(queue);
  print("\n");
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_SELECT, queue);
  check_equal("queue_select keeps its value", common16(device, VIRTIO_PCI_COMMON_Q_SELECT), queue);
  const std::uint16_t size = common16(device, VIRTIO_PCI_COMMON_Q_SIZE);
  check("queue_size is a power of two", size != 0 && (size & (size - 1)) == 0);
  check("queue registers are in their reset state", queue_is_reset(device));
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_SIZE, 16);
  check_equal("queue_size keeps a smaller value", common16(device, VIRTIO_PCI_COMMON_Q_SIZE), 16);
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_MSIX, 1);
  check_equal("queue_msix_vector keeps a vector that exists", common16(device, VIRTIO_PCI_COMMON_Q_MSIX), 1);
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_MSIX, 0x7FF);
  check_equal("queue_msix_vector refuses one that does not", common16(device, VIRTIO_PCI_COMMON_Q_MSIX),
              VIRTIO_MSI_NO_VECTOR);
  write_queue_address(device, VIRTIO_PCI_COMMON_Q_DESCLO, 0x20'0000);
  write_queue_address(device, VIRTIO_PCI_COMMON_Q_AVAILLO, 0x20'1000);
  write_queue_address(device, VIRTIO_PCI_COMMON_Q_USEDLO, 0x20'2000);
  check("queue addresses keep their values",
        queue_address_is(device, VIRTIO_PCI_COMMON_Q_DESCLO, 0x20'0000) &&
            queue_address_is(device, VIRTIO_PCI_COMMON_Q_AVAILLO, 0x20'1000) &&
            queue_address_is(device, VIRTIO_PCI_COMMON_Q_USEDLO, 0x20'2000));
  reset(device);
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_SELECT, queue);
  check("a reset undoes all of it",
        queue_is_reset(device) && common16(device, VIRTIO_PCI_COMMON_Q_SIZE) == size);
}

void check_status_machine(const VirtioPci& device) {
  constexpr std::uint8_t kDriver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
  write_common<std::uint8_t>(device, VIRTIO_PCI_COMMON_STATUS, kDriver);
  check_equal("status keeps ACKNOWLEDGE and DRIVER", common8(device, VIRTIO_PCI_COMMON_STATUS), kDriver);
  set_driver_features(device, std::uint64_t{1} << 63);
  write_common<std::uint8_t>(device, VIRTIO_PCI_COMMON_STATUS, kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  check_equal("a feature that is not offered gets no FEATURES_OK", common8(device, VIRTIO_PCI_COMMON_STATUS),
              kDriver);
  reset(device);
  write_common<std::uint8_t>(device, VIRTIO_PCI_COMMON_STATUS, kDriver);
  set_driver_features(device, std::uint64_t{1} << VIRTIO_F_VERSION_1 | std::uint64_t{1} << VIRTIO_NET_F_MAC);
  write_common<std::uint8_t>(device, VIRTIO_PCI_COMMON_STATUS, kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  check_equal("offered features get FEATURES_OK", common8(device, VIRTIO_PCI_COMMON_STATUS),
              kDriver | VIRTIO_CONFIG_S_FEATURES_OK);
  reset(device);
}

void check_device_configuration(const VirtioPci& device) {
  std::uint64_t mac = 0;
  for (unsigned i = 0; i < 6; ++i) {
    mac = mac << 8 | read_register<std::uint8_t>(device.device + i);
  }
  check_equal("MAC is the one asked for", mac, parameter("mac", 0));
  const auto status = read_register<std::uint16_t>(device.device + 6);
  check_equal("link is up", status & VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP);
}

/// Seven checks.
void check_msix(const VirtioPci& device) {
  check("MSI-X has a vector for each virtqueue and one for changes", device.msix_vectors >= kQueues + 1);
  check_equal("MSI-X is off",
              pci_read16(device.slot, device.msix + PCI_MSIX_FLAGS) &
                  (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL),
              0);
  bool masked = true;
  for (unsigned i = 0; i < device.msix_vectors; ++i) {
    masked = masked && read_register<std::uint32_t>(device.msix_table + 16 * i + 12) == 1;
  }
  check("every vector is masked", masked);
  const std::uintptr_t last = device.msix_table + 16 * (device.msix_vectors - 1);
  write_register<std::uint32_t>(last, 0xFEE0'1000);
  write_register<std::uint32_t>(last + 4, 0);
  write_register<std::uint32_t>(last + 8, 0x41);
  check_equal("a vector keeps its address", read_register<std::uint32_t>(last), 0xFEE0'1000);
  check_equal("a vector keeps its data", read_register<std::uint32_t>(last + 8), 0x41);
  check_equal("nothing is pending", read_register<std::uint32_t>(device.msix_pending), 0);
  const auto flags = pci_read16(device.slot, device.msix + PCI_MSIX_FLAGS);
  pci_write16(device.slot, device.msix + PCI_MSIX_FLAGS,
              static_cast<std::uint16_t>(flags | PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL));
  check_equal("enable and function mask keep their values",
              pci_read16(device.slot, device.msix + PCI_MSIX_FLAGS) >> 14, 3);
  pci_write16(device.slot, device.msix + PCI_MSIX_FLAGS, flags);
}

}  // namespace

void run_guest() {
  plan(58);
  const AcpiTables acpi = find_acpi_tables();
  const VirtioPci device = find_virtio_net_pci();
  check("virtio-net is on bus 0", device.found);
  if (!device.found || device.common == 0) {
    return;
  }
  check_configuration_space(device, parameter("ecam", acpi.ecam_base));
  reset(device);
  check_common_after_reset(device);
  check_features(device);
  check_queue(device, 0);
  check_queue(device, 1);
  check_queue(device, 2);
  write_common<std::uint16_t>(device, VIRTIO_PCI_COMMON_Q_SELECT, kQueues);
  check_equal("a virtqueue that is not there has size 0", common16(device, VIRTIO_PCI_COMMON_Q_SIZE), 0);
  check_status_machine(device);
  check_device_configuration(device);
  check_msix(device);
}

}  // namespace guest
