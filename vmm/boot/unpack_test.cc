// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/unpack.h"

#include <gmock/gmock.h>

#include "vmm/boot/loader.h"
#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using testing::Bytes;
using testing::BzImageBuilder;
using testing::ElfBuilder;
using testing::gzipped;
using ::testing::HasSubstr;
using testing::make_file;
using testing::pattern;
using testing::zstandard;
using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;

Bytes content_of(const ImageFile& file) {
  Bytes bytes(file.size().value());
  EXPECT_TRUE(file.read(0, bytes));
  return bytes;
}

Bytes elf_kernel() {
  ElfBuilder builder;
  builder.add_load(16 * kMiB, 5000);
  return builder.build();
}

TEST(UnpackTest, GivesWhatWasPacked) {
  const Bytes bytes = pattern(600'000);
  for (const Bytes& packed : {gzipped(bytes), zstandard(bytes)}) {
    const auto unpacked = unpack(make_file(packed), 4 * kMiB);
    ASSERT_TRUE(unpacked) << unpacked.error().message();
    ASSERT_TRUE(unpacked->has_value());
    EXPECT_FALSE((*unpacked)->cut);
    EXPECT_EQ((*unpacked)->file.label(), "-kernel test");
    EXPECT_TRUE(content_of((*unpacked)->file) == bytes);
  }
}

TEST(UnpackTest, LeavesOtherFilesAlone) {
  const auto unpacked = unpack(make_file(pattern(2)), kMiB);
  ASSERT_TRUE(unpacked);
  EXPECT_FALSE(unpacked->has_value());
}

TEST(UnpackTest, StopsAtTheLimit) {
  const Bytes zeros(8 * kMiB);
  for (const Bytes& packed : {gzipped(zeros), zstandard(zeros)}) {
    EXPECT_LT(packed.size(), 100'000U);
    const auto unpacked = unpack(make_file(packed), kMiB + 1);
    ASSERT_TRUE(unpacked) << unpacked.error().message();
    EXPECT_TRUE((*unpacked)->cut);
    EXPECT_EQ((*unpacked)->file.size().value(), kMiB + 1);
  }
}

TEST(UnpackTest, TellsDamageAndMissingEnds) {
  const Bytes bytes = pattern(100'000);
  for (const Bytes& packed : {gzipped(bytes), zstandard(bytes)}) {
    for (std::size_t size = 4; size < packed.size(); size = size * 3 / 2) {
      const auto unpacked =
          unpack(make_file(Bytes(packed.begin(), packed.begin() + static_cast<long>(size))), kMiB);
      ASSERT_FALSE(unpacked) << size;
      EXPECT_THAT(unpacked.error().message(), HasSubstr("is truncated: its ")) << size;
    }
    Bytes damaged = packed;
    damaged[6] ^= std::byte{0xFF};
    damaged[packed.size() / 2] ^= std::byte{0xFF};
    damaged[packed.size() - 5] ^= std::byte{0xFF};
    const auto unpacked = unpack(make_file(damaged), kMiB);
    ASSERT_FALSE(unpacked);
    EXPECT_THAT(unpacked.error().message(), HasSubstr("-kernel test is "));
  }
}

TEST(UnpackTest, KernelsMayBeCompressed) {
  const GuestMemory memory = GuestMemory::create(18 * kMiB).value();
  const auto refusal = [&](const Bytes& kernel) {
    const BootFiles files{make_file(kernel), {}, {}};
    const auto entry = load(memory, files, {});
    return entry ? "" : entry.error().message();
  };
  for (const Bytes& kernel : {elf_kernel(), testing::multiboot_flat_kernel(), BzImageBuilder().build()}) {
    EXPECT_EQ(refusal(gzipped(kernel)), "");
    EXPECT_EQ(refusal(zstandard(kernel)), "");
  }
  EXPECT_EQ(refusal(gzipped(gzipped(elf_kernel()))),
            "-kernel test is compressed with gzip twice; uncompress it first, or use the bzImage (vmlinuz)");
  ElfBuilder large;
  large.add_load(16 * kMiB, 100, 20 * kMiB);
  EXPECT_THAT(refusal(gzipped(large.build())), HasSubstr("it needs at least -m 36"));
  EXPECT_EQ(
      refusal(gzipped(Bytes(20 * kMiB))),
      "-kernel test is not a kernel; tapir starts an x86-64 bzImage (vmlinuz), an ELF vmlinux or a multiboot "
      "kernel; it was unpacked only as far as the guest has memory");
}

/// Every kernel that ends anywhere inside of its headers, or one byte too early, is refused with its name.
TEST(UnpackTest, KernelsThatEndTooEarlyAreRefused) {
  const GuestMemory memory = GuestMemory::create(32 * kMiB).value();
  ElfBuilder pvh;
  pvh.add_load(16 * kMiB, 5000);
  pvh.add_pvh_note(16 * kMiB);
  for (const Bytes& kernel :
       {BzImageBuilder().build(), elf_kernel(), pvh.build(), testing::multiboot_elf_kernel(),
        testing::multiboot_flat_kernel(), gzipped(elf_kernel()), zstandard(elf_kernel())}) {
    std::vector<std::size_t> sizes = {kernel.size() - 1, kernel.size() / 2};
    for (std::size_t size = 0; size < std::min<std::size_t>(kernel.size(), 0x300);
         size += size < 0x80 ? 1 : 4) {
      sizes.push_back(size);
    }
    for (const std::size_t size : sizes) {
      const BootFiles files{
          make_file(Bytes(kernel.begin(), kernel.begin() + static_cast<long>(size))), {}, {}};
      const auto entry = load(memory, files, {});
      ASSERT_FALSE(entry) << size << " of " << kernel.size() << " bytes";
      EXPECT_THAT(entry.error().message(), HasSubstr("-kernel test")) << size;
    }
  }
}

}  // namespace
}  // namespace tapir::vmm::boot
