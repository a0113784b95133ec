// SPDX-License-Identifier: Apache-2.0
// How a freestanding guest begins: the PVH entry (xen/include/public/arch-x86/hvm/start_info.h: 32-bit
// protected mode, no paging, EBX = start info) builds an identity map of the first 4 GiB and goes on in
// 64-bit mode. There is no interrupt table: an exception is a triple fault, which the runner sees as a dead
// guest.

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
  cld
  movl $stack_top, %esp
  movl %ebx, start_info_address
  movl %eax, start_magic         # of multiboot only

  # One page directory for each of the four GiB, 2 MiB pages: present, writable, large.
  movl $page_directories, %edi
  movl $0x83, %eax
1:
  movl %eax, (%edi)
  addl $0x200000, %eax
  addl $8, %edi
  cmpl $page_directories + 4 * 4096, %edi
  jne 1b

  movl $page_directories + 3, %eax
  movl $page_directory_pointers, %edi
1:
  movl %eax, (%edi)
  addl $4096, %eax
  addl $8, %edi
  cmpl $page_directory_pointers + 4 * 8, %edi
  jne 1b
  movl $page_directory_pointers + 3, page_map

  movl %cr4, %eax
  orl $0x20, %eax                # PAE
  movl %eax, %cr4
  movl $page_map, %eax
  movl %eax, %cr3
  movl $0xC0000080, %ecx         # EFER
  rdmsr
  orl $0x100, %eax               # LME
  wrmsr
  movl %cr0, %eax
  orl $0x80000001, %eax          # PG, PE
  movl %eax, %cr0
  lgdt descriptor_table_register
  ljmp $8, $long_mode

  .code64
long_mode:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $stack_top, %esp
  xorl %ebp, %ebp
  call guest_start
1:
  hlt
  jmp 1b

  .section .rodata
  .align 8
descriptor_table:
  .quad 0
  .quad 0x00AF9B000000FFFF       # 64-bit code
  .quad 0x00CF93000000FFFF       # data
descriptor_table_register:
  .word 23
  .long descriptor_table

  .data
  .globl start_info_address
start_info_address:
  .quad 0
  .globl start_magic
start_magic:
  .quad 0

  .bss
  .align 4096
page_map:                .skip 4096
page_directory_pointers: .skip 4096
page_directories:        .skip 4 * 4096
  .skip 16384
stack_top:
)");
