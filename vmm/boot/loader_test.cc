// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/loader.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "vmm/boot/memory_map.h"
#include "vmm/boot/pvh.h"
#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using testing::Bytes;
using testing::BzImageBuilder;
using testing::ElfBuilder;
using ::testing::HasSubstr;
using testing::make_file;
using testing::pattern;
using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kGiB = 1U << 30U;

Bytes text_bytes(std::string_view text) {
  Bytes bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

void add_initrd(BootFiles& files, std::size_t bytes, const std::string& arguments = "") {
  files.initrds.push_back(
      {make_file(pattern(bytes), "-initrd test"), "test" + arguments, !arguments.empty()});
}

BootFiles files_of(const Bytes& kernel, std::size_t initrd_bytes = 0) {
  BootFiles files{make_file(kernel), {}, "kernel.elf"};
  if (initrd_bytes != 0) {
    add_initrd(files, initrd_bytes);
  }
  return files;
}

Bytes pvh_kernel() {
  ElfBuilder builder;
  builder.add_load(16 * kMiB, 5000);
  builder.add_pvh_note(16 * kMiB + 8);
  return builder.build();
}

class LoaderTest : public ::testing::Test {
 protected:
  std::string refusal(const BootFiles& files, std::string_view command_line = "") const {
    const auto entry = load(memory_, files, {command_line});
    return entry ? "" : entry.error().message();
  }
  boot_params zero_page() const { return *memory_.read_object<boot_params>(GuestAddress{kZeroPageAddress}); }
  std::string command_line_in_guest() const {
    const auto bytes = memory_.slice(GuestAddress{kCommandLineAddress}, kCommandLineBytes);
    return reinterpret_cast<const char*>(bytes->data());
  }
  bool holds_pattern(std::uint64_t address, std::size_t bytes) const {
    const auto there = memory_.slice(GuestAddress{address}, bytes);
    const Bytes expected = pattern(bytes);
    return there && std::equal(there->begin(), there->end(), expected.begin(), expected.end());
  }

  GuestMemory memory_ = GuestMemory::create(64 * kMiB).value();
};

TEST_F(LoaderTest, StartsBzImageInLongMode) {
  const auto entry = load(memory_, files_of(BzImageBuilder().build(), 5000), {"console=ttyS0"});
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(entry->mode, EntryState::Mode::kLong);
  EXPECT_EQ(entry->instruction_pointer, 0x100'0200U);
  EXPECT_EQ(entry->boot_data, kZeroPageAddress);
  EXPECT_EQ(command_line_in_guest(), "console=ttyS0");

  const boot_params page = zero_page();
  EXPECT_EQ(page.hdr.type_of_loader, 0xFF);
  EXPECT_EQ(page.hdr.header, 0x5372'6448U);
  EXPECT_EQ(page.hdr.cmd_line_ptr, kCommandLineAddress);
  EXPECT_EQ(page.hdr.ramdisk_image, 64 * kMiB - 8192);
  EXPECT_EQ(page.hdr.ramdisk_size, 5000U);
  EXPECT_EQ(page.ext_ramdisk_image, 0U);
  EXPECT_EQ(page.acpi_rsdp_addr, platform::kAcpiTablesBase);
  EXPECT_EQ(page.sentinel, 0);
  EXPECT_TRUE(holds_pattern(64 * kMiB - 8192, 5000));
}

TEST_F(LoaderTest, ZeroPageHasTheMemoryMap) {
  ASSERT_TRUE(load(memory_, files_of(BzImageBuilder().build()), {}));
  const boot_params page = zero_page();
  const std::vector<MemoryRange> map = memory_map(memory_);
  ASSERT_EQ(page.e820_entries, map.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    const boot_e820_entry entry = page.e820_table[i];
    EXPECT_EQ(entry.addr, map[i].start);
    EXPECT_EQ(entry.size, map[i].bytes);
    EXPECT_EQ(entry.type, static_cast<std::uint32_t>(map[i].type));
  }
}

TEST_F(LoaderTest, EveryBootHasAFreshSeed) {
  const auto seed = [&] {
    EXPECT_TRUE(memory_.clear());
    EXPECT_TRUE(load(memory_, files_of(BzImageBuilder().build()), {}));
    const std::uint64_t node = zero_page().hdr.setup_data;
    EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{node}), 0U);        // next
    EXPECT_EQ(memory_.read_object<std::uint32_t>(GuestAddress{node + 8}), 9U);    // SETUP_RNG_SEED
    EXPECT_EQ(memory_.read_object<std::uint32_t>(GuestAddress{node + 12}), 32U);  // len
    return *memory_.read_object<std::array<std::uint8_t, 32>>(GuestAddress{node + 16});
  };
  const auto first = seed();
  EXPECT_NE(first, seed());
  EXPECT_NE(first, (std::array<std::uint8_t, 32>{}));
}

TEST_F(LoaderTest, LongModeTablesMapFourGiBToThemselves) {
  const auto entry = load(memory_, files_of(BzImageBuilder().build()), {});
  ASSERT_TRUE(entry);
  for (const std::uint64_t address : {std::uint64_t{0}, std::uint64_t{0x123'4567}, std::uint64_t{0xBFFF'FFFF},
                                      std::uint64_t{0xFFFF'FFFF}}) {
    std::uint64_t table = entry->page_tables;
    for (const unsigned shift : {39U, 30U, 21U}) {
      const std::uint64_t slot = table + (address >> shift) % 512 * 8;
      const auto value = memory_.read_object<std::uint64_t>(GuestAddress{slot});
      ASSERT_EQ(*value & 3U, 3U) << address;
      table = *value & ~std::uint64_t{0xFFF};
      EXPECT_EQ((*value & 0x80U) != 0, shift == 21U);
    }
    EXPECT_EQ(table, address & ~(2 * kMiB - 1));
  }
  EXPECT_EQ(entry->gdt_limit, 31);
  EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{entry->gdt_base + 0x10}), 0x00AF'9B00'0000'FFFFU);
  EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{entry->gdt_base + 0x18}), 0x00CF'9300'0000'FFFFU);
}

TEST_F(LoaderTest, StartsPvhKernelInProtectedMode) {
  const auto entry = load(memory_, files_of(pvh_kernel(), 5000), {"quiet"});
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(entry->mode, EntryState::Mode::kProtected);
  EXPECT_EQ(entry->instruction_pointer, 16 * kMiB + 8);
  EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{entry->gdt_base + 0x10}), 0x00CF'9B00'0000'FFFFU);
  EXPECT_EQ(command_line_in_guest(), "quiet");

  const auto info = *memory_.read_object<HvmStartInfo>(GuestAddress{entry->boot_data});
  EXPECT_EQ(info.magic, 0x336E'C578U);
  EXPECT_EQ(info.version, 1U);
  EXPECT_EQ(info.cmdline_paddr, kCommandLineAddress);
  EXPECT_EQ(info.rsdp_paddr, platform::kAcpiTablesBase);
  ASSERT_EQ(info.nr_modules, 1U);
  const auto module = *memory_.read_object<HvmModule>(GuestAddress{info.modlist_paddr});
  EXPECT_EQ(module.size, 5000U);
  EXPECT_TRUE(holds_pattern(module.paddr, 5000));
  const std::vector<MemoryRange> map = memory_map(memory_);
  ASSERT_EQ(info.memmap_entries, map.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    const auto range = *memory_.read_object<HvmMemoryMapEntry>(
        GuestAddress{info.memmap_paddr + i * sizeof(HvmMemoryMapEntry)});
    EXPECT_EQ(range.addr, map[i].start);
    EXPECT_EQ(range.size, map[i].bytes);
    EXPECT_EQ(range.type, static_cast<std::uint32_t>(map[i].type));
  }
}

TEST_F(LoaderTest, PvhWithoutInitrdHasNoModule) {
  const auto entry = load(memory_, files_of(pvh_kernel()), {});
  ASSERT_TRUE(entry);
  const auto info = *memory_.read_object<HvmStartInfo>(GuestAddress{entry->boot_data});
  EXPECT_EQ(info.nr_modules, 0U);
  EXPECT_EQ(info.modlist_paddr, 0U);
}

TEST_F(LoaderTest, StartsElfWithoutNoteInLongMode) {
  ElfBuilder builder;
  builder.add_load(16 * kMiB, 5000);
  const auto entry = load(memory_, files_of(builder.build()), {});
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->mode, EntryState::Mode::kLong);
  EXPECT_EQ(entry->instruction_pointer, 16 * kMiB);
  EXPECT_EQ(zero_page().hdr.header, 0x5372'6448U);
}

TEST_F(LoaderTest, CommandLineMayBeAsLongAsTheKernelSays) {
  const Bytes kernel = BzImageBuilder().build();
  EXPECT_EQ(refusal(files_of(kernel), std::string(2047, 'x')), "");
  EXPECT_EQ(command_line_in_guest(), std::string(2047, 'x'));
  EXPECT_EQ(refusal(files_of(kernel), std::string(2048, 'x')),
            "-append: the command line has 2048 bytes, and this kernel takes at most 2047; shorten it");
  EXPECT_THAT(refusal(files_of(pvh_kernel()), std::string(2048, 'x')), HasSubstr("at most 2047"));
}

TEST_F(LoaderTest, CommandLineNeverLeavesItsPlace) {
  BzImageBuilder builder;
  builder.header.cmdline_size = UINT32_MAX;
  EXPECT_EQ(refusal(files_of(builder.build()), std::string(65535, 'x')), "");
  EXPECT_THAT(refusal(files_of(builder.build()), std::string(65536, 'x')), HasSubstr("at most 65535"));
}

TEST_F(LoaderTest, InitrdThatFillsMemoryExactlyFits) {
  // The kernel ends at 17 MiB.
  EXPECT_EQ(refusal(files_of(BzImageBuilder().build(), 47 * kMiB)), "");
  EXPECT_EQ(zero_page().hdr.ramdisk_image, 17 * kMiB);
  EXPECT_EQ(refusal(files_of(BzImageBuilder().build(), 47 * kMiB + 1)),
            "-initrd test with 48 MiB does not fit beside the kernel into 64 MiB of memory; it needs at "
            "least -m 65");
}

TEST_F(LoaderTest, InitrdStaysBelowTheKernelsLimit) {
  BzImageBuilder builder;
  builder.header.initrd_addr_max = 32 * kMiB - 1;
  EXPECT_EQ(refusal(files_of(builder.build(), 4096)), "");
  EXPECT_EQ(zero_page().hdr.ramdisk_image, 32 * kMiB - 4096);
  EXPECT_EQ(refusal(files_of(builder.build(), 16 * kMiB)),
            "-initrd test has 16 MiB, and this kernel takes at most 15 MiB");
}

TEST_F(LoaderTest, InitrdLiesBelowTheHoleOfALargeGuest) {
  const GuestMemory large = GuestMemory::create(5 * kGiB).value();
  BzImageBuilder builder;
  builder.header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  ASSERT_TRUE(load(large, files_of(builder.build(), 4096), {}));
  const auto page = *large.read_object<boot_params>(GuestAddress{kZeroPageAddress});
  EXPECT_EQ(page.hdr.ramdisk_image, GuestMemory::kHoleStart - 4096);
}

TEST_F(LoaderTest, InitrdGoesAboveTheHoleWhenNothingElseIsLeft) {
  const GuestMemory large = GuestMemory::create(5 * kGiB).value();
  BzImageBuilder builder;
  builder.header.init_size = static_cast<std::uint32_t>(GuestMemory::kHoleStart - 16 * kMiB);
  EXPECT_THAT(load(large, files_of(builder.build(), 4096), {}).error().message(),
              HasSubstr("this kernel takes at most 0 MiB"));
  builder.header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  ASSERT_TRUE(load(large, files_of(builder.build(), 4096), {}));
  const auto page = *large.read_object<boot_params>(GuestAddress{kZeroPageAddress});
  EXPECT_EQ(page.ext_ramdisk_image, 1U);
  EXPECT_EQ(page.hdr.ramdisk_image, 2 * kGiB - 4096);  // 4 GiB + 2 GiB - 4096, the low half
}

TEST_F(LoaderTest, SaysWhatAFileIsInsteadOfAKernel) {
  EXPECT_EQ(
      refusal(files_of(text_bytes("#!/bin/sh\n"))),
      "-kernel test is not a kernel; tapir starts an x86-64 bzImage (vmlinuz), an ELF vmlinux or a multiboot "
      "kernel");
  EXPECT_THAT(refusal(files_of(text_bytes("\xFD"
                                          "7zXZ"))),
              HasSubstr("compressed with xz"));
  EXPECT_EQ(
      refusal(files_of(text_bytes("MZ" + std::string(1000, 'x')))),
      "-kernel test is an EFI program without the Linux/x86 boot header; use an x86-64 bzImage (vmlinuz)");
  EXPECT_THAT(refusal(files_of(text_bytes("x"))), HasSubstr("is not a kernel"));
}

TEST_F(LoaderTest, TellsWhenAKernelEndsBeforeItsHeaderDoes) {
  const Bytes kernel = BzImageBuilder().build();
  for (const std::size_t bytes : {2U, 300U, 517U}) {
    Bytes start(kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(bytes));
    start[0] = std::byte{'M'};  // with the EFI stub, which distributions build in
    start[1] = std::byte{'Z'};
    EXPECT_EQ(refusal(files_of(start)), "-kernel test is truncated: it has " + std::to_string(bytes) +
                                            " bytes and not even the whole header of a kernel");
  }
}

TEST_F(LoaderTest, TellsWhenAFileIsEmptyOrEmptiedLater) {
  EXPECT_EQ(refusal(files_of({})), "-kernel test is empty");
  BootFiles files = files_of(BzImageBuilder().build());
  files.initrds.push_back({make_file({}, "-initrd test"), "test"});
  EXPECT_EQ(refusal(files), "-initrd test is empty");
}

TEST_F(LoaderTest, RereadsTheFilesAtEachBoot) {
  const UniqueFd fd(::memfd_create("kernel", MFD_CLOEXEC));
  const BootFiles files{ImageFile(UniqueFd(::dup(fd.get())), "-kernel test"), {}, {}};
  BzImageBuilder builder;
  testing::replace_content(fd.get(), builder.build());
  ASSERT_EQ(refusal(files), "");
  builder.header.pref_address = 32 * kMiB;
  const Bytes other = builder.build();
  testing::replace_content(fd.get(), other);
  EXPECT_EQ(load(memory_, files, {})->instruction_pointer, 32 * kMiB + 0x200);
  testing::replace_content(fd.get(), Bytes(other.begin(), other.begin() + 3000));
  EXPECT_EQ(refusal(files), "-kernel test is truncated: it has 3000 bytes and should have 5120");
}

TEST_F(LoaderTest, RefusesGuestWithoutMemoryAboveOneMiB) {
  const GuestMemory tiny = GuestMemory::create(kMiB).value();
  const auto entry = load(tiny, files_of(BzImageBuilder().build()), {});
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().message(), "the guest has no memory above 1 MiB; give it more, for example -m 256");
}

TEST_F(LoaderTest, LoadsARealKernel) {
  const char* const path = std::getenv("TAPIR_TEST_KERNEL");
  if (path == nullptr) {
    GTEST_SKIP() << "TAPIR_TEST_KERNEL does not name a vmlinuz or vmlinux";
  }
  const GuestMemory memory = GuestMemory::create(512 * kMiB).value();
  const auto files = BootFiles::open(path, {path});  // any file will do for an initrd
  ASSERT_TRUE(files) << files.error().message();
  const auto entry = load(memory, *files, {"console=ttyS0"});
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_TRUE(memory.slice(GuestAddress{entry->instruction_pointer}, 16));
}

}  // namespace
}  // namespace tapir::vmm::boot
