// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/kvm.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/interrupt.h"
#include "vmm/kvm.h"

namespace tapir::vmm {

/// The routes of GSIs 0 to 23 to the pins of PIC and IOAPIC, agreeing with the MADT: GSI n goes to IOAPIC pin
/// n and, below 16, to its PIC pin; GSI 0 (the PIT) goes to IOAPIC pin 2, and GSI 2 (the PIC's cascade)
/// nowhere.
std::vector<kvm_irq_routing_entry> irqchip_routes();

/// KVM's table of interrupt routes. KVM_SET_GSI_ROUTING replaces all of it, so every update carries the
/// routes of the interrupt controllers and of every MSI. GSIs from platform::kFirstMsiGsi on stand for one
/// MSI each.
///
/// Thread-safe: drivers program MSI-X tables on several vCPUs at once. Outlives the interrupts made from it
/// and borrows the Vm.
class IrqRouting {
 public:
  /// Replaces KVM's table; the entries hold for the call only.
  using Commit = std::function<Status(std::span<const kvm_irq_routing_entry>)>;

  /// Installs the routes of the interrupt controllers.
  [[nodiscard]] static Result<std::unique_ptr<IrqRouting>> create(const Vm& vm);
  /// Over any table, holding `max_entries` entries at most. Nothing is committed before the first message.
  explicit IrqRouting(Commit commit, std::size_t max_entries = 4096);

  /// A GSI that no one else has, without a route yet. Error: as many as KVM can route are taken.
  [[nodiscard]] Result<unsigned> allocate_msi();
  /// From now on the GSI sends `message`; KVM is told only if it is another one than before. After an error
  /// the message before stays.
  [[nodiscard]] Status set_message(unsigned gsi, const virtio::MsiMessage& message);
  /// Gives the GSI back, once nothing triggers it any more. Its route leaves KVM's table with the next
  /// update, which saves one update for each vector when a machine is torn down.
  void release_msi(unsigned gsi);

 private:
  Status commit_locked() const;

  const Commit commit_;
  const std::size_t max_msis_;
  std::mutex mutex_;
  std::map<unsigned, std::optional<virtio::MsiMessage>> messages_;  ///< by GSI
};

}  // namespace tapir::vmm
