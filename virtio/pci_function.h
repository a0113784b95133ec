// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "net/base/result.h"
#include "virtio/guest_memory.h"
#include "virtio/interrupt.h"
#include "virtio/msix_table.h"

namespace tapir::virtio {

/// What a function says about itself (PCI 3.0, 6.2.1 Device Identification). Ids of 0 in the subsystem fields
/// mean that there are none.
struct PciIdentity {
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint8_t revision = 0;
  std::uint32_t class_code = 0;  ///< base class, subclass, programming interface: 0x020000 for Ethernet
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
  std::uint8_t interrupt_pin = 0;  ///< 1 is INTA#; 0: uses none
};

/// Puts a function's BARs on the memory bus; implemented by the host for each function. Called during
/// configuration accesses of that function, one at a time.
class BarMapper {
 public:
  BarMapper() = default;
  BarMapper(const BarMapper&) = delete;
  BarMapper& operator=(const BarMapper&) = delete;
  virtual ~BarMapper() = default;
  /// From now on accesses to [start, start + bytes) go to the function's read_bar() and write_bar(). Error:
  /// the guest put the BAR where something else is.
  [[nodiscard]] virtual Status map_bar(unsigned bar, GuestAddress start, std::uint64_t bytes) = 0;
  /// When it returns, no thread is inside read_bar() or write_bar() through that mapping.
  virtual void unmap_bar(unsigned bar) = 0;
};

/// A PCI function with a type 0 configuration header (PCI 3.0, 6 Configuration Space): every bit has its own
/// writability, capabilities form a list, BARs can be sized and moved, MSI-X and INTx work. On its own it
/// serves as a host bridge; a device derives from it. The function is conventional PCI: its extended
/// configuration space (from 0x100 on, reached through ECAM) reads as zero.
///
/// Set-up, before the guest runs and in this order: identity, add_bar(), add_capability(), use_msix(),
/// use_intx(), attach_mapper().
///
/// Threads: config_read(), config_write() and reset() may come from any vCPU thread; one lock makes them one
/// at a time. The functions for interrupts come from any thread and take leaf locks only. read_bar() and
/// write_bar() come from several vCPU threads at once and must not access configuration space.
class PciFunction {
 public:
  static constexpr unsigned kBars = 6;
  static constexpr std::uint64_t kConfigBytes = 0x1000;  ///< of which 256 are not always zero

  explicit PciFunction(const PciIdentity& identity);
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;
  virtual ~PciFunction() = default;

  /// Borrowed; without one (the default) BARs are nowhere.
  void attach_mapper(BarMapper* mapper) { mapper_ = mapper; }

  /// An access of 1, 2 or 4 bytes; what lies beyond kConfigBytes reads as all ones.
  void config_read(std::uint64_t offset, std::span<std::byte> into);
  void config_write(std::uint64_t offset, std::span<const std::byte> from);

  /// Accesses to a BAR's bytes, of any width; `offset` counts from the start of the BAR.
  virtual void read_bar(unsigned bar, std::uint64_t offset, std::span<std::byte> into);
  virtual void write_bar(unsigned bar, std::uint64_t offset, std::span<const std::byte> from);

  /// Size of a memory BAR, a power of two; 0 when the function has not got it.
  std::uint32_t bar_bytes(unsigned bar) const { return bars_[bar].bytes; }
  /// 0 when the function has no interrupt pin.
  std::uint8_t interrupt_pin() const { return identity_.interrupt_pin; }

  /// Power-on state; BARs leave the bus. For a machine reset, when no vCPU runs.
  virtual void reset();

 protected:
  /// A 32-bit memory BAR, not prefetchable; `bytes` is a power of two from 16 on.
  void add_bar(unsigned bar, std::uint32_t bytes);
  /// Appends to the capability list. `body` is what follows id and next pointer; `writable` has a 1 for each
  /// bit of it that the guest may write, missing bytes being read-only. Returns its offset in configuration
  /// space.
  std::uint8_t add_capability(std::uint8_t id, std::span<const std::byte> body,
                              std::span<const std::byte> writable);
  /// MSI-X, unless there are no vectors, with these borrowed ones, its table and pending bits inside a BAR
  /// (the owner of the BAR forwards accesses to msix()).
  void use_msix(std::vector<MsiInterrupt*> interrupts, unsigned bar, std::uint32_t table_offset,
                std::uint32_t pba_offset);
  /// The borrowed line behind the interrupt pin.
  void use_intx(LevelInterrupt* line) { intx_ = line; }

  /// nullptr without MSI-X.
  MsixTable* msix() const { return msix_.get(); }
  bool msix_enabled() const { return msix_enabled_.load(); }
  /// Makes the INTx line follow intx_pending(); to be called after each change of it. Any thread.
  void refresh_intx();

  /// Whether the device has an interrupt cause. Called on any thread with a leaf lock held.
  virtual bool intx_pending() const { return false; }
  /// Before the guest's read of, and after its write to, these configuration bytes. The lock is held.
  virtual void before_config_read(std::uint64_t /*offset*/, std::size_t /*bytes*/) {}
  virtual void after_config_write(std::uint64_t /*offset*/, std::size_t /*bytes*/) {}
  /// The BAR is now decoded at `start`, or nowhere. Called during configuration accesses and resets.
  virtual void bar_moved(unsigned /*bar*/, std::optional<GuestAddress> /*start*/) {}

  /// Raw configuration bytes, for the hooks above and set-up.
  std::span<std::byte> config_bytes(std::uint64_t offset, std::size_t bytes);

 private:
  static constexpr std::size_t kHeaderSpaceBytes = 256;

  struct Bar {
    std::uint32_t bytes = 0;
    std::optional<std::uint32_t> mapped_at;
  };

  std::uint32_t config_value(std::uint64_t offset, std::size_t bytes) const;
  void set_config(std::uint64_t offset, std::size_t bytes, std::uint32_t value, std::uint32_t writable);
  /// Makes mappings and interrupts follow the registers.
  void apply_config();
  void update_bar(unsigned bar, bool decode);

  const PciIdentity identity_;
  std::mutex config_mutex_;
  std::array<std::byte, kHeaderSpaceBytes> config_{};
  std::array<std::byte, kHeaderSpaceBytes>
      writable_{};  ///< a 1 for each bit that the guest may write; 0 at power-on
  std::array<Bar, kBars> bars_{};
  BarMapper* mapper_ = nullptr;
  std::uint8_t last_capability_ = 0;
  std::uint8_t next_capability_ = 0x40;

  std::unique_ptr<MsixTable> msix_;
  std::uint8_t msix_capability_ = 0;
  std::atomic<bool> msix_enabled_{false};

  LevelInterrupt* intx_ = nullptr;
  std::mutex intx_mutex_;  ///< leaf: orders changes of the line
  bool intx_level_ = false;
  std::atomic<bool> intx_disabled_{false};
};

}  // namespace tapir::virtio
