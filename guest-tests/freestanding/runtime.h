// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

/// What a freestanding guest has in place of an operating system. A guest defines `run_guest`, says with
/// plan() how many checks it makes, makes them, and returns; the runtime then ends the protocol and switches
/// the machine off.
///
/// The protocol on the first serial port, one line each: "TAPIR-GUEST 1 PLAN n", then "PASS name", "FAIL
/// name: why" or "SKIP name: why" for every check, "INFO text" for the reader, and "END". The runner (run.py)
/// takes anything else for a failure: fewer checks than planned, no END, a wrong exit status of the VMM.
///
/// Guests run in kernel mode, which some hosts emulate slowly and without SSE, so code here is plain and
/// short.
namespace guest {

/// The guest's own program, called once in 64-bit mode with the first 4 GiB mapped one to one.
void run_guest();

// I/O ports.
void out8(std::uint16_t port, std::uint8_t value);
void out16(std::uint16_t port, std::uint16_t value);
void out32(std::uint16_t port, std::uint32_t value);
std::uint8_t in8(std::uint16_t port);
std::uint16_t in16(std::uint16_t port);
std::uint32_t in32(std::uint16_t port);

// Registers in memory: exactly one access of this width.
template <typename T>
T read_register(std::uintptr_t address) {
  return *reinterpret_cast<volatile T*>(address);
}
template <typename T>
void write_register(std::uintptr_t address, T value) {
  *reinterpret_cast<volatile T*>(address) = value;
}

// Output.
void print(const char* text);
void print_hex(std::uint64_t value);

/// How many checks will follow. Must come first.
void plan(unsigned checks);
/// One check, by a condition.
void check(const char* name, bool passed);
/// One check that `found` is `expected`; both are printed when not.
void check_equal(const char* name, std::uint64_t found, std::uint64_t expected);
/// "INFO name value"
void info(const char* name, std::uint64_t value);
/// Prints "END". Guests that end the machine in a way of their own call it before; others need not.
void end_protocol();

/// The text after "NAME=" in the kernel command line up to a blank, as a number ("0x" for hexadecimal);
/// `otherwise` if it is not there.
std::uint64_t parameter(const char* name, std::uint64_t otherwise);
/// Whether the command line holds "NAME=value".
bool parameter_is(const char* name, const char* value);
/// The whole command line.
const char* command_line();

/// The PVH start info's memory map (xen/include/public/arch-x86/hvm/start_info.h).
struct MemoryMapEntry {
  std::uint64_t address;
  std::uint64_t bytes;
  std::uint32_t type;  ///< 1 is RAM, as in e820
  std::uint32_t reserved;
};
struct StartInfo {
  std::uint32_t magic;  ///< 0x336EC578
  std::uint32_t version;
  std::uint32_t flags;
  std::uint32_t modules;
  std::uint64_t module_list;
  std::uint64_t command_line;
  std::uint64_t rsdp;
  std::uint64_t memory_map;
  std::uint32_t memory_map_entries;
  std::uint32_t reserved;
};
const StartInfo& start_info();

bool equal(const char* left, const char* right, std::size_t bytes);
std::size_t length(const char* text);

/// Switches the machine off through ACPI. Returns if that did not work.
void power_off();
/// Stops this CPU for good.
[[noreturn]] void halt();

}  // namespace guest
