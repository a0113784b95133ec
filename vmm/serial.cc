// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial.h"

#include <algorithm>

#include "net/base/check.h"

namespace tapir::vmm {
namespace {

// Registers; the first two are the divisor's while LCR.DLAB is set.
constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kInterruptEnable = 1;
constexpr std::uint64_t kInterruptIdentification = 2;  // written: FIFO control
constexpr std::uint64_t kLineControl = 3;
constexpr std::uint64_t kModemControl = 4;
constexpr std::uint64_t kLineStatus = 5;
constexpr std::uint64_t kModemStatus = 6;
constexpr std::uint64_t kScratch = 7;

// IER.
constexpr std::uint8_t kReceivedDataEnable = 1U << 0;
constexpr std::uint8_t kTransmitterEmptyEnable = 1U << 1;
constexpr std::uint8_t kLineStatusEnable = 1U << 2;
constexpr std::uint8_t kModemStatusEnable = 1U << 3;
constexpr std::uint8_t kInterruptEnableBits = 0x0F;

// IIR, in falling priority.
constexpr std::uint8_t kLineStatusInterrupt = 0x06;
constexpr std::uint8_t kReceivedDataInterrupt = 0x04;
constexpr std::uint8_t kCharacterTimeoutInterrupt = 0x0C;
constexpr std::uint8_t kTransmitterEmptyInterrupt = 0x02;
constexpr std::uint8_t kModemStatusInterrupt = 0x00;
constexpr std::uint8_t kNoInterrupt = 0x01;
constexpr std::uint8_t kFifosEnabled = 0xC0;

// FCR.
constexpr std::uint8_t kFifoEnable = 1U << 0;
constexpr std::uint8_t kClearReceiver = 1U << 1;
constexpr unsigned kTriggerShift = 6;
constexpr std::size_t kTriggerLevels[] = {1, 4, 8, 14};

constexpr std::uint8_t kDivisorLatchAccess = 1U << 7;  // LCR

// MCR.
constexpr std::uint8_t kDtr = 1U << 0;
constexpr std::uint8_t kRts = 1U << 1;
constexpr std::uint8_t kOut1 = 1U << 2;
constexpr std::uint8_t kOut2 = 1U << 3;
constexpr std::uint8_t kLoopback = 1U << 4;
constexpr std::uint8_t kModemControlBits = 0x1F;

// LSR.
constexpr std::uint8_t kDataReady = 1U << 0;
constexpr std::uint8_t kOverrun = 1U << 1;
constexpr std::uint8_t kBreak = 1U << 4;
constexpr std::uint8_t kTransmitterEmpty = 0x60;  // holding register and shift register
constexpr std::uint8_t kErrorInFifo = 1U << 7;

// MSR; the lower half says which of the lines changed.
constexpr std::uint8_t kCts = 1U << 4;
constexpr std::uint8_t kDsr = 1U << 5;
constexpr std::uint8_t kRing = 1U << 6;
constexpr std::uint8_t kDcd = 1U << 7;
constexpr std::uint8_t kTrailingRing = 1U << 2;

}  // namespace

Serial::Serial(virtio::LevelInterrupt& line, SerialSink* output, const EventFd& input_space)
    : line_(line), output_(output), input_space_(input_space) {
  line_.set_level(false);
  input_space_.signal();  // whoever waited for the port before this one may try again
}

// ---- towards the guest

bool Serial::can_accept() {
  const std::lock_guard lock(mutex());
  reader_waits_ |= room() == 0;
  return room() > 0;
}

std::size_t Serial::receive(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex());
  const std::size_t taken = std::min(bytes.size(), room());
  for (const std::byte byte : bytes.first(taken)) {
    push({std::to_integer<std::uint8_t>(byte), 0});
  }
  reader_waits_ |= taken < bytes.size();
  update_line();
  return taken;
}

void Serial::receive_break() {
  const std::lock_guard lock(mutex());
  if (room() > 0) {
    push({0, kBreak});
    update_line();
  }
}

std::size_t Serial::capacity() const {
  return (fifo_control_ & kFifoEnable) != 0 ? kFifoBytes : 1;
}

/// For bytes from outside: a looped-back receiver is cut off from its pin.
std::size_t Serial::room() const {
  return (modem_control_ & kLoopback) != 0 ? 0 : capacity() - fifo_used_;
}

void Serial::push(Received received) {
  CHECK(fifo_used_ < capacity());
  fifo_[(fifo_head_ + fifo_used_) % kFifoBytes] = received;
  if (++fifo_used_ == 1) {
    line_errors_ |= received.errors;
  }
}

std::uint8_t Serial::pop() {
  if (fifo_used_ == 0) {
    return 0;
  }
  const std::uint8_t byte = fifo_[fifo_head_].byte;
  fifo_head_ = (fifo_head_ + 1) % kFifoBytes;
  if (--fifo_used_ > 0) {
    line_errors_ |= fifo_[fifo_head_].errors;  // errors come up with the byte that they belong to
  }
  offer_room();
  return byte;
}

void Serial::clear_receiver() {
  fifo_used_ = 0;
  line_errors_ = 0;
  offer_room();
}

void Serial::offer_room() {
  if (reader_waits_ && room() > 0) {
    reader_waits_ = false;
    input_space_.signal();
  }
}

// ---- registers

