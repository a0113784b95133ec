// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "net/base/result.h"
#include "virtio/guest_memory.h"
#include "vmm/bus.h"
#include "vmm/kvm.h"
#include "vmm/machine_control.h"
#include "vmm/vcpu.h"

namespace tapir::vmm::testing {

/// How long a test waits for what must happen, before it fails. Not a measure of speed.
inline constexpr std::chrono::seconds kPatience(30);

/// Keeps what a vCPU reported.
class RecordingControl final : public MachineControl {
 public:
  struct End {
    EndReason reason;
    std::string detail;
  };
  void end(EndReason reason, std::string detail, std::uint8_t guest_status) override;
  /// The first end, or nothing when there was none in time.
  std::optional<End> wait();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<End> end_;
};

/// Keeps the writes of the guest, and reads as a counter that begins at 0x11 in every byte and goes up by
/// 0x11.
class RecordingDevice final : public BusHandler {
 public:
  struct Write {
    std::uint64_t offset;
    std::size_t bytes;
    std::uint64_t value;
    friend bool operator==(const Write&, const Write&) = default;
  };
  void read(std::uint64_t offset, std::span<std::byte> into) override;
  void write(std::uint64_t offset, std::span<const std::byte> from) override;
  /// All writes, once there are `count` of them; fewer when they did not come in time.
  std::vector<Write> wait_for(std::size_t count);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Write> writes_;
  unsigned reads_ = 0;
};

/// Machine code for 32-bit protected mode, and for long mode where the encodings agree: simple instructions
/// only, which every KVM can also emulate.
class Code {
 public:
  Code& bytes(std::initializer_list<unsigned> values);
  Code& word32(std::uint32_t value);
  Code& out8(std::uint16_t port, std::uint8_t value);         ///< uses AL, DX
  Code& store32(std::uint32_t address, std::uint32_t value);  ///< protected mode only
  Code& spin() { return bytes({0xEB, 0xFE}); }
  std::span<const std::byte> get() const { return code_; }

 private:
  std::vector<std::byte> code_;
};

/// A machine of KVM's with 4 MiB of memory, a recording device over ports 0x500-0x5FF and one over a page of
/// memory. Code is put at kCode and entered in protected or long mode.
class KvmGuest {
 public:
  static constexpr std::uint64_t kCode = 0x10'0000;
  static constexpr std::uint64_t kStack = 0x20'0000;
  static constexpr std::uint64_t kGdt = 0x1000;
  static constexpr std::uint64_t kPageTables = 0x2000;  ///< to 0x7FFF
  static constexpr std::uint64_t kIdt = 0x8000;
  static constexpr std::uint16_t kPort = 0x500;
  static constexpr std::uint64_t kDevice = 0xE100'0000;

  [[nodiscard]] static Result<std::unique_ptr<KvmGuest>> create(unsigned cpus = 1);

  void load(std::uint64_t address, std::span<const std::byte> bytes);
  /// Enters `code` in this mode on the boot CPU and starts all vCPUs.
  [[nodiscard]] Status run(const Code& code,
                           boot::EntryState::Mode mode = boot::EntryState::Mode::kProtected);
  /// Stops all vCPUs and waits for them.
  void stop();

  // Public: a test's own machine.
  Kvm kvm;
  virtio::GuestMemory memory;
  Vm vm;
  Bus ports;
  Bus mmio;
  RecordingDevice port_device;
  RecordingDevice memory_device;
  RecordingControl control;
  std::vector<std::unique_ptr<Vcpu>> vcpus;

 private:
  KvmGuest(Kvm host, virtio::GuestMemory ram, Vm machine);
  void write_tables();
};

/// Why this host cannot run the tests of label kvm, or nothing. With TAPIR_TESTS_MUST_RUN=1 never a reason:
/// the tests then fail by themselves.
std::optional<std::string> reason_to_skip();

}  // namespace tapir::vmm::testing
