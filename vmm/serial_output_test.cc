// SPDX-License-Identifier: Apache-2.0
#include "vmm/serial_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/open_file.h"
#include "net/testing/temporary_directory.h"

namespace tapir::vmm {
namespace {

using net::testing::content;
using net::testing::TemporaryDirectory;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Ample for anything that ends at all; no test waits for it unless it fails.
constexpr milliseconds kLong = seconds(60);

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read.reset(ends[0]);
    write.reset(ends[1]);
  }
  UniqueFd read, write;
};

std::unique_ptr<SerialOutput> start(int fd) {
  auto output = SerialOutput::start(fd);
  EXPECT_TRUE(output.has_value());
  return *std::move(output);
}

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 65536> piece{};
  for (ssize_t got = 0; (got = ::read(fd, piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<std::size_t>(got));
  }
  return text;
}

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST(SerialOutput, WritesEverythingInOrderBeforeItIsGone) {
  const TemporaryDirectory directory;
  std::string sent;
  {
    const auto file = open_file(directory.file("log"), O_WRONLY | O_CREAT, 0666);
    ASSERT_TRUE(file.has_value());
    const auto output = start(file->get());
    for (unsigned i = 0; i < 20'000; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      sent += line;
      output->put(bytes(line));
      if (sent.size() % SerialOutput::kRingBytes < line.size()) {
        ASSERT_TRUE(output->flush(kLong));
      }
    }
    ASSERT_TRUE(output->flush(kLong));
    EXPECT_EQ(output->loss().bytes, 0U);
  }
  EXPECT_EQ(content(directory.file("log")), sent);
}

// SER-01, FLT-17: 100 MB from the guest while nobody reads.
TEST(SerialOutput, NeitherBlocksNorGrowsWhenThePipeIsFull) {
  const Pipe pipe;
  auto output = start(pipe.write.get());
  const std::string line(1000, 'x');
  output->put(bytes(line));
  const std::size_t before = resident_bytes();
  constexpr std::uint64_t kLines = 100'000;
  for (std::uint64_t i = 1; i < kLines; ++i) {
    output->put(bytes(line));
  }
  EXPECT_LT(resident_bytes(), before + (16U << 20));
  const std::uint64_t lost = output->loss().bytes;
  EXPECT_GT(lost, kLines * line.size() - SerialOutput::kRingBytes - (1U << 20)) << "all but ring and pipe";
  EXPECT_FALSE(output->flush(milliseconds(10)));
  EXPECT_EQ(output->loss().reason, "its reader was too slow");
  output.reset();  // returns although nobody reads
}

