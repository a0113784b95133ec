// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/elf.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "vmm/boot/elf_file.h"
#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using testing::Bytes;
using testing::ElfBuilder;
using ::testing::HasSubstr;
using testing::make_file;
using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;

class ElfTest : public ::testing::Test {
 protected:
  ElfTest() { builder_.add_load(16 * kMiB, 5000, 10000); }

  std::string refusal(const Bytes& bytes) const {
    const auto image = load_elf(memory_, make_file(bytes));
    return image ? "" : image.error().message();
  }
  /// The file with a field of its ELF header or first program header changed.
  template <typename T>
  Bytes patched(std::size_t offset, T value) const {
    Bytes bytes = builder_.build();
    std::memcpy(&bytes[offset], &value, sizeof value);
    return bytes;
  }
  template <typename T>
  Bytes patched_segment(std::size_t offset, T value) const {
    return patched(sizeof(Elf64_Ehdr) + offset, value);
  }

  GuestMemory memory_ = GuestMemory::create(64 * kMiB).value();
  ElfBuilder builder_;
};

TEST_F(ElfTest, LoadsSegmentsAtPhysicalAddresses) {
  builder_.add_load(20 * kMiB, 100);
  const auto image = load_elf(memory_, make_file(builder_.build()));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->protocol, KernelImage::Protocol::kLinux64);
  EXPECT_EQ(image->entry, 16 * kMiB);
  EXPECT_EQ(image->end, 20 * kMiB + 100);
  const Bytes expected = testing::pattern(5000);
  const auto first = memory_.slice(GuestAddress{16 * kMiB}, 5000);
  EXPECT_TRUE(std::equal(first->begin(), first->end(), expected.begin(), expected.end()));
  const auto second = memory_.slice(GuestAddress{20 * kMiB}, 100);
  EXPECT_TRUE(std::equal(second->begin(), second->end(), expected.begin()));
}

TEST_F(ElfTest, EndIsThatOfTheHighestSegmentInAnyOrder) {
  builder_.add_load(2 * kMiB, 100);
  const auto image = load_elf(memory_, make_file(builder_.build()));
  ASSERT_TRUE(image);
  EXPECT_EQ(image->end, 16 * kMiB + 10000);
}

TEST_F(ElfTest, PvhNoteTakesPrecedenceOverEntry) {
  for (const std::size_t description : {std::size_t{4}, std::size_t{8}}) {
    for (const std::uint64_t alignment : {std::uint64_t{4}, std::uint64_t{8}}) {
      ElfBuilder builder = builder_;
      builder.add_pvh_note(16 * kMiB + 0x40, description, alignment);
      const auto image = load_elf(memory_, make_file(builder.build()));
      ASSERT_TRUE(image) << image.error().message();
      EXPECT_EQ(image->protocol, KernelImage::Protocol::kPvh);
      EXPECT_EQ(image->entry, 16 * kMiB + 0x40);
    }
  }
}

TEST_F(ElfTest, IgnoresAPvhNoteOfImpossibleSize) {
  builder_.add_pvh_note(16 * kMiB + 0x40, 2);
  const auto image = load_elf(memory_, make_file(builder_.build()));
  ASSERT_TRUE(image);
  EXPECT_EQ(image->protocol, KernelImage::Protocol::kLinux64);
}

TEST_F(ElfTest, SurvivesNotesWhoseLengthsLie) {
  builder_.add_pvh_note(16 * kMiB);
  const Bytes whole = builder_.build();
  const std::size_t notes = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr) + 5000;
  for (const std::uint32_t lie : {0U, 1U, 0x7FFF'FFFFU, 0xFFFF'FFFCU, 0xFFFF'FFFFU}) {
    for (std::size_t offset = notes; offset < notes + 8; offset += 4) {
      Bytes bytes = whole;
      std::memcpy(&bytes[offset], &lie, sizeof lie);
      EXPECT_TRUE(load_elf(memory_, make_file(bytes))) << lie;
    }
  }
}

