// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "net/base/result.h"
#include "virtio/guest_memory.h"
#include "virtio/mmio_transport.h"
#include "virtio/net_device.h"
#include "virtio/pci_transport.h"
#include "vmm/acpi/tables.h"
#include "vmm/bus.h"
#include "vmm/host_resources.h"
#include "vmm/ioeventfd.h"
#include "vmm/irq_routing.h"
#include "vmm/irqfd.h"
#include "vmm/kvm.h"
#include "vmm/pci_host.h"

namespace tapir::vmm {

/// What a NIC borrows of its machine.
struct NicParts {
  const Vm& vm;
  IrqRouting& routing;
  LevelLines& lines;
  IoeventfdDoorbell& doorbell;
  const virtio::GuestMemory& memory;
  Bus& memory_bus;
  PciHost& pci_host;
};

/// A network device in one of its two guises, with the interrupts that it uses. Lives as long as one machine;
/// the I/O thread behind it lives longer. Control thread, while no vCPU runs.
class Nic {
 public:
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;
  virtual ~Nic() = default;

  /// Takes the virtqueues from the I/O thread; when it returns nothing of the guest's memory is in use.
  void stop() { device_->reset(); }
  /// What the DSDT has to say of it, if anything.
  virtual std::optional<acpi::VirtioMmioDevice> acpi_device() const { return std::nullopt; }
  const virtio::NetDevice& device() const { return *device_; }

 protected:
  explicit Nic(std::unique_ptr<virtio::NetDevice> device) : device_(std::move(device)) {}
  virtio::NetDevice& device() { return *device_; }

 private:
  std::unique_ptr<virtio::NetDevice> device_;
};

/// The slot of each NIC on PCI bus 0, and 0 for those that are not on it: where addr= says, and the first
/// free ones, in order, for the others. Error: a slot is wanted twice, or there are too few.
[[nodiscard]] Result<std::vector<unsigned>> assign_pci_slots(const std::vector<HostNic>& nics,
                                                             const PciHost& host);

/// `-device virtio-net-pci`, with an MSI-X vector for each virtqueue and one for the configuration unless
/// vectors= says otherwise.
class PciNic final : public Nic {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(HostNic& host, unsigned slot,
                                                           const NicParts& parts);

 private:
  using Nic::Nic;
  std::vector<std::unique_ptr<MsiIrqfd>> vectors_;
  std::unique_ptr<virtio::LevelInterrupt> intx_;
  std::unique_ptr<virtio::PciTransport> transport_;
};

/// `-device virtio-net-device`: a page of registers and an interrupt that ACPI tells of.
class MmioNic final : public Nic {
 public:
  /// `index` counts the virtio-mmio devices of the machine.
  [[nodiscard]] static Result<std::unique_ptr<Nic>> create(HostNic& host, const NicParts& parts,
                                                           unsigned index);
  std::optional<acpi::VirtioMmioDevice> acpi_device() const override { return place_; }

 private:
  /// The transport as a handler of the memory bus.
  class Registers final : public BusHandler {
   public:
    explicit Registers(virtio::MmioTransport& transport) : transport_(transport) {}
    void read(std::uint64_t offset, std::span<std::byte> into) override { transport_.read(offset, into); }
    void write(std::uint64_t offset, std::span<const std::byte> from) override {
      transport_.write(offset, from);
    }

   private:
    virtio::MmioTransport& transport_;
  };

  using Nic::Nic;
  acpi::VirtioMmioDevice place_;
  std::unique_ptr<virtio::Interrupt> interrupt_;
  std::unique_ptr<virtio::MmioTransport> transport_;
  std::unique_ptr<Registers> registers_;
};

}  // namespace tapir::vmm