std::uint8_t Serial::read_register(std::uint64_t offset) {
  const bool divisor = (line_control_ & kDivisorLatchAccess) != 0;
  std::uint8_t value = kNoRegister;
  switch (offset) {
    case kData:
      value = divisor ? divisor_[0] : pop();
      break;
    case kInterruptEnable:
      value = divisor ? divisor_[1] : interrupt_enable_;
      break;
    case kInterruptIdentification:
      value = take_interrupt_identification();
      break;
    case kLineControl:
      value = line_control_;
      break;
    case kModemControl:
      value = modem_control_;
      break;
    case kLineStatus:
      value = take_line_status();
      break;
    case kModemStatus:
      value = take_modem_status();
      break;
    case kScratch:
      value = scratch_;
      break;
    default:
      break;
  }
  update_line();
  return value;
}

void Serial::write_register(std::uint64_t offset, std::uint8_t value) {
  const bool divisor = (line_control_ & kDivisorLatchAccess) != 0;
  switch (offset) {
    case kData:
      if (divisor) {
        divisor_[0] = value;
      } else {
        transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor) {
        divisor_[1] = value;
      } else {
        // Switching the THRE interrupt on while the register is empty raises it; Linux tests for that.
        transmitter_pending_ |= (value & ~interrupt_enable_ & kTransmitterEmptyEnable) != 0;
        interrupt_enable_ = value & kInterruptEnableBits;
      }
      break;
    case kInterruptIdentification:
      write_fifo_control(value);
      break;
    case kLineControl:
      line_control_ = value;
      break;
    case kModemControl:
      write_modem_control(value);
      break;
    case kScratch:
      scratch_ = value;
      break;
    default:  // the status registers are read-only
      break;
  }
  update_line();
}

std::uint8_t Serial::identify_interrupt() const {
  if ((interrupt_enable_ & kLineStatusEnable) != 0 && line_errors_ != 0) {
    return kLineStatusInterrupt;
  }
  if ((interrupt_enable_ & kReceivedDataEnable) != 0 && fifo_used_ > 0) {
    // Below the trigger level the character timeout is due: time stands still between two bytes of ours.
    const bool fifo = (fifo_control_ & kFifoEnable) != 0;
    const bool timeout = fifo && fifo_used_ < kTriggerLevels[fifo_control_ >> kTriggerShift];
    return timeout ? kCharacterTimeoutInterrupt : kReceivedDataInterrupt;
  }
  if ((interrupt_enable_ & kTransmitterEmptyEnable) != 0 && transmitter_pending_) {
    return kTransmitterEmptyInterrupt;
  }
  if ((interrupt_enable_ & kModemStatusEnable) != 0 && modem_deltas_ != 0) {
    return kModemStatusInterrupt;
  }
  return kNoInterrupt;
}

std::uint8_t Serial::take_interrupt_identification() {
  const std::uint8_t source = identify_interrupt();
  if (source == kTransmitterEmptyInterrupt) {
    transmitter_pending_ = false;
  }
  return (fifo_control_ & kFifoEnable) != 0 ? source | kFifosEnabled : source;
}

std::uint8_t Serial::take_line_status() {
  std::uint8_t value = kTransmitterEmpty | line_errors_;
  if (fifo_used_ > 0) {
    value |= kDataReady;
    fifo_[fifo_head_].errors = 0;
  }
  line_errors_ = 0;
  for (std::size_t i = 0; i < fifo_used_ && (fifo_control_ & kFifoEnable) != 0; ++i) {
    if (fifo_[(fifo_head_ + i) % kFifoBytes].errors != 0) {
      value |= kErrorInFifo;
    }
  }
  return value;
}

std::uint8_t Serial::take_modem_status() {
  const std::uint8_t value = modem_lines() | modem_deltas_;
  modem_deltas_ = 0;
  return value;
}

void Serial::transmit(std::uint8_t value) {
  transmitter_pending_ = true;  // empty again at once
  if ((modem_control_ & kLoopback) == 0) {
    if (output_ != nullptr) {
      const std::byte byte{value};
      output_->put({&byte, 1});
    }
  } else if (fifo_used_ < capacity()) {
    push({value, 0});
  } else {
    line_errors_ |= kOverrun;
    if ((fifo_control_ & kFifoEnable) == 0) {
      fifo_[fifo_head_].byte = value;  // without FIFOs the newer byte overwrites
    }
  }
}

void Serial::write_fifo_control(std::uint8_t value) {
  const bool toggled = ((value ^ fifo_control_) & kFifoEnable) != 0;
  fifo_control_ = value;
  if (toggled || (value & kClearReceiver) != 0) {
    clear_receiver();
  }
}

void Serial::write_modem_control(std::uint8_t value) {
  const std::uint8_t before = modem_lines();
  modem_control_ = value & kModemControlBits;
  const std::uint8_t after = modem_lines();
  const std::uint8_t changed = before ^ after;
  modem_deltas_ |= static_cast<std::uint8_t>((changed & (kCts | kDsr | kDcd)) >> 4);
  if ((before & ~after & kRing) != 0) {
    modem_deltas_ |= kTrailingRing;
  }
  offer_room();
}

std::uint8_t Serial::modem_lines() const {
  if ((modem_control_ & kLoopback) == 0) {
    return kCts | kDsr | kDcd;
  }
  return static_cast<std::uint8_t>(
      ((modem_control_ & kRts) != 0 ? kCts : 0) | ((modem_control_ & kDtr) != 0 ? kDsr : 0) |
      ((modem_control_ & kOut1) != 0 ? kRing : 0) | ((modem_control_ & kOut2) != 0 ? kDcd : 0));
}

/// Calls the line only when its level changes: that may cost a system call.
void Serial::update_line() {
  // Looped back, OUT2 is disconnected from the gate that it opens.
  const bool gate = (modem_control_ & (kOut2 | kLoopback)) == kOut2;
  const bool asserted = gate && identify_interrupt() != kNoInterrupt;
  if (asserted != asserted_) {
    asserted_ = asserted;
    line_.set_level(asserted);
  }
}

}  // namespace tapir::vmm
