// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/bzimage.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <functional>

#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using testing::Bytes;
using testing::BzImageBuilder;
using testing::make_file;
using virtio::GuestAddress;
using virtio::GuestMemory;

constexpr std::uint64_t kMiB = 1U << 20U;

class BzImageTest : public ::testing::Test {
 protected:
  Result<KernelImage> load(const Bytes& bytes) const { return load_bzimage(memory_, make_file(bytes)); }
  std::string refusal(const Bytes& bytes) const {
    const auto image = load(bytes);
    return image ? "" : image.error().message();
  }

  GuestMemory memory_ = GuestMemory::create(64 * kMiB).value();
  BzImageBuilder builder_;
};

TEST_F(BzImageTest, LoadsCodeAtPreferredAddress) {
  const auto image = load(builder_.build());
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->protocol, KernelImage::Protocol::kLinux64);
  EXPECT_EQ(image->entry, 0x100'0200U);
  EXPECT_EQ(image->end, 0x110'0000U);
  EXPECT_EQ(image->initrd_limit, 0x8000'0000U);
  EXPECT_FALSE(image->initrd_above_hole);
  EXPECT_EQ(image->command_line_max, 2047U);
  const auto code = memory_.slice(GuestAddress{0x100'0000}, 4096);
  const Bytes expected = testing::pattern(4096);
  EXPECT_TRUE(std::equal(code->begin(), code->end(), expected.begin(), expected.end()));
}

TEST_F(BzImageTest, KeepsTheHeaderForTheZeroPage) {
  builder_.header.root_flags = 1;
  builder_.header.payload_length = 77;
  const auto image = load(builder_.build());
  ASSERT_TRUE(image);
  EXPECT_EQ(image->header.root_flags, 1);
  EXPECT_EQ(image->header.payload_length, 77U);
  EXPECT_EQ(image->header.code32_start, 0x100'0000U);
}

TEST_F(BzImageTest, DropsHeaderFieldsBehindItsOwnEnd) {
  builder_.header.jump = 0x62EB;  // the header ends at 0x264, behind init_size
  builder_.header.handover_offset = 0x1234;
  const auto image = load(builder_.build());
  ASSERT_TRUE(image);
  EXPECT_EQ(image->header.handover_offset, 0U);
}

TEST_F(BzImageTest, RoundsPreferredAddressUpToAlignment) {
  builder_.header.pref_address = 0x100'1000;
  const auto image = load(builder_.build());
  ASSERT_TRUE(image);
  EXPECT_EQ(image->entry, 0x120'0200U);
}

TEST_F(BzImageTest, LetsInitrdGoAnywhereWhenTheKernelSaysSo) {
  builder_.header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  const auto image = load(builder_.build());
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->initrd_above_hole);
  EXPECT_EQ(image->initrd_limit, GuestMemory::kHoleStart);
}

TEST_F(BzImageTest, ReadsFourSetupSectorsWhenTheHeaderSaysNone) {
  builder_.header.setup_sects = 0;
  Bytes bytes = builder_.build();
  bytes.insert(bytes.begin() + 1024, 3 * 512, std::byte{0xEE});
  const auto image = load(bytes);
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(memory_.read_object<std::uint8_t>(GuestAddress{0x100'0001}), 1);
}

TEST_F(BzImageTest, RefusesEveryTruncation) {
  const Bytes whole = builder_.build();
  for (std::size_t bytes = 1; bytes < whole.size(); ++bytes) {
    const ImageFile file =
        make_file(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)));
    const auto recognised = is_bzimage(file);
    ASSERT_TRUE(recognised) << bytes;
    const auto image = load_bzimage(memory_, file);
    ASSERT_FALSE(image) << bytes;
    EXPECT_THAT(image.error().message(), ::testing::StartsWith("-kernel test is truncated: ")) << bytes;
  }
}

TEST_F(BzImageTest, SaysWhichMemoryIsEnough) {
  builder_.header.init_size = 60 * kMiB;
  EXPECT_EQ(refusal(builder_.build()),
            "-kernel test does not fit into 64 MiB of memory; it needs at least -m 76");
}

TEST_F(BzImageTest, RefusesAddressesOutsideOfMemory) {
  builder_.header.pref_address = 0x1000;
  builder_.header.kernel_alignment = 0x1000;
  EXPECT_THAT(refusal(builder_.build()),
              ::testing::HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
  builder_.header.pref_address = UINT64_MAX;
  EXPECT_THAT(refusal(builder_.build()),
              ::testing::HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
  builder_.header.pref_address = GuestMemory::kHoleStart - 0x1000;
  EXPECT_THAT(refusal(builder_.build()),
              ::testing::HasSubstr("a kernel may take memory from 1 MiB to 3 GiB only"));
}

struct Refusal {
  const char* name;
  std::function<void(BzImageBuilder&)> change;
  const char* message;
};

class BzImageRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(BzImageRefusalTest, IsOneClearSentence) {
  const GuestMemory memory = GuestMemory::create(64 * kMiB).value();
  BzImageBuilder builder;
  GetParam().change(builder);
  const auto image = load_bzimage(memory, make_file(builder.build()));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().message(), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Headers, BzImageRefusalTest,
    ::testing::Values(
        Refusal{
            "OldProtocol", [](BzImageBuilder& b) { b.header.version = 0x020B; },
            "-kernel test is too old a kernel: its boot protocol is 2.11, and tapir needs 2.12 (Linux 3.8)"},
        Refusal{"ThirtyTwoBits", [](BzImageBuilder& b) { b.header.xloadflags = 0; },
                "-kernel test is a 32-bit kernel; tapir starts 64-bit kernels"},
        Refusal{"ZImage", [](BzImageBuilder& b) { b.header.loadflags = 0; },
                "-kernel test is a zImage, which is loaded below 1 MiB; build a bzImage"},
        Refusal{"NoAlignment", [](BzImageBuilder& b) { b.header.kernel_alignment = 0; },
                "-kernel test is damaged: its header asks for alignment 0x0"},
        Refusal{"OddAlignment", [](BzImageBuilder& b) { b.header.kernel_alignment = 0x300000; },
                "-kernel test is damaged: its header asks for alignment 0x300000"},
        Refusal{"NoCode", [](BzImageBuilder& b) { b.syssize = 0; },
                "-kernel test is damaged: its header says that there is no code"},
        Refusal{"ShortHeader", [](BzImageBuilder& b) { b.header.jump = 0x10EB; },
                "-kernel test is damaged: its header ends at byte 530"},
        Refusal{"MoreCodeThanFile", [](BzImageBuilder& b) { b.syssize = UINT32_MAX; },
                "-kernel test is truncated: it has 5120 bytes and should have 68719477744"}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace tapir::vmm::boot
