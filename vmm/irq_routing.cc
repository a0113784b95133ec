// SPDX-License-Identifier: Apache-2.0
#include "vmm/irq_routing.h"

#include <algorithm>

#include "net/base/check.h"
#include "vmm/platform.h"

namespace tapir::vmm {
namespace {

constexpr unsigned kPitGsi = 0;
constexpr unsigned kPitIoApicPin = 2;
constexpr unsigned kCascadeGsi = 2;
constexpr unsigned kPicPins = 8;  // of each of the two

kvm_irq_routing_entry pin_route(unsigned gsi, unsigned chip, unsigned pin) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.irqchip = chip;
  entry.u.irqchip.pin = pin;
  return entry;
}

kvm_irq_routing_entry msi_route(unsigned gsi, const virtio::MsiMessage& message) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = static_cast<std::uint32_t>(message.address);
  entry.u.msi.address_hi = static_cast<std::uint32_t>(message.address >> 32);
  entry.u.msi.data = message.data;
  return entry;
}

Status commit_to_kvm(int vm_fd, std::span<const kvm_irq_routing_entry> entries) {
  KvmList<kvm_irq_routing_entry> table(entries.size());
  std::copy(entries.begin(), entries.end(), table.entries().begin());
  TAPIR_TRY(kvm_ioctl(vm_fd, kSetGsiRouting, "KVM_SET_GSI_ROUTING", table.data()));
  return {};
}

}  // namespace

std::vector<kvm_irq_routing_entry> irqchip_routes() {
  std::vector<kvm_irq_routing_entry> routes;
  for (unsigned gsi = 0; gsi < platform::kIoApicPins; ++gsi) {
    if (gsi == kCascadeGsi) {
      continue;
    }
    if (gsi < 2 * kPicPins) {
      const unsigned chip = gsi < kPicPins ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
      routes.push_back(pin_route(gsi, chip, gsi % kPicPins));
    }
    routes.push_back(pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi == kPitGsi ? kPitIoApicPin : gsi));
  }
  return routes;
}

Result<std::unique_ptr<IrqRouting>> IrqRouting::create(const Vm& vm) {
  const int vm_fd = vm.fd();
  TAPIR_TRY_ASSIGN(const int max_entries, kvm_ioctl(vm_fd, KVM_CHECK_EXTENSION, "KVM_CHECK_EXTENSION",
                                                    std::uintptr_t{KVM_CAP_IRQ_ROUTING}));
  auto routing = std::make_unique<IrqRouting>(
      [vm_fd](std::span<const kvm_irq_routing_entry> entries) { return commit_to_kvm(vm_fd, entries); },
      static_cast<std::size_t>(max_entries));
  TAPIR_TRY(routing->commit_locked());  // no one else has it yet
  return routing;
}

IrqRouting::IrqRouting(Commit commit, std::size_t max_entries)
    : commit_(std::move(commit)), max_msis_(max_entries - std::min(max_entries, irqchip_routes().size())) {}

Result<unsigned> IrqRouting::allocate_msi() {
  const std::lock_guard lock(mutex_);
  // KVM numbers GSIs below the same limit as it counts entries, and there are more pin routes than pins.
  if (messages_.size() >= max_msis_) {
    return fail("no interrupt route is left for another MSI-X vector");
  }
  unsigned gsi = platform::kFirstMsiGsi;
  for (const auto& [taken, message] : messages_) {
    if (taken != gsi) {
      break;
    }
    ++gsi;
  }
  messages_.emplace(gsi, std::nullopt);
  return gsi;
}

Status IrqRouting::set_message(unsigned gsi, const virtio::MsiMessage& message) {
  const std::lock_guard lock(mutex_);
  const auto found = messages_.find(gsi);
  CHECK(found != messages_.end());
  if (found->second == message) {
    return {};
  }
  const auto before = std::exchange(found->second, message);
  auto done = commit_locked();
  if (!done) {
    found->second = before;
  }
  return done;
}

void IrqRouting::release_msi(unsigned gsi) {
  const std::lock_guard lock(mutex_);
  CHECK(messages_.erase(gsi) == 1);
}

Status IrqRouting::commit_locked() const {
  auto entries = irqchip_routes();
  for (const auto& [gsi, message] : messages_) {
    if (message) {
      entries.push_back(msi_route(gsi, *message));
    }
  }
  return commit_(entries);
}

}  // namespace tapir::vmm