TEST(SerialOutput, CountsAtTheEndWhatNobodyRead) {
  const Pipe pipe;
  const auto output = start(pipe.write.get());
  const std::string text(200'000, 'x');
  output->put(bytes(text));
  EXPECT_EQ(output->loss().bytes, 0U);
  EXPECT_EQ(output->loss().reason, "");
  output->finish();
  int held = 0;
  ASSERT_EQ(::ioctl(pipe.read.get(), FIONREAD, &held), 0);
  EXPECT_EQ(output->loss().bytes, text.size() - static_cast<std::size_t>(held));
  EXPECT_EQ(output->loss().reason, "its reader was too slow");
  output->finish();  // once more does nothing
}

TEST(SerialOutput, LeavesTheModeOfTheDescriptorAlone) {
  const Pipe pipe;
  const int before = ::fcntl(pipe.write.get(), F_GETFL);
  const auto output = start(pipe.write.get());
  output->put(bytes("x"));
  output->flush(kLong);
  EXPECT_EQ(::fcntl(pipe.write.get(), F_GETFL), before);
}

TEST(SerialOutput, KeepsADescriptorOfItsOwn) {
  Pipe pipe;
  auto output = start(pipe.write.get());
  pipe.write.reset();
  output->put(bytes("still here"));
  output.reset();
  EXPECT_EQ(read_to_end(pipe.read.get()), "still here");
  EXPECT_FALSE(SerialOutput::start(-1).has_value());
}

TEST(SerialOutput, GoesOnWhenASlowReaderComesBack) {
  Pipe pipe;
  auto output = start(pipe.write.get());
  const std::string sent(200'000, 'x');  // more than the pipe holds, less than the ring
  output->put(bytes(sent));
  EXPECT_FALSE(output->flush(milliseconds(20)));
  std::string received;
  while (received.size() < sent.size()) {
    std::array<char, 4096> piece{};
    const ssize_t got = ::read(pipe.read.get(), piece.data(), piece.size());
    ASSERT_GT(got, 0);
    received.append(piece.data(), static_cast<std::size_t>(got));
  }
  EXPECT_EQ(received, sent);
  EXPECT_TRUE(output->flush(kLong));
  EXPECT_EQ(output->loss().bytes, 0U);
}

TEST(SerialOutput, DropsWithoutASignalWhenTheReaderCloses) {
  Pipe pipe;
  const auto output = start(pipe.write.get());
  pipe.read.reset();
  for (unsigned i = 0; i < 100; ++i) {
    output->put(bytes("nobody reads this\n"));
  }
  EXPECT_TRUE(output->flush(kLong)) << "SIGPIPE would have ended the test";
  EXPECT_EQ(output->loss().bytes, 1800U);
  EXPECT_EQ(output->loss().reason, "Broken pipe");
}

TEST(SerialOutput, DropsAndCountsWhenTheDiskIsFull) {
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  if (!full) {
    GTEST_SKIP() << "no /dev/full here";
  }
  const auto output = start(full.get());
  output->put(bytes("does not fit"));
  EXPECT_TRUE(output->flush(kLong));
  EXPECT_EQ(output->loss().bytes, 12U);
  EXPECT_EQ(output->loss().reason, "No space left on device");
}

TEST(SerialOutput, DropsWithoutASignalBeyondTheFileSizeLimit) {
  const TemporaryDirectory directory;
  const auto file = open_file(directory.file("log"), O_WRONLY | O_CREAT, 0666);
  ASSERT_TRUE(file.has_value());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{10, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto output = start(file->get());
  output->put(bytes("0123456789abcdef"));
  EXPECT_TRUE(output->flush(kLong));
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(output->loss().bytes, 6U);
  EXPECT_EQ(content(directory.file("log")), "0123456789");
}

TEST(SerialOutput, WaitsForARingThatOthersMadeNonBlocking) {
  Pipe pipe;
  ASSERT_EQ(::fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string sent(150'000, 'y');
  auto output = start(pipe.write.get());
  output->put(bytes(sent));
  EXPECT_FALSE(output->flush(milliseconds(20)));
  std::thread reader([&pipe, &sent] { EXPECT_EQ(read_to_end(pipe.read.get()), sent); });
  EXPECT_TRUE(output->flush(kLong));
  output.reset();
  pipe.write.reset();
  reader.join();
}

// A terminal polls as writable while it has room for one byte, and then blocks whoever writes more.
TEST(SerialOutput, AbandonsAThreadThatHangsInsideWrite) {
  UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) {
    GTEST_SKIP() << "no pseudo-terminals here";
  }
  std::array<char, 64> name{};
  ASSERT_EQ(::ptsname_r(master.get(), name.data(), name.size()), 0);
  const UniqueFd terminal(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(terminal);
  auto output = start(terminal.get());
  const std::string text(SerialOutput::kRingBytes, 'z');
  output->put(bytes(text));
  EXPECT_FALSE(output->flush(milliseconds(50)));
  output->finish();  // returns although the thread may be inside write(2)
  EXPECT_GT(output->loss().bytes, text.size() / 2) << "a terminal holds a few KiB";
  master.reset();  // now that write(2) fails, and the thread ends by itself
}

}  // namespace
}  // namespace tapir::vmm
