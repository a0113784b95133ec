// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "net/base/result.h"
#include "virtio/pci_function.h"
#include "vmm/bus.h"

namespace tapir::vmm {

/// The PCI host: bus 0 with 32 slots of one function each, and the two ways to their configuration space,
/// configuration mechanism #1 (PCI 3.0, 3.2.2.3.2) at ports 0xCF8-0xCFF and the ECAM window (PCI
/// Express 3.0, 7.2.2 Enhanced Configuration Access Mechanism) at platform::kEcamBase. What is not there
/// reads as all ones.
///
/// Slot 0 is the host bridge, a plain function with the ids 1b36:0008 (the "generic PCIe host bridge" that
/// QEMU's gpex uses), for which operating systems have no quirks.
///
/// The ports, all inside one range of the port bus:
///
///     0xCF8  address register: accesses of 4 bytes only
///     0xCF9  the reset register, when 1 byte is accessed: forwarded to the handler given at construction
///     0xCFC  data register: 1, 2 or 4 bytes at 0xCFC-0xCFF that do not go beyond 0xCFF
///
/// Order of calls: construct, add() each function, attach(), assign_resources(); after a machine reset,
/// reset() and assign_resources() again. Functions, buses and the reset register are borrowed and outlive the
/// host.
///
/// Threads: the handlers on every vCPU thread; the public functions while no vCPU runs.
class PciHost {
 public:
  static constexpr unsigned kSlots = 32;

  /// `reset_register` gets 1-byte accesses of port 0xCF9 at offset 0; nullptr: they read as all ones. BARs go
  /// to `memory`.
  PciHost(Bus& memory, BusHandler* reset_register);
  PciHost(const PciHost&) = delete;
  PciHost& operator=(const PciHost&) = delete;
  ~PciHost();

  /// Error: slot 0 (the host bridge's), beyond the last, or taken.
  [[nodiscard]] Status add(unsigned slot, virtio::PciFunction& function);
  /// Whether nobody is in the slot, from 0 to the last.
  bool is_free(unsigned slot) const { return !slots_[slot]; }

  /// Puts the ports and the ECAM window on the buses; `memory` is the bus given at construction.
  [[nodiscard]] Status attach(Bus& ports);

  /// Does what firmware does: gives every BAR an address inside the platform's PCI window, at a multiple of
  /// its size, and writes the GSI of every function's pin into its interrupt line register. Decoding stays
  /// off, for the driver to enable. Error: the window is full.
  [[nodiscard]] Status assign_resources();

  /// Every function and the address register at power-on state.
  void reset();

 private:
  class Slot;

  /// Members as handlers of the buses.
  class Ports final : public BusHandler {
   public:
    explicit Ports(PciHost& host) : host_(host) {}
    void read(std::uint64_t offset, std::span<std::byte> into) override { host_.read_port(offset, into); }
    void write(std::uint64_t offset, std::span<const std::byte> from) override {
      host_.write_port(offset, from);
    }

   private:
    PciHost& host_;
  };
  class Ecam final : public BusHandler {
   public:
    explicit Ecam(PciHost& host) : host_(host) {}
    void read(std::uint64_t offset, std::span<std::byte> into) override { host_.read_ecam(offset, into); }
    void write(std::uint64_t offset, std::span<const std::byte> from) override {
      host_.write_ecam(offset, from);
    }

   private:
    PciHost& host_;
  };

  void read_port(std::uint64_t offset, std::span<std::byte> into);
  void write_port(std::uint64_t offset, std::span<const std::byte> from);
  void read_ecam(std::uint64_t offset, std::span<std::byte> into);
  void write_ecam(std::uint64_t offset, std::span<const std::byte> from);
  /// The function that the address register points at, or nullptr.
  virtio::PciFunction* addressed_function(std::uint32_t address) const;
  virtio::PciFunction* ecam_function(std::uint64_t offset, std::size_t bytes) const;

  Bus& memory_;
  BusHandler* const reset_register_;
  virtio::PciFunction host_bridge_;
  std::array<std::unique_ptr<Slot>, kSlots> slots_;  ///< fixed once the guest runs
  std::atomic<std::uint32_t> address_{0};            ///< a guest whose vCPUs share it takes turns itself
  Ports ports_handler_{*this};
  Ecam ecam_handler_{*this};
  Bus* ports_ = nullptr;  ///< set by attach()
};

}  // namespace tapir::vmm
