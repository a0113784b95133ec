// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>

#include "virtio/interrupt.h"
#include "vmm/bus.h"
#include "vmm/machine_control.h"

namespace tapir::vmm {

/// The PC's keyboard controller without a keyboard or a mouse. It answers its own commands (command byte,
/// self-test, port tests) at once, so that systems find it without waiting; a byte for the keyboard is
/// answered as by a cable with nothing on it: 0xFE and the time-out bit, and the mouse port does not answer
/// its tests. Its one purpose here is command 0xFE, the reset line that many systems pull.
///
/// Added to the port bus twice, one port long each, as data_port() and command_port(). A fresh object is in
/// the state after power-on.
class I8042 {
 public:
  /// `keyboard`: platform::kKeyboardGsi, edge. Both are borrowed.
  I8042(virtio::Interrupt& keyboard, MachineControl& machine);

  BusHandler& data_port() { return data_port_; }        ///< platform::kI8042DataPort
  BusHandler& command_port() { return command_port_; }  ///< platform::kI8042CommandPort: status, commands

 private:
  class Port final : public BusHandler {
   public:
    Port(I8042& owner, bool command) : owner_(owner), command_(command) {}
    void read(std::uint64_t offset, std::span<std::byte> into) override;
    void write(std::uint64_t offset, std::span<const std::byte> from) override;

   private:
    I8042& owner_;
    const bool command_;
  };

  std::uint8_t read_status() const;
  std::uint8_t read_data();
  void write_command(std::uint8_t value);
  void write_data(std::uint8_t value);
  void answer(std::uint8_t value);
  void deliver(std::uint8_t value, std::uint8_t status);  ///< as if it came from the keyboard

  std::mutex mutex_;
  virtio::Interrupt& keyboard_;
  MachineControl& machine_;
  Port data_port_{*this, false};
  Port command_port_{*this, true};

  std::uint8_t command_byte_;
  std::uint8_t output_port_;
  std::uint8_t output_ = 0;         ///< the output buffer: one byte
  std::uint8_t output_status_ = 0;  ///< status bits that belong to it
  bool wrote_command_ = false;      ///< status bit 3: the last write went to the command port
  std::uint8_t pending_ = 0;        ///< a command that waits for its data byte, or 0
};

}  // namespace tapir::vmm
