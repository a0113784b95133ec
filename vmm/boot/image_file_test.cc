// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/image_file.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "net/testing/temporary_directory.h"
#include "vmm/boot/testing/synthetic_kernel.h"

namespace tapir::vmm::boot {
namespace {

using ::testing::HasSubstr;

class ImageFileTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.file(name); }

  net::testing::TemporaryDirectory directory_;
};

TEST_F(ImageFileTest, OpenNamesTheOptionWhenTheFileIsMissing) {
  const auto file = ImageFile::open("-kernel", path("absent"));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message(), "-kernel " + path("absent") + ": No such file or directory");
  EXPECT_EQ(file.error().code(), ENOENT);
}

TEST_F(ImageFileTest, OpenRefusesDirectory) {
  const auto file = ImageFile::open("-initrd", directory_.path());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message(), "-initrd " + directory_.path() + " is a directory, not a file");
}

TEST_F(ImageFileTest, OpenRefusesFifoWithoutWaitingForAWriter) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  const auto file = ImageFile::open("-kernel", path("fifo"));
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().message(), HasSubstr("is not a regular file"));
}

TEST_F(ImageFileTest, SizeOfEmptyFileIsAnError) {
  std::ofstream(path("empty")).flush();
  const auto file = ImageFile::open("-kernel", path("empty"));
  ASSERT_TRUE(file);
  const auto size = file->size();
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().message(), "-kernel " + path("empty") + " is empty");
}

TEST_F(ImageFileTest, ReadTellsWhereAShortFileEnds) {
  const ImageFile file = testing::make_file(testing::pattern(10));
  std::array<std::byte, 8> into{};
  ASSERT_TRUE(file.read(2, into));
  EXPECT_EQ(into[0], std::byte{2});
  const Status status = file.read(4, into);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "-kernel test is truncated: it ends at byte 10 and should go on to 12");
}

TEST_F(ImageFileTest, ReadBeyondTheLargestOffsetIsAnError) {
  const ImageFile file = testing::make_file(testing::pattern(10));
  std::array<std::byte, 8> into{};
  EXPECT_FALSE(file.read(UINT64_MAX - 1, into));
  EXPECT_FALSE(file.read(UINT64_MAX / 2 + 1, into));
}

TEST_F(ImageFileTest, BootFilesSurviveRemovalOfTheirPaths) {
  std::ofstream(path("kernel")) << "k";
  std::ofstream(path("initrd")) << "initrd";
  const auto files = BootFiles::open(path("kernel"), {path("initrd")});
  ASSERT_TRUE(files);
  std::filesystem::remove(path("kernel"));
  std::filesystem::remove(path("initrd"));
  EXPECT_EQ(files->kernel.size().value(), 1U);
  ASSERT_EQ(files->initrds.size(), 1U);
  EXPECT_EQ(files->initrds[0].file.size().value(), 6U);
}

TEST_F(ImageFileTest, BootFilesHaveNoInitrdWithoutAPath) {
  std::ofstream(path("kernel")) << "k";
  const auto files = BootFiles::open(path("kernel"), {});
  ASSERT_TRUE(files);
  EXPECT_TRUE(files->initrds.empty());
}

TEST_F(ImageFileTest, ModuleArgumentsFollowTheFirstBlank) {
  std::ofstream(path("kernel")) << "k";
  std::ofstream(path("module")) << "module";
  std::ofstream(path("with blank")) << "blank";
  const auto files = BootFiles::open(path("kernel"), {path("module") + " one two", path("with blank")});
  ASSERT_TRUE(files) << files.error().message();
  EXPECT_EQ(files->initrds[0].text, path("module") + " one two");
  EXPECT_TRUE(files->initrds[0].has_arguments);
  EXPECT_EQ(files->initrds[0].file.label(), "-initrd " + path("module"));
  EXPECT_FALSE(files->initrds[1].has_arguments);
  EXPECT_EQ(files->initrds[1].file.size().value(), 5U);
  EXPECT_EQ(files->kernel_path, path("kernel"));
  EXPECT_EQ(BootFiles::open(path("kernel"), {path("absent") + " x"}).error().message(),
            "-initrd " + path("absent") + ": No such file or directory");
}

}  // namespace
}  // namespace tapir::vmm::boot
