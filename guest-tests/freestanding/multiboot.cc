// SPDX-License-Identifier: Apache-2.0
// Boots by the Multiboot Specification 0.6.96 and looks at what it was given: EAX, command line, memory,
// modules. The entry is that of start.cc, which both protocols enter in the same state.
#include "guest-tests/freestanding/runtime.h"

extern "C" std::uint64_t start_info_address;
extern "C" std::uint64_t start_magic;

#ifdef TAPIR_FLAT
asm(R"(
  .section .multiboot, "a"
  .align 4
multiboot_header:
  .long 0x1BADB002, 0x10003, -(0x1BADB002 + 0x10003)
  .long multiboot_header, 0x100000, 0, guest_end, pvh_start
)");
#else
asm(R"(
  .section .multiboot, "a"
  .align 4
  .long 0x1BADB002, 3, -(0x1BADB002 + 3)
)");
#endif

namespace guest {
namespace {

constexpr std::uint32_t kMagic = 0x2BAD'B002;
constexpr std::uint32_t kMemory = 1U << 0U;
constexpr std::uint32_t kCommandLine = 1U << 2U;
constexpr std::uint32_t kModules = 1U << 3U;
constexpr std::uint32_t kMemoryMap = 1U << 6U;

/// 3.3 "Boot information format".
struct MultibootInfo {
  std::uint32_t flags;
  std::uint32_t mem_lower;
  std::uint32_t mem_upper;
  std::uint32_t boot_device;
  std::uint32_t cmdline;
  std::uint32_t mods_count;
  std::uint32_t mods_addr;
  std::uint32_t syms[4];
  std::uint32_t mmap_length;
  std::uint32_t mmap_addr;
};

struct Module {
  std::uint32_t start;
  std::uint32_t end;
  std::uint32_t text;
  std::uint32_t reserved;
};

/// The rest of the run time knows PVH's start information only.
void provide_start_info(const MultibootInfo& info) {
  static StartInfo own;
  own.command_line = info.cmdline;
  for (std::uint64_t address = 0xE0000; address < 0x10'0000; address += 16) {
    if (equal(reinterpret_cast<const char*>(address), "RSD PTR ", 8)) {
      own.rsdp = address;
      break;
    }
  }
  start_info_address = reinterpret_cast<std::uint64_t>(&own);
}

std::uint64_t ram_bytes(const MultibootInfo& info) {
  std::uint64_t bytes = 0;
  for (std::uint32_t at = 0; at < info.mmap_length;) {
    const std::uint64_t entry = info.mmap_addr + at;
    if (*reinterpret_cast<const std::uint32_t*>(entry + 20) == 1) {
      bytes += *reinterpret_cast<const std::uint64_t*>(entry + 12);
    }
    at += *reinterpret_cast<const std::uint32_t*>(entry) + 4;
  }
  return bytes;
}

bool ends_with(const char* text, const char* end) {
  const std::size_t all = length(text);
  const std::size_t last = length(end);
  return all >= last && equal(text + all - last, end, last);
}

}  // namespace

void run_guest() {
  const auto& info = *reinterpret_cast<const MultibootInfo*>(start_info_address);
  provide_start_info(info);
  plan(8);
  check_equal("EAX has the magic number", start_magic, kMagic);
  constexpr std::uint32_t kWanted = kMemory | kCommandLine | kModules | kMemoryMap;
  check_equal("information has all that was asked for", info.flags & kWanted, kWanted);
  check("command line is complete", parameter_is("last", "word") && parameter("number", 0) == 0x1234'5678);
  const std::uint64_t expected = parameter("ram", 0) << 20;
  check_equal("upper memory goes to the end of RAM", info.mem_upper + 1024ULL, expected >> 10);
  const std::uint64_t ram = ram_bytes(info);
  check("memory map has the RAM that was asked for", ram <= expected && expected - ram < (1 << 20));
  check_equal("modules are two", info.mods_count, 2);
  const auto* modules = reinterpret_cast<const Module*>(std::uintptr_t{info.mods_addr});
  bool whole = true;
  for (std::uint32_t i = 0; i < info.mods_count; ++i) {
    whole = whole && modules[i].start % 4096 == 0 && modules[i].end > modules[i].start &&
            equal(reinterpret_cast<const char*>(std::uintptr_t{modules[i].start}),
                  "\x7f"
                  "ELF",
                  4);
  }
  check("modules are on pages of their own, and whole", whole);
  check("modules have their paths and arguments",
        ends_with(reinterpret_cast<const char*>(std::uintptr_t{modules[0].text}), "boot.elf arg=1") &&
            ends_with(reinterpret_cast<const char*>(std::uintptr_t{modules[1].text}), "exits.elf"));
}

}  // namespace guest
