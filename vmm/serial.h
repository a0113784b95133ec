// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/base/event_fd.h"
#include "virtio/interrupt.h"
#include "vmm/byte_registers.h"

namespace tapir::vmm {

/// Where the bytes go that a guest sends. Called on vCPU threads with the port's lock held: must return at
/// once and must not call back.
class SerialSink {
 public:
  SerialSink() = default;
  SerialSink(const SerialSink&) = delete;
  SerialSink& operator=(const SerialSink&) = delete;
  virtual ~SerialSink() = default;
  virtual void put(std::span<const std::byte> bytes) = 0;
};

/// A 16550A serial port (National Semiconductor PC16550D data sheet, chapter 8 "Registers"), infinitely fast:
/// what is written is sent at once, so the transmitter is always empty, and the divisor is stored and means
/// nothing. Flow towards the guest is never lost: the reader of the terminal hands over what fits and waits
/// for the rest.
///
///     port.receive(bytes) -> n;                   // control thread; n < bytes.size(): keep the rest and
///     input_space becomes readable                // stop reading the terminal until this
///     input_space.clear(); port.receive(rest);
///
/// The line is asserted while a source is enabled and pending and MCR.OUT2 is set, as the PC wires it. CTS,
/// DSR and DCD are always on. A fresh object is in the state after master reset; bytes waiting in the one
/// before are gone.
class Serial final : public ByteRegisters {
 public:
  static constexpr std::uint64_t kPorts = 8;
  static constexpr std::size_t kFifoBytes = 16;

  /// All borrowed. `output` null: what the guest sends is dropped. `input_space` is signalled when the port
  /// has room again after receive() took less than it was given; it may outlive several ports, so that an
  /// event loop need not know of a reboot.
  Serial(virtio::LevelInterrupt& line, SerialSink* output, const EventFd& input_space);

  /// Whether receive() would take a byte now; if not, `input_space` will be signalled. Any thread.
  bool can_accept();
  /// Takes as many bytes as fit (nothing while the guest has the port looped back) and returns how many. Any
  /// thread.
  std::size_t receive(std::span<const std::byte> bytes);
  /// A break condition (Linux: magic SysRq); dropped when there is no room for it. Any thread.
  void receive_break();

 private:
  struct Received {
    std::uint8_t byte = 0;
    std::uint8_t errors = 0;  ///< LSR bits that come up with it
  };

  std::uint8_t read_register(std::uint64_t offset) override;
  void write_register(std::uint64_t offset, std::uint8_t value) override;

  std::size_t capacity() const;
  std::size_t room() const;
  void push(Received received);
  std::uint8_t pop();
  void clear_receiver();
  void offer_room();

  std::uint8_t identify_interrupt() const;
  std::uint8_t take_interrupt_identification();
  std::uint8_t take_line_status();
  std::uint8_t take_modem_status();
  void transmit(std::uint8_t value);
  void write_fifo_control(std::uint8_t value);
  void write_modem_control(std::uint8_t value);
  std::uint8_t modem_lines() const;
  void update_line();

  virtio::LevelInterrupt& line_;
  SerialSink* const output_;
  const EventFd& input_space_;

  std::array<Received, kFifoBytes> fifo_{};  ///< a ring
  std::size_t fifo_head_ = 0;
  std::size_t fifo_used_ = 0;
  bool reader_waits_ = false;
  bool asserted_ = false;
  bool transmitter_pending_ = false;  ///< the THRE interrupt, which reading IIR takes back

  std::uint8_t interrupt_enable_ = 0;
  std::uint8_t fifo_control_ = 0;
  std::uint8_t line_control_ = 0;
  std::uint8_t modem_control_ = 0;
  std::uint8_t line_errors_ = 0;  ///< of the LSR
  std::uint8_t modem_deltas_ = 0;
  std::uint8_t scratch_ = 0;
  std::array<std::uint8_t, 2> divisor_{};
};

}  // namespace tapir::vmm
