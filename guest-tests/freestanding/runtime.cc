// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/runtime.h"

#include "guest-tests/freestanding/acpi.h"

extern "C" std::uint64_t start_info_address;
extern "C" void guest_start();

namespace guest {
namespace {

constexpr std::uint16_t kCom1 = 0x3F8;
constexpr std::uint16_t kCom1LineStatus = kCom1 + 5;
constexpr std::uint8_t kTransmitterEmpty = 0x20;

bool ended = false;

void print_char(char character) {
  while ((in8(kCom1LineStatus) & kTransmitterEmpty) == 0) {
  }
  out8(kCom1, static_cast<std::uint8_t>(character));
}

void print_number(std::uint64_t value) {
  char digits[20];
  unsigned count = 0;
  do {
    digits[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  while (count != 0) {
    print_char(digits[--count]);
  }
}

/// Where the value of NAME= begins on the command line; null if it is not there.
const char* find_parameter(const char* name) {
  const std::size_t bytes = length(name);
  for (const char* at = command_line(); *at != '\0'; ++at) {
    const bool word_starts = at == command_line() || at[-1] == ' ';
    if (word_starts && equal(at, name, bytes) && at[bytes] == '=') {
      return at + bytes + 1;
    }
  }
  return nullptr;
}

}  // namespace

void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}
void out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}
void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

std::uint16_t in16(std::uint16_t port) {
  std::uint16_t value;
  asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

std::uint32_t in32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

void print(const char* text) {
  for (; *text != '\0'; ++text) {
    print_char(*text);
  }
}

void print_hex(std::uint64_t value) {
  print("0x");
  int shift = 60;
  while (shift != 0 && (value >> shift) == 0) {
    shift -= 4;
  }
  for (; shift >= 0; shift -= 4) {
    print_char("0123456789abcdef"[(value >> shift) & 15]);
  }
}

void plan(unsigned checks) {
  print("TAPIR-GUEST 1 PLAN ");
  print_number(checks);
  print("\n");
}

void check(const char* name, bool passed) {
  print(passed ? "PASS " : "FAIL ");
  print(name);
  print(passed ? "\n" : ": it is not so\n");
}

void check_equal(const char* name, std::uint64_t found, std::uint64_t expected) {
  if (found == expected) {
    check(name, true);
    return;
  }
  print("FAIL ");
  print(name);
  print(": expected ");
  print_hex(expected);
  print(", found ");
  print_hex(found);
  print("\n");
}

void info(const char* name, std::uint64_t value) {
  print("INFO ");
  print(name);
  print(" ");
  print_hex(value);
  print("\n");
}

void end_protocol() {
  if (!ended) {
    print("END\n");
  }
  ended = true;
}

std::uint64_t parameter(const char* name, std::uint64_t otherwise) {
  const char* at = find_parameter(name);
  if (at == nullptr) {
    return otherwise;
  }
  unsigned base = 10;
  if (at[0] == '0' && at[1] == 'x') {
    base = 16;
    at += 2;
  }
  std::uint64_t value = 0;
  for (; *at != '\0' && *at != ' '; ++at) {
    const auto digit = static_cast<unsigned>(*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
    value = value * base + digit;
  }
  return value;
}

bool parameter_is(const char* name, const char* value) {
  const char* at = find_parameter(name);
  const std::size_t bytes = length(value);
  return at != nullptr && equal(at, value, bytes) && (at[bytes] == '\0' || at[bytes] == ' ');
}

const StartInfo& start_info() {
  return *reinterpret_cast<const StartInfo*>(start_info_address);
}

const char* command_line() {
  const auto address = start_info().command_line;
  return address == 0 ? "" : reinterpret_cast<const char*>(address);
}

bool equal(const char* left, const char* right, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    if (left[i] != right[i]) {
      return false;
    }
  }
  return true;
}

std::size_t length(const char* text) {
  std::size_t bytes = 0;
  while (text[bytes] != '\0') {
    ++bytes;
  }
  return bytes;
}

void power_off() {
  constexpr std::uint16_t kSleepEnable = 1 << 13;
  const AcpiTables tables = find_acpi_tables();
  if (tables.pm1a_control != 0) {
    out16(tables.pm1a_control, static_cast<std::uint16_t>(tables.sleep_type_s5 << 10 | kSleepEnable));
  }
}

void halt() {
  while (true) {
    asm volatile("cli; hlt");
  }
}

}  // namespace guest

void guest_start() {
  guest::run_guest();
  guest::end_protocol();
  guest::power_off();
  guest::halt();
}
