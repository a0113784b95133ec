// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/device.h"
#include "virtio/doorbell.h"
#include "virtio/guest_memory.h"
#include "virtio/interrupt.h"
#include "virtio/transport_state.h"

namespace tapir::virtio {

/// virtio-mmio, the modern register file (virtio 1.3, 4.2.2 MMIO Device Register Layout): one page of
/// guest-physical memory and one edge-triggered interrupt. The machine puts it on its memory bus and says
/// where it is in ACPI.
///
/// Registers are 32-bit and aligned. What the driver must not do has no effect: an access of another width or
/// alignment, a read of a write-only or undefined register, a write of a read-only one; such a read gives 0.
/// The device's configuration space from 0x100 on may be accessed in any way.
///
/// A write to QueueNotify normally signals the queue's eventfd through the Doorbell without coming here; one
/// that does come (a value that is no queue, or a machine without ioeventfds) does the same.
///
/// Deviation, allowed by 4.2.2.2: QueueReady is frozen once DRIVER_OK is set; a driver stops a queue by a
/// reset.
///
/// Threads: read() and write() from any vCPU thread, also at once. reset() and destruction when no vCPU runs.
/// The device, memory, interrupt and doorbell are borrowed and outlive the transport.
class MmioTransport final : private TransportState::Interrupts {
 public:
  static constexpr std::uint64_t kBytes = 0x1000;
  static constexpr std::uint64_t kQueueNotifyOffset = 0x50;

  /// `base`: where the machine puts the register page. Error: no eventfds, or the doorbell cannot be bound.
  [[nodiscard]] static Result<std::unique_ptr<MmioTransport>> create(Device& device,
                                                                     const GuestMemory& memory,
                                                                     Interrupt& interrupt, Doorbell& doorbell,
                                                                     GuestAddress base);

  /// A guest access `offset` bytes into the page; what lies beyond the page reads 0.
  void read(std::uint64_t offset, std::span<std::byte> into);
  void write(std::uint64_t offset, std::span<const std::byte> from);

  /// Machine reset.
  void reset();

 private:
  MmioTransport(Device& device, const GuestMemory& memory, Interrupt& interrupt, std::vector<EventFd> kicks);

  std::uint32_t read_register(std::uint64_t offset) const;
  std::uint32_t read_queue_register(std::uint64_t offset) const;
  void write_register(std::uint64_t offset, std::uint32_t value);
  void write_queue_register(std::uint64_t offset, std::uint32_t value);
  void acknowledge(std::uint32_t bits);

  void interrupt_queue(std::uint16_t queue) override;
  void interrupt_config() override;

  Interrupt& interrupt_;
  TransportState state_;
  std::vector<std::unique_ptr<Doorbell::Binding>> doorbells_;
};

}  // namespace tapir::virtio
