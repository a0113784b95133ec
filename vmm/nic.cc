// SPDX-License-Identifier: Apache-2.0
#include "vmm/nic.h"

#include <fmt/format.h>
#include <linux/ethtool.h>

#include <algorithm>
#include <array>
#include <utility>

#include "vmm/platform.h"

namespace tapir::vmm {

namespace {

virtio::NetDeviceOptions device_options(const NicConfig& config) {
  virtio::NetDeviceOptions options;
  options.features_off = config.features_off;
  options.queue_sizes = {config.rx_queue_size, config.tx_queue_size};
  options.multi_queue = config.multi_queue;
  options.mtu = config.host_mtu;
  options.speed = config.speed;
  options.duplex = config.duplex == NicConfig::Duplex::kHalf   ? std::uint8_t{DUPLEX_HALF}
                   : config.duplex == NicConfig::Duplex::kFull ? std::uint8_t{DUPLEX_FULL}
                                                               : std::uint8_t{DUPLEX_UNKNOWN};
  return options;
}

std::unique_ptr<virtio::NetDevice> make_device(const HostNic& host) {
  std::vector<virtio::IoThread*> io_threads;
  for (const auto& io_thread : host.io) {
    io_threads.push_back(io_thread.get());
  }
  return std::make_unique<virtio::NetDevice>(host.mac, std::move(io_threads), device_options(host.config));
}

/// How many MSI-X vectors a device with `queues` virtqueues has. More than it can use are not missed.
std::size_t vector_count(const NicConfig& config, std::size_t queues) {
  const std::size_t best = queues + 1;
  if (!config.vectors || *config.vectors >= best) {
    return best;
  }
  return *config.vectors == 0 ? 0 : std::max<std::size_t>(*config.vectors, 2);
}

}  // namespace

Result<std::unique_ptr<Nic>> PciNic::create(HostNic& host, unsigned slot, const NicParts& parts) {
  std::unique_ptr<PciNic> nic(new PciNic(make_device(host)));
  std::vector<virtio::MsiInterrupt*> vectors;
  for (std::size_t i = 0; i < vector_count(host.config, nic->device().max_queue_sizes().size()); ++i) {
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

Result<std::vector<unsigned>> assign_pci_slots(const std::vector<HostNic>& nics, const PciHost& host) {
  std::array<const HostNic*, PciHost::kSlots> users{};
  std::vector<unsigned> slots(nics.size(), 0);
  for (std::size_t i = 0; i < nics.size(); ++i) {
    const NicConfig& config = nics[i].config;
    if (config.model != NicModel::kVirtioNetPci || !config.address) {
      continue;
    }
    const unsigned slot = config.address->slot;
    if (slot == 0 || slot >= PciHost::kSlots || !host.is_free(slot)) {
      return fail(fmt::format("{}: PCI slot {:#x} is not for devices; addr= takes {:#x} to {:#x}",
                              config.option, slot, 1, PciHost::kSlots - 1));
    }
    if (users[slot] != nullptr) {
      return fail(
          fmt::format("{}: PCI slot {:#x} is that of {} already; choose another addr=, or leave it out",
                      config.option, slot, users[slot]->config.option));
    }
    users[slot] = &nics[i];
    slots[i] = slot;
  }
  unsigned next = 0;
  for (std::size_t i = 0; i < nics.size(); ++i) {
    if (nics[i].config.model != NicModel::kVirtioNetPci || slots[i] != 0) {
      continue;
    }
    while (next < PciHost::kSlots && (users[next] != nullptr || !host.is_free(next))) {
      ++next;
    }
    if (next == PciHost::kSlots) {
      return fail(fmt::format("{}: PCI bus 0 has room for {} devices and is full", nics[i].config.option,
                              PciHost::kSlots - 1));
    }
    users[next] = &nics[i];
    slots[i] = next;
  }
  return slots;
}

Result<std::unique_ptr<Nic>> MmioNic::create(HostNic& host, const NicParts& parts, unsigned index) {
  std::unique_ptr<MmioNic> nic(new MmioNic(make_device(host)));
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
