// SPDX-License-Identifier: Apache-2.0
#include "vmm/nic.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "vmm/platform.h"

namespace tapir::vmm {

Result<std::unique_ptr<Nic>> PciNic::create(HostNic& host, const NicParts& parts) {
  const unsigned slot = parts.pci_host.free_slot();
  if (slot == PciHost::kSlots) {
    return fail(fmt::format("{}: PCI bus 0 has room for {} devices and is full", host.config.option,
                            PciHost::kSlots - 1));
  }
  std::unique_ptr<PciNic> nic(new PciNic(std::make_unique<virtio::NetDevice>(host.mac, *host.io)));
  std::vector<virtio::MsiInterrupt*> vectors;
  for (std::size_t i = 0; i < nic->device().max_queue_sizes().size() + 1; ++i) {
    TAPIR_TRY_ASSIGN(auto vector, MsiIrqfd::create(parts.vm, parts.routing));
    vectors.push_back(vector.get());
    nic->vectors_.push_back(std::move(vector));
  }
  nic->intx_ = parts.lines.add_source(platform::pci_intx_gsi(slot, 1));
  TAPIR_TRY_ASSIGN(nic->transport_, virtio::PciTransport::create({nic->device(), parts.memory, parts.doorbell,
                                                                  *nic->intx_, std::move(vectors)}));
  TAPIR_TRY(parts.pci_host.add(slot, *nic->transport_));
  return nic;
}

Result<std::unique_ptr<Nic>> MmioNic::create(HostNic& host, const NicParts& parts, unsigned index) {
  std::unique_ptr<MmioNic> nic(new MmioNic(std::make_unique<virtio::NetDevice>(host.mac, *host.io)));
  nic->place_.address = platform::kVirtioMmioBase + index * platform::kVirtioMmioBytes;
  nic->place_.gsi = platform::kVirtioMmioGsis[index % std::size(platform::kVirtioMmioGsis)];
  TAPIR_TRY_ASSIGN(nic->interrupt_, GsiInterrupt::create(parts.vm, nic->place_.gsi));
  TAPIR_TRY_ASSIGN(nic->transport_,
                   virtio::MmioTransport::create(nic->device(), parts.memory, *nic->interrupt_,
                                                 parts.doorbell, virtio::GuestAddress{nic->place_.address}));
  nic->registers_ = std::make_unique<Registers>(*nic->transport_);
  TAPIR_TRY(parts.memory_bus.add(nic->place_.address, platform::kVirtioMmioBytes, *nic->registers_));
  return nic;
}

}  // namespace tapir::vmm
