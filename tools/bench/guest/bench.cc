// SPDX-License-Identifier: Apache-2.0
// The guest that `tapir-bench guest` measures: a driver in ring 3 that sends and counts numbered frames, with
// real kicks and interrupts, as protocol.h tells. On its command line: event-idx=0, large=1 (frames may be of
// 64 KiB), echo=1 (numbered frames go back), batch=N (frames made available at a time), lose=N (for tests:
// the frame of this number is neither sent nor counted).
#include "guest-tests/freestanding/runtime.h"
#include "guest-tests/freestanding/user_mode.h"
#include "tools/bench/guest/network.h"
#include "tools/bench/guest/protocol.h"

namespace guest {
namespace {

using tapir::bench::guest::Command;
using tapir::bench::guest::kEthernetBytes;
using tapir::bench::guest::kEtherType;
using tapir::bench::guest::kHeaderBytes;
using tapir::bench::guest::Kind;
using tapir::bench::guest::kMaxFrameBytes;
using tapir::bench::guest::Report;

constexpr std::uintptr_t kTransmitBuffers = 0x300'0000;
constexpr std::uintptr_t kReceiveBuffers = 0x500'0000;
constexpr std::uintptr_t kReportBuffers = 0x2F0'0000;
constexpr unsigned kReports = 16;  // the host waits for some long before so many are under way
constexpr std::uintptr_t kReportStride = 256;
constexpr std::uintptr_t kSmallBytes = 2048;
// Whatever a tap gives fits, the vnet header and two VLAN tags included.
constexpr std::uintptr_t kLargeBytes = kMaxFrameBytes + 256;
constexpr std::size_t kVnetBytes = 12;
constexpr std::uint64_t kNone = ~std::uint64_t{0};

void copy(std::uintptr_t to, std::uintptr_t from, std::size_t bytes) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}

template <typename T>
T load(std::uintptr_t address) {
  T value;
  copy(reinterpret_cast<std::uintptr_t>(&value), address, sizeof value);
  return value;
}

template <typename T>
void store(std::uintptr_t address, const T& value) {
  copy(address, reinterpret_cast<std::uintptr_t>(&value), sizeof value);
}

std::uint64_t load64(std::uintptr_t address) {
  return *reinterpret_cast<const std::uint64_t*>(address);
}

class Bench {
 public:
  /// In ring 0.
  bool start();
  /// In ring 3, for ever.
  void serve();

 private:
  bool receive();
  bool reclaim();
  bool transmit();
  void sleep();

  void take(std::uintptr_t frame, std::uint32_t bytes);
  void count(std::uintptr_t frame, std::uint32_t bytes);
  void obey(const Command& command);
  void prepare_frames(const Command& command);
  void send_numbered(std::uint64_t number);
  void echo(std::uintptr_t frame, std::uint32_t bytes);
  void report(Kind kind);
  std::uintptr_t receive_buffer(std::uint16_t head) const { return kReceiveBuffers + stride_ * head; }
  void post(std::uint16_t head) {
    network_.receive().add(head, receive_buffer(head), static_cast<std::uint32_t>(stride_), true);
  }
  void add(std::uintptr_t frame, std::uint32_t bytes) {
    network_.transmit().add(network_.transmit().take_head(), frame, bytes, false);
  }

  Network network_;
  std::uintptr_t stride_ = kSmallBytes;
  bool echoes_ = false;
  unsigned batch_ = Ring::kSize;
  std::uint64_t lose_ = kNone;

