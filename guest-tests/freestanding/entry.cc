// SPDX-License-Identifier: Apache-2.0
// The shortest guest: its first instructions end the run through isa-debug-exit at 0x501, so that the VMM's
// whole run is the time to a guest's first instruction, and with the byte 0, whose exit status is 1.
asm(R"(
  .section .note.Xen, "a", @note
  .align 4
  .long 4, 4, 18                 # XEN_ELFNOTE_PHYS32_ENTRY
  .asciz "Xen"
  .long pvh_start

  .text
  .code32
  .globl pvh_start
pvh_start:
  xorl %eax, %eax
  movw $0x501, %dx
  outb %al, %dx
1:
  hlt
  jmp 1b
)");
