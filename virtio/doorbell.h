// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "net/base/result.h"
#include "virtio/guest_memory.h"

namespace tapir::virtio {

/// Binds guest writes to eventfds, so that a kick reaches the I/O thread without passing through the vCPU's
/// user-space code. Implemented by the machine over KVM_IOEVENTFD. vCPU threads and start-up, one at a time.
class Doorbell {
 public:
  /// A binding; destroying it ends it. To move one (a BAR was moved), destroy it and bind anew.
  class Binding {
   public:
    Binding() = default;
    Binding(const Binding&) = delete;
    Binding& operator=(const Binding&) = delete;
    virtual ~Binding() = default;
  };

  Doorbell() = default;
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;
  virtual ~Doorbell() = default;

  /// A guest write at `address` signals the borrowed `event_fd`: a write of any width when `value` is empty,
  /// or one of `bytes` bytes (1, 2, 4 or 8) equal to `*value`.
  [[nodiscard]] virtual Result<std::unique_ptr<Binding>> bind(GuestAddress address, unsigned bytes,
                                                              std::optional<std::uint64_t> value,
                                                              int event_fd) = 0;
};

}  // namespace tapir::virtio
