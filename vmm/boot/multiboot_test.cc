// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/multiboot.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "vmm/boot/loader.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using testing::Bytes;
using testing::ElfBuilder;
using ::testing::HasSubstr;
using testing::make_file;
using testing::multiboot_elf_kernel;
using testing::multiboot_flat_kernel;
using testing::multiboot_header;
using testing::pattern;
using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;

class MultibootTest : public ::testing::Test {
 protected:
  static BootFiles files_of(const Bytes& kernel) { return {make_file(kernel), {}, "/boot/kernel.elf"}; }
  std::string refusal(const Bytes& kernel) const {
    const auto entry = load(memory_, files_of(kernel), {});
    return entry ? "" : entry.error().message();
  }
  /// A kernel of these addresses in the flat form, 4096 bytes with the header at the 64th.
  static Bytes flat(std::uint32_t header_addr, std::uint32_t load, std::uint32_t load_end,
                    std::uint32_t bss_end, std::uint32_t entry) {
    Bytes bytes = pattern(4096);
    const Bytes header = multiboot_header(0, {header_addr, load, load_end, bss_end, entry});
    std::copy(header.begin(), header.end(), bytes.begin() + 64);
    return bytes;
  }
  std::uint32_t word(std::uint64_t address) const {
    return memory_.read_object<std::uint32_t>(GuestAddress{address}).value();
  }
  std::string text(std::uint64_t address) const {
    return reinterpret_cast<const char*>(memory_.slice(GuestAddress{address}, 1)->data());
  }

  GuestMemory memory_ = GuestMemory::create(16 * kMiB).value();
};

TEST_F(MultibootTest, StartsA32BitElfKernelInProtectedMode) {
  const auto entry = load(memory_, files_of(multiboot_elf_kernel()), {"one two"});
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(entry->mode, EntryState::Mode::kProtected);
  EXPECT_EQ(entry->instruction_pointer, kMiB);
  const std::uint64_t info = entry->boot_data;
  EXPECT_EQ(word(info), 0x245U);  // memory, command line, memory map, name of the loader
  EXPECT_EQ(text(word(info + 16)), "/boot/kernel.elf one two");
  EXPECT_EQ(text(word(info + 64)), "tapir");
  EXPECT_EQ(word(info + 8), 15 * 1024U);
}

TEST_F(MultibootTest, MemoryMapIsTheGuests) {
  const auto entry = load(memory_, files_of(multiboot_elf_kernel()), {});
  ASSERT_TRUE(entry) << entry.error().message();
  const auto map = memory_map(memory_);
  ASSERT_EQ(word(entry->boot_data + 44), map.size() * 24);
  std::uint64_t at = word(entry->boot_data + 48);
  for (const MemoryRange& range : map) {
    EXPECT_EQ(word(at), 20U);
    EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{at + 4}), range.start);
    EXPECT_EQ(memory_.read_object<std::uint64_t>(GuestAddress{at + 12}), range.bytes);
    EXPECT_EQ(word(at + 20), static_cast<std::uint32_t>(range.type));
    at += 24;
  }
}

