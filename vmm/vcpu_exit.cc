// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_exit.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

namespace tapir::vmm {
namespace {

void handle_port_access(kvm_run& run, const Bus& ports) {
  // A string instruction exits once for up to a page of repetitions; its items follow each other at
  // data_offset.
  auto* data = reinterpret_cast<std::byte*>(&run) + run.io.data_offset;
  const std::size_t size = run.io.size;
  for (std::uint32_t item = 0; item < run.io.count; ++item, data += size) {
    const std::span bytes(data, size);
    if (run.io.direction == KVM_EXIT_IO_OUT) {
      ports.write(run.io.port, bytes);
    } else {
      ports.read(run.io.port, bytes);
    }
  }
}

void handle_memory_access(kvm_run& run, const Bus& memory) {
  std::uint64_t address = run.mmio.phys_addr;
  auto rest = std::as_writable_bytes(std::span(run.mmio.data)).first(std::min<std::size_t>(run.mmio.len, 8));
  // KVM cuts an access at page boundaries, which can leave 3, 5, 6 or 7 bytes: pieces of a width that a bus
  // has.
  while (!rest.empty()) {
    const auto piece = rest.first(std::bit_floor(rest.size()));
    if (run.mmio.is_write != 0) {
      memory.write(address, piece);
    } else {
      memory.read(address, piece);
    }
    address += piece.size();
    rest = rest.subspan(piece.size());
  }
}

AfterExit handle_system_event(const kvm_run& run, const VcpuBuses& buses,
                              const std::function<std::string()>& state) {
  switch (run.system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      buses.control.end(EndReason::kPowerOff);
      break;
    case KVM_SYSTEM_EVENT_RESET:
      buses.control.end(EndReason::kReset);
      break;
    case KVM_SYSTEM_EVENT_CRASH:
      buses.control.end(EndReason::kPanic);
      break;
    default:
      buses.control.end(EndReason::kInternalError, describe_exit(run) + "; " + state());
      break;
  }
  return AfterExit::kStop;
}

std::string_view suberror_name(std::uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "instruction not emulated";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "two exceptions at once";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "exit while delivering an event";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "exit reason unknown to KVM";
    default:
      return "unknown";
  }
}

std::string hexadecimal(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<unsigned>(byte));
  }
  return text;
}

}  // namespace

AfterExit handle_exit(kvm_run& run, const VcpuBuses& buses, const std::function<std::string()>& state) {
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      handle_port_access(run, buses.ports);
      return AfterExit::kRunOn;
    case KVM_EXIT_MMIO:
      handle_memory_access(run, buses.memory);
      return AfterExit::kRunOn;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return AfterExit::kRunOn;
    case KVM_EXIT_SHUTDOWN:
      buses.control.end(EndReason::kTripleFault);
      return AfterExit::kStop;
    case KVM_EXIT_SYSTEM_EVENT:
      return handle_system_event(run, buses, state);
    default:
      buses.control.end(EndReason::kInternalError, describe_exit(run) + "; " + state());
      return AfterExit::kStop;
  }
}

std::string_view exit_name(std::uint32_t reason) {
  switch (reason) {
    case KVM_EXIT_UNKNOWN:
      return "KVM_EXIT_UNKNOWN";
    case KVM_EXIT_EXCEPTION:
      return "KVM_EXIT_EXCEPTION";
    case KVM_EXIT_IO:
      return "KVM_EXIT_IO";
    case KVM_EXIT_MMIO:
      return "KVM_EXIT_MMIO";
    case KVM_EXIT_INTR:
      return "KVM_EXIT_INTR";
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return "KVM_EXIT_IRQ_WINDOW_OPEN";
    case KVM_EXIT_SHUTDOWN:
      return "KVM_EXIT_SHUTDOWN";
    case KVM_EXIT_FAIL_ENTRY:
      return "KVM_EXIT_FAIL_ENTRY";
    case KVM_EXIT_INTERNAL_ERROR:
      return "KVM_EXIT_INTERNAL_ERROR";
    case KVM_EXIT_HYPERCALL:
      return "KVM_EXIT_HYPERCALL";
    case KVM_EXIT_DEBUG:
      return "KVM_EXIT_DEBUG";
    case KVM_EXIT_HLT:
      return "KVM_EXIT_HLT";
    case KVM_EXIT_SYSTEM_EVENT:
      return "KVM_EXIT_SYSTEM_EVENT";
    default:
      return "unnamed";
  }
}

std::string describe_exit(const kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_INTERNAL_ERROR: {
      std::string text = fmt::format("KVM internal error, suberror {} ({})", run.internal.suberror,
                                     suberror_name(run.internal.suberror));
      const auto count = std::min<std::size_t>(run.internal.ndata, std::size(run.internal.data));
      for (std::size_t i = 0; i < count; ++i) {
        text += fmt::format("{}{:#x}", i == 0 ? ", data " : " ", run.internal.data[i]);
      }
      return text;
    }
    case KVM_EXIT_FAIL_ENTRY:
      return fmt::format("KVM cannot enter the guest, hardware reason {:#x}",
                         std::uint64_t{run.fail_entry.hardware_entry_failure_reason});
    case KVM_EXIT_SYSTEM_EVENT:
      return fmt::format("system event {}, which tapir does not handle", run.system_event.type);
    default:
      return fmt::format("exit {} ({}), which tapir does not handle", run.exit_reason,
                         exit_name(run.exit_reason));
  }
}

std::string describe_registers(const kvm_regs& regs, const kvm_sregs& sregs,
                               std::span<const std::byte> code) {
  std::string text = fmt::format("RIP={:#x} CS={:#x} base {:#x} RFLAGS={:#x}", std::uint64_t{regs.rip},
                                 sregs.cs.selector, std::uint64_t{sregs.cs.base}, std::uint64_t{regs.rflags});
  const std::array<std::pair<const char*, std::uint64_t>, 19> values{{
      {"RAX", regs.rax}, {"RBX", regs.rbx},  {"RCX", regs.rcx},  {"RDX", regs.rdx},  {"RSI", regs.rsi},
      {"RDI", regs.rdi}, {"RSP", regs.rsp},  {"RBP", regs.rbp},  {"R8", regs.r8},    {"R9", regs.r9},
      {"R10", regs.r10}, {"R11", regs.r11},  {"R12", regs.r12},  {"R13", regs.r13},  {"R14", regs.r14},
      {"R15", regs.r15}, {"CR0", sregs.cr0}, {"CR3", sregs.cr3}, {"CR4", sregs.cr4},
  }};
  for (const auto& [name, value] : values) {
    text += fmt::format(" {}={:#x}", name, value);
  }
  text += fmt::format(" CR2={:#x} EFER={:#x} code: {}", std::uint64_t{sregs.cr2}, std::uint64_t{sregs.efer},
                      code.empty() ? "not readable" : hexadecimal(code));
  return text;
}

}  // namespace tapir::vmm
