// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/device.h"
#include "virtio/doorbell.h"
#include "virtio/guest_memory.h"
#include "virtio/interrupt.h"
#include "virtio/pci_function.h"
#include "virtio/transport_state.h"

namespace tapir::virtio {

/// What a PciTransport borrows from the machine; all of it outlives the transport.
struct PciTransportParts {
  Device& device;
  const GuestMemory& memory;
  Doorbell& doorbell;
  LevelInterrupt& intx;
  /// 2 to PciTransport::kMaxVectors; one per virtqueue and one is best. None: there is no MSI-X.
  std::vector<MsiInterrupt*> vectors;
};

/// virtio-pci, modern only (virtio 1.3, 4.1 Virtio Over PCI Bus): a PCI function whose vendor capabilities
/// point at the structures in BAR 0, laid out as below, and one more that is a window to them for software
/// which cannot reach the BAR.
///
///     0x0000  common configuration       0x3000  notification, 4 bytes per virtqueue
///     0x1000  ISR status                 0x4000  MSI-X table
///     0x2000  device configuration       0x5000  MSI-X pending bits
///
/// Registers of the common configuration are accessed whole, the 64-bit ones also by halves (4.1.3.1); what
/// the driver must not do has no effect and reads 0. A write to a queue's notification address signals its
/// eventfd through the Doorbell, bound anew whenever the BAR moves; a kick through the window does the same
/// from here.
///
/// Interrupts: MSI-X when the driver enabled it, else INTx with the ISR status as its cause. Nothing is sent
/// for a queue, or a configuration change, whose vector is kNoVector.
///
/// Deviation: bus mastering gates the MSI-X messages, not the accesses to virtqueues; a driver stops these by
/// a reset, as 2.4 wants it to.
///
/// Threads: as PciFunction and TransportState say. Lock order: configuration space, then registers, then the
/// leaves (MSI-X table, INTx).
class PciTransport final : public PciFunction, private TransportState::Interrupts {
 public:
  static constexpr unsigned kBar = 0;
  static constexpr std::uint32_t kBarBytes = 0x8000;
  static constexpr std::uint32_t kCommonOffset = 0x0000;
  static constexpr std::uint32_t kIsrOffset = 0x1000;
  static constexpr std::uint32_t kDeviceOffset = 0x2000;
  static constexpr std::uint32_t kNotifyOffset = 0x3000;
  static constexpr std::uint32_t kMsixTableOffset = 0x4000;
  static constexpr std::uint32_t kMsixPbaOffset = 0x5000;
  static constexpr std::uint32_t kRegionBytes = 0x1000;  ///< at most, of each of them
  static constexpr std::uint32_t kNotifyMultiplier = 4;  ///< so that each queue has an address of its own
  static constexpr std::size_t kMaxVectors = kRegionBytes / MsixTable::kEntryBytes;
  static constexpr std::size_t kMaxQueues = kRegionBytes / kNotifyMultiplier;

  /// Error: no eventfds.
  [[nodiscard]] static Result<std::unique_ptr<PciTransport>> create(PciTransportParts parts);

  void read_bar(unsigned bar, std::uint64_t offset, std::span<std::byte> into) override;
  void write_bar(unsigned bar, std::uint64_t offset, std::span<const std::byte> from) override;
  /// Resets the device as well.
  void reset() override;

 private:
  PciTransport(PciTransportParts parts, std::vector<EventFd> kicks);
  void add_virtio_capabilities();

  std::uint64_t read_common(std::uint64_t offset, std::size_t bytes) const;
  std::uint64_t read_queue_field(std::uint64_t offset, std::size_t bytes) const;
  void write_common(std::uint64_t offset, std::size_t bytes, std::uint64_t value);
  void write_queue_field(std::uint64_t offset, std::size_t bytes, std::uint64_t value);
  void write_queue_address(std::uint64_t offset, std::size_t bytes, std::uint64_t value);
  std::uint8_t take_isr();
  std::uint16_t checked_vector(std::uint64_t vector) const;

  /// The BAR access that the window capability stands for, if the driver set it up validly.
  struct WindowAccess {
    unsigned bar;
    std::uint64_t offset;
    std::size_t bytes;
  };
  std::optional<WindowAccess> window_access();
  bool touches_window_data(std::uint64_t offset, std::size_t bytes) const;

  // PciFunction
  bool intx_pending() const override;
  void before_config_read(std::uint64_t offset, std::size_t bytes) override;
  void after_config_write(std::uint64_t offset, std::size_t bytes) override;
  void bar_moved(unsigned bar, std::optional<GuestAddress> start) override;

  // TransportState::Interrupts
  void interrupt_queue(std::uint16_t queue) override;
  void interrupt_config() override;

  Doorbell& doorbell_;
  std::uint8_t window_capability_ = 0;
  /// Atomic because interrupt_config() reads it without the registers' lock.
  std::atomic<std::uint16_t> config_vector_{TransportState::kNoVector};
  TransportState state_;  ///< resets the device while the rest still lives
  std::vector<std::unique_ptr<Doorbell::Binding>>
      doorbells_;  ///< last: they borrow the kick eventfds of state_
};

}  // namespace tapir::virtio
