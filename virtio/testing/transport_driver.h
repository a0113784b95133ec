// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "net/base/check.h"
#include "virtio/guest_memory.h"
#include "virtio/mmio_transport.h"
#include "virtio/pci_transport.h"
#include "virtio/register_access.h"
#include "virtio/testing/fake_transport_parts.h"

namespace tapir::virtio::testing {

/// A driver's view of a transport, the same for both, over a transport with fakes around it. The accessors do
/// what they say with any value; start() plays by the rules of virtio 1.3, 3.1.1. One thread.
class TransportDriver {
 public:
  enum class Area : std::uint8_t { kDescriptor, kDriver, kDevice };

  TransportDriver() = default;
  TransportDriver(const TransportDriver&) = delete;
  TransportDriver& operator=(const TransportDriver&) = delete;
  virtual ~TransportDriver() = default;

  virtual std::uint32_t status() = 0;
  virtual void write_status(std::uint32_t value) = 0;
  virtual std::uint32_t device_features(std::uint32_t page) = 0;
  virtual void write_driver_features(std::uint32_t page, std::uint32_t bits) = 0;
  virtual void select_queue(std::uint32_t index) = 0;
  virtual std::uint32_t queue_max_size() = 0;  ///< before set_queue_size()
  virtual void set_queue_size(std::uint32_t size) = 0;
  virtual bool queue_enabled() = 0;
  virtual void enable_queue() = 0;
  virtual void reset_queue() = 0;
  virtual void set_queue_address(Area area, std::uint64_t address) = 0;
  virtual void notify(std::uint32_t queue) = 0;  ///< a kick that reaches user space
  virtual std::uint32_t config_generation() = 0;
  virtual void read_config(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual void write_config(std::uint64_t offset, std::span<const std::byte> from) = 0;
  /// What the driver sees as pending causes; acknowledges them.
  virtual std::uint32_t take_interrupt_status() = 0;
  virtual void machine_reset() = 0;
  /// Every register whose read has no side effect, for comparisons.
  virtual std::vector<std::uint32_t> dump() = 0;

  /// Up to FEATURES_OK; returns whether the device agreed.
  bool negotiate(std::uint64_t features) {
    write_status(0);
    write_status(0x1);
    write_status(0x3);
    write_driver_features(0, static_cast<std::uint32_t>(features));
    write_driver_features(1, static_cast<std::uint32_t>(features >> 32U));
    write_status(0xB);
    return status() == 0xB;
  }
  /// Valid rings of 8 entries, each queue's in a page of its own from 64 KiB on.
  void set_up_queue(std::uint32_t index) {
    const std::uint64_t base = 0x1'0000 + std::uint64_t{index} * 0x1000;
    select_queue(index);
    set_queue_size(8);
    set_queue_address(Area::kDescriptor, base);
    set_queue_address(Area::kDriver, base + 0x400);
    set_queue_address(Area::kDevice, base + 0x800);
    enable_queue();
  }
  /// The whole initialisation with these queues.
  void start(const std::vector<std::uint32_t>& queues, std::uint64_t features = std::uint64_t{1} << 32U) {
    CHECK(negotiate(features));
    for (const std::uint32_t queue : queues) {
      set_up_queue(queue);
    }
    write_status(0xF);
  }
};

/// A 1 MiB guest and a device of four virtqueues.
struct TransportParts {
  GuestMemory memory = GuestMemory::create(0x10'0000).value();
  FakeDevice device{{256, 128, 64, 256}};
  FakeDoorbell doorbell;
};

class MmioDriver final : public TransportDriver {
 public:
  static constexpr std::uint64_t kBase = 0xE100'0000;

  explicit MmioDriver(TransportParts& parts)
      : transport(
            MmioTransport::create(parts.device, parts.memory, interrupt, parts.doorbell, GuestAddress{kBase})
                .value()) {}

  std::uint32_t read(std::uint64_t offset) {
    std::array<std::byte, 4> bytes{};
    transport->read(offset, bytes);
    return static_cast<std::uint32_t>(load_little_endian(bytes));
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    store_little_endian(value, bytes);
    transport->write(offset, bytes);
  }

  std::uint32_t status() override { return read(0x70); }
  void write_status(std::uint32_t value) override { write(0x70, value); }
  std::uint32_t device_features(std::uint32_t page) override {
    write(0x14, page);
    return read(0x10);
  }
  void write_driver_features(std::uint32_t page, std::uint32_t bits) override {
    write(0x24, page);
    write(0x20, bits);
  }
  void select_queue(std::uint32_t index) override { write(0x30, index); }
  std::uint32_t queue_max_size() override { return read(0x34); }
  void set_queue_size(std::uint32_t size) override { write(0x38, size); }
  bool queue_enabled() override { return read(0x44) == 1; }
  void enable_queue() override { write(0x44, 1); }
  void reset_queue() override { write(0xC0, 1); }
  void set_queue_address(Area area, std::uint64_t address) override {
    const std::uint64_t low = 0x80 + std::uint64_t{static_cast<std::uint8_t>(area)} * 0x10;
    write(low, static_cast<std::uint32_t>(address));
    write(low + 4, static_cast<std::uint32_t>(address >> 32U));
  }
  void notify(std::uint32_t queue) override { write(0x50, queue); }
  std::uint32_t config_generation() override { return read(0xFC); }
  void read_config(std::uint64_t offset, std::span<std::byte> into) override {
    transport->read(0x100 + offset, into);
  }
  void write_config(std::uint64_t offset, std::span<const std::byte> from) override {
    transport->write(0x100 + offset, from);
  }
  std::uint32_t take_interrupt_status() override {
    const std::uint32_t bits = read(0x60);
    write(0x64, bits);
    return bits;
  }
  void machine_reset() override { transport->reset(); }
  std::vector<std::uint32_t> dump() override {
    std::vector<std::uint32_t> all;
    for (std::uint64_t offset = 0; offset < 0x200; offset += 4) {
      all.push_back(read(offset));
    }
    return all;
  }

