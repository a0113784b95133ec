// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <optional>

#include "net/base/event_fd.h"
#include "net/base/result.h"
#include "virtio/interrupt.h"
#include "vmm/irq_routing.h"
#include "vmm/kvm.h"
#include "vmm/platform.h"

namespace tapir::vmm {

/// An eventfd that KVM turns into an edge on a GSI whenever it is signalled (KVM_IRQFD): one write(2), from
/// any thread, and no vCPU has to stop for it. Borrows the Vm.
class Irqfd {
 public:
  [[nodiscard]] static Result<Irqfd> create(const Vm& vm, unsigned gsi);
  Irqfd(Irqfd&& other) noexcept = default;
  Irqfd& operator=(Irqfd&&) = delete;
  Irqfd(const Irqfd&) = delete;
  Irqfd& operator=(const Irqfd&) = delete;
  ~Irqfd();

  void trigger() const { event_.signal(); }

 private:
  Irqfd(int vm_fd, unsigned gsi, EventFd event) : vm_fd_(vm_fd), gsi_(gsi), event_(std::move(event)) {}

  int vm_fd_;
  unsigned gsi_;
  EventFd event_;  ///< without a descriptor once moved from
};

/// An edge-triggered interrupt on a pin of the IOAPIC and, below 16, of the PIC: virtio-mmio devices and ISA
/// devices that pulse their line. Several may share a GSI. Must not share one with a LevelInterrupt.
class GsiInterrupt final : public virtio::Interrupt {
 public:
  [[nodiscard]] static Result<std::unique_ptr<GsiInterrupt>> create(const Vm& vm, unsigned gsi);
  void trigger() override { irqfd_.trigger(); }

 private:
  explicit GsiInterrupt(Irqfd irqfd) : irqfd_(std::move(irqfd)) {}
  Irqfd irqfd_;
};

/// One MSI-X vector: an irqfd with a GSI of its own, which the routing table turns into the message. A
/// trigger before the first message is lost. Borrows the Vm and the routing.
class MsiIrqfd final : public virtio::MsiInterrupt {
 public:
  [[nodiscard]] static Result<std::unique_ptr<MsiIrqfd>> create(const Vm& vm, IrqRouting& routing);
  MsiIrqfd(const MsiIrqfd&) = delete;
  MsiIrqfd& operator=(const MsiIrqfd&) = delete;
  ~MsiIrqfd() override;

  void trigger() override { irqfd_->trigger(); }
  [[nodiscard]] Status set_message(const virtio::MsiMessage& message) override;

 private:
  MsiIrqfd(IrqRouting& routing, unsigned gsi, Irqfd irqfd)
      : routing_(routing), gsi_(gsi), irqfd_(std::move(irqfd)) {}

  IrqRouting& routing_;
  const unsigned gsi_;
  std::optional<Irqfd> irqfd_;  ///< ended before the GSI is given back
};

/// The level-triggered lines of the machine: INTx and the SCI. A line is high while any of its sources is.
/// Outlives its sources and borrows the Vm. Thread-safe.
class LevelLines {
 public:
  explicit LevelLines(const Vm& vm) : vm_fd_(vm.fd()) {}
  LevelLines(const LevelLines&) = delete;
  LevelLines& operator=(const LevelLines&) = delete;
  ~LevelLines() = default;

  /// A new source, not asserted, of the line `gsi` (below platform::kIoApicPins). Its destruction de-asserts
  /// it.
  std::unique_ptr<virtio::LevelInterrupt> add_source(unsigned gsi);

 private:
  class Source;
  struct Line {
    std::mutex
        mutex;  ///< held over the ioctl, so that the levels reach KVM in the order in which they were set
    unsigned asserted = 0;
  };

  void change(unsigned gsi, bool asserted);

  int vm_fd_;
  std::array<Line, platform::kIoApicPins> lines_;
};

}  // namespace tapir::vmm