TEST_F(MultibootTest, LoadsAFlatKernelByTheAddressesOfItsHeader) {
  const auto entry = load(memory_, files_of(multiboot_flat_kernel()), {});
  ASSERT_TRUE(entry) << entry.error().message();
  EXPECT_EQ(entry->instruction_pointer, 2 * kMiB);
  EXPECT_EQ(word(2 * kMiB + 64), 0x1BAD'B002U);
  EXPECT_EQ(memory_.read_object<std::byte>(GuestAddress{2 * kMiB + 250}), std::byte{250});
}

TEST_F(MultibootTest, ModulesLieOnPagesBehindTheKernelWithTheirArguments) {
  BootFiles files = files_of(multiboot_flat_kernel());
  files.initrds.push_back({make_file(pattern(5000), "-initrd a"), "a", false});
  files.initrds.push_back({make_file(pattern(10), "-initrd b"), "b x=1 y", true});
  const auto entry = load(memory_, files, {});
  ASSERT_TRUE(entry) << entry.error().message();
  const std::uint64_t info = entry->boot_data;
  EXPECT_EQ(word(info) & 8U, 8U);
  ASSERT_EQ(word(info + 20), 2U);
  const std::uint64_t list = word(info + 24);
  EXPECT_EQ(word(list), 2 * kMiB + 0x2000);
  EXPECT_EQ(word(list + 4), 2 * kMiB + 0x2000 + 5000);
  EXPECT_EQ(text(word(list + 8)), "a");
  EXPECT_EQ(word(list + 16), 2 * kMiB + 0x4000);
  EXPECT_EQ(word(list + 20), 2 * kMiB + 0x4000 + 10);
  EXPECT_EQ(text(word(list + 24)), "b x=1 y");
  EXPECT_EQ(memory_.read_object<std::byte>(GuestAddress{2 * kMiB + 0x2000 + 7}), std::byte{7});
}

TEST_F(MultibootTest, RefusesModulesThatHaveNoRoom) {
  BootFiles files = files_of(multiboot_flat_kernel());
  files.initrds.push_back({make_file(Bytes(15 * kMiB), "-initrd large"), "large", false});
  EXPECT_EQ(load(memory_, files, {}).error().message(),
            "-initrd large does not fit behind the kernel into 16 MiB of memory");
  files.initrds.clear();
  for (int i = 0; i < 3; ++i) {
    files.initrds.push_back({make_file(pattern(1), "-initrd m"), "m " + std::string(30000, 'x'), true});
  }
  EXPECT_EQ(load(memory_, files, {}).error().message(),
            "-initrd: there is no room for so many modules, or such long arguments; give fewer");
}

TEST_F(MultibootTest, RefusesHeadersThatContradictThemselves) {
  EXPECT_EQ(refusal(flat(0x20'0040, 0x20'0000, 0x20'1000, 0x20'2000, 0x20'0000)), "");
  EXPECT_EQ(refusal(flat(0x20'0040, 0x20'0000, 0, 0, 0x20'0000)), "");
  EXPECT_THAT(refusal(flat(0x20'0040, 0x10'0000, 0, 0, 0x20'0000)),
              HasSubstr("before the file's first byte"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0041, 0, 0, 0x20'0041)),
              HasSubstr("before the file's first byte"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0000, 0x10'0000, 0, 0x20'0000)), HasSubstr("before the start"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0000, 0x20'1001, 0, 0x20'0000)), HasSubstr("is truncated"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0000, 0x20'1000, 0x20'0FFF, 0x20'0000)), HasSubstr("end of BSS"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0000, 0x20'1000, 0, 0x20'1000)), HasSubstr("the entry 0x201000"));
  EXPECT_THAT(refusal(flat(0x20'0040, 0x20'0000, 0x20'1000, 0xFFFF'FFFF, 0x20'0000)),
              HasSubstr("from 1 MiB"));
  EXPECT_THAT(refusal(flat(0x1040, 0x1000, 0x2000, 0, 0x1000)), HasSubstr("from 1 MiB"));
}

TEST_F(MultibootTest, RefusesWhatItCannotGive) {
  Bytes kernel = multiboot_header(0x8);
  kernel.resize(100);
  EXPECT_EQ(refusal(kernel),
            "-kernel test is a multiboot kernel that needs what tapir does not know (flags 0x8)");
  kernel = multiboot_header(0x7);
  EXPECT_EQ(refusal(kernel),
            "-kernel test is damaged: it has a multiboot header without addresses and is no ELF file");
  const Bytes second = {std::byte{0xD6}, std::byte{0x50}, std::byte{0x52}, std::byte{0xE8},
                        std::byte{0},    std::byte{0},    std::byte{0},    std::byte{0},
                        std::byte{16},   std::byte{0},    std::byte{0},    std::byte{0},
                        std::byte{0x1A}, std::byte{0xAF}, std::byte{0xAD}, std::byte{0x17}};
  EXPECT_EQ(refusal(second), "-kernel test is a multiboot 2 kernel; tapir speaks multiboot 1");
}

TEST_F(MultibootTest, SaysWhatIsWrongWithElfFilesOfTheOtherWidth) {
  ElfBuilder builder;
  builder.entry = kMiB;
  builder.add_load(kMiB, 5000);
  EXPECT_THAT(refusal(builder.build_32()), HasSubstr("is a 32-bit ELF file without a multiboot header"));
  const Bytes header = multiboot_header(0);
  std::copy(header.begin(), header.end(), builder.segments[0].content.begin());
  EXPECT_EQ(refusal(builder.build_32()), "");
  EXPECT_THAT(refusal(builder.build()), HasSubstr("objcopy -O elf32-i386"));
}

TEST_F(MultibootTest, ComesBeforePvhInA32BitFileAndBehindItIn64) {
  ElfBuilder builder;
  builder.entry = kMiB;
  builder.add_load(kMiB, 5000);
  const Bytes header = multiboot_header(0);
  std::copy(header.begin(), header.end(), builder.segments[0].content.begin());
  builder.add_pvh_note(kMiB + 8);
  EXPECT_EQ(load(memory_, files_of(builder.build_32()), {})->boot_data, kMultibootInfoAddress);
  EXPECT_EQ(load(memory_, files_of(builder.build()), {})->boot_data, kStartInfoAddress);
}

TEST_F(MultibootTest, CommandLineLeavesRoomForThePath) {
  const auto entry = load(memory_, files_of(multiboot_elf_kernel()), {std::string(2040, 'x')});
  ASSERT_FALSE(entry);
  EXPECT_THAT(entry.error().message(), HasSubstr("at most 2047"));
}

}  // namespace
}  // namespace tapir::vmm::boot
