// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "net/testing/temporary_directory.h"

namespace tapir::vmm {
namespace {

using net::testing::content;
using net::testing::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::unique_ptr<SerialFile> open(const std::string& path) {
  auto file = SerialFile::open(path);
  EXPECT_TRUE(file.has_value()) << file.error().message();
  return file ? *std::move(file) : nullptr;
}

TEST(SerialFile, StaysAsItWasWhenTheStartFails) {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("log")) << "old";
  open(directory.file("log")).reset();
  EXPECT_EQ(content(directory.file("log")), "old");
}

TEST(SerialFile, IsEmptiedWhenTheGuestCanRun) {
  const TemporaryDirectory directory;
  std::ofstream(directory.file("log")) << "old and long";
  const auto file = open(directory.file("log"));
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->commit().has_value());
  EXPECT_EQ(content(directory.file("log")), "");
  ASSERT_EQ(::write(file->fd(), "new", 3), 3);
  EXPECT_EQ(content(directory.file("log")), "new");
}

TEST(SerialFile, IsMadeAndIsGoneAgainWhenTheStartFails) {
  const TemporaryDirectory directory;
  auto file = open(directory.file("log"));
  EXPECT_TRUE(std::filesystem::exists(directory.file("log")));
  file.reset();
  EXPECT_FALSE(std::filesystem::exists(directory.file("log")));
}

TEST(SerialFile, IsKeptWhenTheGuestRan) {
  const TemporaryDirectory directory;
  auto file = open(directory.file("log"));
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->commit().has_value());
  file.reset();
  EXPECT_TRUE(std::filesystem::exists(directory.file("log")));
}

TEST(SerialFile, IsRemovedWhereALinkLedTo) {
  const TemporaryDirectory directory;
  std::filesystem::create_symlink(directory.file("target"), directory.file("link"));
  open(directory.file("link")).reset();
  EXPECT_FALSE(std::filesystem::exists(directory.file("target")));
  EXPECT_TRUE(std::filesystem::is_symlink(directory.file("link")));
}

TEST(SerialFile, IsNotRemovedWhenOthersUseIt) {
  const TemporaryDirectory directory;
  auto file = open(directory.file("log"));
  std::ofstream(directory.file("log")) << "of somebody else";
  file.reset();
  EXPECT_EQ(content(directory.file("log")), "of somebody else");
  file = open(directory.file("other"));
  ASSERT_EQ(::unlink(directory.file("other").c_str()), 0);
  std::ofstream(directory.file("other")).flush();
  file.reset();
  EXPECT_TRUE(std::filesystem::exists(directory.file("other")));
}

TEST(SerialFile, NamesOneThatCannotBeOpened) {
  const TemporaryDirectory directory;
  const auto missing = SerialFile::open(directory.file("no/such/log"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().message(), AllOf(HasSubstr("-serial file"), HasSubstr("no/such/log")));
}

TEST(SerialFile, DoesNotWaitForTheReaderOfAFifo) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("fifo");
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const auto refused = SerialFile::open(path);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message(),
            "-serial file:" + path + ": nobody reads this FIFO; start its reader before tapir");
  const UniqueFd reader(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(reader);
  auto file = open(path);
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->commit().has_value());
  EXPECT_EQ(::write(file->fd(), "x", 1), 1);
  file.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(SerialFile, TakesADeviceAsItIs) {
  const auto file = open("/dev/null");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->commit().has_value());
}

}  // namespace
}  // namespace tapir::vmm
