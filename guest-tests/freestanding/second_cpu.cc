// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/second_cpu.h"

#include "guest-tests/freestanding/runtime.h"

// Runs at kCode, which is not where it is linked, so every address is relative to the segment.
asm(R"(
  .section .rodata
  .globl second_cpu_code
  .globl second_cpu_code_end
  .code16
second_cpu_code:
  movw %cs, %ax
  movw %ax, %ds
1:
  incl 0x1000
  outb %al, $0x80
  cmpl $0, 0x1004
  je 1b
  movw $0xCF9, %dx
  movb $0x02, %al
  outb %al, %dx
  movb $0x06, %al
  outb %al, %dx
2:
  jmp 2b
second_cpu_code_end:
  .globl second_cpu_flipper
  .globl second_cpu_flipper_end
second_cpu_flipper:
  movw %cs, %ax
  movw %ax, %ds
  movw $0x8300, %ax
  movw %ax, %es
1:
  incl 0x1000
  xorw %bx, %bx
2:
  roll $3, %es:(%bx)
  addw $4, %bx
  cmpw $512, %bx
  jb 2b
  jmp 1b
second_cpu_flipper_end:
  .code64
  .text
)");

extern "C" const std::uint8_t second_cpu_code[];
extern "C" const std::uint8_t second_cpu_code_end[];
extern "C" const std::uint8_t second_cpu_flipper[];
extern "C" const std::uint8_t second_cpu_flipper_end[];

namespace guest {
namespace {

constexpr std::uintptr_t kCode = 0x7'0000;  // a page below 1 MiB that the VMM leaves alone
constexpr std::uintptr_t kCount = kCode + 0x1000;
constexpr std::uintptr_t kOrder = kCode + 0x1004;
constexpr std::uintptr_t kLocalApic = 0xFEE0'0000;
constexpr std::uintptr_t kSpuriousVector = kLocalApic + 0xF0;
constexpr std::uint32_t kEnabled = 0x1FF;  // with vector 0xFF
constexpr std::uintptr_t kCommandLow = kLocalApic + 0x300;
constexpr std::uintptr_t kCommandHigh = kLocalApic + 0x310;
constexpr std::uint32_t kInit = 0x4500;
constexpr std::uint32_t kStartUp = 0x4600;  // plus the page's number

void send(std::uint32_t command) {
  write_register<std::uint32_t>(kCommandHigh, 1U << 24);  // to APIC id 1
  write_register<std::uint32_t>(kCommandLow, command);
}

/// Copies the code to where it runs and starts it. False if it does not begin to count.
bool start_code(const std::uint8_t* begin, const std::uint8_t* end) {
  for (std::size_t i = 0; i < static_cast<std::size_t>(end - begin); ++i) {
    write_register<std::uint8_t>(kCode + i, begin[i]);
  }
  write_register<std::uint32_t>(kSpuriousVector, kEnabled);
  send(kInit);
  send(kStartUp | kCode >> 12);
  for (unsigned tries = 0; tries < 100'000; ++tries) {
    if (read_register<std::uint32_t>(kCount) != 0) {
      return true;
    }
    in8(0x80);
  }
  return false;
}

}  // namespace

bool SecondCpu::untouched() {
  return read_register<std::uint32_t>(kCount) == 0 && read_register<std::uint32_t>(kOrder) == 0;
}

bool SecondCpu::start() {
  return start_code(second_cpu_code, second_cpu_code_end);
}

bool SecondCpu::start_flipping() {
  return start_code(second_cpu_flipper, second_cpu_flipper_end);
}

void SecondCpu::stop() {
  send(kInit);
}

void SecondCpu::order_reset() {
  write_register<std::uint32_t>(kOrder, 1);
}

}  // namespace guest
