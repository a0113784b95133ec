// SPDX-License-Identifier: Apache-2.0
#include "helper/read_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "net/base/unique_fd.h"

namespace tapir::helper {
namespace {

UniqueFd file_of(const std::string& text) {
  UniqueFd fd(::memfd_create("read_file_test", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_SET), 0);
  return fd;
}

TEST(ReadFile, GivesEveryByte) {
  for (const std::size_t size : {0U, 1U, 4095U, 4096U, 4097U, 8192U, 100'000U}) {
    std::string text(size, 'x');
    if (size > 2) {
      text[size / 2] = '\0';
    }
    EXPECT_EQ(read_file(file_of(text).get(), 100'000).value(), text) << size;
  }
}

TEST(ReadFile, AFileThatIsTooLongIsAnErrorAndNotAPart) {
  for (const std::size_t max : {0U, 5U, 4096U}) {
    EXPECT_TRUE(read_file(file_of(std::string(max, 'x')).get(), max)) << max;
    const auto result = read_file(file_of(std::string(max + 1, 'x')).get(), max);
    ASSERT_FALSE(result) << max;
    EXPECT_EQ(result.error().message(), "is longer than " + std::to_string(max) + " bytes");
  }
}

TEST(ReadFile, SaysWhyItCannotRead) {
  const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto result = read_file(folder.get(), 10);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "cannot be read: Is a directory");
  EXPECT_EQ(result.error().code(), EISDIR);
}

}  // namespace
}  // namespace tapir::helper
