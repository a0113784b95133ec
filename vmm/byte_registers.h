// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "vmm/bus.h"

namespace tapir::vmm {

/// A device whose registers are one byte wide, as those of the PC's old chips are: a wider access is taken
/// apart into bytes at rising offsets, the way the ISA bus did it. One lock per device makes each access
/// whole; it is held while the virtual functions run.
class ByteRegisters : public BusHandler {
 public:
  void read(std::uint64_t offset, std::span<std::byte> into) final {
    const std::lock_guard lock(mutex_);
    for (std::byte& byte : into) {
      byte = std::byte{read_register(offset++)};
    }
  }
  void write(std::uint64_t offset, std::span<const std::byte> from) final {
    const std::lock_guard lock(mutex_);
    for (const std::byte byte : from) {
      write_register(offset++, std::to_integer<std::uint8_t>(byte));
    }
  }

 protected:
  /// What a register reads as that is not there.
  static constexpr std::uint8_t kNoRegister = 0xFF;

  virtual std::uint8_t read_register(std::uint64_t offset) = 0;
  virtual void write_register(std::uint64_t offset, std::uint8_t value) = 0;

  /// For a device's other entry points.
  std::mutex& mutex() { return mutex_; }

 private:
  std::mutex mutex_;
};

}  // namespace tapir::vmm