  std::uint64_t next_ = 0;     ///< number of the frame to send
  std::uint64_t to_send_ = 0;  ///< frames
  bool sending_ = false;       ///< a report is due at the end of it
  unsigned owed_ = 0;          ///< reports that were asked for
  std::uint32_t frame_bytes_ = 0;
  std::uint64_t next_slot_ = 0;
  std::uint64_t next_report_ = 0;
  std::uint64_t expected_ = 0;  ///< number of the next frame from the host
  Report counts_ = {};
};

bool Bench::start() {
  const bool large = parameter("large", 0) != 0;
  stride_ = large ? kLargeBytes : kSmallBytes;
  echoes_ = parameter("echo", 0) != 0;
  batch_ = static_cast<unsigned>(parameter("batch", Ring::kSize));
  lose_ = parameter("lose", kNone);
  return network_.start({parameter("event-idx", 1) != 0, large});
}

void Bench::serve() {
  Ring& ring = network_.receive();
  while (ring.room() != 0) {
    post(ring.take_head());
  }
  ring.publish();
  report(Kind::kReady);
  while (true) {
    const bool received = receive();
    const bool reclaimed = reclaim();
    const bool sent = transmit();
    if (!received && !reclaimed && !sent) {
      sleep();
    }
  }
}

bool Bench::receive() {
  Ring& ring = network_.receive();
  std::uint16_t head = 0;
  std::uint32_t bytes = 0;
  unsigned taken = 0;
  // Not more than one ring of them before the frames to be sent get a turn.
  while (taken < Ring::kSize && ring.take_used(head, bytes)) {
    ++taken;
    take(receive_buffer(head), bytes);
    post(head);
  }
  ring.publish();
  network_.transmit().publish();
  return taken != 0;
}

bool Bench::reclaim() {
  std::uint16_t head = 0;
  std::uint32_t bytes = 0;
  bool any = false;
  while (network_.transmit().take_used(head, bytes)) {
    network_.transmit().give_head(head);
    any = true;
  }
  return any;
}

bool Bench::transmit() {
  Ring& ring = network_.transmit();
  // One place is kept for a report.
  unsigned frames = 0;
  for (; frames < batch_ && to_send_ != 0 && ring.room() > 1; ++frames) {
    send_numbered(next_++);
    --to_send_;
  }
  ring.publish();
  const bool reports = owed_ != 0 || (sending_ && to_send_ == 0);
  if (!reports || ring.room() == 0) {
    return frames != 0;
  }
  if (owed_ != 0) {
    --owed_;
    report(Kind::kReport);
  } else {
    sending_ = false;
    report(Kind::kSend);
  }
  return true;
}

void Bench::sleep() {
  Ring& sent = network_.transmit();
  // As Linux: a full ring is taken up again when three quarters of it are sent; what is left over at the end
  // waits for the next frames.
  const bool wait_for_room = sending_ || owed_ != 0;
  if (wait_for_room && sent.enable_interrupt((Ring::kSize - sent.room()) * 3 / 4 + 1)) {
    return;
  }
  if (!network_.receive().enable_interrupt(1)) {
    sleep_until_interrupt();
  }
  network_.receive().disable_interrupt();
  sent.disable_interrupt();
}

void Bench::take(std::uintptr_t frame, std::uint32_t bytes) {
  const std::uintptr_t type_at = frame + kVnetBytes + kEthernetBytes - 2;
  const auto type = static_cast<std::uint16_t>(read_register<std::uint8_t>(type_at) << 8 |
                                               read_register<std::uint8_t>(type_at + 1));
  if (type == kEtherType) {
    obey(load<Command>(frame + kVnetBytes + kEthernetBytes));
  } else if (type == 0x0800) {
    count(frame, bytes);
    if (echoes_) {
      echo(frame, bytes);
    }
  }
}

void Bench::count(std::uintptr_t frame, std::uint32_t bytes) {
  const std::uint64_t number = load64(frame + kHeaderBytes);
  if (number == lose_) {
    return;
  }
  ++counts_.received;
  if (bytes < kHeaderBytes + 16 || load64(frame + bytes - 8) != number) {
    ++counts_.damaged;
  } else if (number < expected_) {
    ++counts_.disordered;
  } else {
    expected_ = number + 1;
  }
}

void Bench::obey(const Command& command) {
  if (command.kind == Kind::kSend) {
    if (command.frame_bytes != frame_bytes_) {
      prepare_frames(command);
    }
    next_ = command.first;
    to_send_ = command.frames;
    sending_ = true;
  } else {
    ++owed_;
  }
}

void Bench::prepare_frames(const Command& command) {
  frame_bytes_ = command.frame_bytes <= stride_ ? command.frame_bytes : kHeaderBytes + 16;
  for (unsigned slot = 0; slot < Ring::kSize; ++slot) {
    copy(kTransmitBuffers + stride_ * slot, reinterpret_cast<std::uintptr_t>(command.headers), kHeaderBytes);
  }
}

void Bench::send_numbered(std::uint64_t number) {
  if (number == lose_) {
    return;
  }
  const std::uintptr_t at = kTransmitBuffers + stride_ * (next_slot_++ % Ring::kSize);
  store(at + kHeaderBytes, number);
  store(at + frame_bytes_ - 8, number);
  add(at, frame_bytes_);
}

void Bench::echo(std::uintptr_t frame, std::uint32_t bytes) {
  const std::uintptr_t at = kTransmitBuffers + stride_ * (next_slot_++ % Ring::kSize);
  copy(at, frame, bytes);
  if (network_.transmit().room() > 1) {  // else it is lost, which the host sees
    add(at, bytes);
  }
}

void Bench::report(Kind kind) {
  const std::uintptr_t at = kReportBuffers + kReportStride * (next_report_++ % kReports);
  write_register<std::uint8_t>(at + kVnetBytes, 2);  // to a station that is nobody
  write_register<std::uint8_t>(at + kVnetBytes + 6, 2);
  write_register<std::uint8_t>(at + kVnetBytes + 11, 1);
  write_register<std::uint8_t>(at + kVnetBytes + 12, kEtherType >> 8);
  write_register<std::uint8_t>(at + kVnetBytes + 13, kEtherType & 0xFF);
  counts_.kind = kind;
  counts_.kicks = network_.receive().kicks() + network_.transmit().kicks();
  counts_.interrupts = interrupts(0) + interrupts(1);
  store(at + kVnetBytes + kEthernetBytes, counts_);
  add(at, kVnetBytes + kEthernetBytes + sizeof(Report));
  network_.transmit().publish();
}

Bench bench;

}  // namespace

void run_guest() {
  if (bench.start()) {
    run_in_user_mode([] { bench.serve(); });
  }
  print("FAIL the device refuses the driver\n");
}

}  // namespace guest