  FakeInterrupt interrupt;
  std::unique_ptr<MmioTransport> transport;
};

class PciDriver final : public TransportDriver {
 public:
  static constexpr std::size_t kVectors = 4;

  /// With all of `vectors` or, without MSI-X, none.
  explicit PciDriver(TransportParts& parts, bool msix = true) {
    std::vector<MsiInterrupt*> used;
    for (std::size_t i = 0; msix && i < kVectors; ++i) {
      used.push_back(&vectors[i]);
    }
    transport = PciTransport::create({parts.device, parts.memory, parts.doorbell, line, used}).value();
  }

  /// A register of the common configuration, `bytes` wide.
  std::uint64_t read(std::uint64_t offset, std::size_t bytes) {
    std::array<std::byte, 8> value{};
    transport->read_bar(PciTransport::kBar, offset, std::span(value).first(bytes));
    return load_little_endian(value);
  }
  void write(std::uint64_t offset, std::size_t bytes, std::uint64_t value) {
    std::array<std::byte, 8> from{};
    store_little_endian(value, from);
    transport->write_bar(PciTransport::kBar, offset, std::span(from).first(bytes));
  }
  std::uint32_t config(std::uint64_t offset, std::size_t bytes) {
    std::array<std::byte, 4> value{};
    transport->config_read(offset, std::span(value).first(bytes));
    return static_cast<std::uint32_t>(load_little_endian(value));
  }
  void set_config(std::uint64_t offset, std::size_t bytes, std::uint32_t value) {
    std::array<std::byte, 4> from{};
    store_little_endian(value, from);
    transport->config_write(offset, std::span(from).first(bytes));
  }

  std::uint32_t status() override { return static_cast<std::uint32_t>(read(0x14, 1)); }
  void write_status(std::uint32_t value) override { write(0x14, 1, value); }
  std::uint32_t device_features(std::uint32_t page) override {
    write(0x00, 4, page);
    return static_cast<std::uint32_t>(read(0x04, 4));
  }
  void write_driver_features(std::uint32_t page, std::uint32_t bits) override {
    write(0x08, 4, page);
    write(0x0C, 4, bits);
  }
  void select_queue(std::uint32_t index) override { write(0x16, 2, index); }
  std::uint32_t queue_max_size() override { return static_cast<std::uint32_t>(read(0x18, 2)); }
  void set_queue_size(std::uint32_t size) override { write(0x18, 2, size); }
  bool queue_enabled() override { return read(0x1C, 2) == 1; }
  void enable_queue() override { write(0x1C, 2, 1); }
  void reset_queue() override { write(0x3A, 2, 1); }
  void set_queue_address(Area area, std::uint64_t address) override {
    const std::uint64_t low = 0x20 + std::uint64_t{static_cast<std::uint8_t>(area)} * 8;
    write(low, 4, address & 0xFFFF'FFFFU);
    write(low + 4, 4, address >> 32U);
  }
  void notify(std::uint32_t queue) override {
    if (queue < PciTransport::kMaxQueues) {
      write(PciTransport::kNotifyOffset + std::uint64_t{queue} * 4, 2, queue);
    }
  }
  std::uint32_t config_generation() override { return static_cast<std::uint32_t>(read(0x15, 1)); }
  void read_config(std::uint64_t offset, std::span<std::byte> into) override {
    transport->read_bar(PciTransport::kBar, PciTransport::kDeviceOffset + offset, into);
  }
  void write_config(std::uint64_t offset, std::span<const std::byte> from) override {
    transport->write_bar(PciTransport::kBar, PciTransport::kDeviceOffset + offset, from);
  }
  std::uint32_t take_interrupt_status() override {
    return static_cast<std::uint32_t>(read(PciTransport::kIsrOffset, 1));
  }
  void machine_reset() override { transport->reset(); }
  std::vector<std::uint32_t> dump() override {
    std::vector<std::uint32_t> all;
    for (std::uint64_t offset = 0; offset < 0x40; ++offset) {
      for (const std::size_t bytes : {1U, 2U, 4U}) {
        all.push_back(static_cast<std::uint32_t>(read(offset, bytes)));
      }
    }
    for (std::uint64_t offset = 0; offset < 0x100; offset += 4) {
      all.push_back(config(offset, 4));
    }
    for (std::uint64_t offset = PciTransport::kMsixTableOffset; offset < PciTransport::kMsixPbaOffset + 8;
         offset += 4) {
      all.push_back(static_cast<std::uint32_t>(read(offset, 4)));
    }
    return all;
  }

  std::array<FakeInterrupt, kVectors> vectors;
  FakeLine line;
  std::unique_ptr<PciTransport> transport;
};

}  // namespace tapir::virtio::testing