TEST_F(ElfTest, RefusesEveryTruncation) {
  builder_.add_pvh_note(16 * kMiB);
  const Bytes whole = builder_.build();
  for (std::size_t bytes = SELFMAG; bytes < whole.size(); ++bytes) {
    const ImageFile file =
        make_file(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)));
    ASSERT_TRUE(is_elf(file).value()) << bytes;
    const auto image = load_elf(memory_, file);
    ASSERT_FALSE(image) << bytes;
    EXPECT_THAT(image.error().message(), ::testing::StartsWith("-kernel test is truncated: ")) << bytes;
  }
}

TEST_F(ElfTest, RefusesOtherMachinesAndOtherKinds) {
  EXPECT_EQ(refusal(patched(offsetof(Elf64_Ehdr, e_machine), Elf64_Half{EM_AARCH64})),
            "-kernel test is an ELF file for another machine; tapir starts x86-64 kernels");
  EXPECT_THAT(refusal(patched(EI_CLASS, std::uint8_t{ELFCLASS32})), HasSubstr("for another machine"));
  EXPECT_THAT(refusal(patched(EI_DATA, std::uint8_t{ELFDATA2MSB})), HasSubstr("for another machine"));
  EXPECT_EQ(refusal(patched(offsetof(Elf64_Ehdr, e_type), Elf64_Half{ET_DYN})),
            "-kernel test is an ELF file but no kernel: it has no fixed address (ET_EXEC)");
}

TEST_F(ElfTest, RefusesImpossibleProgramHeaders) {
  EXPECT_EQ(refusal(patched(offsetof(Elf64_Ehdr, e_phentsize), Elf64_Half{32})),
            "-kernel test is damaged: 1 program headers of 32 bytes");
  EXPECT_THAT(refusal(patched(offsetof(Elf64_Ehdr, e_phnum), Elf64_Half{0})), HasSubstr("is damaged"));
  EXPECT_THAT(refusal(patched(offsetof(Elf64_Ehdr, e_phnum), Elf64_Half{0xFFFF})), HasSubstr("is damaged"));
  EXPECT_THAT(refusal(patched(offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 8)), HasSubstr("is truncated"));
}

TEST_F(ElfTest, RefusesSegmentsWhoseNumbersWrap) {
  EXPECT_THAT(refusal(patched_segment(offsetof(Elf64_Phdr, p_offset), UINT64_MAX)),
              HasSubstr("is truncated"));
  EXPECT_THAT(refusal(patched_segment(offsetof(Elf64_Phdr, p_paddr), UINT64_MAX - 100)),
              HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
  EXPECT_THAT(refusal(patched_segment(offsetof(Elf64_Phdr, p_memsz), UINT64_MAX)),
              HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
  EXPECT_EQ(refusal(patched_segment(offsetof(Elf64_Phdr, p_filesz), std::uint64_t{20000})),
            "-kernel test is damaged: a segment has more bytes in the file than in memory");
}

TEST_F(ElfTest, RefusesSegmentsInTheLegacyArea) {
  EXPECT_THAT(refusal(patched_segment(offsetof(Elf64_Phdr, p_paddr), std::uint64_t{0x7000})),
              HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
}

TEST_F(ElfTest, RefusesOverlappingSegments) {
  builder_.add_load(16 * kMiB + 9999, 100);
  EXPECT_EQ(refusal(builder_.build()), "-kernel test is damaged: two segments overlap at 0x100270f");
}

TEST_F(ElfTest, SaysWhichMemoryIsEnough) {
  builder_.add_load(63 * kMiB, 16, 2 * kMiB);
  EXPECT_EQ(refusal(builder_.build()),
            "-kernel test does not fit into 64 MiB of memory; it needs at least -m 65");
}

TEST_F(ElfTest, RefusesFileWithNothingToLoad) {
  EXPECT_EQ(refusal(patched_segment(offsetof(Elf64_Phdr, p_type), std::uint32_t{PT_NULL})),
            "-kernel test is an ELF file but no kernel: it has nothing to load");
}

TEST_F(ElfTest, RefusesEntryOutsideOfItsSegments) {
  builder_.entry = 0xFFFF'FFFF'8100'0000;
  EXPECT_EQ(refusal(builder_.build()),
            "-kernel test is an ELF file but no kernel: its entry 0xffffffff81000000 is not at a physical "
            "address that "
            "it loads");
}

}  // namespace
}  // namespace tapir::vmm::boot
