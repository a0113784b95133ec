// SPDX-License-Identifier: Apache-2.0
#include "vmm/run.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "net/base/log.h"
#include "net/testing/network_namespace.h"
#include "net/testing/temporary_directory.h"
#include "vmm/boot/testing/synthetic_kernel.h"
#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using net::testing::content;
using ::testing::HasSubstr;

constexpr std::uint64_t kEntry = 0x100'0000;

/// Prints "hello" on the serial port and resets the machine.
std::string hello_kernel() {
  std::string code = "\x66\xBA\xF8\x03";  // mov dx, 0x3F8
  for (const char letter : std::string("hello")) {
    code += std::string("\xB0") + letter + "\xEE";  // mov al, letter; out dx, al
  }
  return code + "\x66\xBA\xF9\x0C\xB0\x06\xEE\xF4";  // mov dx, 0xCF9; mov al, 6; out dx, al; hlt
}

/// Whole runs of guests, in this process.
class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::reason_to_skip()) {
      GTEST_SKIP() << *reason;
    }
    boot::testing::ElfBuilder builder;
    builder.entry = kEntry;
    const std::string code = hello_kernel();
    const auto bytes = std::as_bytes(std::span(code));
    builder.segments.push_back({.address = kEntry, .content = {bytes.begin(), bytes.end()}});
    const auto file = builder.build();
    config_.kernel_path = directory_.file("kernel");
    std::ofstream(config_.kernel_path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
    config_.memory_bytes = 64U << 20;
    config_.reboot = false;
    config_.serial = {SerialConfig::Kind::kFile, directory_.file("serial")};
  }

  std::string failure() const {
    const auto status = run_guest(config_);
    return status ? "no error" : status.error().message();
  }

  void break_kernel() const { std::ofstream(config_.kernel_path) << "no kernel"; }

  void add_tap(const TapConfig& tap) {
    NicConfig nic;
    nic.id = tap.id;
    nic.backend = tap;
    config_.nics.push_back(nic);
  }

  net::testing::TemporaryDirectory directory_;
  MachineConfig config_;
};

TEST_F(RunTest, LeavesTheSerialOutputInItsFile) {
  std::ofstream(config_.serial.path) << "of an earlier and longer run";
  const auto status = run_guest(config_);
  ASSERT_TRUE(status.has_value()) << status.error().message();
  EXPECT_EQ(*status, 0);
  EXPECT_EQ(content(config_.serial.path), "hello");
}

TEST_F(RunTest, LeavesTheSerialFileAloneWhenTheStartFails) {
  break_kernel();
  std::ofstream(config_.serial.path) << "of an earlier run";
  EXPECT_THAT(failure(), HasSubstr("is not a kernel"));
  EXPECT_EQ(content(config_.serial.path), "of an earlier run");
}

TEST_F(RunTest, LeavesNoSerialFileBehindWhenTheStartFails) {
  break_kernel();
  EXPECT_THAT(failure(), HasSubstr("is not a kernel"));
  EXPECT_FALSE(std::filesystem::exists(config_.serial.path));
}

TEST_F(RunTest, TellsAtTheEndWhatSerialOutputWasLost) {
  config_.serial.path = "/dev/full";
  ::testing::internal::CaptureStderr();
  const auto status = run_guest(config_);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tapir: warning: 5 bytes of the guest's serial output were lost: No space left on device\n");
  ASSERT_TRUE(status.has_value()) << status.error().message();
  EXPECT_EQ(*status, 0);
}

TEST_F(RunTest, TellsOfItsNicsWhereAskedTo) {
  TAPIR_ENTER_NETWORK_NAMESPACE();
  ASSERT_TRUE(net::testing::make_persistent_tap("t0").has_value());
  TapConfig tap;
  tap.id = "n0";
  tap.ifname = "t0";
  add_tap(tap);
  config_.nics.back().mac = net::MacAddress::parse("52:54:00:12:34:56");
  config_.log_network = true;
  set_log_level(LogLevel::kInfo);
  ::testing::internal::CaptureStderr();
  const auto status = run_guest(config_);
  set_log_level(LogLevel::kWarning);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("n0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56 \\ n0: "
                        "index=0,type=tap,ifname=t0,script=no,downscript=no\n"));
  ASSERT_TRUE(status.has_value()) << status.error().message();
}

// Which numbers tapir's own descriptors will have nobody can know, so all that are likely are tried.
TEST_F(RunTest, TakesNoDescriptorOfItsOwnForAnInheritedOne) {
  TAPIR_ENTER_NETWORK_NAMESPACE();
  ASSERT_TRUE(net::testing::make_persistent_tap("t0").has_value());
  unsigned tried = 0;
  for (int number = 3; number < 32; ++number) {
    if (::fcntl(number, F_GETFD) >= 0) {
      continue;
    }
    config_.nics.clear();
    TapConfig opened;
    opened.id = "n1";
    opened.ifname = "t0";
    add_tap(opened);
    TapConfig adopted;
    adopted.id = "n0";
    adopted.fds = {number};
    add_tap(adopted);
    EXPECT_THAT(failure(), HasSubstr("fd=" + std::to_string(number) + ": no descriptor with this number"));
    ++tried;
  }
  EXPECT_GT(tried, 10U);
}

}  // namespace
}  // namespace tapir::vmm
