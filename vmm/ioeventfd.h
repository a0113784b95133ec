// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "net/base/result.h"
#include "virtio/doorbell.h"
#include "vmm/kvm.h"

namespace tapir::vmm {

/// Doorbells over KVM_IOEVENTFD: KVM itself signals the eventfd and the vCPU goes on without an exit to user
/// space. Borrows the Vm. bind() may be called by any thread; KVM locks.
///
/// Two bindings of one address, width and value are an error (EEXIST), which a guest can bring about by
/// placing two BARs at one address: the transport then takes the kicks as ordinary writes on the bus.
class IoeventfdDoorbell final : public virtio::Doorbell {
 public:
  enum class Space : std::uint8_t { kMemory, kPorts };

  explicit IoeventfdDoorbell(const Vm& vm, Space space = Space::kMemory) : vm_fd_(vm.fd()), space_(space) {}

  /// The Binding keeps `event_fd` borrowed until it is destroyed: close the eventfd afterwards.
  [[nodiscard]] Result<std::unique_ptr<Binding>> bind(virtio::GuestAddress address, unsigned bytes,
                                                      std::optional<std::uint64_t> value,
                                                      int event_fd) override;

 private:
  int vm_fd_;
  Space space_;
};

}  // namespace tapir::vmm
