// SPDX-License-Identifier: Apache-2.0
#include "guest-tests/freestanding/user_mode.h"

#include <cstddef>

#include "guest-tests/freestanding/runtime.h"

// Exceptions are the calls into ring 0, since some hosts have neither INT nor SYSCALL in ring 3: HLT, which
// is a general protection fault there, halts the CPU, and UD2 at user_mode_end goes back to who entered
// ring 3. What else raises one of these two ends in a triple fault.
asm(R"(
  .text
  .globl user_mode_enter
user_mode_enter:                 # (body, stack)
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, kernel_stack_pointer
  pushq $0x1B                    # SS, RSP, RFLAGS with IF and IOPL 3, CS, RIP
  pushq %rsi
  pushq $0x3202
  pushq $0x23
  pushq $user_mode_body
  movl $0x1B, %eax
  movl %eax, %ds
  movl %eax, %es
  iretq

user_mode_body:
  callq *%rdi
user_mode_end:
  ud2

  .globl user_mode_undefined
user_mode_undefined:
  cmpq $user_mode_end, (%rsp)
  jne user_mode_dead
  movq kernel_stack_pointer, %rsp
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  retq

  .globl user_mode_protection
user_mode_protection:
  addq $8, %rsp                  # the error code
  pushq %rax
  movq 8(%rsp), %rax
  cmpb $0xF4, (%rax)             # HLT
  popq %rax
  jne user_mode_dead
  incq (%rsp)
  cmpl $0, interrupt_came
  jne 1f
  sti                            # takes effect behind HLT, so no interrupt can come between
  hlt
  cli
1:
  movl $0, interrupt_came
  iretq

  .globl user_mode_interrupt_0, user_mode_interrupt_1, user_mode_spurious
user_mode_interrupt_0:
  incq interrupt_counts
  jmp 1f
user_mode_interrupt_1:
  incq interrupt_counts + 8
1:
  movl $1, interrupt_came
  pushq %rax
  movl $0xFEE000B0, %eax         # end of interrupt
  movl $0, (%rax)
  popq %rax
user_mode_spurious:
  iretq

user_mode_dead:
  lidt no_table
  ud2

  .bss
  .align 16
  .globl interrupt_counts
interrupt_counts:     .skip 16
kernel_stack_pointer: .skip 8
interrupt_came:       .skip 4
no_table:             .skip 10
  .text
)");

extern "C" {
void user_mode_enter(void (*body)(), std::uintptr_t stack);
void user_mode_undefined();
void user_mode_protection();
void user_mode_interrupt_0();
void user_mode_interrupt_1();
void user_mode_spurious();
extern volatile std::uint64_t interrupt_counts[2];
}

namespace guest {
namespace {

// AMD64 Architecture Programmer's Manual, volume 2, 4.8 Long-Mode Segment Descriptors, 12.2.5 64-Bit Task
// State Segment.
struct [[gnu::packed]] TaskState {
  std::uint32_t reserved;
  std::uint64_t stack;  ///< of ring 0
  std::uint8_t rest[92];
};
struct Gate {
  std::uint16_t low;
  std::uint16_t selector;
  std::uint16_t kind;
  std::uint16_t middle;
  std::uint32_t high;
  std::uint32_t reserved;
};
struct [[gnu::packed]] TableRegister {
  std::uint16_t limit;
  std::uint64_t address;
};

constexpr std::uint16_t kTaskSelector = 0x28;
constexpr unsigned kUndefined = 6;
constexpr unsigned kProtection = 13;
constexpr unsigned kSpurious = 0xFF;
constexpr std::uintptr_t kSpuriousVector = 0xFEE0'00F0;
constexpr std::uint32_t kApicEnabled = 0x100;
constexpr std::uint64_t kUserPage = 4;
constexpr unsigned kGigabytes = 4;  // that start.cc maps
constexpr unsigned kTableEntries = 512;

alignas(16) TaskState task;
alignas(16) std::uint64_t segments[7] = {0,
                                         0x00AF9B000000FFFF,
                                         0x00CF93000000FFFF,  // of ring 0 as in start.cc
                                         0x00CFF3000000FFFF,
                                         0x00AFFB000000FFFF,  // data and code of ring 3
                                         0,
                                         0};
alignas(16) Gate gates[256];
alignas(16) std::uint8_t interrupt_stack[4096];
alignas(16) std::uint8_t user_stack[16384];

template <typename T>
std::uint64_t address_of(T& object) {
  return reinterpret_cast<std::uint64_t>(&object);
}

std::uint64_t* table_at(std::uint64_t entry) {
  return reinterpret_cast<std::uint64_t*>(entry & ~std::uint64_t{0xFFF});
}

/// Everything that start.cc mapped becomes ring 3's too.
void open_pages() {
  std::uint64_t root = 0;
  asm volatile("movq %%cr3, %0" : "=r"(root));
  std::uint64_t& top = table_at(root)[0];
  top |= kUserPage;
  for (unsigned gigabyte = 0; gigabyte < kGigabytes; ++gigabyte) {
    std::uint64_t& directory = table_at(top)[gigabyte];
    directory |= kUserPage;
    for (unsigned page = 0; page < kTableEntries; ++page) {
      table_at(directory)[page] |= kUserPage;
    }
  }
  asm volatile("movq %0, %%cr3" ::"r"(root) : "memory");
}

void set_gate(unsigned vector, void (*handler)()) {
  constexpr std::uint16_t kInterruptGate = 0x8E00;
  const auto address = reinterpret_cast<std::uint64_t>(handler);
  gates[vector] = {
      static_cast<std::uint16_t>(address),       8, kInterruptGate, static_cast<std::uint16_t>(address >> 16),
      static_cast<std::uint32_t>(address >> 32), 0};
}

void load_tables() {
  constexpr std::uint64_t kAvailableTask = 0x89;
  const std::uint64_t at = address_of(task);
  task.stack = address_of(interrupt_stack) + sizeof interrupt_stack;
  segments[5] = (sizeof task - 1) | (at & 0xFF'FFFF) << 16 | kAvailableTask << 40 | (at >> 24 & 0xFF) << 56;
  segments[6] = at >> 32;
  const TableRegister segment_table{sizeof segments - 1, address_of(segments)};
  const TableRegister gate_table{sizeof gates - 1, address_of(gates)};
  asm volatile("lgdt %0; ltr %w1; lidt %2" ::"m"(segment_table), "r"(kTaskSelector), "m"(gate_table));
}

}  // namespace

void run_in_user_mode(void (*body)()) {
  open_pages();
  set_gate(kUndefined, user_mode_undefined);
  set_gate(kProtection, user_mode_protection);
  set_gate(kFirstVector, user_mode_interrupt_0);
  set_gate(kFirstVector + 1, user_mode_interrupt_1);
  set_gate(kSpurious, user_mode_spurious);
  load_tables();
  out8(0x21, 0xFF);  // none from the PICs
  out8(0xA1, 0xFF);
  write_register<std::uint32_t>(kSpuriousVector, kApicEnabled | kSpurious);
  user_mode_enter(body, address_of(user_stack) + sizeof user_stack);
}

void sleep_until_interrupt() {
  asm volatile("hlt" ::: "memory");
}

std::uint64_t interrupts(unsigned number) {
  return interrupt_counts[number];
}

}  // namespace guest
