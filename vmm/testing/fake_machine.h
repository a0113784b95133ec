// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "virtio/interrupt.h"
#include "vmm/bus.h"
#include "vmm/machine_control.h"
#include "vmm/serial.h"

/// What a platform device is wired to, for its tests. Not thread-safe: one test, one thread.
namespace tapir::vmm::testing {

class FakeMachineControl final : public MachineControl {
 public:
  void end(EndReason reason, std::string /*detail*/ = {}, std::uint8_t guest_status = 0) override {
    reasons.push_back(reason);
    guest_statuses.push_back(guest_status);
  }
  std::vector<EndReason> reasons;
  std::vector<unsigned> guest_statuses;  ///< of each of them
};

class FakeInterrupt final : public virtio::Interrupt {
 public:
  void trigger() override { ++count; }
  unsigned count = 0;
};

class FakeLevelInterrupt final : public virtio::LevelInterrupt {
 public:
  void set_level(bool asserted) override {
    level = asserted;
    ++changes;
  }
  bool level = false;
  unsigned changes = 0;  ///< calls, which each may cost a system call
};

class FakeSerialSink final : public SerialSink {
 public:
  void put(std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) {
      text.push_back(std::to_integer<char>(byte));
    }
  }
  std::string text;
};

/// The accesses of a guest, by value.
inline std::uint64_t read(BusHandler& device, std::uint64_t offset, std::size_t bytes = 1) {
  std::array<std::byte, 8> data{};
  device.read(offset, std::span(data).first(bytes));
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    value |= std::to_integer<std::uint64_t>(data[i]) << (8 * i);
  }
  return value;
}

inline void write(BusHandler& device, std::uint64_t offset, std::uint64_t value, std::size_t bytes = 1) {
  std::array<std::byte, 8> data{};
  for (std::size_t i = 0; i < bytes; ++i) {
    data[i] = static_cast<std::byte>(value >> (8 * i));
  }
  device.write(offset, std::span<const std::byte>(data).first(bytes));
}

}  // namespace tapir::vmm::testing
