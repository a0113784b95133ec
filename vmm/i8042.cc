// SPDX-License-Identifier: Apache-2.0
#include "vmm/i8042.h"

namespace tapir::vmm {
namespace {

// Status.
constexpr std::uint8_t kOutputFull = 1U << 0;
constexpr std::uint8_t kSystemFlag = 1U << 2;
constexpr std::uint8_t kLastWasCommand = 1U << 3;
constexpr std::uint8_t kNotLocked = 1U << 4;
constexpr std::uint8_t kTimeOut = 1U << 6;

// Command byte.
constexpr std::uint8_t kKeyboardInterrupt = 1U << 0;
constexpr std::uint8_t kSelfTestPassed = 1U << 2;
constexpr std::uint8_t kKeyboardDisabled = 1U << 4;
constexpr std::uint8_t kMouseDisabled = 1U << 5;
constexpr std::uint8_t kTranslate = 1U << 6;

// Commands that take a data byte.
constexpr std::uint8_t kWriteCommandByte = 0x60;
constexpr std::uint8_t kWriteOutputPort = 0xD1;
constexpr std::uint8_t kWriteKeyboardBuffer = 0xD2;
constexpr std::uint8_t kWriteMouseBuffer = 0xD3;
constexpr std::uint8_t kWriteMouse = 0xD4;

// Output port.
constexpr std::uint8_t kNotReset = 1U << 0;
constexpr std::uint8_t kA20 = 1U << 1;

constexpr std::uint8_t kSelfTestAnswer = 0x55;
constexpr std::uint8_t kPortWorks = 0x00;
constexpr std::uint8_t kClockStuckLow = 0x01;
constexpr std::uint8_t kResend = 0xFE;

}  // namespace

I8042::I8042(virtio::Interrupt& keyboard, MachineControl& machine)
    : keyboard_(keyboard),
      machine_(machine),
      command_byte_(kKeyboardInterrupt | kSelfTestPassed | kMouseDisabled | kTranslate),
      output_port_(kNotReset | kA20) {}

void I8042::Port::read(std::uint64_t /*offset*/, std::span<std::byte> into) {
  const std::lock_guard lock(owner_.mutex_);
  for (std::byte& byte : into) {
    byte = std::byte{command_ ? owner_.read_status() : owner_.read_data()};
  }
}

void I8042::Port::write(std::uint64_t /*offset*/, std::span<const std::byte> from) {
  const std::lock_guard lock(owner_.mutex_);
  for (const std::byte byte : from) {
    const auto value = std::to_integer<std::uint8_t>(byte);
    if (command_) {
      owner_.write_command(value);
    } else {
      owner_.write_data(value);
    }
  }
}

std::uint8_t I8042::read_status() const {
  return static_cast<std::uint8_t>(kNotLocked | output_status_ | (command_byte_ & kSystemFlag) |
                                   (wrote_command_ ? kLastWasCommand : 0));
}

std::uint8_t I8042::read_data() {
  output_status_ = 0;
  return output_;  // read twice, the buffer gives its last byte again
}

void I8042::write_command(std::uint8_t value) {
  wrote_command_ = true;
  pending_ = 0;
  switch (value) {
    case 0x20:
      answer(command_byte_);
      break;
    case kWriteCommandByte:
    case kWriteOutputPort:
    case kWriteKeyboardBuffer:
    case kWriteMouseBuffer:
    case kWriteMouse:
      pending_ = value;
      break;
    case 0xA7:
      command_byte_ |= kMouseDisabled;
      break;
    case 0xA8:
      command_byte_ &= static_cast<std::uint8_t>(~kMouseDisabled);
      break;
    case 0xA9:
      answer(kClockStuckLow);  // no mouse port
      break;
    case 0xAA:
      command_byte_ |= kSelfTestPassed;
      answer(kSelfTestAnswer);
      break;
    case 0xAB:
      answer(kPortWorks);
      break;
    case 0xAD:
      command_byte_ |= kKeyboardDisabled;
      break;
    case 0xAE:
      command_byte_ &= static_cast<std::uint8_t>(~kKeyboardDisabled);
      break;
    case 0xC0:
      answer(0x80);  // input port: not locked
      break;
    case 0xD0:
      answer(output_port_);
      break;
    default:
      // 0xF0 to 0xFF pulse the lines of the output port whose bit is 0; line 0 is the CPU's reset.
      if (value >= 0xF0 && (value & kNotReset) == 0) {
        machine_.end(EndReason::kReset);
      }
      break;
  }
}

void I8042::write_data(std::uint8_t value) {
  wrote_command_ = false;
  const std::uint8_t command = pending_;
  pending_ = 0;
  switch (command) {
    case kWriteCommandByte:
      command_byte_ = value;
      break;
    case kWriteOutputPort:  // the A20 line is stored and does nothing; the reset line is real
      output_port_ = value | kNotReset;
      if ((value & kNotReset) == 0) {
        machine_.end(EndReason::kReset);
      }
      break;
    case kWriteKeyboardBuffer:
    case kWriteMouseBuffer:
      // The mouse buffer is that of the keyboard here, which is how a system learns that there is no mouse
      // port.
      deliver(value, 0);
      break;
    case kWriteMouse:
      deliver(kResend, kTimeOut);
      break;
    default:
      command_byte_ &= static_cast<std::uint8_t>(~kKeyboardDisabled);  // as the chip does
      deliver(kResend, kTimeOut);
      break;
  }
}

/// Controller answers are polled for: no interrupt, which would find the byte gone.
void I8042::answer(std::uint8_t value) {
  output_ = value;
  output_status_ = kOutputFull;
}

void I8042::deliver(std::uint8_t value, std::uint8_t status) {
  output_ = value;
  output_status_ = kOutputFull | status;
  if ((command_byte_ & kKeyboardInterrupt) != 0) {
    keyboard_.trigger();
  }
}

}  // namespace tapir::vmm
