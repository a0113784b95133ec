// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/ioeventfd.h"
#include "vmm/irqfd.h"
#include "vmm/testing/kvm_guest.h"

namespace tapir::vmm {
namespace {

using ::testing::HasSubstr;
using testing::KvmGuest;
using ::testing::StartsWith;

std::size_t open_descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  std::size_t count = 0;
  while (::readdir(directory) != nullptr) {  // NOLINT(concurrency-mt-unsafe): no one else reads this stream
    ++count;
  }
  ::closedir(directory);
  return count;
}

struct stat owned_by(gid_t group, mode_t mode) {
  struct stat status {};
  status.st_gid = group;
  status.st_mode = S_IFCHR | mode;
  return status;
}

TEST(KvmOpen, NamesTheGroupThatMayUseTheDevice) {
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(109, 0660), "kvm"),
              HasSubstr("sudo usermod -aG kvm $USER"));
}

TEST(KvmOpen, GrantsTheUserWhenNoGroupMay) {
  const std::string command = "sudo setfacl -m u:$USER:rw /dev/kvm";
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(0, 0600), "root"), HasSubstr(command));
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(0, 0660), "root"), HasSubstr(command))
      << "never joins root";
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(109, 0640), "kvm"), HasSubstr(command));
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(4711, 0660), ""), HasSubstr(command));
}

TEST(KvmOpen, SaysWhyTheGroupDoesNotHelp) {
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(109, 0640), "kvm"),
              StartsWith("its group gives no access: run "));
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(0, 0660), "root"),
              StartsWith("this user is not in its group root: run "));
  EXPECT_THAT(permission_remedy("/dev/kvm", owned_by(4711, 0660), ""),
              StartsWith("this user is not in its group 4711, which has no name here: run "));
}

TEST(KvmOpen, NamesTheModuleOfTheProcessor) {
  EXPECT_THAT(missing_device_remedy("flags\t\t: fpu vmx sse"), HasSubstr("modprobe kvm_intel"));
  EXPECT_THAT(missing_device_remedy("flags\t\t: fpu sse svm"), HasSubstr("modprobe kvm_amd"));
  EXPECT_THAT(missing_device_remedy("flags\t\t: fpu avmx svm_lock"), HasSubstr("BIOS"));
}

TEST(KvmOpen, SaysWhatToDoWithoutTheDevice) {
  const auto kvm = Kvm::open("/nonexistent/kvm");
  ASSERT_FALSE(kvm.has_value());
  EXPECT_THAT(kvm.error().message(), HasSubstr("cannot open /nonexistent/kvm: No such file or directory; "));
  EXPECT_EQ(kvm.error().code(), ENOENT);
}

TEST(KvmOpen, RefusesADeviceThatIsNotKvm) {
  const auto kvm = Kvm::open("/dev/null");
  ASSERT_FALSE(kvm.has_value());
  EXPECT_THAT(kvm.error().message(), HasSubstr("/dev/null is not KVM's device"));
}

class VmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto reason = testing::reason_to_skip()) {
      GTEST_SKIP() << *reason;
    }
  }
};

TEST_F(VmTest, SupportsAFewLeavesOfCpuid) {
  const auto kvm = Kvm::open();
  ASSERT_TRUE(kvm.has_value()) << kvm.error().message();
  const auto cpuid = kvm->supported_cpuid();
  ASSERT_TRUE(cpuid.has_value()) << cpuid.error().message();
  EXPECT_GT(cpuid->size(), 5U);
  EXPECT_GE(kvm->max_cpus(), 1U);
}

TEST_F(VmTest, ReadsMemoryOnlyWhereThereIsRam) {
  auto guest = KvmGuest::create();
  ASSERT_TRUE(guest.has_value()) << guest.error().message();
  const std::byte pattern[4] = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  (*guest)->load((4U << 20) - 4, pattern);
  std::byte read[8] = {};
  EXPECT_EQ((*guest)->vm.read_memory((4U << 20) - 4, read), 4U);
  EXPECT_EQ(read[3], std::byte{4});
  EXPECT_EQ((*guest)->vm.read_memory(4U << 20, read), 0U);
  EXPECT_EQ((*guest)->vm.read_memory(~std::uint64_t{0}, read), 0U);
}

TEST_F(VmTest, LeavesNoDescriptorBehindWhenMadeAndDestroyedAgainAndAgain) {
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 20; ++i) {
    auto guest = KvmGuest::create(2);
    ASSERT_TRUE(guest.has_value()) << guest.error().message();
    auto routing = IrqRouting::create((*guest)->vm);
    ASSERT_TRUE(routing.has_value()) << routing.error().message();
    const auto msi = MsiIrqfd::create((*guest)->vm, **routing);
    ASSERT_TRUE(msi.has_value()) << msi.error().message();
    ASSERT_TRUE((*msi)->set_message({0xFEE0'0000, 0x40}).has_value());
    const auto kick = EventFd::create();
    ASSERT_TRUE(kick.has_value());
    IoeventfdDoorbell doorbell((*guest)->vm);
    const auto binding = doorbell.bind(virtio::GuestAddress{KvmGuest::kDevice}, 4, 0, kick->fd());
    ASSERT_TRUE(binding.has_value()) << binding.error().message();
    ASSERT_TRUE((*guest)->run(testing::Code().out8(KvmGuest::kPort, 1).spin()).has_value());
    EXPECT_EQ((*guest)->port_device.wait_for(1).size(), 1U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace tapir::vmm
