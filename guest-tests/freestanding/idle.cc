// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/idle.h"

#include "guest-tests/freestanding/runtime.h"

// It comes just behind the hlt of sleep() and nowhere else, so it goes back without iretq, which not every
// emulation of kernel mode has: interrupts are off, as they were before.
asm(R"(
  .text
  .globl idle_tick
idle_tick:
  movb $0x20, %al                # end of interrupt
  outb %al, $0x20
  movq (%rsp), %rax
  movq 24(%rsp), %rsp
  jmp *%rax
)");

extern "C" const std::uint8_t idle_tick[];

namespace guest {
namespace {

constexpr unsigned kVector = 0x20;
constexpr std::uint16_t kCodeSegment = 8;     // of start.cc
constexpr std::uint16_t kGateFlags = 0x8E00;  // present, interrupt gate
constexpr std::uint16_t kPicCommand = 0x20;
constexpr std::uint16_t kPicData = 0x21;
constexpr std::uint16_t kPitChannel = 0x40;
constexpr std::uint16_t kPitCommand = 0x43;

struct Gate {
  std::uint16_t low;
  std::uint16_t segment;
  std::uint16_t flags;
  std::uint16_t middle;
  std::uint32_t high;
  std::uint32_t reserved;
};
Gate gates[kVector + 1];

struct [[gnu::packed]] TableRegister {
  std::uint16_t limit;
  std::uint64_t address;
};

}  // namespace

Idle::Idle() {
  const auto handler = reinterpret_cast<std::uintptr_t>(idle_tick);
  gates[kVector] = {static_cast<std::uint16_t>(handler),
                    kCodeSegment,
                    kGateFlags,
                    static_cast<std::uint16_t>(handler >> 16U),
                    0,
                    0};
  const TableRegister table{sizeof(gates) - 1, reinterpret_cast<std::uintptr_t>(gates)};
  asm volatile("lidt %0" ::"m"(table));
  // 8259A: edge triggered, with another one behind it, vectors from kVector, end of interrupt by command;
  // line 0 only.
  out8(kPicCommand, 0x11);
  out8(kPicData, kVector);
  out8(kPicData, 0x04);
  out8(kPicData, 0x01);
  out8(kPicData, 0xFE);
  // 8254: channel 0, low and high byte, rate generator.
  out8(kPitCommand, 0x34);
  out8(kPitChannel, 0);  // 65536 periods of 1.193182 MHz: the slowest
  out8(kPitChannel, 0);
}

// Not inlined, and without a red zone: the handler leaves the stack as it was at the hlt.
void Idle::sleep() const {
  asm volatile("sti; hlt" ::: "rax", "memory", "cc");
}

}  // namespace guest
